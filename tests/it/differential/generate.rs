//! Requests out of parts that readers of HTTP have disagreed about, in random combination.
//!
//! Most parts of most requests are plain: a request that is wrong everywhere is refused at its
//! first byte, and tells nothing of the rest.

use super::words::*;
use crate::support::Dice;

/// What the body of an outer request may hold: another request.
fn inner(number: usize) -> String {
    format!("GET /smuggled/{number} HTTP/1.1\r\nHost: nessen.test\r\nX-Token: smuggled-{number}\r\n\r\n")
}

/// One of these.
fn one<'a>(dice: &mut Dice, of: &[&'a str]) -> &'a str {
    of[dice.below(of.len() as u64) as usize]
}

/// `plain`, or one in so many times one of these.
fn odd<'a>(dice: &mut Dice, plain: &'a str, one_in: u64, of: &[&'a str]) -> &'a str {
    if dice.below(one_in) == 0 { one(dice, of) } else { plain }
}

/// A body in chunks, with or without a fault.
fn chunks(dice: &mut Dice, body: &str) -> String {
    let mut wire = String::new();
    let count = 1 + dice.below(2) as usize;
    let cut = if count == 1 || body.len() < 2 {
        body.len()
    } else {
        1 + dice.below(body.len() as u64 - 1) as usize
    };
    for part in [&body[..cut], &body[cut..]].into_iter().filter(|part| !part.is_empty()) {
        let size = if dice.below(2) == 0 { format!("{:x}", part.len()) } else { format!("{:X}", part.len()) };
        wire += &odd(dice, "@", 8, SIZES).replace('@', &size);
        wire += odd(dice, "\r\n", 16, SIZE_ENDS);
        wire += part;
        wire += odd(dice, "\r\n", 16, CHUNK_ENDS);
    }
    wire + odd(dice, "0\r\n\r\n", 6, LAST_CHUNKS)
}

/// The request with this number. Text is Latin-1.
fn text(dice: &mut Dice, number: usize) -> String {
    let method = odd(dice, "POST", 4, METHODS);
    let target = odd(dice, "/g/#", 6, TARGETS).replace('#', &number.to_string());
    let (before, behind) = (odd(dice, " ", 40, SPACES), odd(dice, " ", 40, SPACES));
    let version = odd(dice, "HTTP/1.1", 12, VERSIONS);
    let mut fields = vec![odd(dice, "Host: nessen.test\r\n", 10, HOSTS).to_owned()];
    for _ in 0..dice.below(3) {
        if dice.below(2) == 0 {
            fields.push(one(dice, FURTHER).to_owned());
        }
    }
    let body = match dice.below(5) {
        0 => String::new(),
        1 => "hello".to_owned(),
        2 => format!("body of {number}\r\n"),
        3 => inner(number),
        _ => format!("0\r\n\r\n{}", inner(number)),
    };
    // How it is framed in truth, and what is said besides.
    let chunked = dice.below(2) == 0;
    let wire = if chunked { chunks(dice, &body) } else { body };
    let length = match dice.below(16) {
        0 => 0,
        1 => wire.len() + 1,
        2 => wire.len().saturating_sub(1),
        3 => wire.len() + 200,
        _ => wire.len(),
    };
    let coding = |dice: &mut Dice| odd(dice, "Transfer-Encoding: chunked\r\n", 3, CODINGS).to_owned();
    let counted =
        |dice: &mut Dice| odd(dice, "Content-Length: @\r\n", 3, LENGTHS).replace('@', &length.to_string());
    match (chunked, dice.below(4)) {
        (_, 0) => fields.extend([coding(dice), counted(dice)]),
        (true, _) => fields.push(coding(dice)),
        (false, _) => fields.push(counted(dice)),
    }
    // The order of fields must not matter; the first place is the most telling.
    for at in (1..fields.len()).rev() {
        fields.swap(at, dice.below(at as u64 + 1) as usize);
    }
    let opening = odd(dice, "", 30, OPENINGS);
    let line_end = odd(dice, "\r\n", 40, &["\n", "\r", "\r\r\n"]);
    let end = odd(dice, "\r\n", 40, &["\n", "\r", " \r\n", "\r\r\n"]);
    let fields = fields.concat();
    format!(
        "{opening}{method}{before}{target}{behind}{version}{line_end}X-Token: g-{number}\r\n{fields}{end}{wire}"
    )
}

/// So many requests, numbered from `first`, the same for the same seed.
pub(super) fn requests(seed: u64, first: usize, count: usize) -> Vec<(String, Vec<u8>)> {
    let mut dice = Dice::seeded(seed);
    let request = |number| {
        let text = text(&mut dice, number);
        (format!("generated {number} of seed {seed}"), crate::support::wire::bytes(&text))
    };
    (first..first + count).map(request).collect()
}
