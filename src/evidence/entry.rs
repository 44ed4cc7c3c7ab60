//! One refusal, as it is kept and shown.

use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::intake::{Captured, Tally};
use super::severity::Severity;
use super::shown;
use crate::client_address::ClientKey;
use crate::protocol::Protocol;
use crate::refusal::Reason;
use crate::telemetry::timestamp;

/// Bytes of an entry besides its texts: its places in the maps and sets that it stands in.
const BESIDE: usize = 512;

/// What was refused, without secrets.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its number, which only rises, over restarts too.
    pub(super) id: u64,
    pub(super) signature: u64,
    pub(super) reason: Reason,
    pub(super) severity: Severity,
    pub(super) client: IpAddr,
    protocol: Protocol,
    first: u64,
    tally: Arc<Tally>,
    status: Option<u16>,
    detail: Box<str>,
    limit: Option<&'static str>,
    request_id: Box<str>,
    route: Box<str>,
    method: Box<str>,
    target: Box<str>,
    head: Bytes,
    lines: Box<[Box<str>]>,
    body: Bytes,
    body_text: Option<Box<str>>,
}

/// What is known of bytes that are not kept.
#[derive(Debug)]
struct Bytes {
    /// How many came.
    length: u64,
    /// How many of them, from the first on, the hash is of.
    hashed: u64,
    hash: Option<Box<str>>,
    looks_like: Option<&'static str>,
}

impl Bytes {
    fn of(bytes: &[u8], length: u64) -> Self {
        let hash = (!bytes.is_empty()).then(|| hexadecimal(digest(&SHA256, bytes).as_ref()).into());
        Self { length, hashed: bytes.len() as u64, hash, looks_like: None }
    }

    fn json(&self) -> Value {
        json!({"length": self.length, "sha256": self.hash, "sha256_of": self.hashed})
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Entry {
    /// Reads what was captured, and takes the secrets out.
    pub(super) fn new(id: u64, captured: Captured) -> Self {
        let Captured { head, body, .. } = &captured;
        let lines = if captured.parsed { shown::head(head) } else { shown::unread(head) };
        let mut words = lines.first().map(|line| line.splitn(3, ' ')).into_iter().flatten();
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let body_text = shown::body(body, &lines).map(Into::into);
        let mut head_bytes = Bytes::of(head, captured.head_length as u64);
        head_bytes.looks_like = (!captured.parsed && !head.is_empty()).then(|| shown::guess(head));
        Self {
            id,
            signature: captured.signature,
            reason: captured.reason,
            severity: captured.severity,
            client: captured.client,
            protocol: captured.protocol,
            first: captured.at,
            status: captured.status,
            limit: captured.limit,
            method: method.into(),
            target: target.into(),
            head: head_bytes,
            body: Bytes::of(body, captured.body_seen),
            body_text,
            lines: lines.into_iter().map(Into::into).collect(),
            tally: captured.tally,
            detail: captured.detail,
            request_id: captured.request_id,
            route: captured.route,
        }
    }

    /// Bytes that it takes.
    pub(super) fn cost(&self) -> u64 {
        let lines: usize = self.lines.iter().map(|line| line.len() + size_of::<Box<str>>()).sum();
        let texts = [&self.detail, &self.request_id, &self.route, &self.method, &self.target];
        let texts: usize = texts.iter().map(|text| text.len()).sum();
        let body = self.body_text.as_ref().map_or(0, |text| text.len());
        (size_of::<Self>() + BESIDE + lines + texts + body) as u64
    }

    /// The client, or the /64 that it owns.
    pub(super) fn client_key(&self) -> ClientKey {
        self.client.into()
    }

    /// As it is listed.
    pub(super) fn summary(&self, stored: bool) -> Value {
        json!({
            "id": id_text(self.id),
            "reason": self.reason.label(),
            "severity": self.severity.as_str(),
            "client": self.client.to_canonical().to_string(),
            "first_seen": time(self.first),
            "last_seen": time(self.tally.last.load(Ordering::Relaxed)),
            "count": self.tally.count.load(Ordering::Relaxed),
            "protocol": self.protocol.label(),
            "status": self.status,
            "method": filled(&self.method),
            "target": filled(&self.target),
            "route": filled(&self.route),
            "request_id": filled(&self.request_id),
            "detail": filled(&self.detail),
            "limit": self.limit,
            "body_bytes": self.body.length,
            "stored": stored,
        })
    }

    /// All of it.
    pub(super) fn whole(&self, stored: bool) -> Value {
        let mut whole = self.summary(stored);
        let mut head = self.head.json();
        let mut body = self.body.json();
        if let (Some(fields), Some(head), Some(body)) =
            (whole.as_object_mut(), head.as_object_mut(), body.as_object_mut())
        {
            head.insert("lines".into(), self.lines.iter().map(|line| &**line).collect());
            head.insert("looks_like".into(), self.head.looks_like.into());
            body.insert("text".into(), self.body_text.as_deref().into());
            fields.insert("head".into(), Value::Object(std::mem::take(head)));
            fields.insert("body".into(), Value::Object(std::mem::take(body)));
        }
        whole
    }
}

fn filled(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// A number as it is written: sixteen hexadecimal digits.
pub(super) fn id_text(id: u64) -> String {
    format!("{id:016x}")
}

/// What [`id_text`] wrote.
pub(super) fn id_of(text: &str) -> Option<u64> {
    let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

/// RFC 3339, in UTC, to the millisecond.
pub(super) fn time(millis: u64) -> String {
    let mut text = Vec::with_capacity(24);
    timestamp(&mut text, UNIX_EPOCH + Duration::from_millis(millis));
    String::from_utf8(text).unwrap_or_default()
}
