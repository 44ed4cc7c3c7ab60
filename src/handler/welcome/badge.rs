//! `/badge/{label}/{value}.svg`: a small drawing of two words.

use axum::body::Body;
use http::{Response, Uri};

use super::{answer as respond, refused};
use crate::html::Escaped;
use crate::refusal::{Reason, Refusal};

/// Characters of the label, and of the value.
const LONGEST: usize = 64;

pub(super) async fn answer(uri: Uri) -> Response<Body> {
    match words(uri.path()) {
        Some((label, value)) => respond("image/svg+xml", "public, max-age=300", draw(&label, &value)),
        None => {
            let detail = "a badge is /badge/{label}/{value}.svg, with 1 to 64 printable characters each";
            refused(Refusal::new(Reason::NotFound, detail))
        }
    }
}

fn words(path: &str) -> Option<(String, String)> {
    let (label, value) = path.strip_prefix("/badge/")?.strip_suffix(".svg")?.split_once('/')?;
    Some((word(label)?, word(value)?))
}

/// Percent-decoded, and fit for XML, which has no place for control characters (XML 1.0 section 2.2).
fn word(segment: &str) -> Option<String> {
    // A character takes at most four bytes, and a byte at most three characters.
    if segment.len() > LONGEST * 12 {
        return None;
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    let printable =
        |character: char| !character.is_control() && !matches!(character, '\u{fffe}' | '\u{ffff}');
    let fits = (1..=LONGEST).contains(&text.chars().count());
    (fits && text.chars().all(printable)).then_some(text)
}

/// Width of a text of 11 pixels, near enough: `textLength` makes the drawing agree.
fn width(text: &str) -> u32 {
    let tenths: u32 = text
        .chars()
        .map(|character| match character {
            'i' | 'j' | 'l' | '.' | ',' | ':' | ';' | '|' | '!' | '\'' | ' ' => 37,
            'f' | 'r' | 't' | '(' | ')' | '[' | ']' | '-' | '/' => 46,
            'm' | 'w' | 'M' | 'W' | '@' | '%' => 103,
            'A'..='Z' => 77,
            ' '..='~' => 67,
            _ => 110,
        })
        .sum();
    tenths.div_ceil(10)
}

fn draw(label: &str, value: &str) -> String {
    let (left_text, right_text) = (width(label), width(value));
    let (left, right) = (left_text + 12, right_text + 12);
    let total = left + right;
    let (left_middle, right_middle) = (f64::from(left) / 2.0, f64::from(left) + f64::from(right) / 2.0);
    let (label, value) = (Escaped(label), Escaped(value));
    // Presentation attributes only: a style element would fall under the Content-Security-Policy.
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="20" role="img" aria-label="{label}: {value}">
<title>{label}: {value}</title>
<clipPath id="r"><rect width="{total}" height="20" rx="4"/></clipPath>
<g clip-path="url(#r)"><rect width="{left}" height="20" fill="#3d4752"/><rect x="{left}" width="{right}" height="20" fill="#1f6f5c"/></g>
<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
<text x="{left_middle}" y="14" textLength="{left_text}">{label}</text>
<text x="{right_middle}" y="14" textLength="{right_text}">{value}</text>
</g>
</svg>
"##
    )
}
