//! The command line: what can be typed, and the exit code of each command.
//!
//! 0 done, or stopped and drained · 1 failure at run time · 2 usage · 3 drain deadline passed, work
//! was cut off · 78 bad configuration.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::admin::page::Settings;
use crate::config::{
    self, Config, Flag, Loaded, Machine, Sources, example, load, raise_open_files, reference, schema,
};
use crate::lifecycle::signals::HeldSignals;
use crate::net::inherited::Inherited;
use crate::sandbox::Held;
use crate::server::{
    self, BindError, Bound, Outcome, Reload, Server, limit_rows, reloaded_rows, setting_rows,
};
use crate::tls::server::ClientAuth;

mod check;
mod confine;
mod healthcheck;
mod probe;

/// Something failed at run time.
pub const EXIT_FAILURE: u8 = 1;
/// The command line cannot be understood.
pub const EXIT_USAGE: u8 = 2;
/// The drain deadline passed and work was cut off.
pub const EXIT_CUT_OFF: u8 = 3;
/// The configuration is wrong: `EX_CONFIG` of sysexits.h.
pub const EXIT_CONFIG: u8 = 78;

/// A hardened HTTP runtime.
#[derive(Debug, Parser)]
#[command(
    name = "nessen",
    version = env!("BUILT_VERSION"),
    about,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    after_help = "Without a command, nessen serves. Every key is described by `nessen config reference`.\n\
                  Exit codes: 0 done or drained, 1 failure, 2 usage, 3 work cut off, 78 bad configuration."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: SettingArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (the default command)
    Serve(SettingArgs),
    /// Check the configuration without binding a port, and print what holds and why
    Check(SettingArgs),
    /// GET /health on this host's port; exit 0 if it answers 200, else 1
    Healthcheck(HealthcheckArgs),
    /// Attack an HTTP server of your own, in small, and say what held
    #[command(long_about = probe::ABOUT, after_help = probe::EXIT_CODES)]
    Probe(Box<probe::ProbeArgs>),
    /// Print what can be configured
    Config {
        #[command(subcommand)]
        what: ConfigCommand,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum ConfigCommand {
    /// Every key, in Markdown
    Reference,
    /// The JSON schema of the file
    Schema,
    /// A file with every key at its default
    Example,
}

/// Settings, of which any key can be one.
#[derive(Debug, Default, Args)]
struct SettingArgs {
    /// Read this file (TOML); else the one that NESSEN_CONFIG names
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address to listen on (server.host)
    #[arg(long, value_name = "ADDRESS")]
    host: Option<String>,
    /// Port to listen on, 0 for any (server.port)
    #[arg(long, value_name = "PORT", allow_hyphen_values = true)]
    port: Option<String>,
    /// Be a proxy in front of this application, as in `http://app:8080` (upstream.url)
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Serve the files of this folder (files.root)
    #[arg(long, value_name = "DIR")]
    root: Option<String>,
    /// off, error, warn, info, debug or trace (log.level)
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// json or console (log.format)
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Set any key, as in --set limits.max_body_size=4MiB; can be repeated
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
}

#[derive(Debug, Args)]
struct HealthcheckArgs {
    /// Ask this URL instead: `http://ADDRESS[:PORT][/PATH]`, or https, with an IP address or localhost
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Give up after this long
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = crate::units::parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    settings: SettingArgs,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write section.key=value")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

impl SettingArgs {
    /// The process' sources. The flags with a name of their own come after `--set`, and so win.
    fn sources(self) -> Sources {
        let set = self.set.into_iter().map(|(key, value)| (key, value, "--set"));
        let named = [
            ("server.host", self.host, "--host"),
            ("server.port", self.port, "--port"),
            ("upstream.url", self.upstream, "--upstream"),
            ("files.root", self.root, "--root"),
            ("log.level", self.log_level, "--log-level"),
            ("log.format", self.log_format, "--log-format"),
        ];
        let named = named.into_iter().filter_map(|(key, value, flag)| Some((key.to_owned(), value?, flag)));
        let flags =
            set.chain(named).map(|(key, value, flag)| Flag { key, value, flag: flag.to_owned() }).collect();
        Sources::from_process(self.config, flags)
    }
}

/// Does what the command line asks, and returns the exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are errors to the parser, with exit code 0 and standard output.
            let _ = error.print();
            return u8::try_from(error.exit_code()).map_or(ExitCode::from(EXIT_USAGE), ExitCode::from);
        }
    };
    match cli.command {
        None => serve_command(cli.settings),
        Some(Command::Serve(settings)) => serve_command(settings),
        Some(Command::Check(settings)) => with_configuration(settings.sources(), |sources, loaded| {
            print(&check::report(&loaded, &confine::foresee(&sources, &loaded.config)))
        }),
        Some(Command::Healthcheck(args)) => healthcheck_command(args),
        Some(Command::Probe(args)) => probe::probe_command(*args),
        Some(Command::Config { what }) => print(&match what {
            ConfigCommand::Reference => reference(),
            ConfigCommand::Schema => schema(),
            ConfigCommand::Example => example(),
        }),
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "nessen", &mut script);
            print_bytes(&script)
        }
        Some(Command::Man) => {
            let mut page = Vec::new();
            match clap_mangen::Man::new(Cli::command()).render(&mut page) {
                Ok(()) => print_bytes(&page),
                Err(error) => fail(EXIT_FAILURE, &error.to_string()),
            }
        }
    }
}

fn serve_command(settings: SettingArgs) -> ExitCode {
    // First of all: a signal that comes from here on is acted on, not died of.
    let signals = match HeldSignals::take() {
        Ok(signals) => signals,
        Err(error) => return fail(EXIT_FAILURE, &format!("cannot take over the signals: {error}")),
    };
    with_configuration(settings.sources(), |sources, loaded| match Inherited::take() {
        Ok(sockets) => serve(sources, loaded, signals, sockets),
        Err(error) => fail(EXIT_CONFIG, &error.to_string()),
    })
}

/// Loads the configuration and goes on with it, or says all that is wrong with it.
fn with_configuration(sources: Sources, then: impl FnOnce(Sources, Loaded) -> ExitCode) -> ExitCode {
    // Before the machine is asked: the number of connections follows from it.
    raise_open_files();
    match load(&sources, &Machine::detect()) {
        Ok(loaded) => then(sources, loaded),
        Err(errors) => fail(EXIT_CONFIG, &errors.to_string()),
    }
}

/// Runs the server on a runtime with as many threads as are configured. `sources` is for SIGHUP.
fn serve(sources: Sources, loaded: Loaded, signals: HeldSignals, sockets: Inherited) -> ExitCode {
    let sockets = match server::listen(&loaded.config, sockets) {
        Ok(sockets) => sockets,
        Err(error) => return fail(EXIT_FAILURE, &error.to_string()),
    };
    // The only moment for it: everything is open, and no thread runs that it would not hold for.
    let confined = match confine::confine(&sources, &loaded.config) {
        Ok(confined) => confined,
        Err(problem) => return fail(EXIT_CONFIG, &problem),
    };
    // One worker is a thread to itself, with nobody to hand its work to: every wake costs less. That takes that nothing blocks
    // it, which is so for all that this binary serves; around handlers of others a signal would not get through.
    let mut runtime = match loaded.config.server.workers {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime
        .worker_threads(loaded.config.server.workers)
        // A worker's own queue has 256 places. Under a flood of more connections than that, the oldest of them
        // go to the common queue, and would wait there for as long as the flood lasts.
        .global_queue_interval(2)
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(run_server(sources, loaded, signals, sockets, confined));
            // A handler that blocks a thread for ever does not keep the process.
            runtime.shutdown_background();
            code
        }
        Err(error) => fail(EXIT_FAILURE, &format!("cannot start the runtime: {error}")),
    }
}

async fn run_server(
    sources: Sources,
    loaded: Loaded,
    signals: HeldSignals,
    sockets: Bound,
    confined: Option<&'static Held>,
) -> ExitCode {
    let signals = match signals.stream() {
        Ok(signals) => signals,
        Err(error) => return fail(EXIT_FAILURE, &format!("cannot take over the signals: {error}")),
    };
    let limits = limit_rows(&loaded);
    let settings = Settings::new(setting_rows(&loaded));
    let (config, kept) = apart(loaded);
    let (notes, worst_case) = (kept.notes.clone(), kept.worst_case);
    let server = Server::builder()
        .bound(sockets)
        .config(config)
        .limits(limits, &worst_case)
        .settings(settings.clone())
        .reload(reload(sources, kept, settings));
    let server = match server.bind().await {
        Ok(server) => server,
        Err(error @ (BindError::Evidence(_) | BindError::Tls(_))) => {
            return fail(EXIT_CONFIG, &error.to_string());
        }
        Err(error) => return fail(EXIT_FAILURE, &error.to_string()),
    };
    for note in &notes {
        tracing::info!("{note}");
    }
    confine::tell(confined);
    match server.run_with(signals).await {
        Outcome::Drained => ExitCode::SUCCESS,
        Outcome::CutOff(_) => ExitCode::from(EXIT_CUT_OFF),
        Outcome::Failed => fail(EXIT_FAILURE, "the server could no longer accept connections"),
    }
}

/// The configuration to serve, and what a reload compares itself with: not the routes, of which there can
/// be very many, and any may change.
fn apart(mut loaded: Loaded) -> (Config, Loaded) {
    loaded.routes = Vec::new();
    let routes = std::mem::take(&mut loaded.config.routes);
    (Config { routes, ..loaded.config.clone() }, loaded)
}

/// Reads the sources again, for SIGHUP.
fn reload(sources: Sources, loaded: Loaded, settings: Settings) -> Reload {
    let started_with = loaded;
    Arc::new(move || {
        let loaded = load(&sources, &Machine::detect()).map_err(|errors| errors.to_string())?;
        let needs_restart = config::reloadable_diff(&started_with, &loaded);
        settings.propose(reloaded_rows(&started_with, &loaded, &needs_restart));
        Ok((loaded.config, needs_restart))
    })
}

/// What stands on the port, and a plain one beside it that answers probes as well.
fn listens(config: &Config) -> healthcheck::Listens {
    let redirect = config.tls.redirect_port.map(|port| (config.server.host, port));
    healthcheck::Listens {
        tls: config.tls.is_on(),
        demands: config.tls.client_auth == ClientAuth::Required,
        beside: redirect.or_else(|| config.admin.port.map(|port| (config.admin.host, port))),
    }
}

fn healthcheck_command(args: HealthcheckArgs) -> ExitCode {
    let target = match &args.url {
        Some(url) => healthcheck::Target::parse(url),
        None => load(&args.settings.sources(), &Machine::detect())
            .map(|loaded| healthcheck::Target::of(&loaded.config.server, listens(&loaded.config)))
            // One line: what runs this shows no more.
            .map_err(|config::ConfigErrors(errors)| {
                errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
            }),
    };
    match target.and_then(|target| target.check(args.timeout)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => fail(EXIT_FAILURE, &problem),
    }
}

fn print(text: &str) -> ExitCode {
    print_bytes(text.as_bytes())
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no failure.
fn print_bytes(bytes: &[u8]) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            fail(EXIT_FAILURE, &format!("cannot write: {error}"))
        }
        _ => ExitCode::SUCCESS,
    }
}

fn fail(code: u8, problem: &str) -> ExitCode {
    // Nobody is left to tell if this cannot be written.
    let _ = writeln!(io::stderr(), "nessen: {problem}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Cli, clap::error::ErrorKind> {
        Cli::try_parse_from(std::iter::once(&"nessen").chain(args)).map_err(|error| error.kind())
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serving_is_the_default_and_takes_its_flags_without_the_word() {
        assert!(parse(&[]).unwrap().command.is_none());
        let bare = parse(&["--port", "0", "--set", "log.access=off", "--set=limits.memory=1=2"]).unwrap();
        assert!(bare.command.is_none());
        assert_eq!(bare.settings.set[1], ("limits.memory".to_owned(), "1=2".to_owned()));
        assert!(matches!(parse(&["serve", "--port", "0"]).unwrap().command, Some(Command::Serve(_))));
        assert!(matches!(parse(&["check", "--config", "x"]).unwrap().command, Some(Command::Check(_))));
    }

    #[test]
    fn what_cannot_be_understood_is_a_usage_error() {
        for args in
            [&["--nonsense"][..], &["nonsense"], &["--set", "no-equals"], &["config"], &["completions"]]
        {
            assert!(parse(args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn flags_become_settings_and_a_named_one_beats_set() {
        let args = parse(&[
            "--port",
            "4",
            "--set",
            "server.port=3",
            "--log-level=debug",
            "--upstream",
            "http://a",
            "--root",
            "b",
        ])
        .unwrap();
        let flags = args.settings.sources().flags;
        let shown: Vec<String> =
            flags.iter().map(|flag| format!("{} {}={}", flag.flag, flag.key, flag.value)).collect();
        assert_eq!(
            shown,
            [
                "--set server.port=3",
                "--port server.port=4",
                "--upstream upstream.url=http://a",
                "--root files.root=b",
                "--log-level log.level=debug",
            ]
        );
    }
}
