//! Limits of one route: what it overrides holds there, and nowhere else.

use std::time::{Duration, Instant};

use super::{ask, get, serve};
use crate::support::client::{Body, Client, Request};
use crate::support::folder::Folder;
use crate::support::http2::{self, H2};
use crate::support::pause;
use crate::support::server::Server;
use crate::support::upstream::Upstream;

/// A route at `path` to the upstream, with these lines, and one at `/` without any.
fn two(upstream: &Upstream, path: &str, lines: &str) -> String {
    let url = upstream.url();
    format!(
        "[[route]]\npath = \"/\"\nupstream = \"{url}\"\n[[route]]\npath = \"{path}\"\nupstream = \"{url}\"\n{lines}\n"
    )
}

fn post(path: &str, length: usize) -> Request {
    Request { target: path.to_owned(), ..Request::post("t", "ok", &vec![b'x'; length]) }
}

fn to(path: &str, fault: &str) -> Request {
    Request { target: path.to_owned(), ..Request::get("t", fault) }
}

#[test]
fn max_body_size_of_a_route_is_more_or_less_than_that_of_all() {
    let upstream = Upstream::start();
    let url = upstream.url();
    let table = format!(
        "[limits]\nmax_body_size = 2000\n[[route]]\npath = '/'\nupstream = '{url}'\n\
         [[route]]\npath = '/more'\nupstream = '{url}'\nmax_body_size = '100KiB'\n\
         [[route]]\npath = '/less'\nupstream = '{url}'\nmax_body_size = 10\n"
    );
    let server = serve(&Folder::new(), &table, &[]);
    for (path, size, status) in [
        ("/", 2000, 200),
        ("/", 2001, 413),
        ("/more/x", 102_400, 200),
        ("/more/x", 102_401, 413),
        ("/less", 10, 200),
        ("/less", 11, 413),
        ("/%6Cess", 11, 413),
    ] {
        let whole = ask(&server, &post(path, size));
        assert_eq!(whole.status, status, "{path} {size}: {whole:?}");
        let parts = Body::Parts(vec![vec![b'x'; size]], Vec::new());
        let parts = ask(&server, &Request { body: parts, ..post(path, size) });
        assert_eq!(parts.status, status, "{path} {size} in chunks: {parts:?}");
        let mut h2 = H2::open(server.address);
        h2.send(&http2::request(1, "POST", path, &[("x-token", "t")], false));
        if status == 200 {
            h2.upload(1, size);
        } else {
            h2.send(&http2::frame(http2::DATA, http2::END_STREAM, 1, &vec![b'x'; size.min(16_000)]));
            if size > 16_000 {
                continue;
            }
        }
        assert_eq!(h2.answer(1).status, Some(status), "{path} {size} over HTTP/2");
    }
}

#[test]
fn request_timeout_of_a_route() {
    let upstream = Upstream::start();
    let server = serve(&Folder::new(), &two(&upstream, "/quick", "request_timeout = '200ms'"), &[]);
    let asked = Instant::now();
    let late = ask(&server, &to("/quick", "gate"));
    assert!(matches!(late.code().as_str(), "UPSTREAM_TIMEOUT" | "REQUEST_TIMEOUT"), "{late:?}");
    assert_eq!(late.status, 504);
    assert!(asked.elapsed() < Duration::from_secs(10));
    ask(&server, &to("/", "pause=600")).assert_answers(200, "t");
    upstream.open_gate();
}

/// A POST whose body stops, or drips, after its head.
fn begin_upload(server: &Server, path: &str) -> Client {
    let mut client = Client::open(server.address);
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: nessen.test\r\nX-Token: t\r\nContent-Length: 100000\r\n\r\nfirst"
    );
    client.send(head.as_bytes());
    client
}

#[test]
fn body_timeout_of_a_route() {
    let upstream = Upstream::start();
    let server = serve(&Folder::new(), &two(&upstream, "/quick", "body_timeout = '200ms'"), &[]);
    let mut patient = begin_upload(&server, "/");
    begin_upload(&server, "/quick").answer().assert_refusal(408, "BODY_TIMEOUT");
    server.assert_refused_once("body_timeout");
    let mut h2 = H2::open(server.address);
    h2.send(&http2::request(1, "POST", "/quick", &[("x-token", "t")], false));
    assert_eq!(h2.answer(1).status, Some(408));
    patient.assert_quiet_for(Duration::from_millis(300));
}

#[test]
fn min_body_rate_of_a_route() {
    let upstream = Upstream::start();
    let server =
        serve(&Folder::new(), &two(&upstream, "/quick", "min_body_rate = '100KB/s after 300ms'"), &[]);
    let mut patient = begin_upload(&server, "/");
    let mut slow = begin_upload(&server, "/quick");
    let socket = slow.socket();
    let drip = std::thread::spawn(move || {
        use std::io::Write;
        for _ in 0..200 {
            if (&*socket).write_all(b"x").is_err() {
                break;
            }
            pause(10);
        }
    });
    slow.answer().assert_refusal(408, "BODY_TOO_SLOW");
    drop(slow);
    drip.join().unwrap();
    server.assert_refused_once("body_too_slow");
    patient.assert_quiet_for(Duration::from_millis(100));
}

#[test]
fn methods_of_a_route() {
    let table = "[[route]]\npath = '/'\nrespond = { body = 'all' }\n\
                 [[route]]\npath = '/read'\nrespond = { body = 'read' }\nmethods = ['GET']\n\
                 [[route]]\npath = '/dav'\nrespond = { body = 'dav' }\nmethods = ['PROPFIND', 'TRACE']\n";
    let server = serve(&Folder::new(), table, &[]);
    for (method, path, status, allow) in [
        ("POST", "/", 200, None),
        ("GET", "/read", 200, None),
        ("POST", "/read", 405, Some("GET")),
        ("HEAD", "/read", 405, Some("GET")),
        ("PROPFIND", "/dav/x", 200, None),
        ("GET", "/dav", 405, Some("PROPFIND, TRACE")),
        ("PROPFIND", "/read", 501, None),
        ("TRACE", "/", 405, Some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")),
    ] {
        let answer = ask(&server, &Request::new(method, path));
        assert_eq!((answer.status, answer.field("allow")), (status, allow), "{method} {path}");
    }
}

#[test]
fn rate_limit_of_a_route_is_counted_apart() {
    let table = "[rate_limit]\nmax_requests = 3\nwindow = '1h'\n\
                 [[route]]\npath = '/'\nrespond = {}\n\
                 [[route]]\npath = '/login'\nrespond = {}\nrate_limit = { max_requests = 1 }\n\
                 [[route]]\npath = '/free'\nrespond = {}\nrate_limit = 'off'\n";
    let server = serve(&Folder::new(), table, &[]);
    let login = get(&server, "/login");
    assert_eq!((login.status, login.field("ratelimit-policy")), (200, Some("\"default\";q=1;w=3600")));
    let refused = get(&server, "/%6cogin");
    refused.assert_refusal(429, "RATE_LIMITED");
    assert!(refused.field("retry-after").is_some());
    let statuses: Vec<u16> = (0..4).map(|_| get(&server, "/").status).collect();
    assert_eq!(statuses, [200, 200, 200, 429]);
    for _ in 0..10 {
        let free = get(&server, "/free");
        assert_eq!((free.status, free.field("ratelimit")), (200, None));
    }
}

#[test]
fn security_headers_of_a_route() {
    let upstream = Upstream::start();
    let url = upstream.url();
    let table = format!(
        "[[route]]\npath = '/'\nrespond = {{}}\n\
         [[route]]\npath = '/bare'\nrespond = {{}}\nsecurity_headers = false\n\
         [[route]]\npath = '/framed'\nrespond = {{}}\nsecurity_headers = {{ frame_options = 'SAMEORIGIN' }}\n\
         [[route]]\npath = '/app'\nupstream = '{url}'\n\
         [[route]]\npath = '/strict'\nupstream = '{url}'\nsecurity_headers = {{ content_security_policy = \"default-src 'none'\" }}\n"
    );
    let server = serve(&Folder::new(), &table, &[]);
    let fields = |request: &Request| {
        let answer = ask(&server, request);
        ["x-frame-options", "x-content-type-options", "content-security-policy"]
            .map(|name| answer.field(name).unwrap_or("-").to_owned())
    };
    let own = "default-src 'self'";
    assert_eq!(fields(&Request::new("GET", "/")), ["DENY", "nosniff", own]);
    assert_eq!(fields(&Request::new("GET", "/bare")), ["-", "-", "-"]);
    assert_eq!(fields(&Request::new("GET", "/framed")), ["SAMEORIGIN", "nosniff", own]);
    assert_eq!(fields(&to("/app", "ok")), ["DENY", "nosniff", "-"]);
    assert_eq!(fields(&to("/strict", "ok")), ["DENY", "nosniff", "default-src 'none'"]);
    let theirs = to("/strict", "fields=X-Frame-Options: ALLOWALL|Content-Security-Policy: theirs");
    assert_eq!(fields(&theirs), ["ALLOWALL", "nosniff", "theirs"]);
}

#[test]
fn max_response_size_of_a_route() {
    let folder = Folder::new();
    folder.write("public/small", vec![b'x'; 1000]).write("public/big", vec![b'x'; 1001]);
    let upstream = Upstream::start();
    let table = two(&upstream, "/bounded", "max_response_size = 1000")
        + "[[route]]\npath = '/files'\nroot = '$/public'\nmax_response_size = 1000\n";
    let server = serve(&folder, &table, &[("MAX_RESPONSE_SIZE", "10")]);
    assert_eq!(get(&server, "/files/small").body.len(), 1000);
    get(&server, "/files/big").assert_refusal(502, "RESPONSE_TOO_LARGE");
    let download = |path: &str, fault: &str| {
        let request = Request { target: path.to_owned(), ..Request::get("t", fault) };
        ask(&server, &request)
    };
    assert_eq!(download("/bounded", "download=1000").body.len(), 1000);
    download("/bounded", "download=1001").assert_refusal(502, "RESPONSE_TOO_LARGE");
    // Not known ahead: it breaks off.
    let cut = download("/bounded", "download-chunked=100000");
    assert!(cut.cut.is_some() && cut.body.len() <= 1000, "{} {:?}", cut.body.len(), cut.cut);
    // What is streamed is bounded where a route says so, and not by what holds for the app's own.
    assert_eq!(download("/", "download=100000").body.len(), 100_000);
}
