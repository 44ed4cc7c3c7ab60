//! Heads that are too long in one way or another.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    let url =
        |length: usize| format!("GET /{} HTTP/1.1\r\nHost: nessen.test\r\n\r\n", "zqx".repeat(length / 3));
    let value = |length: usize| badge(&format!("X-Long: {}\r\n", "zqx".repeat(length / 3)));
    let name = |length: usize| badge(&format!("{}: 1\r\n", "X-zqx".repeat(length / 5)));
    // Two fields stand in every head already.
    let fields = |count: usize| badge(&"X-Zqx: 1\r\n".repeat(count - 2));
    let long = || refused(414, "URL_TOO_LONG");
    let large = || refused(431, "HEADER_TOO_LARGE");
    let many = || refused(431, "TOO_MANY_HEADERS");
    let large_or_many = || [large(), many()].concat();
    vec![
        case("a target of 8 000 bytes", url(8_000), [kept(404, "NOT_FOUND")]),
        case("a target of 9 KiB", url(9 << 10), long()),
        case("a target of 40 KiB", url(40 << 10), long()),
        case("a target of 100 KiB", url(100 << 10), long()),
        case("fields of 15 KiB", value(15 << 10), [served()]),
        case("fields of 17 KiB", value(17 << 10), large()),
        case("fields of 40 KiB", value(40 << 10), large()),
        case("fields of 100 KiB", value(100 << 10), large()),
        case("a name of 17 KiB", name(17 << 10), large()),
        case("100 fields", fields(100), [served()]),
        case("101 fields", fields(101), many()),
        case("500 fields", fields(500), many()),
        case("5 000 fields", fields(5_000), large_or_many()),
    ]
}
