//! Programs that others have written, on both sides: each skipped with a visible line where it is
//! not installed, and required where `NESSEN_REQUIRE_ALL` is set.

use std::net::SocketAddr;
use std::process::Command;

use super::{ask, ask2, proxy, proxy_to};
use crate::support::client::{Body, Client, Request};
use crate::support::folder::Folder;
use crate::support::installed;
use crate::support::program::{self, Running, free};
use crate::support::upstream::{Digest, Upstream};
use crate::support::websocket::Frame;

#[test]
fn pythons_http_server_is_served_through() {
    let Some(python) = installed("python3") else { return };
    let folder = Folder::new();
    let large: String = (0..200_000).map(|at| char::from(b'a' + (at % 26u32) as u8)).collect();
    folder.write("large.txt", &large).write("a b.txt", "with a space");
    let port = free().port().to_string();
    let address = format!("127.0.0.1:{port}").parse().unwrap();
    let place = folder.path("");
    let arguments = ["-m", "http.server", &port, "--bind", "127.0.0.1", "--directory", &place];
    let running = Running::start(&python, &arguments, address);
    let server = proxy_to(&running.url(), &[]);
    // HTTP/1.0, and a connection for each request.
    let mut client = Client::open(server.address);
    for _ in 0..20 {
        let answer = client.ask(&Request::new("GET", "/large.txt"));
        assert_eq!((answer.status, answer.cut.as_ref()), (200, None), "{answer:?}");
        assert!(answer.body == large.as_bytes(), "{} bytes", answer.body.len());
        assert!(!answer.says_close());
    }
    assert_eq!(client.ask(&Request::new("GET", "/a%20b.txt")).body, b"with a space");
    assert_eq!(client.ask(&Request::new("GET", "/none")).status, 404);
    let head = client.ask(&Request::new("HEAD", "/large.txt"));
    assert_eq!((head.status, head.field("content-length")), (200, Some("200000")));
    let answer = ask2(&server, &Request::new("GET", "/large.txt")).expect("an answer over HTTP/2");
    assert!(answer.body == large.as_bytes());
    // It does not know POST, and says so without having read the body.
    let answer = ask(&server, &Request::new("POST", "/").body(Body::Whole(vec![b'p'; 10_000])));
    assert_eq!(answer.status, 501, "{answer:?}");
}

const NODE: &str = r#"
const http = require('http');
const server = http.createServer((request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    const body = Buffer.concat(parts);
    response.setHeader('X-Length', body.length);
    response.setHeader('X-Seen', JSON.stringify([request.method, request.url, request.headers['x-forwarded-for']]));
    if (request.url === '/events') {
      response.setHeader('Content-Type', 'text/event-stream');
      response.write('data: one\n\n');
      setTimeout(() => response.end('data: two\n\n'), 50);
    } else {
      response.end(body);
    }
  });
});
server.on('upgrade', (request, socket, head) => {
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
  socket.write(head);
  socket.pipe(socket);
});
server.listen(Number(process.argv[2]), '127.0.0.1');
"#;

#[test]
fn a_node_app_is_served_through() {
    let Some(node) = installed("node") else { return };
    let folder = Folder::new();
    let script = folder.write("app.js", NODE).path("app.js");
    let address = free();
    let running = Running::start(&node, &[&script, &address.port().to_string()], address);
    let server = proxy_to(&running.url(), &[]);
    let mut client = Client::open(server.address);
    for number in 0..50usize {
        let body = vec![b'n'; number * 997];
        let body = if number % 2 == 0 { Body::Whole(body) } else { Body::Parts(vec![body], Vec::new()) };
        let request = Request::new("POST", &format!("/a?b={number}")).body(body);
        let answer = if number % 5 == 0 { ask2(&server, &request).unwrap() } else { client.ask(&request) };
        assert_eq!((answer.status, answer.cut.as_ref()), (200, None), "{answer:?}");
        assert_eq!(answer.body, request.body.bytes());
        let seen = format!("[\"POST\",\"/a?b={number}\",\"127.0.0.1\"]");
        assert_eq!(answer.field("x-seen"), Some(seen.as_str()));
    }
    let answer = client.ask(&Request::new("GET", "/events"));
    assert_eq!(answer.body, b"data: one\n\ndata: two\n\n");
    let upgrade = Request::new("GET", "/").field("Connection", "Upgrade").field("Upgrade", "echo");
    assert_eq!(client.ask(&upgrade).status, 101);
    for number in 0..100u8 {
        let frame = Frame::binary(vec![number; usize::from(number)]);
        client.send(&frame.bytes(None));
        assert_eq!(Frame::read(client.wire()), Some(frame));
    }
}

/// An nginx of the test's own, with this server block.
fn nginx(folder: &Folder, address: SocketAddr, server: &str) -> Option<Running> {
    let block =
        format!("access_log off; server {{ listen {address}; client_max_body_size 64m;\n{server}\n}}");
    program::nginx(folder, address, &block)
}

#[test]
fn nginx_is_served_through() {
    let folder = Folder::new();
    let large: String = (0..3_000_000).map(|at| char::from(b'a' + (at % 26u32) as u8)).collect();
    folder.write("large.txt", &large);
    let block = format!(
        "root {}; location = /seen {{ return 200 \"$request_method $http_host $http_x_forwarded_for\"; }}",
        folder.path("")
    );
    let Some(running) = nginx(&folder, free(), &block) else { return };
    let server = proxy_to(&running.url(), &[]);
    let mut client = Client::open(server.address);
    for _ in 0..20 {
        let answer = client.ask(&Request::new("GET", "/large.txt"));
        assert!(answer.status == 200 && answer.cut.is_none() && answer.body == large.as_bytes());
    }
    assert_eq!(client.ask(&Request::new("GET", "/seen")).body, b"GET nessen.test 127.0.0.1");
    let range = client.ask(&Request::new("GET", "/large.txt").field("Range", "bytes=26-51"));
    assert_eq!((range.status, range.body.as_slice()), (206, &b"abcdefghijklmnopqrstuvwxyz"[..]));
    let tag = range.field("etag").expect("an etag").to_owned();
    let same = client.ask(&Request::new("GET", "/large.txt").field("If-None-Match", &tag));
    assert_eq!((same.status, same.body.len()), (304, 0));
    let answer = ask2(&server, &Request::new("GET", "/large.txt")).unwrap();
    assert!(answer.body == large.as_bytes());
    assert_eq!(client.ask(&Request::new("GET", "/none")).status, 404);
}

#[test]
fn nginx_in_front_is_trusted_and_believed() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[("TRUSTED_PROXIES", "127.0.0.0/8")]);
    let folder = Folder::new();
    let block = format!(
        "location / {{ proxy_pass http://{}; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
         proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n\
         proxy_set_header X-Forwarded-Proto https; proxy_request_buffering off; }}",
        server.address
    );
    let Some(front) = nginx(&folder, free(), &block) else { return };
    for number in 0..100 {
        let token = number.to_string();
        let body = vec![b'f'; number * 311];
        let mut client = Client::open(front.address);
        let request = Request::post(&token, "chunked", &body);
        client.ask(&request).assert_answers(200, &token);
        let seen = upstream.one(&token);
        assert_eq!(seen.body, Digest::of(&body));
        assert_eq!(seen.all("x-forwarded-for").join(", "), "127.0.0.1, 127.0.0.1");
        assert_eq!(seen.field("x-forwarded-proto"), Some("https"));
    }
}

#[test]
fn haproxy_in_front_is_served() {
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[("TRUSTED_PROXIES", "127.0.0.0/8")]);
    let folder = Folder::new();
    let address = free();
    let config = format!(
        "global\n maxconn 256\n\
         defaults\n mode http\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n timeout check 5s\n\
         option forwardfor\n\
         http-reuse always\n\
         frontend front\n bind {address}\n default_backend back\n\
         backend back\n option httpchk GET /ready\n server one {} check inter 100ms\n",
        server.address
    );
    let Some(front) = program::haproxy(&folder, address, &config) else { return };
    let mut client = Client::open(front.address);
    for number in 0..200 {
        let token = number.to_string();
        let body = vec![b'h'; number * 101];
        let request = match number % 4 {
            0 => Request::get(&token, "chunked"),
            1 => Request::post(&token, "ok", &body),
            2 => Request::post(&token, "split", b"").body(Body::Parts(vec![body.clone()], Vec::new())),
            _ => Request::get(&token, "until-close"),
        };
        client.ask(&request).assert_answers(200, &token);
        let seen = upstream.one(&token);
        assert_eq!(seen.body, Digest::of(&request.body.bytes()));
        assert!(seen.all("x-forwarded-for").join(", ").ends_with("127.0.0.1"), "{seen:?}");
    }
    // What an upstream breaks, HAProxy has to read as broken too.
    for fault in ["garbage", "length-two", "close-silent"] {
        let mut client = Client::open(front.address);
        assert_eq!(client.ask(&Request::post(fault, fault, b"once")).status, 502, "{fault}");
    }
}

#[test]
fn curl_is_served() {
    let Some(curl) = installed("curl") else { return };
    let upstream = Upstream::start();
    let server = proxy(&upstream, &[]);
    let folder = Folder::new();
    let large = folder.write("large", "c".repeat(700_000)).path("large");
    let run = |arguments: &[&str]| {
        let url = format!("http://{}/curl", server.address);
        let output = Command::new(&curl)
            .args([
                "--silent",
                "--show-error",
                "--max-time",
                "20",
                "--noproxy",
                "*",
                "--write-out",
                "|%{http_code}|%{exitcode}",
            ])
            .args(arguments)
            .arg(url)
            .output()
            .expect("curl runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for protocol in ["--http1.1", "--http2-prior-knowledge"] {
        let got = run(&[protocol, "-H", "X-Token: get"]);
        assert!(got.ends_with("|200|0") && got.contains("\"token\":\"get\""), "{protocol}: {got}");
        // Over a megabyte curl asks first, with Expect.
        let file = format!("@{large}");
        let got = run(&[protocol, "-H", "X-Token: up", "-H", "Expect: 100-continue", "--data-binary", &file]);
        assert!(got.ends_with("|200|0") && got.contains("\"length\":700000"), "{protocol}: {got}");
        let got = run(&[protocol, "-H", "X-Token: put", "-H", "Transfer-Encoding: chunked", "-T", &large]);
        assert!(got.ends_with("|200|0") && got.contains("\"length\":700000"), "{protocol}: {got}");
        let got = run(&[protocol, "--head", "-H", "X-Token: head"]);
        assert!(got.ends_with("|200|0"), "{protocol}: {got}");
        let got = run(&[protocol, "-H", "X-Fault: garbage", "-d", "once"]);
        assert!(got.ends_with("|502|0") && got.contains("UPSTREAM_INVALID"), "{protocol}: {got}");
        // Cut off, and known to be: 18 is a part of a file, 56 a reset, 92 a stream's error.
        let got = run(&[protocol, "-H", "X-Fault: length-long", "-d", "once"]);
        let code = got.rsplit('|').next().unwrap_or_default();
        assert!(["18", "56", "92"].contains(&code), "{protocol}: {got}");
    }
}
