//! A span that is over, as it waits to be exported: small, and bounded in each of its texts.

use std::sync::Arc;

use super::context::{Parent, SpanId, TraceId};

/// Which side of a request it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A request that was served.
    Server,
    /// A request to an upstream.
    Client,
}

/// What an attribute says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A word of ours.
    Word(&'static str),
    /// A text.
    Text(Box<str>),
    /// A text that many share.
    Shared(Arc<str>),
    /// A number.
    Number(i64),
}

/// A span that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Its trace.
    pub trace_id: TraceId,
    /// Itself.
    pub span_id: SpanId,
    /// The span it is a part of.
    pub parent: Option<SpanId>,
    /// Whether that is another process's.
    pub remote_parent: bool,
    /// As it was told on.
    pub flags: u8,
    /// `tracestate`, as it was told on.
    pub state: Option<Box<str>>,
    /// Which side it is.
    pub kind: Kind,
    /// Method and route.
    pub name: Box<str>,
    /// Nanoseconds since 1970.
    pub start: u64,
    /// Likewise.
    pub end: u64,
    /// What is known of it.
    pub attributes: Vec<(&'static str, Value)>,
    /// The context that came with the request and was not believed.
    pub link: Option<Parent>,
    /// It failed.
    pub failed: bool,
}

impl Span {
    /// Bytes that it holds.
    pub fn weight(&self) -> usize {
        let texts = |value: &Value| match value {
            Value::Text(text) => text.len(),
            Value::Word(_) | Value::Shared(_) | Value::Number(_) => 0,
        };
        size_of::<Self>()
            + self.name.len()
            + self.state.as_ref().map_or(0, |state| state.len())
            + self.attributes.capacity() * size_of::<(&'static str, Value)>()
            + self.attributes.iter().map(|(_, value)| texts(value)).sum::<usize>()
    }
}

/// The first `most` bytes of a text, or one fewer than three where a letter would be cut.
pub(super) fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_letter_is_cut() {
        for (text, most, expected) in
            [("abc", 5, "abc"), ("abc", 2, "ab"), ("aé", 2, "a"), ("é", 1, ""), ("a€b", 3, "a"), ("", 0, "")]
        {
            assert_eq!(cut(text, most), expected);
        }
    }
}
