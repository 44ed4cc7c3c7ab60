//! What evidence may take, and what a client can make of it.

use std::net::Ipv4Addr;

use super::Watched;
use crate::support::http1::{Conn, get};
use crate::support::server::Process;
use crate::support::{PATIENCE, assert_eventually};

#[test]
fn a_flood_of_refusals_stays_within_the_bounds() {
    let watched = Watched::start(&[
        ("NESSEN_EVIDENCE_MAX_BYTES", "256KiB"),
        ("NESSEN_EVIDENCE_MAX_COUNT", "300"),
        ("RATE_LIMIT_MAX_REQUESTS", "1000000"),
    ]);
    let severe = Ipv4Addr::new(127, 0, 0, 9);
    assert_eq!(watched.send_from(severe.into(), get("/severe#")), 400);
    let pad = "p".repeat(700);
    let mut sent = 0u32;
    for client in 1..=4 {
        let mut conn = Conn::open_from(Ipv4Addr::new(127, 0, 1, client).into(), watched.server.address);
        for _ in 0..25 {
            let many: Vec<u8> =
                (0..100).flat_map(|number| get(&format!("/{}-{number}{pad}", sent))).collect();
            conn.send(&many);
            for _ in 0..100 {
                assert_eq!(conn.read_response().status, 404);
            }
            sent += 1;
        }
        let listed = watched.list("?limit=1");
        assert!(listed["bytes"].as_u64().unwrap() <= 256 << 10, "{listed}");
        assert!(listed["count"].as_u64().unwrap() <= 300, "{listed}");
    }
    // The severe one was there first, and has stayed.
    assert_eq!(watched.list("?reason=invalid_path")["entries"].as_array().unwrap().len(), 1);
    let listed = watched.list("?limit=1");
    let gone = listed["dropped"].as_u64().unwrap() + listed["evicted"].as_u64().unwrap();
    assert!(gone > 9_000, "{listed}");
    let metric = |name: &str| watched.metric(name).unwrap_or(0.0);
    assert_eventually(PATIENCE, "counted", || {
        metric("nessen_evidence_dropped_total") + metric("quarantine_evicted_total") > 9_000.0
    });
    assert!(metric("quarantine_bytes") <= 262_144.0 && metric("quarantine_count") <= 300.0);
    assert_eq!(metric("fail_safe_panic_count"), 0.0);
}

#[test]
fn a_budget_that_is_too_small_is_named() {
    let check = |memory: &str| {
        let env = [
            ("NESSEN_EVIDENCE_ENABLED", "true"),
            ("TRACEHOUND_QUARANTINE_MAX_BYTES", "104857600"),
            ("MEMORY_BUDGET", memory),
        ];
        let mut check = Process::start(&env, &["check"]);
        (check.exit_code(), check.stdout().join("\n") + &check.stderr().join("\n"))
    };
    let (code, said) = check("64MiB");
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("evidence.max_bytes") && said.contains("limits.memory"), "{said}");
    let (code, said) = check("512MiB");
    assert_eq!(code, 0, "{said}");
    assert!(said.lines().any(|line| line.contains("evidence, and what is on its way")), "{said}");
}
