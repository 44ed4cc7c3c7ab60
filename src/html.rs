//! Text in HTML and XML, where it can be nothing but text, and figures as people say them.

use std::fmt;
use std::time::Duration;

/// Shows text with everything escaped that has a meaning in HTML or XML, in elements and in
/// quoted attributes alike.
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
            let (plain, from) = rest.split_at(at);
            f.write_str(plain)?;
            let mut characters = from.chars();
            f.write_str(match characters.next() {
                Some('&') => "&amp;",
                Some('<') => "&lt;",
                Some('>') => "&gt;",
                Some('"') => "&quot;",
                _ => "&#39;",
            })?;
            rest = characters.as_str();
        }
        f.write_str(rest)
    }
}

/// `3 d 4 h`, `4 h 5 min`, `5 min 6 s`, `6 s`.
pub fn uptime(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// Digits in groups of three, apart by a narrow space.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3 * 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// `900 µs`, `1.5 ms`, `2.50 s`.
pub fn latency(duration: Duration) -> String {
    let micros = duration.as_micros();
    match micros {
        0..1000 => format!("{micros}\u{a0}µs"),
        1000..1_000_000 => format!("{:.1}\u{a0}ms", micros as f64 / 1e3),
        _ => format!("{:.2}\u{a0}s", micros as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_with_a_meaning_is_left() {
        assert_eq!(
            Escaped("<a href=\"x\">'é' & b</a>").to_string(),
            "&lt;a href=&quot;x&quot;&gt;&#39;é&#39; &amp; b&lt;/a&gt;"
        );
    }

    #[test]
    fn figures_are_told_as_people_say_them() {
        assert_eq!(
            [0, 59, 61, 3725, 90_061].map(|s| uptime(Duration::from_secs(s))),
            ["0 s", "59 s", "1 min 1 s", "1 h 2 min", "1 d 1 h"]
        );
        assert_eq!(
            [7, 999, 1000, 1_234_567].map(grouped),
            ["7", "999", "1\u{202f}000", "1\u{202f}234\u{202f}567"]
        );
        assert_eq!(
            [999, 1500, 2_500_000].map(|us| latency(Duration::from_micros(us))),
            ["999\u{a0}µs", "1.5\u{a0}ms", "2.50\u{a0}s"]
        );
    }
}
