//! For random valid requests, what the upstream parses is what the client sent, less the rules.
//!
//! The seed is printed; `NESSEN_SEED` throws the same requests again.

use std::collections::{BTreeMap, BTreeSet};

use super::{NO_EJECTION, proxy, say};
use crate::support::Dice;
use crate::support::client::{Answer, Body, Client, Request};
use crate::support::client2::Client2;
use crate::support::is_long;
use crate::support::upstream::{Digest, Seen, Upstream};
use crate::support::wire::{Fields, Framing};

/// What the proxy writes itself, or keeps for its own connection.
const OURS: [&str; 14] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "te",
    "trailer",
    "via",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-real-ip",
    "x-request-id",
    "x-fault",
];

fn pick<'a>(dice: &mut Dice, from: &[&'a str]) -> &'a str {
    from[dice.below(from.len() as u64) as usize]
}

fn letters(dice: &mut Dice, of: &[u8], most: u64) -> String {
    (0..dice.below(most + 1)).map(|_| char::from(of[dice.below(of.len() as u64) as usize])).collect()
}

/// A path and a query of characters that may stand there (RFC 3986 section 3.3).
fn target(dice: &mut Dice) -> String {
    const PLAIN: &[u8] = b"abcXYZ019-._~!$&'()*+,;=:@";
    // But for a NUL, which is not passed on.
    let part = |dice: &mut Dice, further: &[&str]| match dice.below(5) {
        0 => format!("%{:02X}", 1 + dice.below(255)),
        1 => format!("%{:02x}", 1 + dice.below(255)),
        2 if !further.is_empty() => pick(dice, further).to_owned(),
        _ => letters(dice, PLAIN, 6),
    };
    let mut target = String::from("/");
    for _ in 0..dice.below(8) {
        // Not as a dot alone or two: those are no names but ways.
        target += &part(dice, &[]).replace('.', "");
        target += pick(dice, &["", "/", "//"]);
    }
    if dice.below(2) == 0 {
        target.push('?');
        for _ in 0..dice.below(6) {
            target += &part(dice, &["?", "/", "&&", "=", "/../"]);
        }
    }
    target
}

/// Names that mean nothing to anybody, and some that do.
fn field_name(dice: &mut Dice) -> String {
    const TOKEN: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^`|~";
    match dice.below(4) {
        0 => pick(
            dice,
            &[
                "Accept",
                "User-Agent",
                "Cookie",
                "Authorization",
                "Referer",
                "Origin",
                "Range",
                "If-None-Match",
                "Content-Type",
                "Content-Encoding",
                "Cache-Control",
                "Accept-Encoding",
                "Pragma",
                "Warning",
            ],
        )
        .to_owned(),
        1 => format!("X-{}", pick(dice, &["One", "Two", "Three"])),
        _ => format!("q{}", letters(dice, TOKEN, 30)),
    }
}

fn field_value(dice: &mut Dice) -> String {
    let most = if dice.below(20) == 0 { 2000 } else { 40 };
    let value: String = (0..dice.below(most + 1))
        .map(|_| match dice.below(12) {
            0 => '\t',
            1 => ' ',
            // Bytes that are no ASCII and no UTF-8 either.
            2 => char::from(0x80 + dice.below(128) as u8),
            _ => char::from(0x21 + dice.below(94) as u8),
        })
        .collect();
    value.trim_matches([' ', '\t']).to_owned()
}

fn request(dice: &mut Dice, token: &str) -> Request {
    let method = pick(dice, &["GET", "GET", "HEAD", "POST", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);
    let mut request = Request::new(method, &target(dice)).field("X-Token", token);
    request.host =
        pick(dice, &["nessen.test", "a.b-c.example:8080", "127.0.0.1", "[::1]:3000", "X.test"]).to_owned();
    // Fields of which there is one at most come once.
    let mut single = BTreeSet::new();
    for _ in 0..dice.below(40) {
        let name = field_name(dice);
        let many = name.starts_with("X-") || name.starts_with('q') || name == "Accept";
        if many || single.insert(name.clone()) {
            let value = field_value(dice);
            request = request.field(&name, &value);
        }
    }
    let length = match dice.below(8) {
        0 => 0,
        1 => dice.below(200_000),
        _ => dice.below(3000),
    };
    let body: Vec<u8> = (0..length).map(|_| dice.below(256) as u8).collect();
    let body = match (method, dice.below(4)) {
        ("GET" | "HEAD" | "DELETE" | "OPTIONS", 0..3) => Body::None,
        (_, 0) => Body::None,
        (_, 1) => Body::Whole(body),
        _ => Body::Parts(cut(dice, &body), Vec::new()),
    };
    request.body(body)
}

fn cut(dice: &mut Dice, body: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = body;
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let most = [1, 20, 5000, 100_000][dice.below(4) as usize];
        let (part, other) = rest.split_at(rest.len().min(1 + dice.below(most) as usize));
        parts.push(part.to_vec());
        rest = other;
    }
    parts
}

/// Values by name, less those that are ours; the order of a name's own values counts.
fn book(fields: &Fields) -> BTreeMap<String, Vec<String>> {
    let mut book = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in fields {
        let name = name.to_ascii_lowercase();
        if !OURS.contains(&name.as_str()) {
            book.entry(name).or_default().push(value.clone());
        }
    }
    book
}

fn compare(sent: &Request, seen: &Seen) -> Result<(), String> {
    let same = |what: &str, sent: &dyn std::fmt::Debug, seen: &dyn std::fmt::Debug| {
        let (sent, seen) = (format!("{sent:?}"), format!("{seen:?}"));
        if sent == seen { Ok(()) } else { Err(format!("{what}: sent {sent}, seen {seen}")) }
    };
    same("the method", &sent.method, &seen.method)?;
    same("the target", &sent.target, &seen.target)?;
    same("the host", &vec![sent.host.as_str()], &seen.all("host"))?;
    let (ours, theirs) = (book(&sent.fields), book(&seen.fields));
    for name in ours.keys().chain(theirs.keys()) {
        same(name, &ours.get(name), &theirs.get(name))?;
    }
    same("the body", &Digest::of(&sent.body.bytes()), &seen.body)?;
    match &sent.body {
        // A method that expects a body may be told that there is none.
        Body::None if seen.framing == Framing::Length(0) => Ok(()),
        Body::None => same("the framing", &Framing::None, &seen.framing),
        Body::Whole(body) => same("the framing", &Framing::Length(body.len() as u64), &seen.framing),
        Body::Parts(parts, _) if parts.is_empty() => Ok(()),
        Body::Parts(..) => Ok(()),
    }
}

#[test]
fn what_the_upstream_parses_is_what_the_client_sent() {
    let upstream = Upstream::start();
    let env = [("MAX_HEADER_SIZE", "64KiB"), ("ACCESS_LOG", "off"), NO_EJECTION];
    let server = proxy(&upstream, &env);
    let mut dice = Dice::new();
    let requests = if is_long() { 3000 } else { 600 };
    let runtime = super::runtime();
    let mut client = Client::open(server.address);
    let client2 = runtime.block_on(Client2::open(server.address));
    let mut wrong = Vec::new();
    for number in 0..requests {
        let token = format!("p{number}");
        let mut request = request(&mut dice, &token);
        let over = if number % 3 == 0 { "HTTP/2" } else { "HTTP/1.1" };
        let answer = if over == "HTTP/2" {
            request.host.make_ascii_lowercase();
            runtime.block_on(client2.ask(&request))
        } else {
            client.try_ask(&request)
        };
        if answer.as_ref().is_ok_and(Answer::says_close) {
            client = Client::open(server.address);
        }
        let seen = upstream.seen_last(&token);
        let verdict = match (&answer, seen) {
            (Ok(answer), Some(seen)) if answer.status == 200 && answer.cut.is_none() => {
                if answer.all("x-token") == [token.as_str()] {
                    compare(&request, &seen)
                } else {
                    Err(format!("{answer:?}"))
                }
            }
            (answer, _) => Err(format!("{answer:?}")),
        };
        if let Err(why) = verdict {
            let mut shown =
                format!("{over} {} {}: {why}, of {:?}", request.method, request.target, request.fields);
            shown.truncate(shown.floor_char_boundary(3000));
            wrong.push(shown);
            client = Client::open(server.address);
        }
    }
    say(&format!("{requests} random requests, {} arrived otherwise", wrong.len()));
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong[..wrong.len().min(8)].join("\n\n"));
}
