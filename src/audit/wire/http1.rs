//! Answers of HTTP/1.1, read leniently: a server under attack is to be understood, not corrected.

use std::time::Duration;

use tokio::time::Instant;

use super::{Conn, End};

/// Bytes of a body that are kept to be looked at.
const KEPT: usize = 64 << 10;
const LONGEST_HEAD: usize = 256 << 10;

/// An answer.
#[derive(Debug, Clone, Default)]
pub(in crate::audit) struct Answer {
    pub(in crate::audit) status: u16,
    pub(in crate::audit) fields: Vec<(String, String)>,
    /// The beginning of its body.
    pub(in crate::audit) body: Vec<u8>,
    /// The length of its body, as far as it came.
    pub(in crate::audit) length: u64,
    /// Whether all of it came.
    pub(in crate::audit) whole: bool,
}

impl Answer {
    /// The first value of a field.
    pub(in crate::audit) fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// What came in place of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::audit) enum NoAnswer {
    /// The connection ended.
    Ended(End),
    /// Nothing came.
    Silence,
    /// Something else.
    Garbage(String),
}

/// Where a body ends.
enum Framing {
    Length(u64),
    Chunked,
    Close,
}

impl Conn {
    /// The next final answer. Interim answers are passed over.
    pub(in crate::audit) async fn answer(&mut self, patience: Duration) -> Result<Answer, NoAnswer> {
        let deadline = Instant::now() + patience;
        loop {
            let mut answer = self.answer_head(deadline).await?;
            if (100..200).contains(&answer.status) && answer.status != 101 {
                continue;
            }
            self.answer_body(&mut answer, deadline).await;
            return Ok(answer);
        }
    }

    /// The next head, interim or final, without its body.
    pub(in crate::audit) async fn answer_head(&mut self, deadline: Instant) -> Result<Answer, NoAnswer> {
        loop {
            let end = self.buffer.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                let head = self.take(end + 4);
                let answer = parse(&head).ok_or_else(|| garbage(&head))?;
                self.answered(answer.status);
                return Ok(answer);
            }
            let so_far = self.buffer.get(..5).unwrap_or(&self.buffer);
            if !b"HTTP/".starts_with(so_far) || self.buffer.len() > LONGEST_HEAD {
                return Err(garbage(&self.buffer));
            }
            if !self.fill(deadline).await {
                return Err(match self.end {
                    Some(_) if !self.buffer.is_empty() => garbage(&self.buffer),
                    Some(end) => NoAnswer::Ended(end),
                    None => NoAnswer::Silence,
                });
            }
        }
    }

    async fn answer_body(&mut self, answer: &mut Answer, deadline: Instant) {
        let coded = answer.field("transfer-encoding").is_some_and(|coding| coding.contains("chunked"));
        let length = answer.field("content-length").and_then(|length| length.parse().ok());
        let framing = match (answer.status, coded, length) {
            (101 | 204 | 304, ..) => Framing::Length(0),
            (_, true, _) => Framing::Chunked,
            (_, false, Some(length)) => Framing::Length(length),
            (_, false, None) => Framing::Close,
        };
        answer.whole = match framing {
            Framing::Length(length) => self.body(answer, length, deadline).await,
            Framing::Close => {
                self.body(answer, u64::MAX, deadline).await;
                self.end == Some(End::Closed)
            }
            Framing::Chunked => self.chunks(answer, deadline).await.is_some(),
        };
    }

    async fn chunks(&mut self, answer: &mut Answer, deadline: Instant) -> Option<()> {
        loop {
            let line = self.line(deadline).await?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(digits, 16).ok()?;
            if size == 0 {
                while !self.line(deadline).await?.is_empty() {}
                return Some(());
            }
            if !self.body(answer, size, deadline).await || !self.line(deadline).await?.is_empty() {
                return None;
            }
        }
    }

    async fn line(&mut self, deadline: Instant) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.take(end + 1);
                return Some(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned());
            }
            if self.buffer.len() > LONGEST_HEAD || !self.fill(deadline).await {
                return None;
            }
        }
    }

    /// Takes `length` bytes of a body; false where they do not all come.
    async fn body(&mut self, answer: &mut Answer, length: u64, deadline: Instant) -> bool {
        let mut left = length;
        while left > 0 {
            if self.buffer.is_empty() && !self.fill(deadline).await {
                return false;
            }
            let part = self.take(usize::try_from(left).unwrap_or(usize::MAX));
            left -= part.len() as u64;
            answer.length += part.len() as u64;
            let room = KEPT.saturating_sub(answer.body.len());
            answer.body.extend(part.into_iter().take(room));
        }
        true
    }
}

fn garbage(bytes: &[u8]) -> NoAnswer {
    let shown: String = String::from_utf8_lossy(bytes).chars().take(24).collect();
    NoAnswer::Garbage(format!("{shown:?}"))
}

fn parse(head: &[u8]) -> Option<Answer> {
    let text: String = head.iter().map(|byte| char::from(*byte)).collect();
    let mut lines = text.split("\r\n");
    let line = lines.next()?;
    let status = line.strip_prefix("HTTP/")?.split(' ').nth(1)?.parse().ok()?;
    let fields = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    Some(Answer { status, fields, ..Answer::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_a_status_and_fields() {
        let answer = parse(b"HTTP/1.1 404 Not Found\r\nA: b\r\nContent-Length:  5 \r\n\r\n").unwrap();
        assert_eq!((answer.status, answer.field("content-length")), (404, Some("5")));
        assert!(parse(b"HTTP/1.1\r\n\r\n").is_none());
        assert!(parse(b"SSH-2.0 200\r\n\r\n").is_none());
    }
}
