//! SIGHUP and the table: all of it changes, or nothing does and the log says why.

use rustix::process::Signal;

use super::{ask, get, serve, text, write};
use crate::support::client::{Body, Client, Request};
use crate::support::folder::Folder;
use crate::support::server::Server;
use crate::support::{PATIENCE, assert_eventually};

/// Reads `table` in, and waits for the word on it.
#[track_caller]
fn reload(server: &Server, folder: &Folder, table: &str) -> serde_json::Value {
    let words = || {
        let lines = server.log().into_iter();
        lines.filter(|line| line["message"].as_str().is_some_and(|text| text.contains("reloaded"))).collect()
    };
    let before: Vec<serde_json::Value> = words();
    write(folder, table);
    server.signal(Signal::HUP);
    let mut found = Vec::new();
    assert_eventually(PATIENCE, "a word on the reload", || {
        found = words();
        found.len() > before.len()
    });
    assert_eq!(found.len(), before.len() + 1, "{found:?}");
    found.pop().unwrap()
}

#[track_caller]
fn assert_taken(line: &serde_json::Value) {
    assert_eq!(line["message"], "configuration reloaded", "{line}");
}

fn respond(path: &str, body: &str, lines: &str) -> String {
    format!("[[route]]\npath = \"{path}\"\nrespond = {{ body = \"{body}\" }}\n{lines}\n")
}

#[test]
fn routes_come_and_go_and_limits_change() {
    let folder = Folder::new();
    let server = serve(&folder, &respond("/", "one", ""), &[]);
    let mut open = Client::open(server.address);
    assert_eq!(open.ask(&Request::new("POST", "/")).status, 200);
    let table =
        respond("/", "two", "methods = ['GET']") + &respond("/new", "new", "rate_limit.max_requests = 1");
    assert_taken(&reload(&server, &folder, &table));
    // On a connection of before as on any.
    assert_eq!(open.ask(&Request::new("POST", "/")).status, 405);
    assert_eq!(open.ask(&Request::new("GET", "/")).body, b"two");
    assert_eq!((get(&server, "/new").status, get(&server, "/new").status), (200, 429));
    let table = respond("/new", "newer", "rate_limit = 'off'\nmax_body_size = 5");
    assert_taken(&reload(&server, &folder, &table));
    assert_eq!(text(&server, "/new"), "newer");
    let post = Request::new("POST", "/new").body(Body::Whole(vec![b'x'; 6]));
    ask(&server, &post).assert_refusal(413, "BODY_TOO_LARGE");
    get(&server, "/").assert_refusal(404, "NOT_FOUND");
}

#[test]
fn the_welcome_app_makes_room_for_routes_and_comes_back() {
    let folder = Folder::new();
    let server = serve(&folder, "", &[]);
    assert_eq!(get(&server, "/badge/a/b.svg").status, 200);
    assert_taken(&reload(&server, &folder, &respond("/", "mine", "")));
    assert_eq!(text(&server, "/badge/a/b.svg"), "mine");
    assert_taken(&reload(&server, &folder, ""));
    assert_eq!(get(&server, "/badge/a/b.svg").field("content-type"), Some("image/svg+xml"));
}

#[test]
fn what_is_wrong_with_a_table_is_logged_and_the_old_one_stays() {
    let folder = Folder::new();
    folder.write("public/a.txt", "a");
    let good = "[[route]]\npath = \"/\"\nroot = \"$/public\"\n";
    let server = serve(&folder, good, &[]);
    for (bad, words) in [
        (
            "[[route]]\npath = \"/x\"\nroot = \"$/nowhere\"\n",
            &["route 1 \"/x\"", "nowhere", "No such file"][..],
        ),
        ("[[route]]\npath = \"/x\"\nupstream = \"app\"\n", &["route 1 \"/x\"", "upstream", "scheme"]),
        ("[[route]]\npath = \"/x\"\nrespond = { staus = 1 }\n", &["respond.staus", "respond.status"]),
        ("[[route]\n", &["nessen.toml"]),
    ] {
        let line = reload(&server, &folder, bad);
        assert_eq!(line["level"], "ERROR", "{line}");
        let error = line["error"].as_str().unwrap_or_default();
        assert!(words.iter().all(|word| error.contains(word)), "{words:?}: {error}");
        assert_eq!(text(&server, "/a.txt"), "a");
    }
    // Nor does any other setting of a file that is not taken.
    let line = reload(
        &server,
        &folder,
        &format!("[limits]\nallowed_hosts = [\"other\"]\n{}", "[[route]]\npath = \"/\"\n"),
    );
    assert_eq!(line["level"], "ERROR", "{line}");
    assert_eq!(text(&server, "/a.txt"), "a");
    assert_taken(&reload(&server, &folder, &respond("/", "good again", "")));
    assert_eq!(text(&server, "/a.txt"), "good again");
}

#[test]
fn a_root_that_is_gone_keeps_the_old_table() {
    let folder = Folder::new();
    folder.write("public/a.txt", "a").write("other/a.txt", "other");
    let server = serve(&folder, "[[route]]\npath = \"/\"\nroot = \"$/public\"\n", &[]);
    std::fs::rename(folder.at("public"), folder.at("away")).unwrap();
    let table = "[[route]]\npath = \"/\"\nroot = \"$/public\"\n".to_owned() + &respond("/new", "new", "");
    let line = reload(&server, &folder, &table);
    assert_eq!(line["level"], "ERROR", "{line}");
    get(&server, "/a.txt").assert_refusal(500, "INTERNAL_ERROR");
    get(&server, "/new").assert_refusal(500, "INTERNAL_ERROR");
    assert_taken(&reload(&server, &folder, "[[route]]\npath = \"/\"\nroot = \"$/other\"\n"));
    assert_eq!(text(&server, "/a.txt"), "other");
}

#[test]
fn a_download_outlives_the_route_it_came_by() {
    let folder = Folder::new();
    let size = 24 << 20;
    folder.write("public/big", vec![b'x'; size]);
    let server = serve(&folder, "[[route]]\npath = \"/\"\nroot = \"$/public\"\n", &[]);
    let mut conn = crate::support::http1::Conn::open_narrow(server.address);
    conn.send(&crate::support::http1::get("/big"));
    assert_eq!(conn.peek(12, std::time::Instant::now() + PATIENCE).unwrap(), b"HTTP/1.1 200");
    assert_taken(&reload(&server, &folder, &respond("/", "new", "")));
    assert_eq!(conn.read_response().body.len(), size);
    conn.send(&crate::support::http1::get("/big"));
    assert_eq!(conn.read_response().text(), "new");
}

#[test]
fn what_needs_a_restart_is_named_and_the_rest_is_taken() {
    let folder = Folder::new();
    let check = |name: &str| format!("[[check]]\nname = \"{name}\"\ntcp = \"127.0.0.1:1\"\n");
    let server = serve(&folder, &(respond("/", "one", "") + &check("before")), &[]);
    let line = reload(&server, &folder, &(respond("/", "two", "") + &check("after")));
    assert_eq!(line["level"], "WARN", "{line}");
    assert!(line["settings"].as_str().unwrap_or_default().contains("check"), "{line}");
    assert_eq!(text(&server, "/"), "two");
    let ready = get(&server, "/ready").json();
    assert!(ready["checks"]["before"].is_object() && ready["checks"]["after"].is_null(), "{ready}");
}

#[test]
fn routes_that_hold_more_than_was_counted_on_are_told_to_need_a_restart() {
    let folder = Folder::new();
    folder.write("public/a.txt", "a").write(super::TABLE, "");
    let path = folder.path(super::TABLE);
    let server = Server::start_in_shell("ulimit -n 400", &[("DRAIN_DELAY", "0")], &["--config", &path]);
    // A file or an upstream each: half as many connections are safe.
    let line = reload(&server, &folder, "[[route]]\npath = \"/\"\nroot = \"$/public\"\n");
    assert_eq!(line["level"], "WARN", "{line}");
    let settings = line["settings"].as_str().unwrap_or_default();
    assert_eq!(settings, "limits.max_connections, limits.max_in_flight", "{line}");
    assert_eq!(text(&server, "/a.txt"), "a");
}

#[test]
fn the_access_log_can_be_turned_off_and_on_again() {
    let folder = Folder::new();
    let server = serve(&folder, &respond("/", "one", ""), &[]);
    let with = |mode: &str| format!("[log]\naccess = \"{mode}\"\n{}", respond("/", "one", ""));
    assert_taken(&reload(&server, &folder, &with("off")));
    get(&server, "/quiet");
    // Its word in the log comes after all that was asked before.
    assert_taken(&reload(&server, &folder, &with("all")));
    get(&server, "/loud");
    server.wait_log("a request", |line| line["path"] == "/loud");
    assert!(server.log().iter().all(|line| line["path"] != "/quiet"));
}
