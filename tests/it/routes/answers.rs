//! Which route a request goes to, and what redirects and fixed answers say.

use super::{TABLE, ask, get, serve, text};
use crate::support::client::{Body, Client, Request};
use crate::support::client2::Client2;
use crate::support::folder::Folder;
use crate::support::server::Process;

fn respond(path: &str, body: &str) -> String {
    format!("[[route]]\npath = \"{path}\"\nrespond = {{ body = \"{body}\" }}\n")
}

fn on(host: &str, path: &str, body: &str) -> String {
    respond(path, body) + &format!("host = \"{host}\"\n")
}

#[test]
fn the_longest_path_wins_on_segment_borders_and_in_every_spelling() {
    let folder = Folder::new();
    let table = [
        respond("/api", "api"),
        respond("/", "all"),
        respond("/api/v1/", "v1"),
        respond("/caf%c3%a9", "coffee"),
        respond("/@me", "me"),
    ];
    let server = serve(&folder, &table.concat(), &[]);
    for (path, body) in [
        ("/", "all"),
        ("/api", "api"),
        ("/api/", "api"),
        ("/api?x=/api/v1", "api"),
        ("/apis", "all"),
        ("/API", "all"),
        ("/api/v1", "v1"),
        ("/api/v1/x", "v1"),
        ("/api/v10", "api"),
        ("/%61pi/v1/x", "v1"),
        ("//api//v1", "v1"),
        ("/x/../api/v1", "v1"),
        ("/api%2fv1", "v1"),
        ("/caf%C3%A9/x", "coffee"),
        ("/caf%c3%a9", "coffee"),
        ("/%40me", "me"),
    ] {
        assert_eq!(text(&server, path), body, "{path}");
    }
    let metrics = server.metrics();
    let counted = metrics.keys().filter(|name| name.contains("http_requests_total"));
    let labels =
        ["route=\"/api/v1\"", "route=\"/caf%C3%A9\"", "route=\"/api\"", "route=\"/\"", "route=\"/@me\""];
    assert!(counted.clone().all(|name| labels.iter().any(|label| name.contains(label))), "{metrics:?}");
}

#[test]
fn a_host_comes_before_any_path() {
    let folder = Folder::new();
    let table = [
        respond("/deep/path", "any deep"),
        on("example.com", "/", "exact"),
        on("*.example.com", "/", "below"),
        on("*.eu.example.com", "/", "eu"),
        on("only.test", "/x", "only x"),
    ];
    let server = serve(&folder, &table.concat(), &[]);
    let at = |host: &str, path: &str| {
        let answer = ask(&server, &Request { host: host.to_owned(), ..Request::new("GET", path) });
        (
            answer.status,
            if answer.status == 200 { String::from_utf8(answer.body).unwrap() } else { answer.code() },
        )
    };
    for (host, path, status, body) in [
        ("example.com", "/deep/path", 200, "exact"),
        ("EXAMPLE.com:8080", "/", 200, "exact"),
        ("example.com.", "/", 200, "exact"),
        ("a.example.com", "/", 200, "below"),
        ("a.b.example.com", "/", 200, "below"),
        ("a.eu.example.com", "/", 200, "eu"),
        ("notexample.com", "/", 404, "NOT_FOUND"),
        ("only.test", "/x", 200, "only x"),
        ("only.test", "/deep/path", 200, "any deep"),
        ("only.test", "/y", 404, "NOT_FOUND"),
        ("other", "/deep/path", 200, "any deep"),
    ] {
        assert_eq!(at(host, path), (status, body.to_owned()), "{host} {path}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client2::open(server.address).await;
        let request = Request { host: "a.eu.example.com".to_owned(), ..Request::new("GET", "/") };
        assert_eq!(client.ask(&request).await.unwrap().body, b"eu");
    });
}

#[test]
fn a_redirect_says_where_to() {
    let folder = Folder::new();
    let table = r#"
[[route]]
path = "/old"
redirect = { to = "/new", keep_path = true }
[[route]]
path = "/blog"
redirect = { to = "https://blog.example.com/?from=here", status = 302 }
[[route]]
path = "/"
host = "www.example.com"
redirect = { to = "https://example.com", status = 301, keep_path = true }
"#;
    let server = serve(&folder, table, &[]);
    let at = |host: &str, method: &str, path: &str| {
        let answer = ask(&server, &Request { host: host.to_owned(), ..Request::new(method, path) });
        assert_eq!(answer.field("content-length"), Some("0"));
        (answer.status, answer.field("location").unwrap_or_default().to_owned())
    };
    for (host, method, path, status, location) in [
        ("a", "GET", "/old/a%20b?x=1&y", 308, "/new/a%20b?x=1&y"),
        ("a", "POST", "/old", 308, "/new"),
        ("a", "HEAD", "/old/", 308, "/new/"),
        ("a", "GET", "/blog/7?x", 302, "https://blog.example.com/?from=here"),
        ("www.example.com", "GET", "/x?y", 301, "https://example.com/x?y"),
        ("www.example.com", "GET", "//evil.test/x", 301, "https://example.com/evil.test/x"),
        ("www.example.com", "GET", "/.evil.test", 301, "https://example.com/.evil.test"),
        ("www.example.com", "GET", "/%0d%0aSet-Cookie:a=b", 301, "https://example.com/%0d%0aSet-Cookie:a=b"),
    ] {
        assert_eq!(at(host, method, path), (status, location.to_owned()), "{host} {method} {path}");
    }
}

#[test]
fn a_fixed_answer_is_what_was_written() {
    let folder = Folder::new();
    let table = r#"
[[route]]
path = "/robots.txt"
respond = { body = "User-agent: *\nDisallow: /\n" }
[[route]]
path = "/gone"
respond = { status = 410, body = '{"gone":true}', content_type = "application/json" }
[[route]]
path = "/nothing"
respond = { status = 204 }
"#;
    let server = serve(&folder, table, &[]);
    let robots = get(&server, "/robots.txt");
    assert_eq!(robots.body, b"User-agent: *\nDisallow: /\n");
    assert_eq!(robots.field("content-type"), Some("text/plain; charset=utf-8"));
    let head = ask(&server, &Request::new("HEAD", "/robots.txt"));
    assert_eq!((head.status, head.field("content-length")), (200, Some("26")));
    let gone = get(&server, "/gone");
    assert_eq!((gone.status, gone.field("content-type")), (410, Some("application/json")));
    assert_eq!(gone.json()["gone"], true);
    // A body that nobody reads does not end up in the next request.
    for length in [5, 500_000] {
        let mut client = Client::open(server.address);
        let post = Request::new("POST", "/nothing").body(Body::Whole(vec![b'x'; length]));
        let answer = client.ask(&post);
        assert_eq!((answer.status, answer.field("content-length")), (204, None));
        if answer.says_close() {
            client.assert_ended();
        } else {
            assert_eq!(client.ask(&Request::new("GET", "/gone")).status, 410);
        }
    }
    get(&server, "/other").assert_refusal(404, "NOT_FOUND");
}

#[test]
fn ten_thousand_routes_are_a_table_and_one_more_is_too_many() {
    let folder = Folder::new();
    let table: String =
        (0..10_000).map(|number| respond(&format!("/r{number}"), &number.to_string())).collect();
    let server = serve(&folder, &table, &[]);
    for number in [0, 1, 10, 100, 5000, 9999] {
        assert_eq!(text(&server, &format!("/r{number}/x")), number.to_string());
    }
    get(&server, "/r10000").assert_refusal(404, "NOT_FOUND");
    super::write(&folder, &(table + &respond("/r10000", "")));
    let mut check = Process::start(&[], &["check", "--config", &folder.path(TABLE)]);
    assert_eq!(check.exit_code(), 78);
}

#[test]
fn a_table_as_an_editor_elsewhere_writes_it_is_read() {
    let folder = Folder::new();
    let table = "\u{feff}[[route]]\r\npath = \"/a\"\r\nrespond = { body = \"here\" }\r\n";
    assert_eq!(text(&serve(&folder, table, &[]), "/a"), "here");
}

#[test]
fn check_prints_the_table_in_the_order_it_is_matched() {
    let folder = Folder::new();
    folder.write("public/index.html", "home");
    let table = [
        "[[route]]\npath = \"/\"\nroot = \"$/public\"\n".to_owned(),
        respond("/api", "api"),
        on("*.example.com", "/", "below"),
        on("example.com", "/x", "exact") + "max_body_size = \"5MiB\"\n",
        "[[route]]\npath = \"/api/v1\"\nupstream = [\"http://a:1\", \"h2c://b:2\"]\n".to_owned(),
    ];
    super::write(&folder, &table.concat());
    let mut check = Process::start(&[], &["check", "--config", &folder.path(TABLE)]);
    assert_eq!(check.exit_code(), 0);
    let lines = check.stdout();
    let at = |words: &[&str]| {
        let found = lines.iter().position(|line| words.iter().all(|word| line.contains(word)));
        found.unwrap_or_else(|| panic!("no line with {words:?}: {lines:#?}"))
    };
    let order = [
        at(&["example.com", "/x", "respond"]),
        at(&["*.example.com", "respond"]),
        at(&["/api/v1", "http://a:1", "h2c://b:2"]),
        at(&["any host", "/api ", "respond"]),
        at(&["any host", "/ ", "public"]),
    ];
    assert!(order.is_sorted(), "{order:?} {lines:#?}");
    at(&["max_body_size", "5MiB"]);
}
