//! What routes and compression do to the memory budget.

use std::path::Path;

use super::*;
use crate::config::{Loaded, Sources, load};

fn machine() -> Machine {
    Machine {
        memory_total: Some(16 << 30),
        ..Machine::read(Path::new("/nowhere"), 8, Some(1_048_576), false)
    }
}

/// A container of 64 MiB.
fn small() -> Machine {
    Machine { memory_limit: Some(64 << 20), ..machine() }
}

fn env(machine: &Machine, env: &[(&str, &str)]) -> Loaded {
    let env = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
    load(&Sources { env, ..Sources::default() }, machine).unwrap()
}

const PROXIED: (&str, &str) = ("UPSTREAM", "http://app:8080");
const COMPRESSED: (&str, &str) = ("NESSEN_COMPRESSION_ENABLED", "true");

#[test]
fn a_request_to_an_upstream_costs_two_buffers_more() {
    let (own, proxied) = (env(&machine(), &[]).worst_case, env(&machine(), &[PROXIED]).worst_case);
    assert!(proxied.least() > own.least() + 2 * UPSTREAM);
    assert!(
        proxied.to_string().contains("a request to an upstream") && !own.to_string().contains("upstream")
    );
    // No route is proxied: nothing more is held.
    let files = env(&machine(), &[("ROOT", env!("CARGO_MANIFEST_DIR"))]).worst_case;
    assert_eq!(files.least(), own.least());
}

#[test]
fn one_within_tls_costs_more() {
    let plain = env(&machine(), &[PROXIED]).worst_case;
    for url in ["https://app", "http://a, h2://b"] {
        let tls = env(&machine(), &[("UPSTREAM", url)]).worst_case;
        assert!(tls.least() > plain.least() + 2 * UPSTREAM_TLS, "{url}");
        assert!(tls.to_string().contains("208KiB"), "{tls}");
    }
    assert!(!plain.upstream_tls && plain.to_string().contains("128KiB"), "{plain}");
}

#[test]
fn a_small_container_still_serves_through_a_proxy() {
    let proxied = env(&small(), &[PROXIED]);
    assert!((1_000..2_000).contains(&proxied.config.limits.max_connections), "{:?}", proxied.worst_case);
    assert!((200..400).contains(&proxied.config.limits.max_in_flight), "{:?}", proxied.worst_case);
    assert!(proxied.worst_case.fits());
    let all = env(&small(), &[PROXIED, COMPRESSED, ("RATE_LIMIT_MAX_REQUESTS", "100")]);
    assert!((100..300).contains(&all.config.limits.max_in_flight), "{:?}", all.worst_case);
    assert_eq!(all.config.compression.max_concurrent, 1);
    // A route has what holds for all.
    assert_eq!(all.config.routes[0].compression.max_concurrent, 1);
    assert!(all.worst_case.fits() && all.worst_case.total() <= all.config.limits.memory);
}

#[test]
fn compression_takes_what_a_quarter_of_the_memory_holds() {
    let large = env(&machine(), &[COMPRESSED]);
    assert_eq!((large.config.compression.max_concurrent, large.worst_case.compressors), (64, 64));
    assert!(large.worst_case.to_string().contains("64 answers compressed x 4MiB"));
    let lowered = env(&machine(), &[COMPRESSED, ("MEMORY_BUDGET", "100MiB")]);
    assert_eq!((lowered.config.compression.max_concurrent, lowered.worst_case.compressors), (6, 6));
    let note = "compression.max_concurrent = 6, not 64: a quarter of limits.memory = 100MiB holds no more of 4MiB each";
    assert!(lowered.notes.iter().any(|found| found == note), "{:?}", lowered.notes);
    let shown = lowered.value("compression.max_concurrent").unwrap();
    assert_eq!((shown.value.as_str(), shown.auto), ("6", false));
    // So little that nothing is compressed, and everything is served.
    let none = env(&machine(), &[COMPRESSED, ("MEMORY_BUDGET", "15MiB")]);
    assert_eq!(none.config.compression.max_concurrent, 0);
    // Off, it costs nothing and is left as it was set.
    let off = env(&small(), &[("NESSEN_COMPRESSION_MAX_CONCURRENT", "500")]);
    assert_eq!((off.config.compression.max_concurrent, off.worst_case.compressors), (500, 0));
}

#[test]
fn one_route_is_enough_to_be_counted() {
    let file = std::env::temp_dir().join(format!("nessen-budget-{}.toml", std::process::id()));
    let text = "
[[route]]
path = '/a'
respond = { body = 'a' }
compression = true
rate_limit = { max_requests = 10, max_keys = 500 }
[[route]]
path = '/b'
upstream = 'http://app'
rate_limit = { max_requests = 10, max_keys = 300 }
[[route]]
path = '/c'
respond = {}
rate_limit = 'off'
";
    std::fs::write(&file, text).unwrap();
    let loaded = load(&Sources { file: Some(file.clone()), ..Sources::default() }, &machine());
    std::fs::remove_file(&file).unwrap();
    let worst = loaded.unwrap().worst_case;
    assert_eq!((worst.compressors, worst.tracked_clients), (64, 800));
    assert!(worst.proxied);
}

#[test]
fn half_of_the_descriptors_are_for_what_requests_hold() {
    let files = |count| Machine { open_files: Some(count), ..machine() };
    let few = env(&files(1_024), &[PROXIED]);
    assert_eq!((few.config.limits.max_connections, few.config.limits.max_in_flight), (448, 448));
    let own = env(&files(1_024), &[]);
    assert_eq!((own.config.limits.max_connections, own.config.limits.max_in_flight), (896, 1_024));
}

#[test]
fn too_few_descriptors_are_noted() {
    for (count, expected) in [(20, true), (143, true), (144, false)] {
        let machine = Machine { open_files: Some(count), ..machine() };
        let notes = env(&machine, &[]).notes;
        assert_eq!(notes.iter().any(|note| note.contains("144 are needed")), expected, "{notes:?}");
    }
}

#[test]
fn bodies_that_evidence_keeps_are_in_the_budget() {
    let on = ("NESSEN_EVIDENCE_ENABLED", "true");
    let set = |bytes| env(&machine(), &[on, ("NESSEN_EVIDENCE_BODY_BYTES", bytes)]).worst_case;
    let (none, some) = (set("0"), set("64KiB"));
    assert_eq!(some.set_aside() - none.set_aside(), 1_024 * (64 << 10), "{some}");
    assert!(some.to_string().contains("1024 bodies begun, for evidence x 64KiB"), "{some}");
    assert!(!none.to_string().contains("bodies begun"), "{none}");
    // A small machine has fewer requests in flight, and all of it fits.
    let small = env(&small(), &[on, ("NESSEN_EVIDENCE_BODY_BYTES", "64KiB")]);
    assert!((16..200).contains(&small.config.limits.max_in_flight), "{:?}", small.worst_case);
    assert!(small.worst_case.fits() && small.worst_case.total() <= small.config.limits.memory);
    let off = env(&machine(), &[("NESSEN_EVIDENCE_BODY_BYTES", "64KiB")]).worst_case;
    assert_eq!(off.kept_body, 0);
}
