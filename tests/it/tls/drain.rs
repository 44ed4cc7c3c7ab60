//! A drain by TLS: what was asked is answered, and each connection ends as such.

use std::io::{Read, Write};
use std::time::Duration;

use rustix::process::Signal;

use super::{Secure, ask, shake};
use crate::support::http1::get;
use crate::support::pause;

#[test]
fn idle_connections_end_in_order_and_none_in_the_middle() {
    let mut secure = Secure::start(&[("DRAIN_DELAY", "3s"), ("SHUTDOWN_TIMEOUT", "10s")]);
    let config = secure.client().config();
    let (mut idle, mut busy) = (shake(&secure, &config), shake(&secure, &config));
    ask(&mut idle, "/health").unwrap();
    pause(400);
    busy.write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf ").unwrap();
    secure.signal(Signal::TERM);
    // A new one is served for as long as there is a listener.
    let mut late = shake(&secure, &config);
    assert!(ask(&mut late, "/health").unwrap().starts_with("HTTP/1.1 200"));
    // The end is said, not just there: rustls tells the difference.
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).expect("close_notify");
    assert!(rest.is_empty());
    busy.write_all(b"gone.").unwrap();
    let mut answer = Vec::new();
    busy.read_to_end(&mut answer).expect("close_notify");
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("half gone."), "{answer}");
    assert_eq!(secure.exit_code(), 0);
}

#[test]
fn a_record_that_is_on_its_way_is_waited_for() {
    let mut secure = Secure::start(&[("DRAIN_DELAY", "0"), ("SHUTDOWN_TIMEOUT", "10s")]);
    let mut stream = shake(&secure, &secure.client().config());
    ask(&mut stream, "/health").unwrap();
    pause(400);
    let mut record = Vec::new();
    stream.conn.writer().write_all(&get("/health")).unwrap();
    stream.conn.write_tls(&mut record).unwrap();
    let (first, rest) = record.split_at(20);
    stream.sock.write_all(first).unwrap();
    pause(100);
    secure.signal(Signal::TERM);
    pause(1200);
    stream.sock.write_all(rest).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("close_notify");
    let answer = String::from_utf8(answer).unwrap();
    // Answered, if by then with the word that the server is about to go.
    assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
    assert_eq!(secure.exit_code(), 0);
}

#[test]
fn a_handshake_that_is_under_way_is_finished() {
    let mut secure = Secure::start(&[("DRAIN_DELAY", "1500ms"), ("SHUTDOWN_TIMEOUT", "10s")]);
    let config = secure.client().config();
    let name = rustls::pki_types::ServerName::try_from(super::HOST).unwrap();
    let mut session = rustls::ClientConnection::new(config, name).unwrap();
    let mut socket = std::net::TcpStream::connect(secure.address).unwrap();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    socket.write_all(&hello[..40]).unwrap();
    secure.signal(Signal::TERM);
    std::thread::sleep(Duration::from_millis(900));
    socket.write_all(&hello[40..]).unwrap();
    let mut stream = rustls::StreamOwned::new(session, socket);
    assert!(ask(&mut stream, "/health").unwrap().starts_with("HTTP/1.1 "));
    assert_eq!(secure.exit_code(), 0);
}
