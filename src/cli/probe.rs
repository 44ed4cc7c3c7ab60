//! `nessen probe URL`: attacks a server of one's own, in small, and says what held.

use std::io::{self, BufRead, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{EXIT_FAILURE, EXIT_USAGE, fail, print};
use crate::audit::{self, Http2, Options, Progress, Url, limits, report};
use crate::config::raise_open_files;

/// What `--help` says of it.
pub(super) const ABOUT: &str = "Attack an HTTP server of your own, in small, and say what held\n\nEach attack is bounded: a case sends \
     4 MiB and reads 16 MiB at most; 64 connections are open at a time, and one for the honest request (512 where \
     --connections asks for it on a loopback address); 2000 streams on an HTTP/2 connection. Any host but a \
     loopback address is asked about first. HTTP/2 by prior knowledge, within TLS by ALPN.\n\nAudit servers that \
     are yours, or that you were asked to audit.";
/// What stands below the flags.
pub(super) const EXIT_CODES: &str =
    "Exit codes: 0 nothing is open, 1 something is open, 2 usage, or no audit to its end.";

/// What can be said of a probe.
#[derive(Debug, Args)]
pub(super) struct ProbeArgs {
    /// The server, as in `http://127.0.0.1:3000` or `https://app.example`; a path in it is --path
    #[arg(required_unless_present = "list")]
    url: Option<String>,
    /// Do not ask whether the server is yours
    #[arg(long)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Run this group or case alone; can be repeated
    #[arg(long, value_name = "GROUP_OR_CASE")]
    only: Vec<String>,
    /// Print the cases, and run none
    #[arg(long)]
    list: bool,
    /// How long the server may take to act on a slow attack; nothing by then is open
    #[arg(long, value_name = "DURATION", default_value = "35s", value_parser = crate::units::parse_duration)]
    timeout: Duration,
    /// A path that answers 200 to GET; best with a body of some KiB [default: /]
    #[arg(long, value_name = "PATH", value_parser = path)]
    path: Option<String>,
    /// A path that takes POST [default: --path]
    #[arg(long, value_name = "PATH", value_parser = path)]
    upload_path: Option<String>,
    /// HTTP/2 by prior knowledge, or by ALPN: `auto` asks once, and leaves it where it is not spoken
    #[arg(long, value_enum, default_value = "auto")]
    http2: Http2Arg,
    /// A field of every request, as in --header 'Authorization: Bearer x'; can be repeated
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// Believe certificates of the CAs of this file (PEM), in place of the public ones
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Believe any certificate
    #[arg(long, conflicts_with = "ca")]
    insecure: bool,
    /// Connections to hold at a time; over 64 on a loopback address alone
    #[arg(long, value_name = "COUNT", default_value_t = limits::CONNECTIONS,
          value_parser = connections)]
    connections: usize,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Http2Arg {
    Auto,
    On,
    Off,
}

fn path(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_graphic();
    if text.starts_with('/') && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("a path begins with / and is printable ASCII".to_owned())
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write 'Name: value'")?;
    let name = http::HeaderName::try_from(name.trim()).map_err(|_| "not a field name")?;
    let value = value.trim();
    if value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        Ok((name.to_string(), value.to_owned()))
    } else {
        Err("a value is printable ASCII".to_owned())
    }
}

fn connections(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 2..=limits::CONNECTIONS_LOOPBACK) => Ok(count),
        _ => Err(format!("2 to {}", limits::CONNECTIONS_LOOPBACK)),
    }
}

/// Does it, and returns the exit code.
pub(super) fn probe_command(args: ProbeArgs) -> ExitCode {
    let cases = match audit::select(&args.only) {
        Ok(cases) => cases,
        Err(problem) => return fail(EXIT_USAGE, &problem.0),
    };
    if args.list {
        return print(&if args.json { report::list_json(&cases) } else { report::list(&cases) });
    }
    let url = match Url::parse(args.url.as_deref().unwrap_or_default()) {
        Ok(url) => url,
        Err(problem) => return fail(EXIT_USAGE, &problem),
    };
    raise_open_files();
    match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime.block_on(probe(&args, &url, cases)),
        Err(error) => fail(EXIT_FAILURE, &format!("cannot start the runtime: {error}")),
    }
}

async fn probe(args: &ProbeArgs, url: &Url, cases: Vec<audit::Case>) -> ExitCode {
    let addresses = match url.addresses().await {
        Ok(addresses) => addresses,
        Err(problem) => return fail(EXIT_USAGE, &problem),
    };
    let loopback = is_loopback(&addresses);
    if let Err(problem) = allowed(args, url, &addresses, loopback) {
        return fail(EXIT_USAGE, &problem);
    }
    let tls = url.tls.then(|| audit::Tls::new(&url.host, args.ca.clone(), args.insecure)).transpose();
    let options = match tls {
        Ok(tls) => options(args, url, tls),
        Err(problem) => return fail(EXIT_USAGE, &problem),
    };
    let terminal = io::stderr().is_terminal();
    let progress = |progress: Progress<'_>| {
        if terminal {
            // Nobody is left to tell if this cannot be written.
            let _ = match progress {
                Progress::Group(group, count) => writeln!(io::stderr(), "{group}: {count} cases"),
                Progress::Done(finding) => writeln!(io::stderr(), "  {}", report::progress(finding)),
            };
        }
    };
    match audit::run(url, addresses, options, cases, progress).await {
        Ok(found) => {
            let printed = print(&if args.json { report::json(&found) } else { report::text(&found) });
            match found.cut_off {
                _ if !found.held() => ExitCode::from(EXIT_FAILURE),
                Some(why) => fail(EXIT_USAGE, &format!("not taken to its end: honest requests {why}")),
                None => printed,
            }
        }
        Err(problem) => fail(EXIT_USAGE, &problem.0),
    }
}

fn options(args: &ProbeArgs, url: &Url, tls: Option<audit::Tls>) -> Options {
    let path = args.path.clone().or_else(|| url.path.clone()).unwrap_or_else(|| "/".to_owned());
    Options {
        timeout: args.timeout.max(Duration::from_millis(100)),
        upload_path: args.upload_path.clone().unwrap_or_else(|| path.clone()),
        path,
        http2: match args.http2 {
            Http2Arg::Auto => Http2::Auto,
            Http2Arg::On => Http2::On,
            Http2Arg::Off => Http2::Off,
        },
        headers: args.headers.clone(),
        connections: args.connections,
        tls,
    }
}

fn is_loopback(addresses: &[SocketAddr]) -> bool {
    addresses.iter().all(|address| address.ip().to_canonical().is_loopback())
}

/// Whether this server may be attacked: it is this host, or somebody says that it is theirs.
fn allowed(args: &ProbeArgs, url: &Url, addresses: &[SocketAddr], loopback: bool) -> Result<(), String> {
    if !loopback && args.connections > limits::CONNECTIONS {
        return Err(format!("--connections over {} is for loopback addresses", limits::CONNECTIONS));
    }
    if loopback || args.yes {
        return Ok(());
    }
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let whom = format!("{} ({})", url.authority, addresses.join(", "));
    if !io::stdin().is_terminal() {
        return Err(format!("{whom} is not this host: say --yes if it is yours"));
    }
    let _ = write!(io::stderr(), "This attacks {whom}. Type `yes` if it is yours: ");
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    if read.is_ok() && answer.trim() == "yes" { Ok(()) } else { Err("not confirmed".to_owned()) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::keys;

    #[test]
    fn every_key_that_a_case_names_exists() {
        for case in audit::all() {
            for key in case.keys {
                assert!(keys::find(key).is_some(), "{} names {key}", case.name);
            }
        }
    }

    /// The page is written by hand down to a mark, and generated behind it.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "a switch of the test run, not a setting")]
    fn golden_the_page_of_the_cases_is_current() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/probe.md");
        let page = std::fs::read_to_string(&file).unwrap();
        let mark = "<!-- generated: NESSEN_UPDATE_GOLDEN=1 cargo test --lib -- golden -->\n";
        let (written, _) = page.split_once(mark).expect("the mark");
        let current = format!("{written}{mark}{}", report::markdown(&audit::all()));
        if std::env::var_os("NESSEN_UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, &current).unwrap();
        } else {
            assert!(
                page == current,
                "docs/probe.md is not current: NESSEN_UPDATE_GOLDEN=1 cargo test rewrites it"
            );
        }
    }

    #[test]
    fn flags_are_checked_before_anything_is_sent() {
        assert!(path("/a?b=%20").is_ok());
        for text in ["", "a", "/a b", "/a\r\nX: y", "/é"] {
            assert!(path(text).is_err(), "{text:?}");
        }
        assert_eq!(header("X-A:  b c "), Ok(("x-a".to_owned(), "b c".to_owned())));
        for text in ["X-A", ": a", "X A: a", "X-A: a\r\nX-B: b"] {
            assert!(header(text).is_err(), "{text:?}");
        }
        assert_eq!((connections("2"), connections("512")), (Ok(2), Ok(512)));
        assert!(connections("1").is_err() && connections("513").is_err());
    }

    #[test]
    fn only_the_loopback_is_this_host() {
        let all =
            |texts: &[&str]| is_loopback(&texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>());
        assert!(all(&["127.0.0.1:80", "[::1]:80", "127.9.9.9:80", "[::ffff:127.0.0.1]:80"]));
        for other in ["10.0.0.1:80", "0.0.0.0:80", "[fe80::1]:80"] {
            assert!(!all(&["127.0.0.1:80", other]), "{other}");
        }
    }
}
