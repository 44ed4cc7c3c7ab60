//! What an upstream has parsed of a request, and how it tells it.

use serde_json::{Value, json};

use super::super::wire::{Broken, Fields, Framing, Wire, framing, is_token, latin1, values};

/// FNV-1a: enough to tell that two bodies are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digest {
    /// Bytes.
    pub(crate) length: u64,
    /// Their hash.
    pub(crate) hash: u64,
}

impl Default for Digest {
    fn default() -> Self {
        Self { length: 0, hash: 0xcbf2_9ce4_8422_2325 }
    }
}

impl Digest {
    /// Adds bytes.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Of bytes that are all there.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut digest = Self::default();
        digest.add(bytes);
        digest
    }
}

/// One request, as the upstream parsed it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// The connection that it came on, counted from 0.
    pub(crate) connection: usize,
    /// Its method.
    pub(crate) method: String,
    /// Its target.
    pub(crate) target: String,
    /// Its fields in order, names as they came.
    pub(crate) fields: Fields,
    /// How its body was framed.
    pub(crate) framing: Framing,
    /// Its body.
    pub(crate) body: Digest,
    /// Its trailers.
    pub(crate) trailers: Fields,
    /// What is done with it where it asks for nothing.
    pub(super) unasked: String,
}

impl Seen {
    /// Reads the head of a request: strictly, since a proxy has no excuse.
    pub(super) fn read(wire: &mut Wire) -> Result<Self, Broken> {
        let line = wire.line()?;
        let parts: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let [method, target, b"HTTP/1.1"] = parts.as_slice() else {
            return Err(Broken::Syntax(format!("a request line: {:?}", latin1(&line))));
        };
        if !is_token(method) || target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
            return Err(Broken::Syntax(format!("a request line: {:?}", latin1(&line))));
        }
        let (method, target) = (latin1(method), latin1(target));
        let fields = wire.fields()?;
        if values(&fields, "host").len() != 1 {
            return Err(Broken::Syntax(format!("hosts: {:?}", values(&fields, "host"))));
        }
        let framing = framing(&fields, Framing::None)?;
        Ok(Self {
            connection: 0,
            method,
            target,
            fields,
            framing,
            body: Digest::default(),
            trailers: Vec::new(),
            unasked: String::new(),
        })
    }

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

    /// The word that tells this request from all others.
    pub(crate) fn token(&self) -> &str {
        self.all("x-token").first().copied().unwrap_or_default()
    }

    /// All of it, for the body of an answer.
    pub(super) fn json(&self, upstream: &str) -> Value {
        json!({
            "upstream": upstream,
            "connection": self.connection,
            "token": self.token(),
            "method": self.method,
            "target": self.target,
            "fields": self.fields,
            "framing": format!("{:?}", self.framing),
            "length": self.body.length,
            "hash": format!("{:016x}", self.body.hash),
            "trailers": self.trailers,
        })
    }
}
