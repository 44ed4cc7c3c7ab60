//! Compression on the wire: who asks for it gets it, where it is worth it and may be.

use std::time::Instant;

use axum::body::Body;
use http_body_util::BodyExt;
use tower::ServiceExt;
use tower_http::decompression::Decompression;

use crate::support::client::{Answer, Client, Request};
use crate::support::client2::Client2;
use crate::support::folder::Folder;
use crate::support::http1::Conn;
use crate::support::server::Server;
use crate::support::upstream::Upstream;
use crate::support::{PATIENCE, assert_eventually};

const ON: (&str, &str) = ("NESSEN_COMPRESSION_ENABLED", "true");

/// Text that is worth it.
fn text(length: usize) -> String {
    "All happy families are alike; each unhappy family is unhappy in its own way. "
        .chars()
        .cycle()
        .take(length)
        .collect()
}

#[track_caller]
fn files(folder: &Folder, env: &[(&str, &str)]) -> Server {
    let root = folder.path("public");
    let ours = [("ROOT", root.as_str()), ("DRAIN_DELAY", "0"), ON];
    Server::start(&[&ours, env].concat())
}

#[track_caller]
fn ask(server: &Server, method: &str, path: &str, accept: &str) -> Answer {
    Client::open(server.address).ask(&Request::new(method, path).field("Accept-Encoding", accept))
}

/// The body as it was before it was compressed.
#[track_caller]
fn decoded(answer: &Answer) -> Vec<u8> {
    let coding = answer.field("content-encoding").unwrap_or("identity").to_owned();
    let body = answer.body.clone();
    let service = tower::service_fn(move |_: http::Request<()>| {
        let response = http::Response::builder().header("content-encoding", &coding);
        let response = response.body(Body::from(body.clone())).unwrap();
        async { Ok::<_, std::convert::Infallible>(response) }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let collected = runtime.block_on(async {
        let response = Decompression::new(service).oneshot(http::Request::new(())).await.unwrap();
        response.into_body().collect().await
    });
    collected.unwrap_or_else(|error| panic!("{error}: {answer:?}")).to_bytes().to_vec()
}

#[test]
fn text_is_compressed_for_who_asks() {
    let folder = Folder::new();
    let page = text(200_000);
    folder.write("public/page.html", &page);
    let server = files(&folder, &[]);
    let mut plain_tag = None;
    for (accept, coding) in [
        ("", None),
        ("identity", None),
        ("deflate", None),
        ("br;q=0", None),
        ("gzip", Some("gzip")),
        ("br", Some("br")),
        ("zstd", Some("zstd")),
        ("gzip, deflate, br, zstd", Some("zstd")),
        ("gzip;q=1, br;q=0.5", Some("gzip")),
        ("br;q=0, gzip", Some("gzip")),
        ("*", Some("zstd")),
    ] {
        let answer = ask(&server, "GET", "/page.html", accept);
        assert_eq!((answer.status, &answer.cut), (200, &None), "{accept}");
        assert_eq!(answer.field("content-encoding"), coding, "{accept}");
        assert!(answer.all("vary").join(",").to_ascii_lowercase().contains("accept-encoding"), "{accept}");
        assert_eq!(decoded(&answer), page.as_bytes(), "{accept}");
        let tag = answer.field("etag").unwrap().to_owned();
        if coding.is_some() {
            assert!(answer.body.len() < page.len() / 10, "{accept}: {}", answer.body.len());
            assert_eq!(answer.field("content-length"), None, "{accept}");
            assert!(tag.starts_with("W/"), "{accept}: the bytes are others: {tag}");
            assert_eq!(answer.field("accept-ranges"), None, "no part of it can be asked for");
        } else {
            assert_eq!(plain_tag.get_or_insert(tag.clone()), &tag, "{accept}");
        }
        // What came compressed is known again.
        let again = Request::new("GET", "/page.html").field("Accept-Encoding", accept);
        let again = Client::open(server.address).ask(&again.field("If-None-Match", &tag));
        assert_eq!(again.status, 304, "{accept}");
    }
}

#[test]
fn what_is_not_worth_it_goes_as_it_is() {
    let folder = Folder::new();
    folder.write("public/small.txt", text(1023)).write("public/edge.txt", text(1024));
    folder.write("public/image.png", text(50_000)).write("public/font.woff2", text(50_000));
    folder.write("public/ready.js", text(50_000)).write("public/ready.js.gz", "made before");
    let server = files(&folder, &[]);
    let coding = |method: &str, path: &str| {
        let answer = ask(&server, method, path, "gzip");
        assert_eq!(answer.status, 200, "{path}");
        answer.field("content-encoding").map(str::to_owned)
    };
    for (path, expected) in [
        ("/small.txt", None),
        ("/edge.txt", Some("gzip")),
        ("/image.png", None),
        ("/font.woff2", None),
        ("/ready.js", Some("gzip")),
    ] {
        assert_eq!(coding("GET", path).as_deref(), expected, "{path}");
    }
    assert_eq!(ask(&server, "GET", "/ready.js", "gzip").body, b"made before", "not compressed again");
    let head = ask(&server, "HEAD", "/edge.txt", "gzip");
    assert_eq!((head.status, head.field("content-encoding")), (200, None));
    let request = Request::new("GET", "/edge.txt").field("Accept-Encoding", "gzip");
    let part = Client::open(server.address).ask(&request.field("Range", "bytes=0-1023"));
    assert_eq!((part.status, part.field("content-encoding"), part.body.len()), (206, None, 1024));
    let problem = ask(&server, "GET", &format!("/{}", "x".repeat(2000)), "gzip");
    assert_eq!((problem.status, problem.field("content-encoding")), (404, None));
}

#[test]
fn over_http2_as_well() {
    let folder = Folder::new();
    let page = text(200_000);
    folder.write("public/page.html", &page);
    let server = files(&folder, &[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = runtime.block_on(async {
        let client = Client2::open(server.address).await;
        client.ask(&Request::new("GET", "/page.html").field("Accept-Encoding", "br")).await.unwrap()
    });
    assert_eq!((answer.status, answer.field("content-encoding")), (200, Some("br")));
    assert_eq!(decoded(&answer), page.as_bytes());
}

#[test]
fn events_of_a_stream_come_one_by_one() {
    let upstream = Upstream::start();
    let server = Server::start(&[("UPSTREAM", &upstream.url()), ("DRAIN_DELAY", "0"), ON]);
    let mut client = Client::open(server.address);
    client.send(&Request::get("t", "events").field("Accept-Encoding", "gzip").bytes());
    let head = client.head().expect("a head");
    assert_eq!((head.status, head.field("content-encoding")), (200, None));
    for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
        upstream.push(event.as_bytes());
        // A chunk of nine bytes, whose text is two lines, and the end of the chunk.
        let line = |client: &mut Client| client.wire().line().expect("a line of the chunk");
        assert_eq!(line(&mut client), b"9");
        let chunk = format!("{event}\r\n");
        assert_eq!(client.wire().bytes(chunk.len() as u64).as_deref(), Some(chunk.as_bytes()));
    }
    upstream.push_end();
}

#[test]
fn what_an_upstream_sends_is_compressed_unless_it_is_already_or_says_no() {
    let upstream = Upstream::start();
    let server = Server::start(&[
        ("UPSTREAM", &upstream.url()),
        ("DRAIN_DELAY", "0"),
        ("NESSEN_COMPRESSION_MIN_SIZE", "1"),
        ON,
    ]);
    let coding = |fault: &str| {
        let answer =
            Client::open(server.address).ask(&Request::get("t", fault).field("Accept-Encoding", "gzip"));
        assert_eq!(answer.status, 200, "{fault}: {answer:?}");
        (answer.field("content-encoding").unwrap_or("-").to_owned(), answer.body.starts_with(b"{"))
    };
    assert_eq!(coding("ok"), ("gzip".to_owned(), false));
    assert_eq!(coding("chunked"), ("gzip".to_owned(), false));
    assert_eq!(coding("fields=Cache-Control: no-transform").0, "-");
    // Their own word on it stands, and their bytes.
    assert_eq!(coding("fields=Content-Encoding: gzip"), ("gzip".to_owned(), true));
    assert_eq!(coding("fields=Content-Encoding: br").0, "br");
}

#[test]
fn a_route_has_its_own_and_it_is_off_where_nobody_asked() {
    let folder = Folder::new();
    folder.write("public/page.html", text(50_000));
    let table = "[[route]]\npath = '/'\nroot = '$'\n\
                 [[route]]\npath = '/packed'\nroot = '$'\ncompression = true\n\
                 [[route]]\npath = '/gzip'\nroot = '$'\ncompression = { enabled = true, algorithms = ['gzip'] }\n";
    folder.write("nessen.toml", table.replace('$', &folder.path("public")));
    let server = Server::start_with(&[("DRAIN_DELAY", "0")], &["--config", &folder.path("nessen.toml")]);
    let coding = |path: &str| {
        let answer = ask(&server, "GET", path, "gzip, br, zstd");
        answer.field("content-encoding").map(str::to_owned)
    };
    assert_eq!(coding("/page.html"), None);
    assert_eq!(coding("/packed/page.html").as_deref(), Some("zstd"));
    assert_eq!(coding("/gzip/page.html").as_deref(), Some("gzip"));
}

#[test]
fn a_route_for_everything_has_its_own_beside_that_of_all() {
    let folder = Folder::new();
    folder.write("public/page.html", text(50_000));
    let table = "[compression]\nenabled = true\n\
                 [[route]]\npath = '/'\nroot = '$'\ncompression = { algorithms = ['gzip'] }\n\
                 [[route]]\npath = '/all'\nroot = '$'\n\
                 [[route]]\npath = '/off'\nroot = '$'\ncompression = false\n";
    folder.write("nessen.toml", table.replace('$', &folder.path("public")));
    let server = Server::start_with(&[("DRAIN_DELAY", "0")], &["--config", &folder.path("nessen.toml")]);
    for (path, coding) in
        [("/page.html", Some("gzip")), ("/all/page.html", Some("zstd")), ("/off/page.html", None)]
    {
        let answer = ask(&server, "GET", path, "gzip, br, zstd");
        assert_eq!((answer.status, answer.field("content-encoding")), (200, coding), "{path}");
    }
}

/// Noise: what comes out of a compressor fills the buffers of both kernels.
fn noise() -> Vec<u8> {
    let mut dice = 1u64;
    let mut throw = || {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        b'!' + (dice % 90) as u8
    };
    (0..24 << 20).map(|_| throw()).collect()
}

/// Whoever asks for the noise and does not read it.
#[track_caller]
fn hold_a_compressor(server: &Server) -> Conn {
    let mut holder = Conn::open_narrow(server.address);
    holder.send(b"GET /noise.txt HTTP/1.1\r\nHost: nessen.test\r\nAccept-Encoding: gzip\r\n\r\n");
    assert_eq!(holder.peek(12, Instant::now() + PATIENCE).unwrap(), b"HTTP/1.1 200");
    holder
}

#[test]
fn beyond_the_compressors_that_there_are_answers_go_as_they_are() {
    let folder = Folder::new();
    folder.write("public/noise.txt", noise()).write("public/page.html", text(50_000));
    let server = files(&folder, &[("NESSEN_COMPRESSION_MAX_CONCURRENT", "1")]);
    let holder = hold_a_compressor(&server);
    let plain = ask(&server, "GET", "/page.html", "gzip");
    assert_eq!((plain.status, plain.field("content-encoding")), (200, None));
    assert!(plain.all("vary").join(",").to_ascii_lowercase().contains("accept-encoding"));
    drop(holder);
    assert_eventually(PATIENCE, "the compressor back", || {
        ask(&server, "GET", "/page.html", "gzip").field("content-encoding") == Some("gzip")
    });
}

#[test]
fn a_reload_changes_how_many_compressors_there_are() {
    let folder = Folder::new();
    folder.write("public/noise.txt", noise()).write("public/page.html", text(50_000));
    let write = |count: usize| {
        folder.write("nessen.toml", format!("[compression]\nenabled = true\nmax_concurrent = {count}\n"));
    };
    write(1);
    let (root, table) = (folder.path("public"), folder.path("nessen.toml"));
    let server = Server::start_with(&[("ROOT", &root), ("DRAIN_DELAY", "0")], &["--config", &table]);
    let _holder = hold_a_compressor(&server);
    assert_eq!(ask(&server, "GET", "/page.html", "gzip").field("content-encoding"), None);
    write(2);
    server.signal(rustix::process::Signal::HUP);
    assert_eventually(PATIENCE, "a second compressor", || {
        ask(&server, "GET", "/page.html", "gzip").field("content-encoding") == Some("gzip")
    });
}

#[test]
fn curl_reads_it() {
    let folder = Folder::new();
    let page = text(100_000);
    folder.write("public/page.html", &page);
    let server = files(&folder, &[]);
    let Some(curl) = crate::support::installed("curl") else { return };
    let url = format!("http://{}/page.html", server.address);
    for further in [&[][..], &["--http2-prior-knowledge"]] {
        let out = std::process::Command::new(&curl)
            .args(["--silent", "--show-error", "--fail", "--compressed", "--max-time", "20"])
            .args(["--write-out", "%{stderr}%{size_download}"])
            .args(further)
            .arg(&url)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{told}");
        assert_eq!(out.stdout, page.as_bytes());
        let came: usize = told.trim().parse().unwrap();
        assert!(came < page.len() / 10, "{came} bytes came");
    }
}
