//! Thousands of requests, with faults strewn in: no answer ever ends up with somebody else.
//!
//! `NESSEN_LONG=1` or `NESSEN_REQUIRE_ALL=1` makes it ten thousand.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::{NO_EJECTION, proxy, say};
use crate::support::Dice;
use crate::support::client::{Answer, Body, Client, Request};
use crate::support::client2::Client2;
use crate::support::http1::End;
use crate::support::is_long;
use crate::support::server::Server;
use crate::support::upstream::{Digest, Upstream};
use crate::support::wire::Broken;

/// Clients of each protocol.
const CLIENTS: u64 = 8;

/// What an upstream does that is well.
const WELL: [&str; 6] = ["ok", "chunked", "split", "chunked-split", "status=404", "pause=3"];

/// What it does that is not, the slow ones last.
const ILL: [&str; 41] = [
    "reset-before-head",
    "reset-in-head",
    "reset-in-body",
    "reset-in-chunk",
    "close-silent",
    "close-in-head",
    "close-in-chunk",
    "close-between-chunks",
    "close-after",
    "close-after",
    "reset-after",
    "die-on-next",
    "die-on-next",
    "garbage",
    "http09",
    "status-99",
    "status-1000",
    "chunk-size-bad",
    "chunk-size-over",
    "chunk-no-crlf",
    "chunk-extension-huge",
    "chunk-rest",
    "length-long",
    "length-short",
    "length-short",
    "length-two",
    "length-over",
    "length-and-chunked",
    "chunked-and-length",
    "te-gzip-chunked",
    "switch-unasked",
    "continue-flood",
    "header-huge",
    "header-many",
    "header-cr",
    "no-content-body",
    "not-modified-body",
    "early-close",
    "early-keep",
    "stall-head",
    "stall-body",
];

/// What became of all requests.
#[derive(Default)]
struct Tally {
    fates: Mutex<BTreeMap<String, u64>>,
    wrong: Mutex<Vec<String>>,
}

impl Tally {
    fn book(&self, request: &Request, fault: &str, answer: Result<&Answer, &Broken>) {
        let fate = judge(request, fault, answer).unwrap_or_else(|why| {
            let line = format!("{} {fault} {}: {why}", request.method, request.token());
            self.wrong.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            "wrong".to_owned()
        });
        let kind = if WELL.contains(&fault) { "well" } else { "ill" };
        let bound = if matches!(request.body, Body::None) { "free" } else { "with a body" };
        let key = format!("{kind} {bound}: {fate}");
        *self.fates.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += 1;
    }
}

/// What became of one, or what is wrong with it.
fn judge(request: &Request, fault: &str, answer: Result<&Answer, &Broken>) -> Result<String, String> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(Broken::Syntax(what)) => return Err(format!("no HTTP: {what}")),
        Err(Broken::Ended(End::Open)) => return Err("no answer, and no end".to_owned()),
        Err(why) => return Ok(format!("cut before its head: {why:?}")),
    };
    if answer.all("content-type") == ["application/problem+json"] {
        return match (answer.status, answer.code().as_str(), &answer.cut) {
            (502 | 504, code, None) if code.starts_with("UPSTREAM_") => Ok(code.to_owned()),
            (502 | 504, "", None) if request.method == "HEAD" => Ok("a refusal".to_owned()),
            _ => Err(format!("another refusal: {answer:?}")),
        };
    }
    if answer.all("x-token") != [request.token()] || format!("{answer:?}").contains("poison") {
        return Err(format!("somebody else's answer: {answer:?}"));
    }
    match &answer.cut {
        Some(Broken::Syntax(what)) => return Err(format!("crooked: {what}, {answer:?}")),
        Some(Broken::Ended(End::Open)) => return Err(format!("goes on for ever: {answer:?}")),
        Some(_) => return Ok("cut".to_owned()),
        None => {}
    }
    if WELL.contains(&fault) && request.method != "HEAD" {
        let digest = Digest::of(&request.body.bytes());
        let json = answer.json();
        let told = (&json["token"], &json["length"], &json["hash"]);
        let sent = (request.token().into(), digest.length.into(), format!("{:016x}", digest.hash).into());
        if told != (&sent.0, &sent.1, &sent.2) {
            return Err(format!("{told:?}, where {sent:?} was sent"));
        }
    }
    Ok("whole".to_owned())
}

fn next(dice: &mut Dice, client: u64, number: u64) -> (Request, &'static str) {
    let fault = match dice.below(100) {
        0..70 => WELL[dice.below(WELL.len() as u64) as usize],
        // The last two take their time.
        70..98 => ILL[dice.below(ILL.len() as u64 - 2) as usize],
        _ => ILL[ILL.len() - 1 - dice.below(2) as usize],
    };
    let method = ["GET", "GET", "POST", "PUT", "HEAD", "DELETE"][dice.below(6) as usize];
    let token = format!("{client}-{number}-{:08x}", dice.below(1 << 32));
    let body = vec![b'a' + dice.below(26) as u8; dice.below(3000) as usize];
    let body = match (method, dice.below(3)) {
        ("GET" | "HEAD" | "DELETE", _) => Body::None,
        (_, 0) => Body::Parts(body.chunks(700).map(<[u8]>::to_vec).collect(), Vec::new()),
        _ => Body::Whole(body),
    };
    (Request::get(&token, fault).method(method).body(body), fault)
}

/// A client of HTTP/1.1 on a connection that it keeps for as long as it can.
fn client1(server: &Server, tally: &Tally, mut dice: Dice, client: u64, requests: u64) {
    let mut conn: Option<Client> = None;
    for number in 0..requests {
        let (request, fault) = next(&mut dice, client, number);
        let mut open = conn.take().unwrap_or_else(|| Client::open(server.address));
        let answer = open.try_ask(&request);
        tally.book(&request, fault, answer.as_ref());
        if answer.is_ok_and(|answer| answer.cut.is_none() && !answer.says_close()) {
            conn = Some(open);
        }
    }
}

/// The same for HTTP/2, several streams at a time.
async fn client2(server: &Server, tally: &Tally, mut dice: Dice, client: u64, requests: u64) {
    let open = Client2::open(server.address).await;
    let mut number = 0;
    while number < requests {
        let batch: Vec<_> = (0..4.min(requests - number))
            .map(|_| {
                number += 1;
                let (request, fault) = next(&mut dice, client, number);
                let open = open.clone();
                tokio::spawn(async move {
                    let time = crate::support::PATIENCE;
                    let answer = tokio::time::timeout(time, open.ask(&request)).await;
                    (request, fault, answer.unwrap_or(Err(Broken::Ended(End::Open))))
                })
            })
            .collect();
        for asked in batch {
            let (request, fault, answer) = asked.await.expect("a stream's task");
            tally.book(&request, fault, answer.as_ref());
        }
    }
}

#[test]
fn no_answer_ends_up_with_somebody_else() {
    let requests: u64 = if is_long() { 10_000 } else { 1_500 };
    let each = requests / (2 * CLIENTS);
    let upstream = Upstream::start();
    let env = [
        ("NESSEN_UPSTREAM_FIRST_BYTE_TIMEOUT", "1s"),
        ("NESSEN_UPSTREAM_READ_TIMEOUT", "1s"),
        ("ACCESS_LOG", "off"),
        NO_EJECTION,
    ];
    let server = proxy(&upstream, &env);
    let tally = Tally::default();
    let mut dice = Dice::new();
    let runtime = super::runtime();
    std::thread::scope(|scope| {
        for client in 0..2 * CLIENTS {
            let (server, tally, runtime, dice) = (&server, &tally, &runtime, dice.fork());
            scope.spawn(move || {
                if client < CLIENTS {
                    client1(server, tally, dice, client, each);
                } else {
                    runtime.block_on(client2(server, tally, dice, client, each));
                }
            });
        }
    });
    let fates = tally.fates.into_inner().unwrap();
    let wrong = tally.wrong.into_inner().unwrap();
    say(&format!("{} proxied requests, {} mixed up or crooked: {fates:?}", each * 2 * CLIENTS, wrong.len()));
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
    assert_eq!(fates.values().sum::<u64>(), each * 2 * CLIENTS);
    // What is left behind on a connection is found there before anybody is sent over it.
    let dirty: Vec<_> =
        fates.keys().filter(|key| key.starts_with("well") && key.contains("INVALID")).collect();
    assert!(dirty.is_empty(), "{fates:?}");
    // Whoever did nothing wrong is served: what may be asked again is asked again. A connection that
    // dies under a POST that has been sent is the one thing nobody can make good.
    let well = |what: &str| -> u64 {
        fates.iter().filter(|(key, _)| key.starts_with(what)).map(|(_, count)| count).sum()
    };
    let (all, served) = (well("well free"), well("well free: whole"));
    let refused: Vec<_> = server
        .metrics()
        .into_iter()
        .filter(|(name, count)| name.starts_with("nessen_rejections_total") && *count > 0.0)
        .collect();
    say(&format!("refused: {refused:?}"));
    let told = format!("only {served} of {all} that could be served: {fates:?}; refused: {refused:?}");
    assert!(served * 100 >= all * 97, "{told}");
}
