use rustix::process::Signal;

use super::Watched;
use crate::support::http1::get;
use crate::support::server::Server;
use crate::support::{PATIENCE, assert_eventually};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[test]
fn the_status_page_is_on_the_admin_port_alone() {
    let both = Watched::start(&[], &[]);
    let page = both.ask("/", "127.0.0.1", "");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.text().contains("id=\"charts\""));
    let one = Server::start(&[]);
    for path in ["/status.js", "/status.css", "/events"] {
        assert_eq!(both.server.get(path).status, 404, "{path}");
        assert_eq!(one.get(path).status, 404, "{path}");
    }
    // The welcome app says where it is, by the name that it was asked by.
    let mut conn = both.server.connect();
    conn.send(b"GET / HTTP/1.1\r\nHost: localhost:3000\r\n\r\n");
    let welcome = conn.read_response().text();
    assert!(welcome.contains(&format!("href=\"http://localhost:{}/\"", both.admin.port())), "{welcome}");
    // It listens on loopback: from elsewhere no link would lead there.
    conn.send(&get("/"));
    let welcome = conn.read_response().text();
    assert!(!welcome.contains("http://nessen.test") && welcome.contains(&both.admin.port().to_string()));
    assert!(!one.get("/").text().contains("status page"));
}

#[test]
fn the_page_allows_itself_its_own_files_and_nothing_else() {
    let watched = Watched::start(&[], &[]);
    for path in ["/", "/status.js", "/status.css", "/favicon.svg"] {
        let answer = watched.ask(path, "127.0.0.1", "");
        assert_eq!((answer.status, answer.header("content-security-policy")), (200, Some(POLICY)), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
    let page = watched.page();
    assert_eq!(page.matches("<script").count(), 1);
    assert!(page.contains("<script src=\"/status.js\" defer></script>"));
    for forbidden in [" style=", "<style", "javascript:", "http://", "https://", "<form", "<iframe"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    let script = watched.ask("/status.js", "127.0.0.1", "").text();
    for forbidden in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("]
    {
        assert!(!script.contains(forbidden), "{forbidden}");
    }
    let post = {
        let mut conn = crate::support::http1::Conn::open(watched.admin);
        conn.send(b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n");
        conn.read_response()
    };
    assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")));
}

#[test]
fn files_of_the_page_are_sent_again_only_if_they_are_others() {
    let watched = Watched::start(&[], &[]);
    let first = watched.ask("/status.js", "127.0.0.1", "");
    let tag = first.header("etag").unwrap().to_owned();
    assert_eq!(first.header("cache-control"), Some("no-cache"));
    let again = watched.ask("/status.js", "127.0.0.1", &format!("If-None-Match: W/\"x\", {tag}\r\n"));
    assert_eq!((again.status, again.body.len()), (304, 0));
    let other = watched.ask("/status.js", "127.0.0.1", "If-None-Match: \"0\"\r\n");
    assert_eq!((other.status, other.body), (200, first.body));
    assert_eq!(watched.ask("/", "127.0.0.1", "").header("cache-control"), Some("no-store"));
}

#[test]
fn the_page_is_not_read_by_a_name_that_strangers_can_point_here() {
    let env = [("NESSEN_ADMIN_ALLOWED_HOSTS", "status.example.com"), ("NESSEN_EVIDENCE_ENABLED", "true")];
    let watched = Watched::start(&env, &[]);
    for path in ["/", "/events", "/status.js", "/evidence", "/evidence?limit=1", "/anything"] {
        let answer = watched.ask(path, "rebound.example", "");
        assert_eq!(
            (answer.status, answer.json()["limit"].as_str()),
            (421, Some("admin.allowed_hosts")),
            "{path}"
        );
    }
    for path in ["/metrics", "/health", "/ready", "/version", "/api/health"] {
        assert_ne!(watched.ask(path, "rebound.example", "").status, 421, "{path}");
    }
    for host in ["127.0.0.1:1", "localhost", "nessen-admin", "status.example.com"] {
        assert_eq!(watched.ask("/", host, "").status, 200, "{host}");
    }
    assert_eq!(watched.metric("nessen_rejections_total{reason=\"host_not_allowed\"}"), 6.0);
}

#[test]
fn what_the_configuration_says_is_shown_as_text_and_without_secrets() {
    let file = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("status-page-{}.toml", std::process::id()));
    let hostile = "<script>alert(1)</script>\\\"'&";
    let text = format!(
        "[security_headers]\nreferrer_policy = \"{hostile}\"\n[limits]\nmax_in_flight = 77\n\
         [[route]]\npath = \"/old\"\nredirect = {{ to = \"https://u:hunter2@a.example/?token=hunter3\", status = 302 }}\n\
         [[route]]\npath = \"/\"\nrespond = {{ body = \"hunter4\" }}\n"
    );
    std::fs::write(&file, text).unwrap();
    let env = [
        ("NESSEN_LIMITS_MAX_BODY_SIZE", "3MiB"),
        ("AWS_ACCESS_KEY_ID", "hunter5"),
        ("AWS_SECRET_ACCESS_KEY", "hunter6"),
    ];
    let watched = Watched::start(&env, &["--config", file.to_str().unwrap()]);
    let _ = std::fs::remove_file(&file);
    let page = watched.page();
    assert!(
        !page.contains("<script>") && page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;")
    );
    assert!(page.contains("[redacted]"), "the redirect is shown");
    // As `nessen check` tells it.
    let row = |key: &str| {
        let key = key.replace('.', ".<wbr>").replace('_', "_<wbr>");
        let at = page.find(&format!(">{key}</th>")).unwrap_or_else(|| panic!("no row {key}"));
        page[at..].split("</tr>").next().unwrap().to_owned()
    };
    assert!(row("evidence.s3_secret_access_key").contains("<td>(redacted)</td>"));
    for secret in ["hunter2", "hunter3", "hunter4", "hunter5", "hunter6"] {
        assert!(!page.contains(secret), "{secret}");
    }
    assert!(row("limits.max_in_flight").contains("<td>77</td><td>file "), "{}", row("limits.max_in_flight"));
    let size = row("limits.max_body_size");
    assert!(size.contains("<td>3MiB</td><td>environment NESSEN_LIMITS_MAX_BODY_SIZE</td>"), "{size}");
    assert!(row("limits.idle_timeout").contains("<td>default</td>"));
}

#[test]
fn a_reload_shows_what_holds_since_and_what_has_to_wait() {
    let file = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("status-reload-{}.toml", std::process::id()));
    let write = |requests: u32, streams: u32| {
        let text =
            format!("[rate_limit]\nmax_requests = {requests}\n[http2]\nmax_concurrent_streams = {streams}\n");
        std::fs::write(&file, text).unwrap();
    };
    write(1000, 50);
    let watched = Watched::start(&[], &["--config", file.to_str().unwrap()]);
    let cells = |key: &str| {
        let (page, key) = (watched.page(), key.replace('.', ".<wbr>").replace('_', "_<wbr>"));
        let at = page.find(&format!(">{key}</th>")).unwrap();
        page[at..].split("</tr>").next().unwrap().to_owned()
    };
    assert!(cells("rate_limit.max_requests").contains("<td>1000</td>"));
    // A file that is wrong changes nothing here either.
    std::fs::write(&file, "[rate_limit]\nmax_requests = \"many\"\n").unwrap();
    watched.server.signal(Signal::HUP);
    watched.server.wait_log("the refusal", |line| {
        line["message"].as_str().is_some_and(|it| it.contains("not reloaded"))
    });
    assert!(cells("rate_limit.max_requests").contains("<td>1000</td>"));
    write(2000, 60);
    watched.server.signal(Signal::HUP);
    assert_eventually(PATIENCE, "the new value", || {
        cells("rate_limit.max_requests").contains("<td>2000</td>")
    });
    let waits = cells("http2.max_concurrent_streams");
    assert!(waits.contains("<td>50</td>") && waits.contains("needs a restart"), "{waits}");
    let _ = std::fs::remove_file(&file);
}
