use super::*;
use crate::policy::Policy;

fn route(number: u32, host: Option<&str>, prefix: &str) -> Route {
    let host = host.map(str::to_owned);
    Route {
        host,
        prefix: prefix.to_owned(),
        policy: Arc::new(Policy::nothing(number)),
        target: Target::Nothing,
    }
}

fn table() -> RouteTable {
    let routes = vec![
        route(1, None, ""),
        route(2, None, "/api"),
        route(3, None, "/api/upload"),
        route(4, Some("example.com"), "/api"),
        route(5, Some("*.example.com"), ""),
        route(6, Some("*.eu.example.com"), ""),
        route(7, Some("a.eu.example.com"), "/x"),
    ];
    RouteTable::new(routes, route(0, None, ""))
}

fn chosen(table: &RouteTable, host: &str, path: &str) -> u32 {
    let request = Request::builder().uri(path).header("host", host).body(()).unwrap();
    table.choose(&request).policy.route
}

#[test]
fn the_longest_prefix_wins_on_segment_borders() {
    let table = table();
    for (path, number) in [
        ("/", 1),
        ("/apis", 1),
        ("/api", 2),
        ("/api/", 2),
        ("/api/uploads", 2),
        ("/api/upload", 3),
        ("/api/upload/x", 3),
        ("/API", 1),
    ] {
        assert_eq!(chosen(&table, "other", path), number, "{path}");
    }
}

#[test]
fn a_path_cannot_be_spelled_past_its_route() {
    let table = table();
    for path in
        ["/%61pi/upload/x", "/x/../api/upload", "//api//upload", "/api/%2e%2e/api/upload", "/api%2fupload"]
    {
        assert_eq!(chosen(&table, "other", path), 3, "{path}");
    }
    assert_eq!(chosen(&table, "other", "/api/upload/../.."), 1);
}

#[test]
fn a_host_that_is_named_comes_first() {
    let table = table();
    for (host, path, number) in [
        ("example.com", "/api", 4),
        ("EXAMPLE.com:8080", "/api/upload", 4),
        ("example.com", "/", 1),
        ("www.example.com", "/api", 5),
        ("b.eu.example.com.", "/", 6),
        ("a.eu.example.com", "/x/y", 7),
        ("a.eu.example.com", "/y", 6),
    ] {
        assert_eq!(chosen(&table, host, path), number, "{host} {path}");
    }
}

#[test]
fn where_no_route_fits_there_is_one_for_that() {
    let table = RouteTable::new(vec![route(1, None, "/api")], route(9, None, ""));
    assert_eq!(chosen(&table, "any", "/other"), 9);
}

#[test]
fn what_is_below_a_route_is_told_whatever_its_spelling() {
    let route = route(1, None, "/caf%C3%A9/@me");
    for (path, rest) in [
        ("/caf%C3%A9/@me", Some("/")),
        ("/caf%c3%a9/%40me/", Some("/")),
        ("/caf\u{e9}/@me/a%20b//c/..", Some("/a%20b//c/..")),
        ("/caf%C3%A9/@men", None),
        ("/caf%C3%A9", None),
        ("//caf%C3%A9/@me", None),
        ("/x/../caf%C3%A9/@me", None),
        ("/caf%C3%A9%2f@me", None),
    ] {
        assert_eq!(route.rest(path), rest, "{path}");
    }
}
