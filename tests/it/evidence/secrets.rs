//! No secret is kept, wherever it stands.

use super::Watched;
use crate::support::http1::Conn;
use crate::support::{PATIENCE, assert_eventually};

const SECRET: &str = "hunter2";

/// A request with the secret wherever one can stand, refused at `path`.
fn request(path: &str, kind: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {SECRET}\r\nProxy-Authorization: {SECRET}\r\n\
         Cookie: id={SECRET}\r\nX-Api-Key: {SECRET}\r\nX-Csrf-Token: {SECRET}\r\nX-Amz-Signature: {SECRET}\r\n\
         Referer: http://u:{SECRET}@b/?token={SECRET}\r\nX-Original-URL: /a?next=%2Fb%3Ftoken%3D{SECRET}\r\n\
         X-Forwarded-Uri: /c;jsessionid={SECRET}\r\nX-Auth-Request: Basic {SECRET}\r\n\
         X-Forwarded: Bearer\t{SECRET}\r\nX-Context: {{\"password\":\"{SECRET}\"}}\r\nX-Url: //u:{SECRET}@b/\r\n\
         X-Back: https://u:a,{SECRET}@b/cb#access_token={SECRET}\r\nSec-WebSocket-Protocol: bearer.{SECRET}\r\n\
         Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn a_secret_is_in_no_entry_and_no_line_of_the_log() {
    let watched = Watched::start(&[("BODY_TIMEOUT", "300")]);
    let query = format!("?token={SECRET}&a[password]={SECRET}&x=1&cb=%2F%3Fsig%3D{SECRET}");
    let multipart =
        format!("--x\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n{SECRET}\r\n--x--\r\n");
    let mut sent = 0;
    for (kind, body) in [
        ("application/x-www-form-urlencoded", format!("user=a&password={SECRET}")),
        (
            "application/json",
            format!("{{\"user\":\"a\",\"password\":\"{SECRET}\",\"n\":{{\"api_key\":\"{SECRET}\"}}}}"),
        ),
        ("application/x-www-form-urlencoded", format!("{{\"password\":\"{SECRET}\"}}")),
        ("application/json", format!("user=a&password={SECRET}")),
        ("application/json", format!("[{{\"value\":\"{SECRET}\",\"name\":\"password\"}}]")),
        ("multipart/form-data; boundary=x", multipart),
        ("text/plain", format!("password is {SECRET}")),
        ("text/xml", format!("<password>{SECRET}</password>")),
        ("application/octet-stream", SECRET.to_owned()),
    ] {
        // Read to its end by the handler, and refused; or refused before.
        let mut bytes = request(&format!("/echo{query}"), kind, &body);
        let more = bytes.replace(&format!("Content-Length: {}", body.len()), "Content-Length: 5000");
        assert_eq!(watched.send(&more), 408, "{kind}");
        bytes = request(&format!("/nothing{query}#x"), kind, &body);
        assert_eq!(watched.send(&bytes), 400, "{kind}");
        sent += 2;
    }
    // Heads that cannot be read, in all sorts of ways.
    for bytes in [
        format!("GET /{query} HTTP/1.1\r\nHost: a\r\nAuthorization : Bearer {SECRET}\r\n\r\n"),
        format!("GET /{query} HTTP/1.1\nAuthorization: a\n {SECRET}\nX\n\n"),
        format!("GET /{query} {SECRET} HTTP/1.1\r\nCookie: {SECRET}\r\n\r\n"),
        format!("AUTH {SECRET}\r\n\r\n"),
        format!("\x16\x03\x01{SECRET}\r\n\r\n"),
        format!("PASSWORD /{SECRET} HTTP/9.9\r\n\r\n"),
    ] {
        assert_eq!(watched.send(&bytes), 400, "{bytes}");
        sent += 1;
    }
    let mut slow = Conn::open(watched.server.address);
    slow.send(format!("GET /{query} HTTP/1.1\r\nAuthorization: {SECRET}\r\nCook").as_bytes());
    let listed = || watched.list("?limit=500");
    let known = |listed: &serde_json::Value| -> u64 {
        listed["entries"].as_array().unwrap().iter().filter_map(|entry| entry["count"].as_u64()).sum()
    };
    assert_eventually(PATIENCE, "all of it", || known(&listed()) >= sent);
    let listed = listed();
    let mut all = listed.to_string();
    for entry in listed["entries"].as_array().unwrap() {
        all += &watched.ask("GET", &format!("/evidence/{}", super::text(&entry["id"])), "").text();
    }
    assert!(all.contains("user=a&password=[redacted]"), "{all}");
    assert!(!all.contains(SECRET), "{}", &all[all.find(SECRET).unwrap().saturating_sub(200)..]);
    let log = watched.server.stdout().concat();
    assert!(!log.contains(SECRET));
}

#[test]
fn nothing_that_is_shown_moves_a_terminal_or_a_page() {
    let watched = Watched::start(&[]);
    let head =
        b"GET /<script>alert(1)</script> HTTP/1.1\r\nHost: a\r\nX: \x1b]0;owned\x07\xff\"</script>\\\r\n\r\n";
    assert_eq!(watched.send(head), 400);
    let entry = watched.entry("malformed_request");
    let id = super::text(&entry["id"]);
    let raw = watched.ask("GET", &format!("/evidence/{id}"), "");
    assert!(raw.body.iter().all(|byte| (b' '..=b'~').contains(byte)), "{raw:?}");
    assert!(raw.text().contains("script"), "{raw:?}");
}
