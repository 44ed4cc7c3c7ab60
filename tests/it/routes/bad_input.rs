//! Tables that are none: refused with the route, the key and the reason, by the server and by `check`.

use super::{TABLE, write};
use crate::support::folder::Folder;
use crate::support::server::Process;

/// What standard error says of this table: the same to the server and to `check`, and that it is
/// bad configuration.
#[track_caller]
fn refused(folder: &Folder, table: &str, env: &[(&str, &str)]) -> String {
    write(folder, table);
    let said = [&["check", "--config"][..], &["--config"]].map(|args| {
        let path = folder.path(TABLE);
        let mut process = Process::start(env, &[args, &[path.as_str()]].concat());
        assert_eq!(process.exit_code(), 78, "{table}\n{:?}", process.stderr());
        process.stderr().join("\n")
    });
    assert_eq!(said[0], said[1]);
    said[0].clone()
}

#[test]
fn each_error_names_the_route_the_key_and_what_is_wrong() {
    let folder = Folder::new();
    folder.write("file", "").write("public/index.html", "home");
    for (lines, words) in [
        ("root = '$/nowhere'", &["root", "nowhere", "No such file"][..]),
        ("root = '$/file'", &["root", "is no folder"]),
        ("root = '$/public'\nfallback = '/none.html'", &["fallback", "/none.html", "No such file"]),
        ("upstream = 'app:8080'", &["upstream", "did you forget http://?"]),
        ("upstream = 'ftp://app'", &["upstream", "ftp", "not known"]),
        ("upstream = 'http://app:99999'", &["upstream", "port"]),
        ("upstream = 'http://app/path'", &["upstream", "has a path"]),
        ("upstream = ['http://a', 'b']", &["upstream", "\"b\"", "has no scheme"]),
        ("upstream = []", &["upstream"]),
        ("redirect = { to = 'ftp://a' }", &["redirect.to", "ftp://a"]),
        ("redirect = { to = '/x/y' }", &["redirect.to", "leads back to this very route"]),
        ("redirect = { to = '/y', status = 200 }", &["redirect.status", "200", "308"]),
        ("respond = { status = 99 }", &["respond.status", "99"]),
        ("respond = { bdy = 'x' }", &["respond.bdy", "did you mean respond.body?"]),
        ("respond = {}\nroot = '$/public'", &["root", "respond", "exactly one of"]),
        ("max_body_size = '1KiB'", &["leads nowhere", "exactly one of"]),
        ("respond = {}\nmax_body_sise = '1KiB'", &["max_body_sise", "did you mean max_body_size?"]),
        ("respond = {}\nmax_body_size = 'much'", &["max_body_size", "much", "64KiB"]),
        ("respond = {}\nrequest_timeout = '0s'", &["request_timeout", "1ms to 24h"]),
        ("respond = {}\nmethods = ['GET', 'A B']", &["methods", "A B"]),
        ("respond = {}\nrate_limit = { max_requests = 0, window = 'x' }", &["rate_limit.window", "x"]),
        ("respond = {}\ncache_control = 'x'", &["cache_control", "means nothing with respond", "root"]),
        ("respond = {}\nmax_response_size = '1KiB'", &["max_response_size", "means nothing"]),
        ("respond = {}\nhost = 'm\u{fc}nchen.de'", &["host", "is no host name"]),
        ("respond = {}\nhost = 'example.com:80'", &["host", "without port"]),
        (
            "respond = {}\nmax_in_flight = 5",
            &["max_in_flight", "limits.max_in_flight is of the whole server"],
        ),
    ] {
        let said = refused(&folder, &format!("[[route]]\npath = '/x'\n{lines}\n"), &[]);
        for word in ["route 1 \"/x\"", TABLE].iter().chain(words) {
            assert!(said.contains(word), "no {word:?} for\n{lines}\n{said}");
        }
    }
}

#[test]
fn all_errors_are_said_at_once_in_the_order_of_the_file() {
    let folder = Folder::new();
    let table = "[[route]]\npath = '/a'\n[[route]]\npath = 'b'\nrespond = {}\n[[route]]\npath = '/c'\nrespond = {}\n\
                 [[route]]\npath = '/%63/'\nrespond = {}\n[[check]]\nname = 'd'\n[[check]]\nname = 'e'\nhttp = 'h2://e'\n\
                 [limits]\nmax_body_size = 'x'\n";
    let said = refused(&folder, table, &[("UPSTREAM", "nonsense"), ("ROOT", "/dev/null")]);
    let places = ["route 1 \"/a\"", "route 2 \"b\"", "route 4 \"/%63/\"", "check 1 \"d\"", "check 2 \"e\""];
    let found: Vec<Option<usize>> = places.iter().map(|place| said.find(place)).collect();
    assert!(found.iter().all(Option::is_some) && found.is_sorted(), "{found:?}\n{said}");
    for word in ["limits.max_body_size", "upstream.url", "files.root", "/dev/null", "route 3 \"/c\""] {
        assert!(said.contains(word), "no {word}\n{said}");
    }
}

#[test]
fn an_upstream_with_a_password_is_refused_without_telling_it() {
    let folder = Folder::new();
    let said = refused(&folder, "[[route]]\npath = '/x'\nupstream = 'http://user:hunter2@app'\n", &[]);
    assert!(said.contains("route 1 \"/x\"") && !said.contains("hunter2"), "{said}");
}

#[test]
fn settings_of_the_environment_are_read_as_people_write_them() {
    for (value, shown) in [
        ("http://app:8080\n", "http://app:8080"),
        ("  http://app:8080/  ", "http://app:8080"),
        ("http://a:1,http://b:2,", "http://a:1, http://b:2"),
        ("HTTP://App:1 h2c://b", "http://app:1, h2c://b:80"),
    ] {
        let mut check = Process::start(&[("UPSTREAM", value)], &["check"]);
        assert_eq!(check.exit_code(), 0, "{value:?}: {:?}", check.stderr());
        let lines = check.stdout();
        let line = lines.iter().find(|line| line.starts_with("upstream.url")).unwrap();
        assert!(line.contains(&format!(" {shown} ")), "{value:?}: {line}");
    }
    let mut check = Process::start(&[("ROOT", ".\n")], &["check"]);
    assert_eq!(check.exit_code(), 0, "{:?}", check.stderr());
}
