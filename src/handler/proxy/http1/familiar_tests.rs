use bytes::BytesMut;
use http::Method;

use super::*;
use crate::handler::proxy::http1::head::{Head, Invalid, parse};

const FIRST: &str = "HTTP/1.1 200 OK\r\nServer: a b\r\nContent-Length: 5\r\nX-Id:  0f3a\r\nSet-Cookie: a=b; c\r\n\
    Connection: keep-alive\r\nX-Last: \r\nDate: Mon, 30 Nov 2026 11:00:00 GMT\r\n\r\n";

/// All that is understood of a head, in its order, and what is left of the input.
fn told(read: Result<Option<Head>, Invalid>, rest: &[u8]) -> String {
    let fields = |head: &Head| head.fields.iter().map(|(n, v)| format!("{n}: {v:?}")).collect::<Vec<_>>();
    match read {
        Ok(Some(head)) => {
            let rest = String::from_utf8_lossy(rest);
            format!(
                "{:?} {:?} {:?} {} {:?} {rest:?}",
                head.status,
                head.version,
                head.body,
                head.keep,
                fields(&head)
            )
        }
        Ok(None) => "not whole".to_owned(),
        Err(why) => format!("{why:?}"),
    }
}

/// What is made of a head by one who knows `first`, and by one who knows nothing; and whether the former
/// recognized it.
fn both(first: &[u8], second: &[u8], method: &Method) -> (String, String, bool) {
    let mut familiar = Familiar::default();
    let _ = parse(&mut BytesMut::from(first), &Method::GET, &mut familiar);
    let recognized = familiar.last.as_ref().is_some_and(|last| last.read(second).is_some());
    let (mut one, mut other) = (BytesMut::from(second), BytesMut::from(second));
    let knows = parse(&mut one, method, &mut familiar);
    let fresh = parse(&mut other, method, &mut Familiar::default());
    (told(knows, &one), told(fresh, &other), recognized)
}

#[test]
fn a_head_with_other_values_is_recognized() {
    for (from, to) in [
        ("", ""),
        ("0f3a", "77"),
        ("11:00:00", "11:00:01"),
        ("Length: 5", "Length: 1234"),
        ("X-Last: \r\n", "X-Last: c\r\n"),
        ("a b", "a  \"c\" d"),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let second = FIRST.replacen(from, to, 1) + "more";
            let (knows, fresh, recognized) = both(FIRST.as_bytes(), second.as_bytes(), &method);
            assert_eq!(knows, fresh);
            assert!(recognized && knows.starts_with("200") && knows.ends_with("\"more\""), "{knows}");
        }
    }
}

#[test]
fn what_differs_otherwise_is_for_the_parser() {
    for (from, to) in [
        ("200 OK", "204 OK"),
        ("keep-alive", "close"),
        ("Server", "server"),
        ("Server: a b\r\n", ""),
        ("X-Id", "X-Jd"),
        ("0f3a", "0f3a "),
        ("0f3a", "\u{e9}"),
        ("0f3a", "0f\t3a"),
        ("0f3a\r\n", "0f3b\n"),
        ("0f3a\r\n", "0f3b\r\n b\r\n"),
        ("0f3a\r\n", "0f3a\r\n b\r\n"),
        ("0f3a\r\n", "0f3b\rc\r\n"),
        ("GMT\r\n", "GMT\r\nContent-Length: 6\r\n"),
        ("\r\n\r\n", "\n\n"),
        ("Length: 5", "Length: 5x"),
        ("Length: 5", "Length: 5, 6"),
    ] {
        let second = FIRST.replacen(from, to, 1);
        let (knows, fresh, recognized) = both(FIRST.as_bytes(), second.as_bytes(), &Method::GET);
        assert_eq!(knows, fresh, "{from:?} as {to:?}");
        assert!(!recognized, "{from:?} as {to:?}");
    }
}

#[test]
fn a_long_head_is_not_remembered() {
    for (length, expected) in [(100, true), (4096, false)] {
        let mut familiar = Familiar::default();
        let text = format!("HTTP/1.1 200 OK\r\nSet-Cookie: {}\r\n\r\n", "a".repeat(length));
        let _ = parse(&mut BytesMut::from(&*text), &Method::GET, &mut familiar).unwrap().unwrap();
        assert_eq!(familiar.last.is_some(), expected, "{length}");
    }
}

/// Every byte of a head replaced, left out, or doubled, and the head cut there: what is made of it does not
/// depend on what came before.
#[test]
fn whatever_is_recognized_is_what_the_parser_makes_of_it() {
    let bytes = b"\r\n :;,\t\0\x7f\x80Aa05-_";
    let firsts =
        [FIRST.to_owned(), FIRST.replace("\r\n", "\n"), FIRST.replace("Connection: keep-alive\r\n", "")];
    for first in firsts {
        let text = first.as_bytes();
        let mut recognized = 0;
        for at in 0..text.len() {
            let (before, after) = text.split_at(at);
            let mut seconds = vec![before.to_vec(), [before, &after[1..]].concat()];
            for byte in bytes {
                seconds.push([before, &[*byte], &after[1..]].concat());
                seconds.push([before, &[*byte], after].concat());
                seconds.push([before, &[*byte, *byte], after].concat());
            }
            for second in seconds {
                let (knows, fresh, seen) = both(text, &second, &Method::GET);
                assert_eq!(knows, fresh, "{:?}", String::from_utf8_lossy(&second));
                recognized += usize::from(seen);
            }
        }
        assert!(recognized > 50, "{recognized}");
    }
}

#[test]
fn fields_of_one_name_are_not_remembered_and_strange_heads_not_each_time() {
    let mut familiar = Familiar::default();
    let mut read = |text: &str| {
        let _ = parse(&mut BytesMut::from(text), &Method::GET, &mut familiar).unwrap().unwrap();
        familiar.last.as_ref().map(|last| last.text.len())
    };
    assert_eq!(read("HTTP/1.1 200 OK\r\nA: b\r\nA: c\r\n\r\n"), None);
    assert_eq!(read("HTTP/1.1 200 OK\r\n\r\n"), None);
    let remembered: Vec<_> =
        (0..64).map(|number| read(&format!("HTTP/1.1 200 OK\r\nA{number}: b\r\n\r\n"))).collect();
    assert!(remembered[0].is_some() && remembered[20] == remembered[21]);
    let changes = remembered.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(changes <= 2, "{remembered:?}");
    // Recognized once, it is worth remembering again.
    let familiar_one = "HTTP/1.1 200 OK\r\nA1: b\r\n\r\n";
    for _ in 0..ONE_IN + 1 {
        read(familiar_one);
    }
    assert_eq!(familiar.strange, 0);
}
