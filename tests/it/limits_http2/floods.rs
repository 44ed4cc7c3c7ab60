//! Frames that cost the server more than the client: each flood ends in GOAWAY(ENHANCE_YOUR_CALM).
//!
//! Every flood is bounded: twenty thousand frames at most, on one connection.

use std::collections::BTreeMap;

use crate::support::http2::{
    CANCEL, CONTINUATION, DATA, H2, HEADERS, PING, PRIORITY, SETTINGS, field, frame, get, request,
    request_fields, reset, window_update,
};
use crate::support::server::Server;
use crate::support::{PATIENCE, assert_eventually};

const MANY: usize = 20_000;

/// The same frames again and again, in writes of a few kilobytes.
fn repeated(frames: &[u8], times: usize) -> Vec<Vec<u8>> {
    let each = (4096 / frames.len()).max(1);
    vec![frames.repeat(each); times.div_ceil(each)]
}

/// Floods a server of its own after `before`, and fails unless it calms the client and lives on.
#[track_caller]
fn assert_flood_is_calmed(before: &[u8], flood: Vec<Vec<u8>>) {
    assert_flood_of_is_calmed(&[], before, flood);
}

/// The same, with settings.
#[track_caller]
fn assert_flood_of_is_calmed(env: &[(&str, &str)], before: &[u8], flood: Vec<Vec<u8>>) {
    let server = Server::start(env);
    let mut h2 = H2::open(server.address);
    h2.send(before);
    h2.flood(flood);
    h2.assert_calmed();
    // Streams may have been refused for reasons of their own before.
    assert_eventually(PATIENCE, "the reason counted", || server.rejections("http2_abuse") == 1.0);
    assert_eventually(PATIENCE, "the reason logged", || server.reason_lines("http2_abuse") == 1);
    assert_eq!(server.get("/badge/a/b.svg").status, 200);
    let gone = |metrics: &BTreeMap<String, f64>| {
        let connections = metrics.get("http_connections_active{protocol=\"http/2\"}").copied().unwrap_or(0.0);
        // The scrape itself is one.
        connections == 0.0 && metrics["http_requests_active"] == 1.0
    };
    assert_eventually(PATIENCE, "nothing left behind", || gone(&server.metrics()));
}

#[test]
fn a_rapid_reset_is_calmed() {
    let pairs = (0..1000).map(|number| {
        let stream = number * 2 + 1;
        [get(stream, "/badge/a/b.svg"), reset(stream, CANCEL)].concat()
    });
    assert_flood_is_calmed(&[], pairs.collect());
}

#[test]
fn a_rapid_reset_by_a_trusted_proxy_is_calmed() {
    let pairs = (0..1000).map(|number| {
        let stream = number * 2 + 1;
        [request(stream, "POST", "/echo", &[], false), reset(stream, CANCEL)].concat()
    });
    assert_flood_of_is_calmed(&[("TRUSTED_PROXIES", "127.0.0.1")], &[], pairs.collect());
}

#[test]
fn a_rapid_reset_of_uploads_is_calmed() {
    // The request is being served when it is cancelled, one pair to a packet.
    let pairs = (0..1000).map(|number| {
        let stream = number * 2 + 1;
        [request(stream, "POST", "/echo", &[], false), reset(stream, CANCEL)].concat()
    });
    assert_flood_is_calmed(&[], pairs.collect());
}

#[test]
fn a_reset_provoked_by_a_window_that_overflows_is_calmed() {
    let pairs = (0..1000).map(|number| {
        let stream = number * 2 + 1;
        [request(stream, "POST", "/echo", &[], false), window_update(stream, (1 << 31) - 1)].concat()
    });
    assert_flood_is_calmed(&[], pairs.collect());
}

#[test]
fn a_reset_provoked_by_a_stream_that_depends_on_itself_is_calmed() {
    let pairs = (0..1000).map(|number: u32| {
        let stream = number * 2 + 1;
        let own = [&stream.to_be_bytes()[..], &[1]].concat();
        [request(stream, "POST", "/echo", &[], false), frame(PRIORITY, 0, stream, &own)].concat()
    });
    assert_flood_is_calmed(&[], pairs.collect());
}

#[test]
fn a_flood_of_malformed_requests_is_calmed() {
    let heads = (0..1000).map(|number| request(number * 2 + 1, "GET", "/", &[("connection", "close")], true));
    assert_flood_is_calmed(&[], heads.collect());
}

#[test]
fn a_flood_of_pings_is_calmed() {
    assert_flood_is_calmed(&[], repeated(&frame(PING, 0, 0, b"flooding"), MANY));
}

#[test]
fn a_flood_of_settings_is_calmed() {
    assert_flood_is_calmed(&[], repeated(&frame(SETTINGS, 0, 0, &[]), MANY));
}

#[test]
fn a_flood_of_settings_that_change_windows_is_calmed() {
    let open = request(1, "POST", "/echo", &[], false);
    let pair = [crate::support::http2::settings(&[(4, 1)]), crate::support::http2::settings(&[(4, 1 << 20)])]
        .concat();
    assert_flood_is_calmed(&open, repeated(&pair, MANY / 2));
}

#[test]
fn a_flood_of_priorities_is_calmed() {
    assert_flood_is_calmed(&[], repeated(&frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 16]), MANY));
}

#[test]
fn a_flood_of_empty_data_is_calmed() {
    let open = request(1, "POST", "/echo", &[], false);
    assert_flood_is_calmed(&open, repeated(&frame(DATA, 0, 1, &[]), MANY));
}

#[test]
fn a_flood_of_data_that_is_all_padding_is_calmed() {
    let open = request(1, "POST", "/echo", &[], false);
    // One byte says how many bytes of padding follow: none.
    assert_flood_is_calmed(&open, repeated(&frame(DATA, 8, 1, &[0]), MANY));
}

#[test]
fn a_flood_of_continuations_is_calmed() {
    let open = frame(HEADERS, 0, 1, &request_fields("GET", "/badge/a/b.svg", &[]));
    assert_flood_is_calmed(&open, repeated(&frame(CONTINUATION, 0, 1, &field("x-a", "a")), MANY));
}

#[test]
fn a_flood_of_empty_continuations_is_calmed() {
    let open = frame(HEADERS, 0, 1, &request_fields("GET", "/badge/a/b.svg", &[]));
    assert_flood_is_calmed(&open, repeated(&frame(CONTINUATION, 0, 1, &[]), MANY));
}

#[test]
fn a_flood_of_window_updates_is_calmed() {
    assert_flood_is_calmed(&[], repeated(&window_update(0, 1), MANY));
}

#[test]
fn a_flood_of_resets_is_calmed() {
    let open = [get(1, "/badge/a/b.svg"), get(3, "/badge/a/b.svg")].concat();
    assert_flood_is_calmed(&open, repeated(&reset(1, CANCEL), MANY));
}

#[test]
fn a_flood_of_unknown_frames_is_calmed() {
    assert_flood_is_calmed(&[], repeated(&frame(0xbe, 0, 0, b"zqx"), MANY));
}
