//! Who sees the list, and who may take from it.

use rustix::process::Signal;

use super::{Watched, text};
use crate::support::http1::get;
use crate::support::server::Server;
use crate::support::{PATIENCE, assert_eventually};

#[test]
fn the_main_port_knows_nothing_of_it() {
    let watched = Watched::start(&[]);
    for bytes in [
        get("/evidence"),
        get("/evidence/0"),
        b"DELETE /evidence HTTP/1.1\r\nHost: a\r\nx-requested-with: x\r\n\r\n".to_vec(),
    ] {
        assert_eq!(watched.send(&bytes), 404);
    }
    let alone = Server::start(&[("NESSEN_EVIDENCE_ENABLED", "true")]);
    alone.wait_log("a warning", |line| text(&line["message"]).contains("nobody can look at it"));
    assert_eq!(alone.get("/evidence").status, 404);
    assert_eventually(PATIENCE, "counted", || alone.metrics().get("quarantine_count") == Some(&1.0));
}

#[test]
fn without_it_there_is_nothing() {
    let watched = Watched::start(&[("NESSEN_EVIDENCE_ENABLED", "false")]);
    assert_eq!(watched.send(get("/nothing")), 404);
    assert_eq!(watched.ask("GET", "/evidence", "").status, 404);
    assert_eq!(watched.metric("quarantine_count"), None);
}

#[test]
fn it_is_listed_by_page_and_by_kind() {
    let watched = Watched::start(&[]);
    for number in 0..5 {
        assert_eq!(watched.send(get(&format!("/{number}"))), 404);
    }
    assert_eq!(watched.send(get("/3")), 404);
    assert_eq!(watched.send(get("/#")), 400);
    // It is taken in behind the answer.
    assert_eventually(PATIENCE, "all of it", || watched.list("")["count"] == 6);
    let all = watched.list("");
    assert_eq!((&all["count"], &all["enabled"]), (&6.into(), &true.into()), "{all}");
    let counts: Vec<_> = all["entries"].as_array().unwrap().iter().map(|it| it["count"].as_u64()).collect();
    assert_eq!(counts, [1, 1, 2, 1, 1, 1].map(Some));
    let page = watched.list("?reason=not_found&limit=2");
    assert_eq!(page["entries"][0]["target"], "/4");
    let next = watched.list(&format!("?reason=not_found&limit=9&cursor={}", text(&page["next"])));
    assert_eq!(next["entries"].as_array().unwrap().len(), 3, "{next}");
    assert_eq!(watched.list("?client=127.0.0.2")["entries"].as_array().unwrap().len(), 0);
    for query in ["?limit=0", "?reason=<script>", "?x=y", "?cursor=%00"] {
        let answer = watched.ask("GET", &format!("/evidence{query}"), "");
        assert_eq!(answer.status, 400, "{query}");
        assert!(!answer.text().contains("script"));
    }
    let answer = watched.ask("GET", "/evidence", "");
    for (name, value) in [
        ("content-type", "application/json"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(answer.header(name), Some(value));
    }
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(watched.ask("HEAD", "/evidence", "").status, 200);
    assert_eq!(watched.ask("POST", "/evidence", "Content-Length: 0\r\n").status, 405);
    assert_eq!(watched.ask("GET", "/evidence/0123456789abcdef", "").status, 404);
    assert_eventually(PATIENCE, "counted", || {
        watched.metric("quarantine_count").is_some_and(|count| count >= 6.0)
    });
}

#[test]
fn it_is_purged_by_who_means_it() {
    let mut watched = Watched::start(&[]);
    for path in ["/a", "/b", "/c"] {
        watched.send(get(path));
    }
    let sure = "X-Requested-With: test\r\n";
    for fields in
        ["", "X-Requested-With: x\r\nSec-Fetch-Site: cross-site\r\n", "Sec-Fetch-Site: same-origin\r\n"]
    {
        assert_eq!(watched.ask("DELETE", "/evidence", fields).status, 405, "{fields}");
    }
    // What a browser asks before it lets a foreign page send that.
    let preflight = "Origin: http://evil.test\r\nAccess-Control-Request-Method: DELETE\r\n";
    let answer = watched.ask("OPTIONS", "/evidence", preflight);
    assert_eq!((answer.status, answer.header("access-control-allow-methods")), (405, None));
    let mut listed = serde_json::Value::Null;
    assert_eventually(PATIENCE, "all of it", || {
        listed = watched.list("?reason=not_found");
        listed["entries"].as_array().unwrap().len() == 3
    });
    let one = format!("/evidence/{}", text(&listed["entries"][0]["id"]));
    assert_eq!(watched.ask("DELETE", &one, sure).json()["removed"], 1);
    assert_eq!(watched.ask("DELETE", &one, sure).status, 404);
    // What was refused just now is evidence as well, and taken in behind the answer.
    assert_eventually(PATIENCE, "the 404", || {
        watched.list("?reason=not_found")["entries"].as_array().unwrap().len() == 3
    });
    let all = watched.ask("DELETE", "/evidence", &format!("{sure}Sec-Fetch-Site: same-origin\r\n"));
    assert!(all.json()["removed"].as_u64().unwrap() >= 2, "{all:?}");
    assert_eq!(watched.list("")["entries"].as_array().unwrap().len(), 0);
    watched.server.wait_log("the purge", |line| text(&line["message"]).contains("purged"));
    watched.server.signal(Signal::TERM);
    assert_eq!(watched.server.exit_code(), 0);
}
