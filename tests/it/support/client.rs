//! A client that says what it asks, whatever the protocol, and an HTTP/1.1 connection that reads
//! answers strictly, down to how they end.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use super::PATIENCE;
use super::http1::End;
use super::wire::{Broken, Fields, Framing, Wire, bytes, framing, latin1, values};

/// The body of a request.
#[derive(Debug, Clone, Default)]
pub(crate) enum Body {
    /// There is none, and nothing says so.
    #[default]
    None,
    /// With its length.
    Whole(Vec<u8>),
    /// In parts, and trailers after them.
    Parts(Vec<Vec<u8>>, Fields),
}

impl Body {
    /// All of its bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::Whole(bytes) => bytes.clone(),
            Self::Parts(parts, _) => parts.concat(),
        }
    }
}

/// A request. Text is Latin-1.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Its method.
    pub(crate) method: String,
    /// Its target in origin form.
    pub(crate) target: String,
    /// Its authority.
    pub(crate) host: String,
    /// Its further fields.
    pub(crate) fields: Fields,
    /// Its body.
    pub(crate) body: Body,
}

impl Request {
    /// Without fields or body.
    pub(crate) fn new(method: &str, target: &str) -> Self {
        let (method, target, host) = (method.to_owned(), target.to_owned(), "nessen.test".to_owned());
        Self { method, target, host, fields: Vec::new(), body: Body::None }
    }

    /// A GET with this token, for an upstream that is to do this.
    pub(crate) fn get(token: &str, fault: &str) -> Self {
        Self::new("GET", "/").field("X-Token", token).field("X-Fault", fault)
    }

    /// The same as a POST of these bytes.
    pub(crate) fn post(token: &str, fault: &str, body: &[u8]) -> Self {
        let get = Self::get(token, fault);
        Self { method: "POST".to_owned(), body: Body::Whole(body.to_vec()), ..get }
    }

    /// The same with another method.
    pub(crate) fn method(self, method: &str) -> Self {
        Self { method: method.to_owned(), ..self }
    }

    /// The same with a further field.
    pub(crate) fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with this body.
    pub(crate) fn body(self, body: Body) -> Self {
        Self { body, ..self }
    }

    /// The word that tells it from all others.
    pub(crate) fn token(&self) -> &str {
        values(&self.fields, "x-token").first().copied().unwrap_or_default()
    }

    /// Its head, in HTTP/1.1.
    pub(crate) fn head_bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.target, self.host);
        for (name, value) in &self.fields {
            text += &format!("{name}: {value}\r\n");
        }
        match &self.body {
            Body::None => {}
            Body::Whole(body) => text += &format!("Content-Length: {}\r\n", body.len()),
            Body::Parts(..) => text += "Transfer-Encoding: chunked\r\n",
        }
        bytes(&(text + "\r\n"))
    }

    /// All of it, in HTTP/1.1.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut all = self.head_bytes();
        match &self.body {
            Body::None => {}
            Body::Whole(body) => all.extend_from_slice(body),
            Body::Parts(parts, trailers) => {
                for part in parts.iter().filter(|part| !part.is_empty()) {
                    all.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
                    all.extend_from_slice(part);
                    all.extend_from_slice(b"\r\n");
                }
                all.extend_from_slice(b"0\r\n");
                for (name, value) in trailers {
                    all.extend(bytes(&format!("{name}: {value}\r\n")));
                }
                all.extend_from_slice(b"\r\n");
            }
        }
        all
    }
}

/// An answer, as far as it came.
#[derive(Clone)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: u16,
    /// Its fields in order.
    pub(crate) fields: Fields,
    /// How its end is known.
    pub(crate) framing: Framing,
    /// Its body.
    pub(crate) body: Vec<u8>,
    /// Its trailers.
    pub(crate) trailers: Fields,
    /// Interim answers before it.
    pub(crate) interim: Vec<u16>,
    /// Why it is not whole.
    pub(crate) cut: Option<Broken>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text: String = latin1(&self.body).chars().take(400).collect();
        write!(f, "{} {:?} {text:?}", self.status, self.fields)?;
        write!(f, " trailers {:?} interim {:?} cut {:?}", self.trailers, self.interim, self.cut)
    }
}

impl Answer {
    /// The values of a field, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        values(&self.fields, name)
    }

    /// The value of a field that comes once at most.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} comes more than once: {all:?}");
        all.first().copied()
    }

    /// Whether the connection is said to close.
    pub(crate) fn says_close(&self) -> bool {
        let tokens = self.all("connection").join(",").to_ascii_lowercase();
        tokens.split(',').any(|token| token.trim() == "close")
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// The code of a refusal; empty where it is none.
    pub(crate) fn code(&self) -> String {
        let problem = serde_json::from_slice::<serde_json::Value>(&self.body).unwrap_or_default();
        problem["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Fails unless it is whole, has this status, and is the upstream's answer to this token.
    #[track_caller]
    pub(crate) fn assert_answers(&self, status: u16, token: &str) {
        let got = (self.status, self.field("x-token"), &self.cut);
        assert_eq!(got, (status, Some(token), &None), "{self:?}");
    }

    /// Fails unless it is the upstream's answer to this token, whole or not.
    #[track_caller]
    pub(crate) fn assert_answers_to(&self, token: &str) {
        assert_eq!(self.field("x-token"), Some(token), "{self:?}");
    }

    /// Fails unless it is the server's own refusal, whole.
    #[track_caller]
    pub(crate) fn assert_refusal(&self, status: u16, code: &str) {
        let got = (self.status, self.code(), &self.cut);
        assert_eq!(got, (status, code.to_owned(), &None), "{self:?}");
        super::problem::assert_document(&self.body, status, code);
    }
}

/// One HTTP/1.1 connection.
pub(crate) struct Client {
    wire: Wire,
}

impl Client {
    /// Connects.
    #[track_caller]
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("a connection");
        Self { wire: Wire::new(Arc::new(stream)) }
    }

    /// The bytes below.
    pub(crate) fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// The socket, for a thread that writes while this one reads.
    pub(crate) fn socket(&self) -> Arc<TcpStream> {
        self.wire.socket().clone()
    }

    /// Sends all of it.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.wire.write(bytes).expect("the server takes the bytes");
    }

    /// Sends a request, and waits for its answer.
    #[track_caller]
    pub(crate) fn ask(&mut self, request: &Request) -> Answer {
        self.try_ask(request).unwrap_or_else(|broken| panic!("no answer to {request:?}: {broken:?}"))
    }

    /// The same, or why there was no answer.
    pub(crate) fn try_ask(&mut self, request: &Request) -> Result<Answer, Broken> {
        // The server may answer and close before it has taken everything.
        let _ = self.wire.write(&request.bytes());
        self.answer_to(&request.method)
    }

    /// The answer to a GET.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Answer {
        self.answer_to("GET").unwrap_or_else(|broken| panic!("no answer: {broken:?}"))
    }

    /// The answer to a request with this method, as far as it comes; nothing without a whole head.
    pub(crate) fn answer_to(&mut self, method: &str) -> Result<Answer, Broken> {
        let mut interim = Vec::new();
        let mut answer = loop {
            let head = self.head()?;
            // What follows 101 is no HTTP any more.
            if head.status == 101 || head.status >= 200 {
                break head;
            }
            interim.push(head.status);
        };
        answer.interim = interim;
        let bodiless = method == "HEAD" || matches!(answer.status, 101 | 204 | 304);
        answer.framing = if bodiless { Framing::None } else { framing(&answer.fields, Framing::Close)? };
        match self.wire.body(answer.framing, &mut |bytes| answer.body.extend_from_slice(bytes)) {
            Ok(trailers) => answer.trailers = trailers,
            Err(broken) => answer.cut = Some(broken),
        }
        Ok(answer)
    }

    /// The next head, interim or not, with nothing read behind it.
    pub(crate) fn head(&mut self) -> Result<Answer, Broken> {
        let line = latin1(&self.wire.line()?);
        let status = line.strip_prefix("HTTP/1.1 ").filter(|rest| rest.get(3..4) == Some(" "));
        let status = status.and_then(|rest| rest[..3].parse().ok()).filter(|status| *status >= 100);
        let status = status.ok_or_else(|| Broken::Syntax(format!("a status line: {line:?}")))?;
        let fields = self.wire.fields()?;
        Ok(Answer {
            status,
            fields,
            framing: Framing::None,
            body: Vec::new(),
            trailers: Vec::new(),
            interim: Vec::new(),
            cut: None,
        })
    }

    /// Fails where a byte comes, or the connection ends, within `time`.
    #[track_caller]
    pub(crate) fn assert_quiet_for(&mut self, time: Duration) {
        self.wire.wait(time);
        assert_eq!(self.wire.pending(), b"", "an answer to nothing");
        assert_eq!(self.wire.fill(), Err(Broken::Ended(End::Open)), "{:?}", latin1(self.wire.pending()));
        self.wire.wait(PATIENCE);
    }

    /// Fails unless the connection ends without a further byte.
    #[track_caller]
    pub(crate) fn assert_ended(&mut self) {
        assert_eq!(self.wire.pending(), b"", "an answer to nothing");
        let end = self.wire.fill();
        let ended = matches!(end, Err(Broken::Ended(End::Fin | End::Reset)));
        assert!(ended, "{end:?} {:?}", latin1(self.wire.pending()));
    }
}
