//! From the text of a file to routes and checks, or to all that is wrong with them.

mod errors;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::config::{Loaded, Machine, Sources, load};

/// A folder that is gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("nessen-routes-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(folder.join("public")).unwrap();
        std::fs::write(folder.join("public/index.html"), "hello").unwrap();
        Self(folder)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Loads a file in which `$` stands for `folder`; in the errors `$` stands for it too.
fn read_in(folder: &Folder, text: &str, env: &[(&str, &str)]) -> Result<Loaded, Vec<String>> {
    let file = folder.0.join("n.toml");
    let path = |text: &str| text.replace('$', folder.path());
    std::fs::write(&file, path(text)).unwrap();
    let env = env.iter().map(|(name, value)| (name.into(), path(value).into())).collect();
    let sources = Sources { file: Some(file.clone()), env, ..Sources::default() };
    let machine = Machine {
        memory_total: Some(16 << 30),
        ..Machine::read(Path::new("/nowhere"), 8, Some(1_048_576), false)
    };
    let shown = |error: &ConfigError| {
        error.to_string().replace(file.to_str().unwrap(), "n.toml").replace(folder.path(), "$")
    };
    load(&sources, &machine).map_err(|errors| errors.0.iter().map(shown).collect())
}

fn read(text: &str) -> Result<Loaded, Vec<String>> {
    read_in(&Folder::new(), text, &[])
}

#[track_caller]
fn assert_errors(text: &str, expected: &[&str]) {
    let folder = Folder::new();
    let found = read_in(&folder, text, &[]).err().unwrap_or_default();
    assert_eq!(found, expected, "\n{text}");
}

#[test]
fn a_route_table_is_read_and_sorted_as_it_is_matched() {
    let folder = Folder::new();
    let loaded = read_in(
        &folder,
        r#"
route = [{ path = "/inline", respond = {} }]
"#,
        &[],
    )
    .unwrap();
    assert_eq!(loaded.config.routes.len(), 1);
    let text = r#"
[[route]]
path = "/"
root = "$/public"
fallback = "/index.html"
[[route]]
path = "/api/"
upstream = "http://app:8080"
[[route]]
path = "/api/v1"
host = "*.example.com"
upstream = ["http://a:1", "h2c://[::1]", "http://a:1"]
[[route]]
path = "/"
host = "*.b.example.com"
redirect = { to = "https://example.com/new?a=b", status = 301 }
[[route]]
path = "/"
host = "WWW.Example.com"
respond = { status = 404, body = " gone\n", content_type = "text/html" }
[[route]]
path = "/api/v1/upload"
redirect.to = "/elsewhere"
redirect.keep_path = true
"#;
    let loaded = read_in(&folder, text, &[]).unwrap();
    let shown: Vec<String> = loaded
        .routes
        .iter()
        .map(|row| format!("{} {} {}", row.host.as_deref().unwrap_or("-"), row.path, row.target))
        .collect();
    assert_eq!(
        shown,
        [
            "www.example.com / respond 404 with 6 bytes",
            "*.b.example.com / redirect 301 https://example.com/new?a=b",
            "*.example.com /api/v1 upstream http://a:1, h2c://[::1]:80",
            "- /api/v1/upload redirect 308 /elsewhere...",
            "- /api upstream http://app:8080",
            &format!("- / root {}/public", folder.path()),
        ]
    );
    let config = &loaded.config;
    assert_eq!(config.routes.len(), loaded.routes.len());
    let Target::Respond { status, body, content_type } = &config.routes[0].target else { panic!() };
    assert_eq!(
        (status.as_u16(), &body[..], content_type.to_str().unwrap()),
        (404, &b" gone\n"[..], "text/html")
    );
    let Target::Redirect { keep_path: true, .. } = &config.routes[3].target else { panic!() };
    let Target::Upstream(urls) = &config.routes[2].target else { panic!() };
    assert_eq!(config.routes[2].upstream.url, *urls);
    assert_eq!(config.routes[5].files.root, Some(folder.0.join("public")));
    assert!(config.routes[4].files.root.is_none() && config.routes[5].upstream.url.is_empty());
    assert_eq!(config.routes[4].origin.to_string(), format!("file {}/n.toml:6", folder.path()));
    assert!(read("").unwrap().config.routes.is_empty());
}

#[test]
fn a_route_holds_its_own_values_and_else_the_global_ones() {
    let loaded = read(
        r#"
[limits]
request_timeout = "7s"
[rate_limit]
max_requests = 100
burst = 500
[upstream]
retries = 1
[compression]
min_size = "2KiB"
[[route]]
path = "/own"
upstream = "http://app"
max_body_size = "1GiB"
request_timeout = "7s"
min_send_rate = "off"
max_response_size = "5MiB"
methods = ["get", "PROPFIND"]
connect_timeout = 250
health_path = "/healthz?full=1"
host_header = "upstream"
eject_after = "off"
rate_limit = { max_requests = 10, window = "1s" }
compression = { min_size = 0 }
security_headers = { frame_options = "SAMEORIGIN", content_security_policy = "default-src *" }
[[route]]
path = "/plain"
upstream = "http://app"
[[route]]
path = "/off"
respond = {}
rate_limit = "off"
compression = true
security_headers = false
[[route]]
path = "/same"
redirect = { to = "/plain" }
rate_limit = {}
"#,
    )
    .unwrap();
    let route = |path: &str| loaded.config.routes.iter().find(|route| route.path == path).unwrap();
    let own = route("/own");
    assert_eq!(own.limits.max_body_size, 1 << 30);
    assert_eq!(own.limits.request_timeout, Duration::from_secs(7));
    assert_eq!(own.limits.min_send_rate, None);
    assert_eq!(own.limits.max_connections, loaded.config.limits.max_connections);
    assert_eq!(own.limits.max_in_flight, loaded.config.limits.max_in_flight);
    assert_eq!(own.max_response_size, Some(5 << 20));
    let methods = own.methods.as_ref().unwrap();
    assert_eq!(methods.iter().map(|method| method.as_str()).collect::<Vec<_>>(), ["GET", "PROPFIND"]);
    assert_eq!(own.limits.allowed_methods, *methods);
    assert_eq!(own.upstream.connect_timeout, Duration::from_millis(250));
    assert_eq!(own.upstream.health_path.as_deref(), Some("/healthz?full=1"));
    assert_eq!(own.upstream.host_header, crate::config::HostHeader::Upstream);
    assert_eq!((own.upstream.eject_after, own.upstream.retries), (None, 1));
    let limit = own.rate_limit.as_ref().unwrap();
    assert_eq!((limit.max_requests, limit.burst, limit.window), (Some(10), 10, Duration::from_secs(1)));
    assert!(own.compression.enabled && own.compression.min_size == 0);
    assert_eq!(own.security_headers.frame_options.as_ref().unwrap(), "SAMEORIGIN");
    assert_eq!(own.security_headers.content_security_policy.as_ref().unwrap(), "default-src *");
    assert_eq!(own.security_headers.permissions_policy, None);

    let plain = route("/plain");
    assert_eq!((plain.max_response_size, &plain.methods, &plain.rate_limit), (None, &None, &None));
    assert!(!plain.compression.enabled && plain.compression.min_size == 2048);
    assert_eq!(plain.security_headers.content_security_policy, None);
    assert_eq!(plain.security_headers.frame_options.as_ref().unwrap(), "DENY");

    let off = route("/off");
    assert_eq!(off.rate_limit.as_ref().map(|limit| limit.max_requests), Some(None));
    assert!(off.compression.enabled && !off.security_headers.enabled);
    // A fixed answer is the server's own.
    assert!(off.security_headers.content_security_policy.is_some());
    let same = route("/same").rate_limit.as_ref().unwrap();
    assert_eq!((same.max_requests, same.burst), (Some(100), 500));

    let row = loaded.routes.iter().find(|row| row.path == "/own").unwrap();
    let shown: Vec<String> = row.overrides.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    assert_eq!(
        shown,
        [
            "max_body_size = 1GiB",
            "min_send_rate = off",
            "max_response_size = 5MiB",
            "connect_timeout = 250ms",
            "health_path = /healthz?full=1",
            "host_header = upstream",
            "eject_after = off",
            "rate_limit.max_requests = 10",
            "rate_limit.window = 1s",
            "compression.min_size = 0B",
            "compression.enabled = true",
            "security_headers.frame_options = SAMEORIGIN",
            "security_headers.content_security_policy = default-src *",
            "methods = GET, PROPFIND",
        ]
    );
}

#[test]
fn a_policy_that_is_set_for_all_reaches_every_route() {
    let folder = Folder::new();
    let env = [("NESSEN_SECURITY_HEADERS_PERMISSIONS_POLICY", "camera=()"), ("UPSTREAM", "http://app:8080")];
    let loaded = read_in(&folder, "", &env).unwrap();
    let [route] = loaded.config.routes.as_slice() else { panic!() };
    assert_eq!(route.security_headers.permissions_policy.as_ref().unwrap(), "camera=()");
    assert_eq!(route.security_headers.content_security_policy, None);
    // The table of keys has it for answers of the program's own router.
    assert!(loaded.config.security_headers.content_security_policy.is_some());
}

#[test]
fn upstream_and_root_are_one_route_each() {
    let folder = Folder::new();
    let upstream = read_in(&folder, "", &[("UPSTREAM", "http://a:1, http://b:2")]).unwrap();
    let [route] = upstream.config.routes.as_slice() else { panic!() };
    assert!(matches!(&route.target, Target::Upstream(urls) if urls.len() == 2));
    assert_eq!((route.path.as_str(), &route.host), ("/", &None));
    assert_eq!(route.origin, Origin::Env("UPSTREAM".to_owned()));
    let root = read_in(&folder, "[[route]]\npath = '/api'\nupstream = 'http://a'\n", &[("ROOT", "$/public")])
        .unwrap();
    assert_eq!(root.config.routes.len(), 2);
    assert_eq!(root.config.routes[1].target, Target::Files(folder.0.join("public")));

    let both = read_in(&folder, "", &[("UPSTREAM", "http://a:1"), ("ROOT", "$/public")]).unwrap_err();
    assert_eq!(
        both,
        [
            r#"files.root = "$/public" (environment ROOT): the same host and path as upstream.url = ["http://a:1"] (environment UPSTREAM)"#
        ]
    );
    let table = "[[route]]\npath = '/'\nrespond = {}\n";
    assert_eq!(
        read_in(&folder, table, &[("UPSTREAM", "http://a:1")]).unwrap_err(),
        [
            r#"upstream.url = ["http://a:1"] (environment UPSTREAM): the same host and path as route 1 "/" (file n.toml:1)"#
        ]
    );
    let env = [("ROOT", "$/private"), ("NESSEN_UPSTREAM_URL", "http://localhost:3000")];
    assert_eq!(
        read_in(&folder, "", &env).unwrap_err(),
        [
            r#"upstream.url = ["http://localhost:3000"] (environment NESSEN_UPSTREAM_URL): http://localhost:3000 is this very server (server.port = 3000)"#,
            r#"files.root = "$/private" (environment ROOT): cannot be read: No such file or directory (os error 2)"#,
            r#"files.root = "$/private" (environment ROOT): the same host and path as upstream.url = ["http://localhost:3000"] (environment NESSEN_UPSTREAM_URL)"#,
        ]
    );
}

#[test]
fn checks_are_read_with_their_defaults() {
    let loaded = read(
        "
[[check]]
name = 'db-1'
postgres = 'DB'
[[check]]
name = 'cache'
redis = '[::1]:6380'
interval = '1s'
timeout = 500
fall = 1
rise = 5
[[check]]
name = 'api'
http = 'http://app:8080/healthz?full=1'
[[check]]
name = 'queue'
tcp = '10.0.0.1:5672'
",
    )
    .unwrap();
    let shown: Vec<String> = loaded
        .config
        .checks
        .iter()
        .map(|check| {
            let CheckConfig { name, probe, interval, timeout, fall, rise, .. } = check;
            format!("{name} {probe} {interval:?} {timeout:?} {fall} {rise}")
        })
        .collect();
    assert_eq!(
        shown,
        [
            "db-1 postgres db:5432 5s 2s 3 2",
            "cache redis [::1]:6380 1s 500ms 1 5",
            "api http://app:8080/healthz?full=1 5s 2s 3 2",
            "queue tcp 10.0.0.1:5672 5s 2s 3 2",
        ]
    );
    let Probe::Redis { host, port } = &loaded.config.checks[1].probe else { panic!() };
    assert_eq!((host.as_str(), *port), ("::1", 6380));
}

#[test]
fn what_is_wrong_with_checks_is_said_all_at_once() {
    assert_errors(
        "
[[check]]
name = 'a b'
postgres = 'http://db'
[[check]]
timout = 3
[[check]]
name = 'a'
tcp = 'x'
http = 'h2c://x'
[[check]]
name = 'a'
redis = 'x:0'
interval = '1ms'
",
        &[
            r#"check 1 "a b" (file n.toml:3): name = "a b": no name of a check; allowed: 1 to 64 letters, digits, - and _"#,
            r#"check 1 "a b" (file n.toml:4): postgres = "http://db": is a URL; allowed: host or host:port (5432)"#,
            "check 2 (file n.toml:5): asks nothing; allowed: exactly one of tcp, http, redis, postgres",
            "check 2 (file n.toml:5): has no name",
            "check 2 (file n.toml:6): timout: no such key; did you mean timeout?",
            r#"check 3 "a" (file n.toml:7): has tcp and http; allowed: exactly one of tcp, http, redis, postgres"#,
            r#"check 3 "a" (file n.toml:9): tcp = "x": has no port; allowed: host:port"#,
            r#"check 3 "a" (file n.toml:10): http = "h2c://x": is asked over HTTP/1.1 alone; write http:// or https://; allowed: http://host:port/path, or https"#,
            r#"check 4 "a" (file n.toml:11): the same name as the check at file n.toml:7"#,
            r#"check 4 "a" (file n.toml:13): redis = "x:0": has a port that is not 1 to 65535; allowed: host or host:port (6379)"#,
            r#"check 4 "a" (file n.toml:14): interval = "1ms": out of range; allowed: 10ms to 24h"#,
        ],
    );
}

#[test]
fn what_is_no_table_of_which_there_can_be_many_is_said_to_be_so() {
    assert_errors(
        "check = [1]\n[route]\npath = '/'\n",
        &[
            "[[check]] (file n.toml:1): is no list of tables; begin each with this name, in double brackets",
            "[[route]] (file n.toml:2): is no list of tables; begin each with this name, in double brackets",
        ],
    );
    assert_errors("[[rout]]\npath = '/'\n", &["rout (file n.toml:1): no such key; did you mean [[route]]?"]);
    let many = "[[route]]\n".repeat(raw::MOST_TABLES + 1);
    assert_errors(&many, &["[[route]] (file n.toml:1): are 10001 tables; at most 10000 are taken"]);
    assert_eq!(read(&"[[route]]\n".repeat(raw::MOST_TABLES)).unwrap_err().len(), 200);
}

#[test]
fn as_many_routes_as_there_may_be_are_read_in_a_moment() {
    // Each redirects to the one before it, and all are looked at for circles.
    let redirect = |number: usize| {
        let to = number.saturating_sub(1);
        format!("[[route]]\npath = '/r{number}/x'\nredirect = {{ to = '/r{to}/x/y', status = 307 }}\n")
    };
    let text: String = (1..=raw::MOST_TABLES).map(redirect).collect();
    let begun = std::time::Instant::now();
    let loaded = read(&text).unwrap();
    // A second or two where nothing is optimized; a search through all routes for each takes minutes.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(loaded.config.routes.len(), raw::MOST_TABLES);
}

#[test]
fn the_examples_of_the_example_file_hold() {
    let folder = Folder::new();
    let settings: String = document::EXAMPLE
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| line.starts_with("[[") || line.contains(" = "))
        .map(|line| line.replace("./public", "$/public") + "\n")
        .collect();
    let loaded = read_in(&folder, &settings, &[]).unwrap();
    assert_eq!((loaded.config.routes.len(), loaded.config.checks.len()), (5, 2));
}
