//! What an upstream does with a request: `x-fault` names it, well-behaved or broken.

use std::time::Duration;

use super::faults::{Step, fault, head};
use super::seen::Seen;

/// The length of the pattern that big bodies are made of; no power of two, so that a part that is
/// left out or comes twice is seen.
const PERIOD: usize = 251;

/// Bytes of the pattern from the first.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % PERIOD) as u8).collect()
}

/// Follows a body that should be the pattern.
#[derive(Debug)]
pub(crate) struct Follow {
    pattern: Vec<u8>,
    /// Bytes so far.
    pub(crate) length: u64,
    /// Whether each of them was right.
    pub(crate) right: bool,
}

impl Follow {
    /// From its beginning.
    pub(crate) fn new() -> Self {
        Self { pattern: pattern((64 << 10) + PERIOD), length: 0, right: true }
    }

    /// Takes the next bytes.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(64 << 10) {
            let from = (self.length % PERIOD as u64) as usize;
            self.right &= self.pattern[from..from + part.len()] == *part;
            self.length += part.len() as u64;
        }
    }
}

/// What `x-fault` asks for, and its argument.
pub(super) fn order(request: &Seen) -> (String, String) {
    let order = request.all("x-fault").first().map_or(request.unasked.clone(), |order| (*order).to_owned());
    let order = if order.is_empty() { "ok".to_owned() } else { order };
    match order.split_once('=') {
        Some((name, argument)) => (name.to_owned(), argument.to_owned()),
        None => (order, String::new()),
    }
}

/// What is done before the body is read, where that is the point of it.
pub(super) fn before_body(request: &Seen) -> Option<Vec<Step>> {
    let (name, _) = order(request);
    let early = name.starts_with("early-") || name == "refuse-expect";
    early.then(|| fault(&name, request)).flatten()
}

/// What is done once the request is read.
pub(super) fn after_body(request: &Seen, upstream: &str) -> Vec<Step> {
    let (name, argument) = order(request);
    let token = request.token();
    let number = || argument.parse::<u64>().expect("x-fault has a number");
    let json = ascii(&request.json(upstream).to_string());
    let describe = format!("Content-Type: application/json\r\nX-Upstream: {upstream}\r\n");
    let length = format!("Content-Length: {}\r\n", json.len());
    let body = if request.method == "HEAD" { "" } else { json.as_str() };
    let whole = |status: &str, lines: &str| {
        super::super::wire::bytes(&(head(status, token, &format!("{describe}{lines}{length}")) + body))
    };
    let send = |text: String| Step::Send(super::super::wire::bytes(&text));
    let ok = || Step::Send(whole("200 OK", ""));
    match name.as_str() {
        "ok" | "late-continue" | "no-continue" => vec![ok()],
        "gate" => vec![Step::Gate, ok()],
        "pause" => vec![Step::Pause(number()), ok()],
        "status" => vec![Step::Send(whole(&format!("{argument} Some"), ""))],
        "split" => vec![Step::Trickle(whole("200 OK", ""), 0)],
        "dribble" => vec![Step::Trickle(whole("200 OK", ""), number())],
        "continue-first" => vec![send("HTTP/1.1 100 Continue\r\n\r\n".to_owned()), ok()],
        "hints-first" => {
            let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nX-Token: hints\r\n\r\n";
            vec![send(hints.to_owned()), ok()]
        }
        // Field lines of the test's own: `|` between them.
        "fields" => {
            let lines = argument.split('|').fold(String::new(), |lines, line| lines + line + "\r\n");
            vec![Step::Send(whole("200 OK", &lines))]
        }
        "header-many" => {
            let lines = (0..200).fold(String::new(), |lines, at| lines + &format!("X-Many-{at}: {at}\r\n"));
            vec![Step::Send(whole("200 OK", &lines))]
        }
        "chunked" => {
            let head = head("200 OK", token, &format!("{describe}Transfer-Encoding: chunked\r\n"));
            let mut steps = vec![send(head)];
            let chunks = body.as_bytes().chunks(20);
            steps.extend(chunks.map(|chunk| {
                Step::Send([format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat())
            }));
            if !body.is_empty() {
                steps.push(send("0\r\n\r\n".to_owned()));
            }
            steps
        }
        "chunked-split" => {
            let lines = format!("{describe}Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n");
            let mut text = head("200 OK", token, &lines);
            if !body.is_empty() {
                text += &format!("{:X};e=f\r\n{body}\r\n0\r\nX-Sum: 7\r\n\r\n", body.len());
            }
            vec![Step::Trickle(super::super::wire::bytes(&text), 0)]
        }
        "trailers" => {
            let lines =
                "Trailer: X-Sum, Content-Length, Host, Authorization\r\nTransfer-Encoding: chunked\r\n";
            let trailers = "X-Sum: 7\r\nContent-Length: 3\r\nTransfer-Encoding: gzip\r\nHost: poison\r\n\
                            Authorization: poison\r\nSet-Cookie: poison=1\r\n\
                            Connection: close\r\nX-Forwarded-For: 6.6.6.6\r\n";
            vec![send(head("200 OK", token, lines) + "2\r\nok\r\n0\r\n" + trailers + "\r\n")]
        }
        "until-close" => {
            vec![Step::Send(whole_until_close("HTTP/1.1", token, &json)), Step::Close]
        }
        "http10" => vec![Step::Send(whole_until_close("HTTP/1.0", token, &json)), Step::Close],
        "empty" => vec![send(head("200 OK", token, "Content-Length: 0\r\n"))],
        "no-content" => vec![send(head("204 No Content", token, ""))],
        "not-modified" => vec![send(head("304 Not Modified", token, "ETag: \"a\"\r\n"))],
        "download" => vec![
            send(head("200 OK", token, &format!("Content-Length: {argument}\r\n"))),
            Step::Pattern(number(), false),
        ],
        "download-chunked" => {
            vec![send(head("200 OK", token, "Transfer-Encoding: chunked\r\n")), Step::Pattern(number(), true)]
        }
        "events" => vec![
            send(head("200 OK", token, "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n")),
            Step::Pushed,
        ],
        // The accept value is that of the key in RFC 6455 section 1.3.
        "upgrade" if request.all("upgrade").iter().all(|asked| !asked.starts_with("websocket")) => {
            vec![send(head("400 Bad Request", token, "Content-Length: 0\r\n"))]
        }
        "upgrade" | "upgrade-deaf" => {
            let then = if name == "upgrade" { Step::Echo } else { Step::Talk };
            let lines = format!(
                "X-Upstream: {upstream}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
            );
            vec![send(head("101 Switching Protocols", token, &lines)), then]
        }
        other => fault(other, request).unwrap_or_else(|| panic!("no such fault: {other}")),
    }
}

/// JSON with everything that is not ASCII escaped: a character is a byte then.
fn ascii(json: &str) -> String {
    let escape = |letter: char| match letter {
        letter if letter.is_ascii() => letter.to_string(),
        letter => format!("\\u{:04x}", u32::from(letter)),
    };
    json.chars().map(escape).collect()
}

fn whole_until_close(version: &str, token: &str, json: &str) -> Vec<u8> {
    let text = head("200 OK", token, "Content-Type: application/json\r\n") + json;
    super::super::wire::bytes(&text.replace("HTTP/1.1", version))
}

/// How long a step may wait for the test.
pub(super) const LONGEST: Duration = Duration::from_secs(60);
