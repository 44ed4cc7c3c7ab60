//! Each reason leaves its entry, with what was known.

use super::{Watched, text};
use crate::support::http1::Conn;
use crate::support::http2::{H2, PING, frame, request};

#[test]
fn each_reason_leaves_an_entry() {
    let watched = Watched::start(&[
        ("MAX_BODY_SIZE", "1KiB"),
        ("MAX_URL_LENGTH", "100"),
        ("MAX_HEADER_SIZE", "1KiB"),
        ("MAX_HEADER_COUNT", "20"),
        ("ALLOWED_HOSTS", "a.test"),
        ("BODY_TIMEOUT", "200"),
        ("HEADERS_TIMEOUT", "2000"),
        ("NESSEN_EVIDENCE_BODY_BYTES", "8"),
    ]);
    let head = |line: &str, fields: &str| format!("{line} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n");
    let fields = "x: y\r\n".repeat(30);
    for (reason, status, bytes, line) in [
        ("not_found", 404, head("GET /nothing?a=1", ""), "GET /nothing?a=1 HTTP/1.1"),
        ("method_not_allowed", 405, head("TRACE /a", ""), "TRACE /a HTTP/1.1"),
        ("unsupported_method", 501, head("BREW /b", ""), "BREW /b HTTP/1.1"),
        ("invalid_path", 400, head("GET /a#b", ""), "GET /a#b HTTP/1.1"),
        ("invalid_host", 400, "GET /h HTTP/1.1\r\n\r\n".to_owned(), "GET /h HTTP/1.1"),
        ("host_not_allowed", 421, "GET /o HTTP/1.1\r\nHost: b.test\r\n\r\n".to_owned(), "GET /o HTTP/1.1"),
        ("url_too_long", 414, head(&format!("GET /{}", "u".repeat(200)), ""), "GET /uuu"),
        ("too_many_headers", 431, head("GET /f", &fields), "GET /f HTTP/1.1"),
        ("header_too_large", 431, head("GET /l", &format!("x: {}\r\n", "y".repeat(2000))), "GET /l HTTP/1.1"),
        ("expectation_failed", 417, head("GET /e", "Expect: a miracle\r\n"), "GET /e HTTP/1.1"),
        ("body_too_large", 413, head("POST /echo", "Content-Length: 5000\r\n"), "POST /echo HTTP/1.1"),
        (
            "body_timeout",
            408,
            head("POST /echo", "Content-Length: 50\r\n") + "0123456789",
            "POST /echo HTTP/1.1",
        ),
        ("ambiguous_framing", 400, head("GET /t", "Transfer-Encoding: gzip\r\n"), "GET /t HTTP/1.1"),
        ("malformed_request", 400, "GET /m HTTP/1.1\r\nHost : a\r\n\r\n".to_owned(), "GET /m HTTP/1.1"),
        ("headers_timeout", 408, "GET /s HTTP/1.1\r\nHost: a".to_owned(), "GET /s HTTP/1.1"),
    ] {
        assert_eq!(watched.send(&bytes), status, "{reason}");
        let entry = watched.entry(reason);
        assert_eq!(entry["status"], status, "{entry}");
        assert_eq!((&entry["client"], &entry["count"]), (&"127.0.0.1".into(), &1.into()), "{entry}");
        assert!(text(&entry["head"]["lines"][0]).starts_with(line), "{reason}: {entry}");
        assert!(text(&entry["request_id"]).len() == 32, "{entry}");
        assert_eq!(text(&entry["head"]["sha256"]).len(), 64, "{entry}");
        if reason == "body_timeout" {
            let eight = "924592b9b103f14f833faafb67f480691f01988aa457c0061769f58cd47311bc";
            assert_eq!(entry["body"]["sha256"], eight, "{entry}");
            assert_eq!((&entry["body"]["length"], &entry["body"]["sha256_of"]), (&10.into(), &8.into()));
        }
    }
    // No two of them are one.
    let listed = watched.list("");
    assert_eq!(listed["count"], 15, "{listed}");
}

#[test]
fn what_is_no_http_is_guessed_and_not_shown() {
    let watched = Watched::start(&[]);
    assert_eq!(watched.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03hunter2\r\n\r\n"), 400);
    let entry = watched.entry("malformed_request");
    assert_eq!(entry["head"]["looks_like"], "tls", "{entry}");
    assert_eq!(entry["head"]["lines"].as_array().unwrap().len(), 0, "{entry}");
    assert!(entry["head"]["length"].as_u64().unwrap() > 10 && !entry.to_string().contains("hunter2"));
}

#[test]
fn connections_and_streams_leave_entries_too() {
    let watched = Watched::start(&[("MAX_CONNECTIONS_PER_IP", "2")]);
    let held: Vec<_> = (0..2).map(|_| Conn::open(watched.server.address)).collect();
    let mut third = Conn::open(watched.server.address);
    assert_eq!(third.read_response().status, 429);
    let entry = watched.entry("too_many_connections_from_client");
    assert_eq!(
        (&entry["protocol"], &entry["limit"]),
        (&"unknown".into(), &"limits.max_connections_per_ip".into())
    );
    drop((held, third));

    let watched = Watched::start(&[]);
    let mut h2 = H2::open(watched.server.address);
    h2.send(&request(1, "GET", "/nothing?sig=hunter2", &[("cookie", "hunter2"), ("x", "y")], true));
    assert_eq!(h2.answer(1).status, Some(404));
    let entry = watched.entry("not_found");
    assert_eq!((&entry["protocol"], &entry["target"]), (&"http/2".into(), &"/nothing?sig=[redacted]".into()));
    let lines = entry["head"]["lines"].to_string();
    assert!(lines.contains("cookie: [redacted]") && lines.contains("x: y") && !lines.contains("hunter2"));
    h2.flood(vec![frame(PING, 0, 0, &[0; 8]).repeat(200); 100]);
    assert_eq!(watched.entry("http2_abuse")["severity"], "high");
}

#[test]
fn an_answer_that_is_cut_off_leaves_an_entry() {
    let watched = Watched::start(&[("MAX_BODY_SIZE", "1KiB")]);
    let mut conn = Conn::open(watched.server.address);
    conn.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    conn.send(format!("{:x}\r\n{}\r\n", 2000, "z".repeat(2000)).as_bytes());
    let _ = conn.try_read_response(crate::support::PATIENCE);
    let entry = watched.entry("body_too_large");
    assert_eq!((&entry["method"], &entry["body"]["sha256_of"]), (&"POST".into(), &1024.into()), "{entry}");
}
