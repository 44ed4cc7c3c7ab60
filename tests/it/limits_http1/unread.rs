//! Answers that come before the body, from handlers that do not look at it: the next request is
//! answered, or the client was told that there is no next one.

use std::time::Duration;

use crate::support::http1::{Conn, End, NoResponse, get};
use crate::support::server::Server;
use crate::support::{PATIENCE, pause};

const NEXT: &str = "/badge/next/one.svg";
const LENGTH: usize = 500;

/// When the body comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    WithTheHead,
    InParts,
    AfterTheAnswer,
    WithTheNextRequest,
    Never,
}

const MOMENTS: [Body; 5] =
    [Body::WithTheHead, Body::InParts, Body::AfterTheAnswer, Body::WithTheNextRequest, Body::Never];

/// A head with these framing fields, and its whole body.
fn request(target: &str, chunked: bool, fields: &str) -> (Vec<u8>, Vec<u8>) {
    let text = vec![b'a'; LENGTH];
    let (framing, body) = if chunked {
        let wire = [format!("{LENGTH:x}\r\n").as_bytes(), &text, b"\r\n0\r\n\r\n"].concat();
        ("Transfer-Encoding: chunked".to_owned(), wire)
    } else {
        (format!("Content-Length: {LENGTH}"), text)
    };
    let head = format!("POST {target} HTTP/1.1\r\nHost: nessen.test\r\n{framing}\r\n{fields}\r\n");
    (head.into_bytes(), body)
}

/// Whether the connection was closed as announced, once the client is through too.
fn ends(conn: &mut Conn) -> Result<(), String> {
    conn.half_close();
    match conn.read_to_end(PATIENCE) {
        (rest, End::Fin | End::Reset) if rest.is_empty() => Ok(()),
        other => Err(format!("announced to close, then {other:?}")),
    }
}

/// Sends what is left, asks for something else, and reads it.
fn goes_on(conn: &mut Conn, left: &[&[u8]]) -> Result<(), String> {
    for part in left {
        conn.try_send(part).map_err(|error| format!("kept, but not open: {error}"))?;
        pause(2);
    }
    for round in 0..2 {
        let sent = conn.try_send(&get(NEXT));
        match conn.try_read_response(PATIENCE) {
            Ok(next) if next.status == 200 && next.text().contains("next") => {}
            other => return Err(format!("kept, then request {round} ({sent:?}): {other:?}")),
        }
    }
    Ok(())
}

fn judge(server: &Server, target: &str, status: u16, chunked: bool, moment: Body) -> Result<(), String> {
    let (head, body) = request(target, chunked, "");
    let mut conn = server.connect();
    match moment {
        Body::WithTheHead => conn.send(&[head, body.clone()].concat()),
        Body::InParts => {
            conn.send(&[head.as_slice(), &body[..100]].concat());
            pause(2);
            // It may be told already that nobody wants the rest.
            let _ = conn.try_send(&body[100..]);
        }
        _ => conn.send(&head),
    }
    let answer = conn.try_read_response(PATIENCE).map_err(|none| format!("no answer: {none:?}"))?;
    if answer.status != status {
        return Err(format!("answered {answer:?}"));
    }
    if answer.says_close() {
        return ends(&mut conn);
    }
    match moment {
        Body::WithTheHead | Body::InParts => goes_on(&mut conn, &[]),
        Body::AfterTheAnswer => goes_on(&mut conn, &[&body[..200], &body[200..]]),
        Body::WithTheNextRequest => goes_on(&mut conn, &[&[body, get(NEXT)].concat()]),
        // The rest may still come: it is waited for, as long as for any body.
        Body::Never => match conn.read_to_end(Duration::from_millis(300)) {
            (rest, End::Open) if rest.is_empty() => goes_on(&mut conn, &[&body]),
            other => Err(format!("not announced: {other:?}")),
        },
    }
}

#[test]
fn a_body_that_nobody_reads_ends_no_connection_without_a_word() {
    let server = Server::start(&[]);
    let mut faults = Vec::new();
    for (target, status) in [("/nope", 404), ("/", 405), ("/badge/a/b.svg", 405)] {
        for chunked in [false, true] {
            for moment in MOMENTS {
                for _ in 0..3 {
                    if let Err(fault) = judge(&server, target, status, chunked, moment) {
                        faults.push(format!("{target}, chunked {chunked}, body {moment:?}: {fault}"));
                        break;
                    }
                }
            }
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn a_client_that_asks_first_and_is_not_wanted_knows_where_it_stands() {
    let server = Server::start(&[]);
    for (target, status) in [("/nope", 404), ("/", 405)] {
        for chunked in [false, true] {
            let (head, body) = request(target, chunked, "Expect: 100-continue\r\n");
            let mut conn = server.connect();
            conn.send(&head);
            let answer = conn.read_response();
            assert_eq!(answer.status, status, "{target}: {answer:?}");
            // Kept, the connection can only wait for the body: without it, two readings of what
            // comes next are possible (RFC 9110 section 10.1.1).
            let outcome = if answer.says_close() { ends(&mut conn) } else { goes_on(&mut conn, &[&body]) };
            assert_eq!(outcome, Ok(()), "{target}, chunked {chunked}");
        }
    }
}

#[test]
fn a_body_that_nobody_reads_is_never_a_request() {
    let server = Server::start(&[]);
    let smuggled = get("/badge/smuggled/in.svg");
    for target in ["/nope", "/"] {
        for pause_between in [false, true] {
            let head = format!(
                "POST {target} HTTP/1.1\r\nHost: nessen.test\r\nContent-Length: {}\r\n\r\n",
                smuggled.len()
            );
            let mut conn = server.connect();
            conn.send(head.as_bytes());
            let first = conn.read_response();
            if pause_between {
                pause(5);
            }
            let _ = conn.try_send(&smuggled);
            let _ = conn.try_send(&get(NEXT));
            match conn.try_read_response(PATIENCE) {
                Ok(next) => assert!(
                    !first.says_close() && next.status == 200 && next.text().contains("next"),
                    "{target}: {next:?}"
                ),
                Err(NoResponse::Ended(End::Fin | End::Reset, _)) => assert!(first.says_close(), "{target}"),
                Err(none) => panic!("{target}: {none:?}"),
            }
        }
    }
}
