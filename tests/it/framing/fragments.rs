//! A fragment belongs to a request line alone: what looks like one in a body is a body.

use std::time::Duration;

use crate::support::http1::{Conn, End, NoResponse, get};
use crate::support::problem::assert_problem;
use crate::support::server::Server;
use crate::support::{PATIENCE, pause};

const NEXT: &str = "/badge/next/one.svg";

/// Bodies with lines that look like request lines with fragments.
fn bodies() -> Vec<String> {
    let next = format!("GET {NEXT}#y HTTP/1.1\r\n");
    vec![
        // The same request as the one that carries it, and the same as the one that follows it.
        "POST /echo#y HTTP/1.1\r\n".to_owned(),
        format!("\r\n{next}"),
        format!("{next}\n{next}Host: nessen.test\r\n\r\n"),
        // More than a list of suspects may hold.
        "GET /x#y HTTP/1.1\r\n".repeat(20),
        format!("{}POST /echo/#y HTTP/1.1\r\nno line end behind this: GET /x#", next.repeat(20)),
    ]
}

/// How a body is framed.
#[derive(Debug, Clone, Copy)]
enum Framing {
    Length,
    /// In chunks of so many bytes.
    Chunks(usize),
}

/// The request's head and what follows it.
fn upload(body: &str, framing: Framing, fields: &str) -> (Vec<u8>, Vec<u8>) {
    let (framing, wire) = match framing {
        Framing::Length => (format!("Content-Length: {}", body.len()), body.as_bytes().to_vec()),
        Framing::Chunks(size) => {
            let mut wire: Vec<u8> = Vec::new();
            for chunk in body.as_bytes().chunks(size) {
                wire.extend([format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
            }
            wire.extend(b"0\r\n\r\n");
            ("Transfer-Encoding: chunked".to_owned(), wire)
        }
    };
    let head = format!("POST /echo HTTP/1.1\r\nHost: nessen.test\r\n{framing}\r\n{fields}\r\n");
    (head.into_bytes(), wire)
}

/// Reads the body back, and asks on for as long as the connection may be used.
#[track_caller]
fn assert_served_and_kept(conn: &mut Conn, body: &str, what: &str) {
    let echo = conn.read_response();
    assert_eq!((echo.status, echo.text().as_str()), (200, body), "{what}: {echo:?}");
    let mut last = echo;
    for _ in 0..3 {
        if last.says_close() {
            return conn.assert_closed();
        }
        conn.send(&get(NEXT));
        last = conn.read_response();
        assert!(last.status == 200 && last.text().contains("next"), "{what}, the request after it: {last:?}");
    }
}

/// Each body in each framing.
fn each(mut act: impl FnMut(&str, Framing, &str)) {
    for (number, body) in bodies().iter().enumerate() {
        for framing in [Framing::Length, Framing::Chunks(7), Framing::Chunks(4096)] {
            act(body, framing, &format!("body {number} by {framing:?}"));
        }
    }
}

#[test]
fn lines_of_a_body_are_no_request_lines_in_the_write_of_the_head() {
    let server = Server::start(&[]);
    each(|body, framing, what| {
        let (head, wire) = upload(body, framing, "");
        let mut conn = server.connect();
        conn.send(&[head, wire].concat());
        assert_served_and_kept(&mut conn, body, what);
    });
}

#[test]
fn lines_of_a_body_are_no_request_lines_in_later_writes() {
    let server = Server::start(&[]);
    each(|body, framing, what| {
        let (head, wire) = upload(body, framing, "Expect: 100-continue\r\n");
        for parts in [1, 2, 5] {
            let mut conn = server.connect();
            conn.send(&head);
            // The head has certainly been read by itself.
            assert_eq!(conn.read_response().status, 100, "{what}");
            for part in wire.chunks(wire.len().div_ceil(parts)) {
                conn.send(part);
                pause(1);
            }
            assert_served_and_kept(&mut conn, body, &format!("{what} in {parts} parts"));
        }
    });
}

#[test]
fn lines_of_a_body_are_no_request_lines_when_the_body_begins_with_the_head() {
    let server = Server::start(&[]);
    each(|body, framing, what| {
        let (head, wire) = upload(body, framing, "");
        for cut in [1, 5, wire.len() / 2, wire.len() - 1] {
            let mut conn = server.connect();
            conn.send(&[head.as_slice(), &wire[..cut]].concat());
            pause(1);
            conn.send(&wire[cut..]);
            assert_served_and_kept(&mut conn, body, &format!("{what} cut at {cut}"));
        }
    });
}

#[test]
fn many_bodies_on_one_connection_are_all_served() {
    let server = Server::start(&[]);
    let mut conn = server.connect();
    for round in 0..20 {
        let body = format!("POST /echo#y HTTP/1.1\r\nGET {NEXT}#y HTTP/1.1\r\nround {round}\r\n");
        let (head, wire) = upload(&body, Framing::Length, "");
        conn.send(&[head, wire].concat());
        let echo = conn.read_response();
        assert_eq!((echo.status, echo.text()), (200, body));
        if echo.says_close() {
            conn.assert_closed();
            conn = server.connect();
        }
    }
}

/// What stands before a pipelined fragment, and how many answers it gets.
fn openings() -> Vec<(Vec<u8>, usize)> {
    let (head, wire) = upload("GET /x#y HTTP/1.1\r\n", Framing::Length, "");
    let (chunked_head, chunked) = upload("hello", Framing::Chunks(2), "");
    vec![
        (get("/badge/a/b.svg"), 1),
        (get("/badge/a/b.svg").repeat(3), 3),
        ([head, wire].concat(), 1),
        ([chunked_head, chunked].concat(), 1),
    ]
}

/// Reads the answers to an opening and to the fragment behind it.
fn judge_pipelined(conn: &mut Conn, answers: usize) -> Result<(), String> {
    let mut closing = false;
    for number in 0..answers {
        let answer = match conn.try_read_response(PATIENCE) {
            // A connection that was told to close may do so before all of a pipeline is answered.
            Err(NoResponse::Ended(End::Fin | End::Reset, rest)) if closing && rest.is_empty() => {
                return Ok(());
            }
            other => other.map_err(|none| format!("answer {number}: {none:?}"))?,
        };
        // What was pipelined with the fragment may be refused in its stead, but not the first.
        if number > 0 && !closing && answer.status == 400 && answer.says_close() {
            return Ok(());
        }
        if answer.status != 200 || closing {
            return Err(format!("answer {number} (closing: {closing}): {answer:?}"));
        }
        closing = answer.says_close();
    }
    match conn.try_read_response(PATIENCE) {
        Err(NoResponse::Ended(End::Fin | End::Reset, rest)) if closing && rest.is_empty() => Ok(()),
        Ok(answer) if !closing && answer.status == 400 && answer.says_close() => Ok(()),
        other => Err(format!("after {answers} answers (closing: {closing}): {other:?}")),
    }
}

#[test]
fn a_pipelined_fragment_is_never_served() {
    let server = Server::start(&[("NESSEN_LIMITS_MAX_CONNECTIONS_PER_IP", "0")]);
    let mut faults = Vec::new();
    for (opening, answers) in openings() {
        for target in ["/#x", "/badge/a/b.svg#x", "//#x", "http://nessen.test?x#c"] {
            let bytes = [opening.as_slice(), &get(target)].concat();
            for cut in 1..=bytes.len() {
                let mut conn = server.connect();
                // The end may come before the second part is sent.
                let _ = conn.try_send(&bytes[..cut]);
                if cut % 4 == 0 {
                    pause(1);
                }
                let _ = conn.try_send(&bytes[cut..]);
                if let Err(fault) = judge_pipelined(&mut conn, answers) {
                    faults.push(format!("{target} behind {answers}, cut at {cut}: {fault}"));
                    break;
                }
            }
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn a_pipelined_body_with_such_lines_is_never_refused() {
    let server = Server::start(&[("NESSEN_LIMITS_MAX_CONNECTIONS_PER_IP", "0")]);
    let mut faults = Vec::new();
    for framing in [Framing::Length, Framing::Chunks(7)] {
        let (head, wire) = upload("GET /x#y HTTP/1.1\r\n", framing, "");
        let bytes = [get("/badge/a/b.svg"), head, wire, get(NEXT)].concat();
        for cut in 1..bytes.len() {
            let mut conn = server.connect();
            let _ = conn.try_send(&bytes[..cut]);
            pause(1);
            let _ = conn.try_send(&bytes[cut..]);
            let mut closing = false;
            for number in 0..3 {
                match conn.try_read_response(PATIENCE) {
                    Ok(answer) if answer.status == 200 && !closing => closing = answer.says_close(),
                    Err(NoResponse::Ended(End::Fin | End::Reset, rest)) if closing && rest.is_empty() => {
                        break;
                    }
                    other => {
                        faults.push(format!("{framing:?}, cut at {cut}, answer {number}: {other:?}"));
                        break;
                    }
                }
            }
        }
    }
    assert!(faults.is_empty(), "{} faults, the first {}", faults.len(), faults[0]);
}

#[test]
fn a_fragment_on_a_connection_in_use_is_refused() {
    let server = Server::start(&[]);
    for target in ["/#x", "/badge/a/b.svg#x", "//#x", "/a//#x", "/?#", "http://nessen.test?x#c"] {
        let mut conn = server.connect();
        conn.assert_serves();
        // Behind a body that is read, and behind one that waits for its parts.
        let (head, wire) = upload("GET /x#y HTTP/1.1\r\n", Framing::Chunks(3), "");
        conn.send(&[head, wire].concat());
        let echo = conn.read_response();
        assert_eq!(echo.status, 200, "{target}");
        if echo.says_close() {
            conn.assert_closed();
            conn = server.connect();
        }
        conn.send(&get(target));
        assert_problem(&conn.read_response(), 400, "INVALID_PATH");
        conn.assert_closed();
    }
}

#[test]
fn a_head_without_a_fragment_is_not_taken_for_one() {
    let server = Server::start(&[]);
    let mut conn = server.connect();
    for field in ["Referer: http://a.test/x#y", "X-Line: GET /badge/a/b.svg#y HTTP/1.1", "X-#: #"] {
        let request = format!("GET /badge/a/b.svg HTTP/1.1\r\nHost: nessen.test\r\n{field}\r\n\r\n");
        for cut in 1..request.len() {
            conn.send(&request.as_bytes()[..cut]);
            conn.send(&request.as_bytes()[cut..]);
            let answer = conn.read_response();
            assert_eq!((answer.status, answer.says_close()), (200, false), "{field}, cut at {cut}");
        }
    }
    conn.assert_quiet_for(Duration::from_millis(50));
}
