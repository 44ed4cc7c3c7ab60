//! A small object store that speaks as S3 does, as far as writing goes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

/// What it does with who asks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// Stores what it is sent.
    Well = 0,
    /// Answers 500 to everything.
    Ill = 1,
    /// Answers 403, and repeats what it was sent.
    Strict = 2,
    /// Takes requests, and never answers.
    Silent = 3,
}

#[derive(Default)]
struct State {
    mood: AtomicU8,
    asked: Mutex<u32>,
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    wrong: Mutex<Vec<String>>,
}

/// The store.
pub(super) struct Bucket {
    pub(super) address: SocketAddr,
    state: Arc<State>,
}

impl Bucket {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::new(State::default()));
        let shared = state.clone();
        // Ends with the process of the tests.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                std::thread::spawn(move || serve(&stream, &state));
            }
        });
        Self { address, state }
    }

    pub(super) fn is(&self, mood: Mood) {
        self.state.mood.store(mood as u8, Ordering::Relaxed);
    }

    /// How often it was asked.
    pub(super) fn asked(&self) -> u32 {
        *self.state.asked.lock().unwrap()
    }

    /// What it holds, by key.
    pub(super) fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        self.state.objects.lock().unwrap().clone()
    }

    /// What was wrong with requests.
    pub(super) fn wrong(&self) -> Vec<String> {
        self.state.wrong.lock().unwrap().clone()
    }
}

fn serve(stream: &TcpStream, state: &State) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            match reader.read_line(&mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) if line == "\r\n" => break,
                Ok(_) => head.push(line.trim_end().to_owned()),
            }
        }
        let field = |name: &str| {
            let fields = head.iter().skip(1).filter_map(|line| line.split_once(": "));
            fields
                .filter(|(field, _)| field.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.to_owned())
                .next()
        };
        let length = field("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        *state.asked.lock().unwrap() += 1;
        judge(&head, &body, &field, state);
        let key = head[0].split(' ').nth(1).unwrap_or_default().to_owned();
        let answer = match state.mood.load(Ordering::Relaxed) {
            0 => {
                state.objects.lock().unwrap().insert(key, body);
                "HTTP/1.1 200 OK\r\netag: \"x\"\r\ncontent-length: 0\r\n\r\n".to_owned()
            }
            1 => "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n".to_owned(),
            2 => {
                let echo = head.join("\n");
                format!("HTTP/1.1 403 Forbidden\r\ncontent-length: {}\r\n\r\n{echo}", echo.len())
            }
            _ => {
                // Until who asked has had enough.
                let _ = reader.read(&mut [0]);
                return;
            }
        };
        let mut stream = stream;
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Whether the request is signed as it should be (Signature Version 4).
fn judge(head: &[String], body: &[u8], field: &dyn Fn(&str) -> Option<String>, state: &State) {
    let mut wrong = state.wrong.lock().unwrap();
    if !head[0].starts_with("PUT /") {
        wrong.push(head[0].clone());
    }
    let signed = field("authorization").unwrap_or_default();
    let parts = [
        "AWS4-HMAC-SHA256 Credential=AKIATEST/",
        "/eu-test-1/s3/aws4_request",
        "SignedHeaders=",
        "Signature=",
    ];
    if !parts.iter().all(|part| signed.contains(part)) {
        wrong.push(signed);
    }
    let hash = ring::digest::digest(&ring::digest::SHA256, body);
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    if field("x-amz-content-sha256").as_deref() != Some(&hash) {
        wrong.push("x-amz-content-sha256".to_owned());
    }
    if field("x-amz-security-token").as_deref() != Some("session-of-test") {
        wrong.push("x-amz-security-token".to_owned());
    }
}
