//! Files of a folder over real sockets.

mod paths;
mod ranges;
mod readers;
mod sent;

use std::os::unix::fs::symlink;

use crate::support::client::{Answer, Client, Request};
use crate::support::client2::Client2;
use crate::support::folder::Folder;
use crate::support::server::Server;
use crate::support::wire::Broken;
use crate::support::{PATIENCE, assert_eventually};

/// A server of the folder `public`.
#[track_caller]
fn serve(folder: &Folder, env: &[(&str, &str)]) -> Server {
    std::fs::create_dir_all(folder.at("public")).unwrap();
    let root = folder.path("public");
    let ours = [("ROOT", root.as_str()), ("DRAIN_DELAY", "0"), ("MAX_CONNECTIONS_PER_IP", "0")];
    Server::start(&[&ours, env].concat())
}

#[track_caller]
fn get(server: &Server, path: &str, fields: &[(&str, &str)]) -> Answer {
    ask(server, "GET", path, fields)
}

#[track_caller]
fn ask(server: &Server, method: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
    let request =
        fields.iter().fold(Request::new(method, path), |request, (name, value)| request.field(name, value));
    Client::open(server.address).ask(&request)
}

#[test]
fn a_folder_is_a_site() {
    let folder = Folder::new();
    folder.write("public/index.html", "<h1>home</h1>").write("public/docs/index.html", "docs");
    folder.write("public/app.js", "run()").write("public/no-extension", "?").write("public/a b.txt", "space");
    std::fs::create_dir(folder.at("public/empty")).unwrap();
    let server = serve(&folder, &[]);
    for (path, body, kind) in [
        ("/", "<h1>home</h1>", "text/html; charset=utf-8"),
        ("/index.html?x=1", "<h1>home</h1>", "text/html; charset=utf-8"),
        ("/docs/", "docs", "text/html; charset=utf-8"),
        ("/app.js", "run()", "text/javascript; charset=utf-8"),
        ("/a%20b.txt", "space", "text/plain; charset=utf-8"),
        ("/no-extension", "?", "application/octet-stream"),
    ] {
        let answer = get(&server, path, &[]);
        assert_eq!((answer.status, answer.field("content-type")), (200, Some(kind)), "{path}");
        assert_eq!(answer.body, body.as_bytes(), "{path}");
        assert_eq!(answer.field("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.field("content-security-policy"), None, "it breaks pages: {path}");
        let head = ask(&server, "HEAD", path, &[]);
        let length = body.len().to_string();
        assert_eq!((head.status, head.field("content-length")), (200, Some(&*length)), "{path}");
        assert_eq!(head.field("etag"), answer.field("etag"), "{path}");
    }
    let moved = get(&server, "/docs?a=b", &[]);
    assert_eq!((moved.status, moved.field("location")), (308, Some("/docs/?a=b")));
    get(&server, "/empty/", &[]).assert_refusal(404, "NOT_FOUND");
    for method in ["POST", "DELETE", "OPTIONS"] {
        let refused = ask(&server, method, "/app.js", &[]);
        refused.assert_refusal(405, "METHOD_NOT_ALLOWED");
        assert_eq!(refused.field("allow"), Some("GET, HEAD"), "{method}");
    }
}

#[test]
fn a_folder_is_a_site_over_http2() {
    let folder = Folder::new();
    folder.write("public/big.txt", vec![b'x'; 300_000]);
    let server = serve(&folder, &[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client2::open(server.address).await;
        let whole = client.ask(&Request::new("GET", "/big.txt")).await.unwrap();
        assert_eq!((whole.status, whole.body.len(), &whole.cut), (200, 300_000, &None));
        let part = client.ask(&Request::new("GET", "/big.txt").field("Range", "bytes=-5")).await.unwrap();
        assert_eq!((part.status, part.body.as_slice()), (206, b"xxxxx".as_slice()));
        client.ask(&Request::new("GET", "/../x")).await.unwrap().assert_refusal(400, "INVALID_PATH");
    });
}

#[test]
fn what_the_client_has_is_not_sent_again() {
    let folder = Folder::new();
    folder.write("public/a.txt", "text");
    let server = serve(&folder, &[("NESSEN_FILES_CACHE_CONTROL", "public, max-age=60")]);
    let answer = get(&server, "/a.txt", &[]);
    let (tag, date) = (answer.field("etag").unwrap(), answer.field("last-modified").unwrap());
    assert_eq!(answer.field("cache-control"), Some("public, max-age=60"));
    let (weak, list) = (format!("W/{tag}"), format!("\"other\", {tag}"));
    for (field, value, status) in [
        ("If-None-Match", tag, 304),
        ("If-None-Match", &weak, 304),
        ("If-None-Match", &list, 304),
        ("If-None-Match", "*", 304),
        ("If-None-Match", "\"other\"", 200),
        ("If-Modified-Since", date, 304),
        ("If-Modified-Since", "Thu, 01 Jan 1970 00:00:00 GMT", 200),
        ("If-Match", "\"other\"", 412),
        ("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT", 412),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = ask(&server, method, "/a.txt", &[(field, value)]);
            assert_eq!(answer.status, status, "{method} {field}: {value}");
            if status == 304 {
                assert_eq!(answer.field("etag"), Some(tag), "{field}: {value}");
                assert_eq!(answer.field("cache-control"), Some("public, max-age=60"));
            }
        }
    }
    folder.write("public/a.txt", "another text");
    assert_eq!(get(&server, "/a.txt", &[("If-None-Match", tag)]).body, b"another text");
}

#[test]
fn a_compressed_variant_goes_to_who_takes_it() {
    let folder = Folder::new();
    folder.write("public/a.js", "plain").write("public/a.js.br", "brotli").write("public/a.js.gz", "gzip");
    folder.write("public/a.js.zst", "zstd");
    let server = serve(&folder, &[]);
    for (accept, body, coding) in [
        ("", "plain", None),
        ("br", "brotli", Some("br")),
        ("gzip", "gzip", Some("gzip")),
        ("zstd", "zstd", Some("zstd")),
        ("br;q=0", "plain", None),
        ("br;q=0, gzip", "gzip", Some("gzip")),
        ("identity", "plain", None),
        ("deflate", "plain", None),
    ] {
        let fields: &[_] = if accept.is_empty() { &[] } else { &[("Accept-Encoding", accept)] };
        let answer = get(&server, "/a.js", fields);
        assert_eq!((answer.status, answer.field("content-encoding")), (200, coding), "{accept}");
        assert_eq!(answer.body, body.as_bytes(), "{accept}");
        assert_eq!(answer.field("vary"), Some("Accept-Encoding"), "{accept}");
        assert_eq!(answer.field("content-type"), Some("text/javascript; charset=utf-8"), "{accept}");
    }
    let part = get(&server, "/a.js", &[("Accept-Encoding", "br"), ("Range", "bytes=0-1")]);
    assert_eq!((part.status, part.field("content-range")), (206, Some("bytes 0-1/6")));
    let server = serve(&folder, &[("NESSEN_FILES_PRECOMPRESSED", "false")]);
    assert_eq!(get(&server, "/a.js", &[("Accept-Encoding", "br")]).body, b"plain");
}

#[test]
fn an_application_in_the_browser_has_one_page() {
    let folder = Folder::new();
    folder.write("public/index.html", "page").write("public/app.js", "run()");
    let env = [("NESSEN_FILES_FALLBACK", "/index.html"), ("NESSEN_FILES_CACHE_CONTROL", "max-age=60")];
    let server = serve(&folder, &env);
    let page = get(&server, "/users/7", &[("Accept", "text/html,*/*;q=0.8")]);
    assert_eq!((page.status, page.body.as_slice()), (200, b"page".as_slice()));
    assert_eq!(page.field("cache-control"), Some("no-cache"));
    assert_eq!(get(&server, "/app.js", &[]).field("cache-control"), Some("max-age=60"));
    get(&server, "/gone.js", &[]).assert_refusal(404, "NOT_FOUND");
    get(&server, "/users/7", &[("Accept", "application/json")]).assert_refusal(404, "NOT_FOUND");
    get(&server, "/.env", &[("Accept", "text/html")]).assert_refusal(404, "NOT_FOUND");
}

#[test]
fn a_root_that_is_a_link_can_be_turned_to_the_next_release() {
    let folder = Folder::new();
    let size = 8 << 20;
    folder.write("1/big", vec![b'1'; size]).write("2/big", vec![b'2'; size]);
    symlink("1", folder.at("public")).unwrap();
    let root = folder.path("public");
    let server = Server::start(&[("ROOT", &root)]);
    let mut under_way = Client::open(server.address);
    under_way.send(&Request::new("GET", "/big").bytes());
    assert_eq!(under_way.head().expect("a head").status, 200);
    // Under another name first: there is a root at every moment.
    symlink("2", folder.at("next")).unwrap();
    std::fs::rename(folder.at("next"), folder.at("public")).unwrap();
    assert_eq!(get(&server, "/big", &[]).body[0], b'2');
    std::fs::remove_dir_all(folder.at("1")).unwrap();
    let mut body = 0;
    while body < size {
        under_way.wire().fill().expect("more of the old release");
        let pending = under_way.wire().pending();
        assert!(pending.iter().all(|byte| *byte == b'1'));
        body = pending.len();
    }
}

#[test]
fn without_its_root_the_server_says_so_and_goes_on_when_it_is_back() {
    let folder = Folder::new();
    folder.write("public/a.txt", "text");
    let server = serve(&folder, &[]);
    std::fs::rename(folder.at("public"), folder.at("away")).unwrap();
    get(&server, "/a.txt", &[]).assert_refusal(500, "INTERNAL_ERROR");
    let line = server.wait_log("the root", |line| line["message"] == "a file could not be served");
    assert!(line["error"].as_str().unwrap_or_default().contains("root"), "{line}");
    std::fs::rename(folder.at("away"), folder.at("public")).unwrap();
    assert_eq!(get(&server, "/a.txt", &[]).body, b"text");
}

#[test]
fn a_file_that_shrinks_breaks_off_its_answer() {
    let folder = Folder::new();
    let size = 32 << 20;
    folder.write("public/big", vec![b'x'; size]);
    let server = serve(&folder, &[]);
    let mut client = Client::open(server.address);
    client.send(&Request::new("GET", "/big").bytes());
    assert_eq!(client.head().expect("a head").status, 200);
    std::fs::File::options().write(true).open(folder.at("public/big")).unwrap().set_len(1 << 20).unwrap();
    let end = loop {
        if let Err(end) = client.wire().fill() {
            break end;
        }
    };
    assert!(matches!(end, Broken::Ended(_)), "{end:?}");
    assert!(client.wire().pending().len() < size, "bytes that were not there");
    assert_eventually(PATIENCE, "the next answer", || get(&server, "/big", &[]).body.len() == 1 << 20);
}

#[test]
fn a_root_may_be_a_flag_and_relative() {
    let folder = Folder::new();
    folder.write("public/index.html", "home");
    // Tests run the server in the folder that this one is in.
    let name = folder.at("public").strip_prefix(env!("CARGO_TARGET_TMPDIR")).unwrap().to_owned();
    for root in [name.to_str().unwrap().to_owned(), format!("./{}/", name.display())] {
        let server = Server::start_with(&[("DRAIN_DELAY", "0")], &["serve", "--root", &root]);
        assert_eq!(get(&server, "/", &[]).body, b"home", "{root}");
    }
}

#[test]
fn files_go_to_clients_of_http_1_0_and_to_those_who_ask_ahead() {
    let folder = Folder::new();
    folder.write("public/a.txt", "first").write("public/b.txt", "second");
    let server = serve(&folder, &[]);
    let mut old = server.connect();
    old.send(b"GET /a.txt HTTP/1.0\r\nHost: nessen.test\r\n\r\n");
    let answer = old.read_response();
    assert_eq!((answer.status, answer.text().as_str()), (200, "first"));
    old.assert_closed();
    let mut ahead = Client::open(server.address);
    let asks =
        [("HEAD", "/a.txt"), ("GET", "/a.txt"), ("GET", "/none"), ("HEAD", "/none"), ("GET", "/b.txt")];
    let all: Vec<Vec<u8>> = asks.iter().map(|(method, path)| Request::new(method, path).bytes()).collect();
    ahead.send(&all.concat());
    let answers = asks.map(|(method, _)| ahead.answer_to(method).expect("an answer"));
    assert_eq!(answers.each_ref().map(|answer| answer.status), [200, 200, 404, 404, 200]);
    assert_eq!((answers[1].body.as_slice(), answers[4].body.as_slice()), (&b"first"[..], &b"second"[..]));
}
