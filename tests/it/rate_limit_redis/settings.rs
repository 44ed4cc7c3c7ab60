//! What is set, and what is wrong with it.

use super::*;
use crate::support::folder::Folder;
use crate::support::http1::Response;
use crate::support::server::Process;

/// The errors of a start that must fail for bad configuration.
#[track_caller]
fn refused(env: &[(&str, &str)]) -> String {
    let mut process = Process::start(env, &[]);
    assert_eq!(process.exit_code(), 78, "{env:?}: {:?}", process.stderr());
    process.stderr().join("\n")
}

#[test]
fn a_bad_url_is_named_and_its_password_is_not() {
    for url in
        ["redis://:hunter2@", "http://:hunter2@cache", "redis://:hun/ter2@cache", "redis://:hunter2@a:x"]
    {
        let text = refused(&[("RATE_LIMIT_BACKEND", "redis"), ("REDIS_URL", url)]);
        assert!(text.contains("rate_limit.redis_url") && text.contains("environment REDIS_URL"), "{text}");
        assert!(!text.contains("ter2"), "{text}");
    }
    // The same from a file, as secrets are mounted.
    let folder = Folder::new();
    folder.write("url", "redis://:hunter2@cache:0\n");
    let text = refused(&[("REDIS_URL_FILE", &folder.path("url"))]);
    assert!(text.contains("has a port that is no number") && !text.contains("hunter2"), "{text}");
    folder.write("url", "redis://:hunter2@cache\n");
    let mut check = Process::start(&[("REDIS_URL_FILE", &folder.path("url"))], &["check"]);
    assert_eq!(check.exit_code(), 0, "{:?}", check.stderr());
    let shown = check.stdout().join("\n");
    assert!(
        shown.contains("(redacted)") && !shown.contains("hunter2") && !shown.contains("cache:"),
        "{shown}"
    );
}

#[test]
fn what_cannot_hold_together_is_named() {
    for (env, parts) in [
        (&[("RATE_LIMIT_BACKEND", "redis")][..], &["rate_limit.backend = redis", "without a URL"][..]),
        (
            &[("RATE_LIMIT_DEFAULT_RPS", "10"), ("RATE_LIMIT_MAX_REQUESTS", "10")],
            &["rate_limit.per_second = 10", "rate_limit.max_requests"],
        ),
        (
            &[("RATE_LIMIT_DEFAULT_RPS", "10"), ("RATE_LIMIT_WINDOW_MS", "10")],
            &["rate_limit.per_second = 10", "rate_limit.window = 10ms"],
        ),
        (
            &[("RATE_LIMIT_BACKEND", "redis"), ("REDIS_URL", "redis://cache"), ("REQUEST_TIMEOUT", "40")],
            &["rate_limit.redis_timeout = 50ms", "limits.request_timeout = 40ms"],
        ),
        (
            &[
                ("RATE_LIMIT_BACKEND", "redis"),
                ("REDIS_URL", "rediss://cache"),
                ("NESSEN_RATE_LIMIT_REDIS_CA", "/nowhere/ca.pem"),
            ],
            &["rate_limit.redis_ca", "/nowhere/ca.pem"],
        ),
        (&[("NESSEN_RATE_LIMIT_REDIS_PREFIX", "a b")], &["rate_limit.redis_prefix = a b", "without spaces"]),
        (&[("NESSEN_RATE_LIMIT_KEY", "cookie:a")], &["rate_limit.key", "header:NAME"]),
    ] {
        let text = refused(env);
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
}

#[test]
fn production_does_not_start_with_limits_that_each_replica_keeps_to_itself() {
    let prod = [("MODE", "prod"), ("REPLICAS", "3"), ("RATE_LIMIT_MAX_REQUESTS", "10")];
    let text = refused(&prod);
    for part in
        ["server.mode = prod", "server.replicas = 3", "rate_limit.backend = local", "environment MODE"]
    {
        assert!(text.contains(part), "{text}");
    }
    // All that is wrong, at once.
    let text = refused(&[&prod[..], &[("PORT", "x")]].concat());
    assert!(text.contains("server.mode = prod") && text.contains("server.port"), "{text}");
    let fine: [&[(&str, &str)]; 5] = [
        &[("MODE", "prod"), ("REPLICAS", "3")],
        &[("MODE", "prod"), ("RATE_LIMIT_MAX_REQUESTS", "10")],
        &[("REPLICAS", "3"), ("RATE_LIMIT_MAX_REQUESTS", "10")],
        &[
            ("MODE", "prod"),
            ("REPLICAS", "3"),
            ("RATE_LIMIT_MAX_REQUESTS", "10"),
            ("RATE_LIMIT_ENABLED", "false"),
        ],
        &[
            ("MODE", "prod"),
            ("REPLICAS", "3"),
            ("RATE_LIMIT_MAX_REQUESTS", "10"),
            ("RATE_LIMIT_BACKEND", "redis"),
            ("REDIS_URL", "redis://cache"),
        ],
    ];
    for env in fine {
        let mut check = Process::start(env, &["check"]);
        assert_eq!(check.exit_code(), 0, "{env:?}: {:?}", check.stderr());
    }
}

#[test]
fn the_names_of_the_sister_services_mean_the_same_here() {
    let talos = Server::start(&[
        ("RATE_LIMIT_ENABLED", "true"),
        ("RATE_LIMIT_DEFAULT_RPS", "2"),
        ("RATE_LIMIT_DEFAULT_BURST", "3"),
    ]);
    let mut conn = talos.connect();
    let began = Instant::now();
    let mut answers = Vec::new();
    while answers.last().is_none_or(|answer: &Response| answer.status == 200) {
        conn.send(&get("/badge/a/b.svg"));
        answers.push(conn.read_response());
    }
    let granted = answers.len() - 1;
    assert!(granted >= 3 && granted as f64 <= 3.0 + 2.0 * began.elapsed().as_secs_f64(), "{granted}");
    assert_eq!(answers[granted].status, 429);
    assert_eq!(answers[0].header("ratelimit-policy"), Some("\"default\";q=2;w=1"));
    let off = Server::start(&[("RATE_LIMIT_ENABLED", "false"), ("RATE_LIMIT_MAX_REQUESTS", "1")]);
    let mut conn = off.connect();
    assert_eq!([status(&mut conn), status(&mut conn)], [200, 200]);
    let tracehound = Server::start(&[
        ("TRACEHOUND_RATE_LIMIT_WINDOW_MS", "60000"),
        ("TRACEHOUND_RATE_LIMIT_MAX_REQUESTS", "1"),
        ("TRACEHOUND_RATE_LIMIT_BLOCK_MS", "30000"),
    ]);
    assert_eq!(tracehound.get("/badge/a/b.svg").status, 200);
    let refused = tracehound.get("/badge/a/b.svg");
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("30")));
}

#[test]
fn redis_is_asked_from_within_the_sandbox() {
    let Some(redis) = Redis::start(&[]) else { return };
    let server = sharing(&redis, &[("NESSEN_SERVER_SANDBOX", "on"), ("RATE_LIMIT_MAX_REQUESTS", "1000")]);
    await_up(&server, true);
    assert_eq!(server.get("/badge/a/b.svg").status, 200);
    assert_eq!(questions(&server), 1.0);
}

#[test]
fn redis_is_asked_within_tls_and_believed_by_its_certificate_alone() {
    let folder = Folder::new();
    for (name, host) in [("redis", "127.0.0.1"), ("other", "other.test")] {
        let made = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
        folder.write(&format!("{name}.pem"), made.cert.pem());
        folder.write(&format!("{name}.key"), made.signing_key.serialize_pem());
    }
    let (cert, key) = (folder.path("redis.pem"), folder.path("redis.key"));
    let tls = crate::support::program::free();
    let port = tls.port().to_string();
    let arguments =
        ["--tls-port", &port, "--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &cert];
    let Some(_redis) = Redis::start(&[&arguments[..], &["--tls-auth-clients", "no"]].concat()) else {
        return;
    };
    let url = format!("rediss://{tls}");
    let with = |ca: &str| {
        sharing_at(&url, &[("NESSEN_RATE_LIMIT_REDIS_CA", ca), ("RATE_LIMIT_MAX_REQUESTS", "1000")])
    };
    for sandbox in ["off", "on"] {
        let server = sharing_at(
            &url,
            &[
                ("NESSEN_RATE_LIMIT_REDIS_CA", &cert),
                ("RATE_LIMIT_MAX_REQUESTS", "1000"),
                ("NESSEN_SERVER_SANDBOX", sandbox),
            ],
        );
        await_up(&server, true);
        assert_eq!(server.get("/badge/a/b.svg").status, 200);
        assert_eq!(questions(&server), 1.0);
    }
    let stranger = with(&folder.path("other.pem"));
    assert_eventually(PATIENCE, "it is not believed", || errors(&stranger, "connect") >= 1.0);
    assert_eq!(metric(&stranger, "nessen_rate_limit_backend_up"), 0.0);
    assert_eq!(stranger.get("/badge/a/b.svg").status, 200);
}

#[test]
fn a_user_with_the_permissions_that_the_page_names_may_ask() {
    let Some(redis) = Redis::start(&[]) else { return };
    let rules = ["+evalsha", "+eval", "+get", "+set", "+time", "+select", "~nessen:*"];
    let user = [&["ACL", "SETUSER", "nessen", "on", ">hunter2"][..], &rules].concat();
    assert_eq!(redis.ask(&user), "+OK");
    let url = format!("redis://nessen:hunter2@{}/1", redis.address);
    let server = sharing_at(&url, &[("RATE_LIMIT_MAX_REQUESTS", "1000"), PATIENT]);
    await_up(&server, true);
    assert_eq!(server.get("/badge/a/b.svg").status, 200);
    // One that may not write is found out before a request asks.
    let fewer = [&["ACL", "SETUSER", "nessen", "-set"][..]].concat();
    assert_eq!(redis.ask(&fewer), "+OK");
    let without = sharing_at(&url, &[("RATE_LIMIT_MAX_REQUESTS", "1000"), PATIENT]);
    without.wait_log("why", |line| line["kind"] == "error");
    assert_eq!(without.get("/badge/a/b.svg").status, 200);
    assert_eq!(questions(&without), 0.0);
}
