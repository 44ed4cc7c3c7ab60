//! Clients that mean no good: each costs a place for as long as it may, and no more.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use super::{HOST, Secure, ask, shake};
use crate::support::http1::{Conn, End};
use crate::support::{PATIENCE, assert_eventually, pause};

/// A hello, as a client sends it.
fn hello(secure: &Secure) -> Vec<u8> {
    let name = ServerName::try_from(HOST).unwrap();
    let mut client = ClientConnection::new(secure.client().config(), name).unwrap();
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// Waits until the other side has ended it; when that was.
#[track_caller]
fn ends(stream: &mut impl Read, since: Instant) -> Duration {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return since.elapsed(),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("still open")
            }
            Err(_) => return since.elapsed(),
            Ok(_) => {}
        }
    }
}

#[test]
fn a_handshake_has_its_time_however_its_bytes_come() {
    let secure = Secure::start(&[
        ("NESSEN_TLS_HANDSHAKE_TIMEOUT", "2s"),
        ("HEADERS_TIMEOUT", "1h"),
        ("IDLE_TIMEOUT", "1h"),
    ]);
    let hello = hello(&secure);
    // Not a word, half a hello, one that drips, and a whole one with nothing behind it.
    for (first, drips) in [(0, false), (100, false), (1, true), (hello.len(), false)] {
        let begun = Instant::now();
        let mut conn = TcpStream::connect(secure.address).unwrap();
        conn.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        conn.write_all(&hello[..first]).unwrap();
        let mut next = first;
        let ended = loop {
            let mut buffer = [0; 4096];
            match conn.read(&mut buffer) {
                Ok(0) => break begun.elapsed(),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if drips && next < hello.len() {
                        let _ = conn.write_all(&hello[next..=next]);
                        next += 1;
                    }
                }
                Err(_) => break begun.elapsed(),
            }
            assert!(begun.elapsed() < PATIENCE, "still open");
        };
        assert!(ended >= Duration::from_millis(1990), "{first}: {ended:?}");
    }
    assert_eventually(PATIENCE, "four", || secure.handshakes("timeout") == 4.0);
    assert_eq!(secure.samples()["nessen_rejections_total{reason=\"tls_handshake_timeout\"}"], 4.0);
    assert_eventually(PATIENCE, "four lines", || secure.reason_lines("tls_handshake_timeout") == 4);
}

#[test]
fn what_is_no_tls_is_told_so_and_over() {
    let secure = Secure::start(&[]);
    let mut long = hello(&secure);
    // A record that says it is longer than any.
    (long[3], long[4]) = (0xff, 0xff);
    let mut other = hello(&secure);
    other[5] = 2;
    let all: [&[u8]; 6] = [
        &[0; 64],
        &[0x80, 0x2e, 1, 3, 1, 0, 0x15],
        &[23, 3, 3, 0, 4, 1, 2, 3, 4],
        &long,
        &other,
        &[0xff; 100_000],
    ];
    for bytes in all {
        let mut conn = Conn::open(secure.address);
        let _ = conn.try_send(bytes);
        let (answer, end) = conn.read_to_end(PATIENCE);
        // A fatal alert, where the rest of what was sent is not in its way.
        assert!(end != End::Open && (answer.is_empty() || answer[..2] == [21, 3]), "{answer:?} {end:?}");
    }
    assert_eventually(PATIENCE, "six", || secure.handshakes("failed") == 6.0);
    assert_eventually(PATIENCE, "six lines", || secure.reason_lines("tls_handshake_failed") == 6);
}

#[test]
fn a_hello_in_many_records_is_not_collected_for_ever() {
    let secure = Secure::start(&[]);
    let mut conn = Conn::open(secure.address);
    // The head of a message of 16 MB, and then its body, record by record.
    let mut sent = conn.try_send(&[22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff]);
    let mut record = vec![22, 3, 1, 0x10, 0];
    record.resize(5 + 0x1000, 7);
    for _ in 0..100 {
        sent = sent.and_then(|()| conn.try_send(&record));
    }
    assert_ne!(conn.read_to_end(PATIENCE).1, End::Open);
    assert_eventually(PATIENCE, "it", || secure.handshakes("failed") == 1.0);
}

#[test]
fn silence_after_the_handshake_is_idleness() {
    let secure = Secure::start(&[("HEADERS_TIMEOUT", "2s")]);
    let mut stream = shake(&secure, &secure.client().config());
    assert!(ends(&mut stream, Instant::now()) < PATIENCE);
    assert_eventually(PATIENCE, "it is counted", || {
        secure.samples()["nessen_rejections_total{reason=\"idle\"}"] == 1.0
    });
}

#[test]
fn a_record_that_is_never_whole_is_a_head_that_is_slow() {
    let secure = Secure::start(&[("HEADERS_TIMEOUT", "2s"), ("IDLE_TIMEOUT", "1h")]);
    let mut stream = shake(&secure, &secure.client().config());
    ask(&mut stream, "/health").unwrap();
    // By then it waits as a bare session.
    pause(600);
    let cpu = secure.cpu_time();
    let begun = Instant::now();
    // The head of a record, and some of it.
    stream.sock.write_all(&[23, 3, 3, 0x20, 0, 1, 2, 3]).unwrap();
    let ended = ends(&mut stream.sock, begun);
    assert!(ended >= Duration::from_millis(1900) && ended < PATIENCE, "{ended:?}");
    assert!(
        secure.cpu_time() - cpu < Duration::from_millis(200),
        "it is waited for, not asked again and again"
    );
    assert_eventually(PATIENCE, "it is counted", || {
        secure.samples()["nessen_rejections_total{reason=\"headers_timeout\"}"] == 1.0
    });
}

#[test]
fn what_none_of_the_session_sent_ends_it() {
    let secure = Secure::start(&[]);
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        &[23, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0],
    ] {
        let mut stream = shake(&secure, &secure.client().config());
        ask(&mut stream, "/health").unwrap();
        stream.sock.write_all(bytes).unwrap();
        assert!(ends(&mut stream.sock, Instant::now()) < PATIENCE);
    }
    assert_eq!(secure.get_secure("/health").status, 200);
}

#[test]
fn a_body_that_is_cut_off_is_no_body() {
    let secure = Secure::start(&[]);
    let mut stream = shake(&secure, &secure.client().config());
    stream.write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf of it").unwrap();
    stream.flush().unwrap();
    // Without close_notify.
    stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(secure.get_secure("/health").status, 200);
}

#[test]
fn renegotiation_and_new_keys_are_not_asked_for_in_a_flood() {
    let secure = Secure::start(&[]);
    // New keys for nothing: more than a few, and the session is over.
    let mut stream = shake(&secure, &secure.client().config());
    ask(&mut stream, "/health").unwrap();
    let mut failed = false;
    for _ in 0..10_000 {
        let sent = stream.conn.refresh_traffic_keys().map_err(|_| ErrorKind::Other.into());
        if sent.and_then(|()| stream.conn.complete_io(&mut stream.sock).map(|_| ())).is_err() {
            failed = true;
            break;
        }
    }
    assert!(failed || ask(&mut stream, "/health").is_err());
    assert_eq!(secure.get_secure("/health").status, 200);
}

#[test]
fn a_client_that_does_not_read_is_one_by_tls_too() {
    let secure = Secure::start(&[("WRITE_TIMEOUT", "500ms"), ("MAX_BODY_SIZE", "16MiB")]);
    let mut stream = shake(&secure, &secure.client().config());
    let body = vec![b'a'; 8 << 20];
    stream
        .write_all(
            format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(),
        )
        .unwrap();
    let _ = stream.write_all(&body);
    assert_eventually(PATIENCE, "it is counted", || {
        // Where this machine has no time for it, who asks here is one as well.
        secure.samples()["nessen_rejections_total{reason=\"slow_reader\"}"] >= 1.0
    });
}

#[test]
fn handshakes_hold_places_and_make_room() {
    let secure = Secure::start(&[
        ("MAX_CONNECTIONS", "20"),
        ("MAX_CONNECTIONS_PER_IP", "off"),
        ("NESSEN_TLS_HANDSHAKE_TIMEOUT", "1h"),
    ]);
    let hello = hello(&secure);
    let mut held = Vec::new();
    for _ in 0..30 {
        let mut conn = TcpStream::connect(secure.address).unwrap();
        let _ = conn.write_all(&hello[..hello.len() / 2]);
        held.push(conn);
    }
    pause(1700);
    // The places are taken by handshakes that come to nothing; whoever means it gets one.
    for _ in 0..10 {
        let mut stream = shake(&secure, &secure.client().config());
        let answer = ask(&mut stream, "/").unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert!(secure.samples()["nessen_connections_evicted_total"] > 0.0);
}
