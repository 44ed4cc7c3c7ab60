use std::io::{self, Write};
use std::sync::Mutex;
use std::time::UNIX_EPOCH;

use super::*;

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn log(format: LogFormat, mode: AccessMode, level: LevelFilter) -> (AccessLog, impl Fn() -> String) {
    let sink = Sink::default();
    let pipe = LogPipe::new(Box::new(sink.clone()), 100_000).unwrap();
    let text = {
        let pipe = pipe.clone();
        move || {
            assert!(pipe.flush(Duration::from_secs(10)));
            String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
        }
    };
    (AccessLog::new(pipe, format, mode, level), text)
}

fn record() -> AccessRecord<'static> {
    AccessRecord {
        request_id: "abc-1",
        method: "GET",
        target: "/a?x=1&token=t",
        status: Some(200),
        duration: Duration::from_micros(1234),
        client: "::ffff:192.0.2.7".parse().unwrap(),
        route: "/",
        bytes_in: 0,
        bytes_out: 13,
        tls: None,
        protocol: Protocol::Http1,
        reason: None,
        upstream: None,
        trace: None,
    }
}

#[test]
fn a_json_line_has_the_fields_of_the_contract_in_order() {
    let (log, text) = log(LogFormat::Json, AccessMode::All, LevelFilter::INFO);
    log.write_at(UNIX_EPOCH, &record());
    assert_eq!(
        text(),
        "{\"timestamp\":\"1970-01-01T00:00:00.000Z\",\"level\":\"INFO\",\"message\":\"request\",\
         \"request_id\":\"abc-1\",\"method\":\"GET\",\"path\":\"/a?x=1&token=[redacted]\",\"status\":200,\
         \"duration_ms\":1.234,\"client\":\"192.0.2.7\",\"route\":\"/\",\"bytes_in\":0,\"bytes_out\":13,\
         \"protocol\":\"http/1.1\"}\n"
    );
}

#[test]
fn a_console_line_is_readable() {
    let (log, text) = log(LogFormat::Console, AccessMode::All, LevelFilter::INFO);
    let refused = AccessRecord { status: Some(503), reason: Some(Reason::Overloaded), ..record() };
    log.write_at(UNIX_EPOCH, &refused);
    assert_eq!(
        text(),
        "1970-01-01T00:00:00.000Z WARN  GET /a?x=1&token=[redacted] 503 1.234ms client=192.0.2.7 route=/ in=0 \
         out=13 id=abc-1 http/1.1 reason=overloaded\n"
    );
}

#[test]
fn what_a_client_sends_can_neither_forge_a_line_nor_steer_a_terminal() {
    for format in [LogFormat::Json, LogFormat::Console] {
        let (log, text) = log(format, AccessMode::All, LevelFilter::INFO);
        let hostile = AccessRecord {
            method: "G\"ET\n",
            target: "/\u{1b}[2J\r\n{\"status\":200}\u{9b}",
            request_id: "x\"},{\u{7}",
            status: None,
            reason: Some(Reason::Http2Abuse),
            upstream: Some("http://up:1"),
            trace: None,
            ..record()
        };
        log.write(&hostile);
        let text = text();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.trim_end().chars().any(char::is_control), "{text}");
        if format == LogFormat::Json {
            let line: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(line["path"], hostile.target);
            assert_eq!(line["method"], hostile.method);
            assert_eq!(line["request_id"], hostile.request_id);
            assert_eq!(line["status"], serde_json::Value::Null);
            assert_eq!(line["level"], "WARN");
            assert_eq!(line["reason"], "http2_abuse");
            assert_eq!(line["upstream"], "http://up:1");
        } else {
            assert!(text.contains(" upstream=http://up:1 "), "{text}");
        }
    }
}

#[test]
fn a_long_target_is_cut_on_a_character() {
    let (log, text) = log(LogFormat::Json, AccessMode::All, LevelFilter::INFO);
    let long = format!("/{}", "é".repeat(3000));
    log.write(&AccessRecord { target: &long, ..record() });
    let line: serde_json::Value = serde_json::from_str(&text()).unwrap();
    let path = line["path"].as_str().unwrap();
    assert!(path.ends_with("é…") && path.len() <= LONGEST_TARGET + 3, "{}", path.len());
}

#[test]
fn a_connection_refused_without_a_request_has_its_line() {
    let (log, text) = log(LogFormat::Json, AccessMode::Errors, LevelFilter::INFO);
    let client = "2001:db8::1".parse().unwrap();
    log.refused_connection(Reason::TooManyConnections, client, Protocol::Unknown, None);
    log.refused_connection(Reason::Idle, client, Protocol::Http1, None);
    let line: serde_json::Value = serde_json::from_str(&text()).unwrap();
    assert_eq!(line["message"], "refused");
    assert_eq!((&line["client"], &line["level"]), (&"2001:db8::1".into(), &"INFO".into()));
    assert_eq!((&line["reason"], &line["protocol"]), (&"too_many_connections".into(), &"unknown".into()));
}

#[test]
fn mode_and_level_decide_what_is_written() {
    let (log, _) = log(LogFormat::Json, AccessMode::All, LevelFilter::INFO);
    let refused = Some(Reason::NotFound);
    assert!(log.enabled_for(Some(200), None));
    assert!(!log.enabled_for_probe(Some(200), None) && log.enabled_for_probe(Some(503), None));
    log.set_mode(AccessMode::Errors);
    assert!(!log.enabled_for(Some(200), None));
    assert!(
        log.enabled_for(Some(404), refused)
            && log.enabled_for(Some(500), None)
            && log.enabled_for(None, None)
    );
    log.set_level(LevelFilter::WARN);
    assert!(!log.enabled_for(Some(404), refused) && log.enabled_for(Some(500), None));
    assert!(log.enabled_for(None, Some(Reason::SlowReader)));
    log.set_level(LevelFilter::OFF);
    assert!(!log.enabled_for(Some(500), None));
    log.set_level(LevelFilter::TRACE);
    log.set_mode(AccessMode::Off);
    assert!(!log.enabled_for(Some(500), refused));
}
