//! A head that looks like the one before it.
//!
//! An upstream says the same fields in the same order again and again, and most of them with the same
//! values. Such a head is read by comparing it with the last one; what is new in it is taken from it.
//!
//! SECURITY: it is the same as [`super::head::parse`] would make of it, or it is not read here. A value that
//! is new has to be plain, and its line to end as lines should; whatever else differs is for the parser.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{StatusCode, Version};

use super::head::{Said, content_length};

/// The longest head that is remembered: an idle connection holds it.
const LONGEST: usize = 2048;
/// Values that may be new.
const MOST_NEW: usize = 8;
/// After so many heads in a row that did not look like the one before, only one in so many is remembered.
const PATIENCE: u32 = 4;
const ONE_IN: u32 = 32;

/// The last head of a connection, if it is worth remembering.
#[derive(Debug, Default)]
pub(super) struct Familiar {
    last: Option<Box<Last>>,
    /// Heads in a row that did not look like the one before.
    strange: u32,
}

#[derive(Debug)]
struct Last {
    /// All of it.
    text: Bytes,
    /// Where its first field begins.
    fields_at: usize,
    lines: Vec<Line>,
    status: StatusCode,
    version: Version,
    fields: HeaderMap,
    said: Said,
}

/// A field's line begins where the one before it ends.
#[derive(Debug)]
struct Line {
    value: usize,
    end: usize,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Length,
    /// It says how the message ends: a new value is for the parser.
    Framing,
}

/// A head that was recognized.
#[derive(Debug)]
pub(super) struct Recognized {
    /// Its bytes.
    pub(super) length: usize,
    pub(super) status: StatusCode,
    pub(super) version: Version,
    pub(super) fields: HeaderMap,
    pub(super) said: Said,
}

impl Familiar {
    /// Reads a head that is whole and looks like the last one.
    pub(super) fn recognize(&mut self, input: &[u8]) -> Option<Recognized> {
        let recognized = self.last.as_ref()?.read(input)?;
        self.strange = 0;
        Some(recognized)
    }

    /// Remembers a head that was parsed from `section`, if it is one that can be recognized; `text` is a copy
    /// of that.
    pub(super) fn remember(
        &mut self,
        text: &Bytes,
        section: &[u8],
        parsed: &[httparse::Header<'_>],
        head: (StatusCode, Version, &HeaderMap, Said),
    ) {
        self.strange = self.strange.saturating_add(1);
        if self.strange > PATIENCE && !self.strange.is_multiple_of(ONE_IN) {
            return;
        }
        let (status, version, fields, said) = head;
        // Fields of one name stand together in a map, wherever they stood in the head.
        let ordered = fields.keys_len() == parsed.len();
        let lines = (ordered && text.len() <= LONGEST).then(|| lines(section, parsed, fields)).flatten();
        self.last = lines.map(|(fields_at, lines)| {
            let (text, fields) = (text.clone(), fields.clone());
            Box::new(Last { text, fields_at, lines, status, version, fields, said })
        });
    }
}

/// Where the fields of a section begin, and their lines. `parsed` points into it.
fn lines(section: &[u8], parsed: &[httparse::Header<'_>], fields: &HeaderMap) -> Option<(usize, Vec<Line>)> {
    let place = |at: *const u8| (at as usize).checked_sub(section.as_ptr() as usize);
    let begin = |field: &httparse::Header<'_>| place(field.name.as_ptr());
    let empty_line = if section.ends_with(b"\r\n") { 2 } else { 1 };
    let ends = parsed.iter().skip(1).map(begin).chain([section.len().checked_sub(empty_line)]);
    let lines = parsed.iter().zip(fields.keys()).zip(ends).map(|((field, name), end)| {
        let value = place(field.value.as_ptr()).filter(|value| Some(*value) < end)?;
        let kind = match *name {
            header::CONTENT_LENGTH => Kind::Length,
            header::CONNECTION | header::TRANSFER_ENCODING => Kind::Framing,
            _ => Kind::Plain,
        };
        Some(Line { value, end: end?, kind })
    });
    Some((begin(parsed.first()?)?, lines.collect::<Option<_>>()?))
}

impl Last {
    fn read(&self, input: &[u8]) -> Option<Recognized> {
        if input.get(..self.fields_at)? != self.text.get(..self.fields_at)? {
            return None;
        }
        // Of each new value: which field's it is, and where it lies.
        let mut new = [(0, 0, 0); MOST_NEW];
        let (mut count, mut begin, mut at, mut length_is_new) = (0, self.fields_at, self.fields_at, false);
        for (number, line) in self.lines.iter().enumerate() {
            let before = self.text.get(begin..line.end)?;
            let rest = input.get(at..)?;
            begin = line.end;
            if rest.starts_with(before) {
                at += before.len();
                continue;
            }
            let name = before.len() - (line.end - line.value);
            if line.kind == Kind::Framing || rest.get(..name)? != before.get(..name)? {
                return None;
            }
            let value = plain(rest.get(name..)?)?;
            *new.get_mut(count)? = (number, at + name, at + name + value);
            count += 1;
            length_is_new |= line.kind == Kind::Length;
            at += name + value + 2;
        }
        let empty_line = self.text.get(begin..)?;
        if !input.get(at..)?.starts_with(empty_line) {
            return None;
        }
        let mut fields = self.fields.clone();
        let mut new = new.iter().take(count).peekable();
        for (number, place) in fields.values_mut().enumerate() {
            let Some((_, from, to)) = new.next_if(|(line, ..)| *line == number) else { continue };
            *place = HeaderValue::from_bytes(input.get(*from..*to)?).ok()?;
        }
        let mut said = self.said;
        if length_is_new {
            said.length = content_length(&fields).ok()?;
        }
        let (status, version) = (self.status, self.version);
        Some(Recognized { length: at + empty_line.len(), status, version, fields, said })
    }
}

/// How long the value is that the input begins with: visible characters, blanks between them, and the end
/// of the line.
fn plain(input: &[u8]) -> Option<usize> {
    let length = input.iter().position(|byte| !matches!(byte, b' '..=b'~'))?;
    let value = input.get(..length)?;
    let trimmed = value.first()? != &b' ' && value.last()? != &b' ';
    (trimmed && input.get(length..)?.starts_with(b"\r\n")).then_some(length)
}

#[cfg(test)]
#[path = "familiar_tests.rs"]
mod tests;
