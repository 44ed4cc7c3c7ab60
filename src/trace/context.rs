//! W3C trace context ([Trace Context](https://www.w3.org/TR/trace-context/), levels 1 and 2): `traceparent`
//! and `tracestate`, read as strictly as they are defined.

use std::fmt;
use std::num::NonZeroU64;

use crate::random;

/// Bytes of a `traceparent` of version 00.
const LENGTH: usize = 55;
/// Bytes of a `tracestate` that are passed on, which is as much as everybody has to pass on.
pub const MAX_STATE: usize = 512;
/// Members of a `tracestate`.
const MAX_MEMBERS: usize = 32;
/// Bytes of a key and of a value of one.
const MAX_WORD: usize = 256;

/// The trace is recorded.
pub const SAMPLED: u8 = 1;
/// Its id is random (level 2).
const RANDOM: u8 = 2;

/// Names a trace. Never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(u128);

/// Names a span within its trace. Never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId(NonZeroU64);

impl TraceId {
    /// A new one.
    pub fn random() -> Self {
        Self(((u128::from(random::bits()) << 64) | u128::from(random::bits())).max(1))
    }

    /// As OTLP has it.
    pub fn bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// As it is written.
    pub fn hex(self) -> [u8; 32] {
        let mut hex = [0; 32];
        for (place, bits) in hex.chunks_exact_mut(8).zip([96, 64, 32, 0]) {
            place.copy_from_slice(&random::hex(low(self.0 >> bits)));
        }
        hex
    }

    /// What ratios are taken of: the lower half, since others may have put a time into the upper.
    pub(super) fn chance(self) -> u64 {
        low(self.0)
    }
}

impl SpanId {
    /// A new one.
    pub fn random() -> Self {
        Self(NonZeroU64::new(random::bits()).unwrap_or(NonZeroU64::MIN))
    }

    /// As OTLP has it.
    pub fn bytes(self) -> [u8; 8] {
        self.0.get().to_be_bytes()
    }

    /// As it is written.
    pub fn hex(self) -> [u8; 16] {
        let mut hex = [0; 16];
        for (place, bits) in hex.chunks_exact_mut(8).zip([32, 0]) {
            place.copy_from_slice(&random::hex(self.0.get() >> bits));
        }
        hex
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the upper half is meant to go")]
const fn low(bits: u128) -> u64 {
    bits as u64
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The span that a request was sent from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    /// Its trace.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
    /// What is known of them here: [`SAMPLED`], and whether the id is random.
    pub flags: u8,
}

impl Parent {
    /// What a `traceparent` says; `None` where it is none, which is to be taken as if there were none.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (known, more) = text.split_at_checked(LENGTH)?;
        let (version, rest) = part(known, 2)?;
        let (trace_id, rest) = part(rest, 32)?;
        let (span_id, rest) = part(rest, 16)?;
        let (flags, _) = part(rest, 2)?;
        // Of a later version there may be more, behind a dash.
        let fits = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.is_empty() || more.starts_with(b"-"),
        };
        if !fits || trace_id == 0 {
            return None;
        }
        let span_id = SpanId(NonZeroU64::new(low(span_id))?);
        let flags = u8::try_from(flags).ok()? & (SAMPLED | RANDOM);
        Some(Self { trace_id: TraceId(trace_id), span_id, flags })
    }

    /// Whether the trace is recorded there.
    pub fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The `traceparent` that says it.
    pub fn text(self) -> [u8; LENGTH] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        let mut put = |at: usize, hex: &[u8]| {
            if let Some(place) = text.get_mut(at..at + hex.len()) {
                place.copy_from_slice(hex);
            }
        };
        put(3, &self.trace_id.hex());
        put(36, &self.span_id.hex());
        put(54, &[b'0' + (self.flags & (SAMPLED | RANDOM))]);
        text
    }
}

/// The number that `digits` digits in lower case say, and what stands behind the dash after them.
fn part(text: &[u8], digits: usize) -> Option<(u128, &[u8])> {
    let (hex, rest) = text.split_at_checked(digits)?;
    let mut number = 0;
    for digit in hex {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        number = number << 4 | u128::from(value);
    }
    match rest {
        [] => Some((number, rest)),
        [b'-', rest @ ..] => Some((number, rest)),
        _ => None,
    }
}

/// Whether these fields together are a `tracestate` that may be passed on. One that is not is left out, and
/// says nothing about the `traceparent` beside it.
pub fn is_state<'a>(fields: impl IntoIterator<Item = &'a [u8]>) -> bool {
    let mut keys: [&[u8]; MAX_MEMBERS] = [&[]; MAX_MEMBERS];
    let (mut members, mut bytes) = (0, 0);
    for field in fields {
        bytes += field.len() + 1;
        if bytes > MAX_STATE + 1 {
            return false;
        }
        for member in field.split(|byte| *byte == b',') {
            let member = member.trim_ascii();
            if member.is_empty() {
                continue;
            }
            let Some(at) = memchr::memchr(b'=', member) else { return false };
            let (key, value) = member.split_at(at);
            let value = value.strip_prefix(b"=").unwrap_or_default();
            if !is_key(key) || !is_value(value) || keys.iter().take(members).any(|known| *known == key) {
                return false;
            }
            let Some(place) = keys.get_mut(members) else { return false };
            *place = key;
            members += 1;
        }
    }
    members > 0
}

fn is_key(key: &[u8]) -> bool {
    let begins = key.first().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let goes_on = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(byte);
    begins && key.len() <= MAX_WORD && key.iter().all(goes_on)
}

fn is_value(value: &[u8]) -> bool {
    let fits = |byte: &u8| (b' '..=b'~').contains(byte) && *byte != b'=';
    !value.is_empty() && value.len() <= MAX_WORD && value.iter().all(fits)
}

#[cfg(test)]
#[path = "context_tests.rs"]
mod tests;
