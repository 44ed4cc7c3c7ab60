//! Writing log lines by hand: escaping, numbers and timestamps, into a buffer that is used again.

use std::cell::{Cell, RefCell};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Room for a line that a thread keeps.
const KEPT_ROOM: usize = 8 * 1024;

thread_local! {
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// The second written last, and `YYYY-MM-DDTHH:MM:SS.` for it.
    static SECOND: Cell<(u64, [u8; 20])> = const { Cell::new((u64::MAX, [0; 20])) };
}

/// Lets `write` fill the thread's own empty buffer.
pub(super) fn with_line(write: impl FnOnce(&mut Vec<u8>)) {
    LINE.with(|line| match line.try_borrow_mut() {
        Ok(mut line) => {
            line.clear();
            write(&mut line);
            line.shrink_to(KEPT_ROOM);
        }
        // A value that logs while it is being formatted into a line.
        Err(_) => write(&mut Vec::new()),
    });
}

/// Bytes at which a character begins that has to be looked at: ASCII controls, `"`, `\`, and the
/// first bytes of U+0080..U+00BF and U+2000..U+2FFF.
#[expect(
    clippy::indexing_slicing,
    reason = "the index is under the table's length, and checked while compiling"
)]
const SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(byte, 0..=0x1f | 0x22 | 0x5c | 0x7f | 0xc2 | 0xe2);
        byte += 1;
    }
    table
};

/// Characters that would steer a terminal, break a line, or reorder what a person reads.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[expect(clippy::indexing_slicing, reason = "a byte always has its place in a table of 256")]
fn escape(out: &mut Vec<u8>, text: &str, mut special: impl FnMut(&mut Vec<u8>, char)) {
    // Nearly every text is plain, which is told of many bytes at a time where none is an exit.
    let plain = |byte: u8| (b' '..0x7f).contains(&byte) && byte != b'"' && byte != b'\\';
    if text.bytes().fold(true, |all, byte| all & plain(byte)) {
        return out.extend_from_slice(text.as_bytes());
    }
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| SPECIAL[usize::from(byte)]) {
        let (plain, from) = rest.split_at(at);
        out.extend_from_slice(plain.as_bytes());
        let mut characters = from.chars();
        if let Some(character) = characters.next() {
            special(out, character);
        }
        rest = characters.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
}

fn utf8(out: &mut Vec<u8>, character: char) {
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

/// The inside of a JSON string (RFC 8259 section 7).
pub(super) fn json_escape(out: &mut Vec<u8>, text: &str) {
    escape(out, text, |out, character| match character {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        unsafe_one if is_unsafe(unsafe_one) => {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            out.extend_from_slice(b"\\u");
            let code = u32::from(unsafe_one);
            #[expect(
                clippy::indexing_slicing,
                reason = "four bits always have their place in a table of 16"
            )]
            out.extend([12, 8, 4, 0].map(|shift| HEX[(code >> shift & 15) as usize]));
        }
        plain => utf8(out, plain),
    });
}

/// A JSON string with its quotes.
pub(super) fn json_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    json_escape(out, text);
    out.push(b'"');
}

/// For a person: as it is, with what could steer a terminal shown as `\u{1b}`.
pub(super) fn console(out: &mut Vec<u8>, text: &str) {
    escape(out, text, |out, character| {
        if is_unsafe(character) {
            out.extend(character.escape_default().map(|escaped| escaped as u8));
        } else {
            utf8(out, character);
        }
    });
}

/// A whole number.
pub(super) fn number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Milliseconds with three decimals.
pub(super) fn milliseconds(out: &mut Vec<u8>, duration: Duration) {
    // Of more seconds than fit, no request tells.
    let millis = duration.as_secs().saturating_mul(1000).saturating_add(duration.subsec_millis().into());
    number(out, millis);
    out.push(b'.');
    three_digits(out, duration.subsec_micros() % 1000);
}

fn three_digits(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&[number / 100, number / 10, number].map(|digit| b'0' + (digit % 10) as u8));
}

/// RFC 3339 in UTC with milliseconds: `2026-11-20T22:08:59.123Z`.
pub(crate) fn timestamp(out: &mut Vec<u8>, now: SystemTime) {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let second = since.as_secs();
    let (known, mut prefix) = SECOND.get();
    if known != second {
        prefix = second_prefix(second);
        SECOND.set((second, prefix));
    }
    out.extend_from_slice(&prefix);
    three_digits(out, since.subsec_millis());
    out.push(b'Z');
}

/// `YYYY-MM-DDTHH:MM:SS.` of a Unix time.
fn second_prefix(second: u64) -> [u8; 20] {
    let (year, month, day) = civil_date(second / 86_400);
    let of_day = second % 86_400;
    let mut out = *b"0000-00-00T00:00:00.";
    let fields = [
        (0, 4, year),
        (5, 2, month),
        (8, 2, day),
        (11, 2, of_day / 3600),
        (14, 2, of_day / 60 % 60),
        (17, 2, of_day % 60),
    ];
    for (at, width, mut value) in fields {
        for digit in out.iter_mut().skip(at).take(width).rev() {
            *digit = b'0' + (value % 10) as u8;
            value /= 10;
        }
    }
    out
}

/// Year, month and day of a day since 1970-01-01, by the proleptic Gregorian calendar: years are
/// counted from 1 March, so that the leap day is the last of its year.
fn civil_date(day: u64) -> (u64, u64, u64) {
    let shifted = day + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_strings_survive_every_character() {
        let text: String = (0..0x3000u32).filter_map(char::from_u32).chain("😀".chars()).collect();
        let json = written(|out| json_string(out, &text));
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        assert!(!json.chars().any(is_unsafe));
    }

    #[test]
    fn a_console_line_cannot_steer_the_terminal() {
        let text = written(|out| console(out, "a\u{1b}[31m\r\n\u{9b}1m\u{7f}\u{202e}é\"\\"));
        assert_eq!(text, "a\\u{1b}[31m\\r\\n\\u{9b}1m\\u{7f}\\u{202e}é\"\\");
    }

    #[test]
    fn timestamps_are_rfc_3339_in_utc() {
        for (millis, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_827_696_007, "2000-02-29T12:34:56.007Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_767_225_600_000, "2026-01-01T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(written(|out| timestamp(out, UNIX_EPOCH + Duration::from_millis(millis))), expected);
        }
    }

    #[test]
    fn milliseconds_have_three_decimals() {
        assert_eq!(written(|out| milliseconds(out, Duration::from_nanos(1_050_999))), "1.050");
        assert_eq!(written(|out| milliseconds(out, Duration::from_secs(90))), "90000.000");
    }
}
