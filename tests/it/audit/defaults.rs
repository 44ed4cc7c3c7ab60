//! Nothing is open with the settings that it comes with: alone, and as a proxy of either protocol.

use super::{Found, only, probe};
use crate::support::is_long;
use crate::support::server::Server;

/// What does not depend on time, and so takes none to speak of.
pub(super) const QUICK: [&str; 13] = [
    "head",
    "body",
    "upload",
    "chunks",
    "framing",
    "host",
    "method",
    "path",
    "connection",
    "http2-fields",
    "http2-sizes",
    "http2-resets",
    "http2-floods",
];

/// What is open, or was not tried.
pub(super) fn faults(found: &Found) -> Vec<String> {
    let wrong =
        found.verdicts.iter().filter(|(_, (verdict, _))| !matches!(verdict.as_str(), "held" | "unclear"));
    wrong.map(|(name, (verdict, happened))| format!("{verdict} {name}: {happened}")).collect()
}

/// `NESSEN_LONG=1` or `NESSEN_REQUIRE_ALL=1` makes it all cases, with the time that the probe gives by default:
/// a minute and a half.
#[test]
fn nothing_is_open_at_defaults() {
    let application = Server::start(&[]);
    let plain = format!("http://{}", application.address);
    let http2 = format!("h2c://{}", application.address);
    let roles = [
        ("alone", vec![]),
        ("before HTTP/1.1", vec![("UPSTREAM", plain.as_str())]),
        ("before HTTP/2", vec![("UPSTREAM", http2.as_str())]),
    ];
    std::thread::scope(|scope| {
        let probes = roles.map(|(name, env)| {
            scope.spawn(move || {
                let server = Server::start(&env);
                let args = if is_long() { Vec::new() } else { only(&QUICK) };
                (name, probe(server.address, &[vec!["--upload-path", "/echo"], args].concat()))
            })
        });
        for probe in probes {
            let (name, found) = probe.join().expect("a probe that ends");
            let faults = faults(&found);
            assert!(faults.is_empty() && found.exit == 0, "{name}: {faults:#?}");
        }
    });
}
