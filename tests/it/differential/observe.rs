//! One request on a connection of its own, with two more right behind it, and all that comes back.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::support::http1::End;
use crate::support::wire::latin1;

/// Longer than any time-out of who is asked: nobody may wait for more than was said.
const LONGEST: Duration = Duration::from_secs(8);

/// A request that nobody may take for a part of another, and one that ends the connection.
pub(super) fn canaries(number: usize) -> String {
    let get = |what: &str, fields: &str| {
        format!(
            "GET /{what}/{number} HTTP/1.1\r\nHost: nessen.test\r\nX-Token: {what}-{number}\r\n{fields}\r\n"
        )
    };
    get("canary", "") + &get("last", "Connection: close\r\n")
}

/// One answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    fields: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// The first field of this name; empty where there is none.
    pub(super) fn field(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value.as_str())
    }

    /// The code of a refusal of the server under test; empty where it is none.
    pub(super) fn code(&self) -> String {
        let problem = serde_json::from_slice::<serde_json::Value>(&self.body).unwrap_or_default();
        problem["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// Everything that came back on a connection.
#[derive(Debug)]
pub(super) struct Observed {
    /// The answers, without interim ones.
    pub(super) answers: Vec<Answer>,
    /// What is behind them and is none.
    pub(super) rest: String,
    pub(super) end: End,
}

/// Sends a request and the canaries, and reads until the connection ends.
pub(super) fn observe(address: SocketAddr, number: usize, raw: &[u8]) -> Observed {
    let observed = (0..20).find_map(|_| observe_once(address, number, raw));
    observed.expect("this machine needs 200 ms for two writes, twenty times in a row")
}

/// The same, or nothing where the two parts were so far apart that there may have been a time-out.
fn observe_once(address: SocketAddr, number: usize, raw: &[u8]) -> Option<Observed> {
    let bytes = [raw, canaries(number).as_bytes()].concat();
    let began = Instant::now();
    let mut stream = TcpStream::connect(address).expect("a connection");
    let _ = (stream.set_nodelay(true), stream.set_write_timeout(Some(LONGEST)));
    // In two parts now and then: what is read at once may be read otherwise than what comes apart.
    let cut = if number.is_multiple_of(3) { number * 31 % bytes.len() } else { 0 };
    // Whoever refuses may not want the rest.
    let _ = stream.write_all(&bytes[..cut]);
    if cut > 0 {
        crate::support::pause(1);
    }
    let _ = stream.write_all(&bytes[cut..]);
    let late = began.elapsed() > Duration::from_millis(200);
    let (text, end) = read_to_end(&mut stream);
    let _ = stream.shutdown(Shutdown::Both);
    let (answers, rest) = parse(&text);
    (!late).then(|| Observed { answers, rest: latin1(rest), end })
}

fn read_to_end(stream: &mut TcpStream) -> (Vec<u8>, End) {
    let (mut text, mut part) = (Vec::new(), [0; 16 << 10]);
    let deadline = Instant::now() + LONGEST;
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let _ = stream.set_read_timeout(Some(left));
        match stream.read(&mut part) {
            Ok(0) => return (text, End::Fin),
            Ok(count) => text.extend_from_slice(&part[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return (text, End::Open);
            }
            Err(_) => return (text, End::Reset),
        }
    }
}

/// The answers in what came, and what is left where one is none, or not whole.
fn parse(text: &[u8]) -> (Vec<Answer>, &[u8]) {
    let (mut answers, mut rest) = (Vec::new(), text);
    while let Some((answer, behind)) = parse_one(rest) {
        if answer.status >= 200 {
            answers.push(answer);
        }
        rest = behind;
    }
    (answers, rest)
}

fn parse_one(text: &[u8]) -> Option<(Answer, &[u8])> {
    let end = find(text, b"\r\n\r\n")?;
    let head = latin1(&text[..end]);
    let behind = &text[end + 4..];
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    let field =
        |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    let fields = lines.map(field).collect::<Option<Vec<_>>>()?;
    let mut answer = Answer { status, fields, body: Vec::new() };
    // An answer to HEAD says how long it would be. No body of an answer looks like another answer.
    let bodiless =
        status < 200 || matches!(status, 204 | 304) || behind.is_empty() || behind.starts_with(b"HTTP/1.");
    if bodiless {
        return Some((answer, behind));
    }
    if answer.field("transfer-encoding").eq_ignore_ascii_case("chunked") {
        let (body, behind) = unchunk(behind)?;
        answer.body = body;
        return Some((answer, behind));
    }
    let length = match answer.field("content-length") {
        "" => behind.len(),
        length => length.parse().ok()?,
    };
    answer.body = behind.get(..length)?.to_vec();
    Some((answer, &behind[length..]))
}

fn unchunk(mut text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut body = Vec::new();
    loop {
        let end = find(text, b"\r\n")?;
        let size = usize::from_str_radix(latin1(&text[..end]).split(';').next()?.trim(), 16).ok()?;
        text = &text[end + 2..];
        if size == 0 {
            return Some((body, text.strip_prefix(b"\r\n")?));
        }
        body.extend_from_slice(text.get(..size)?);
        text = text[size..].strip_prefix(b"\r\n")?;
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}
