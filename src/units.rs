//! Sizes, durations and rates as operators write them: `64KiB`, `30s`, `500 B/s after 5s`.
//!
//! What is parsed here can be displayed here, and what is displayed parses to the same value.

use std::fmt;
use std::time::Duration;

/// Time without judgement where a rate is given as bytes per second alone.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(5);

/// A slowest allowed pace: `bytes_per_second`, not judged before `grace` has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Bytes per second.
    pub bytes_per_second: u64,
    /// Time without judgement.
    pub grace: Duration,
}

/// Displays a number of bytes in the largest unit that divides it: `64KiB`, `10MB`, `500B`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// Displays a duration in the largest unit that divides it, down to milliseconds: `1h`, `75s`, `500ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Duration);

/// Why a text is no size, duration or rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitError {
    /// Not a number of bytes, with or without a unit.
    Size,
    /// Not a number of milliseconds, nor numbers with units.
    Duration,
    /// Not bytes per second, with or without a grace.
    Rate,
    /// More than 64 bits hold.
    TooLarge,
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Size => {
                "not a size: write bytes (65536), or a unit of B, KB, KiB, MB, MiB, GB, GiB (64KiB)"
            }
            Self::Duration => {
                "not a duration: write milliseconds (30000), or units of h, m, s, ms (30s, 1m30s)"
            }
            Self::Rate => "not a rate: write bytes per second (500), or `500 B/s after 5s`",
            Self::TooLarge => "too large for 64 bits",
        })
    }
}

impl std::error::Error for UnitError {}

/// Larger units first; the display relies on it.
const SIZE_UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
];

/// Larger units first: a text names them in this order, each at most once.
const TIME_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The number at the start of `text`, and what follows it.
fn number(text: &str, otherwise: UnitError) -> Result<(u64, &str), UnitError> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() {
        return Err(otherwise);
    }
    digits.parse().map(|number| (number, rest)).map_err(|_| UnitError::TooLarge)
}

/// Bytes: an integer, or an integer with a unit in any case (`64KiB`, `64 kib`, `10MB`).
///
/// # Errors
/// The text is something else, or over 64 bits.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let (count, unit) = number(text.trim(), UnitError::Size)?;
    let unit = unit.trim_start();
    if unit.is_empty() {
        return Ok(count);
    }
    let (_, bytes) =
        SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or(UnitError::Size)?;
    count.checked_mul(*bytes).ok_or(UnitError::TooLarge)
}

/// A duration: integer milliseconds, or integers with units in falling order (`30s`, `1m30s`, `500ms`).
///
/// # Errors
/// The text is something else, or over 64 bits of milliseconds.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let text = text.trim();
    if let (millis, "") = number(text, UnitError::Duration)? {
        return Ok(Duration::from_millis(millis));
    }
    let mut rest = text;
    let mut units = &TIME_UNITS[..];
    let mut total = 0u64;
    while !rest.is_empty() {
        let (count, after) = number(rest, UnitError::Duration)?;
        let after = after.trim_start();
        let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let place = units.iter().position(|(name, _)| *name == unit).ok_or(UnitError::Duration)?;
        let (_, later) = units.split_at(place);
        let [(_, unit_millis), smaller @ ..] = later else { return Err(UnitError::Duration) };
        let millis = unit_millis.checked_mul(count).ok_or(UnitError::TooLarge)?;
        total = total.checked_add(millis).ok_or(UnitError::TooLarge)?;
        units = smaller;
        rest = after.trim_start();
    }
    Ok(Duration::from_millis(total))
}

/// A rate: bytes per second (`500`, `500 B/s`, `1KiB/s`), judged after 5 s or as said (`500 B/s after 10s`).
/// `0` and `off` are no rate at all.
///
/// # Errors
/// The text is something else, or one of its numbers is over 64 bits.
pub fn parse_rate(text: &str) -> Result<Option<Rate>, UnitError> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    let (pace, grace) = match text.split_once("after") {
        Some((pace, grace)) => (pace.trim(), parse_duration(grace)?),
        None => (text, DEFAULT_GRACE),
    };
    let size = pace.strip_suffix("/s").unwrap_or(pace);
    let bytes_per_second = parse_size(size).map_err(|error| match error {
        UnitError::TooLarge => error,
        _ => UnitError::Rate,
    })?;
    Ok((bytes_per_second > 0).then_some(Rate { bytes_per_second, grace }))
}

/// The count and unit in which `bytes` is a whole number, the shortest such.
fn size_parts(bytes: u64) -> (u64, &'static str) {
    let whole = SIZE_UNITS.iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    whole.map_or((bytes, "B"), |(name, unit)| (bytes / unit, *name))
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, unit) = size_parts(self.0);
        f.pad(&format!("{count}{unit}"))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let whole = TIME_UNITS.iter().find(|(_, unit)| millis > 0 && millis.is_multiple_of(*unit));
        let (name, unit) = whole.unwrap_or(&("s", 1_000));
        f.pad(&format!("{}{name}", millis / unit))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, unit) = size_parts(self.bytes_per_second);
        f.pad(&format!("{count} {unit}/s after {}", Time(self.grace)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_or_carry_a_unit() {
        for (text, bytes) in [
            ("0", 0),
            ("1048576", 1 << 20),
            ("64KiB", 65_536),
            ("64 kib", 65_536),
            ("10kb", 10_000),
            ("1MB", 1_000_000),
            (" 2mib ", 2 << 20),
            ("3GiB", 3 << 30),
            ("3gb", 3_000_000_000),
            ("7B", 7),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "KiB", "-1", "1.5MiB", "64k", "64KiBs", "ten", "1 2", "+1", "１"] {
            assert_eq!(parse_size(text), Err(UnitError::Size), "{text}");
        }
        for text in ["18446744073709551616", "18446744073709551615KB", "99999999999GiB"] {
            assert_eq!(parse_size(text), Err(UnitError::TooLarge), "{text}");
        }
    }

    #[test]
    fn durations_are_milliseconds_or_carry_units_in_falling_order() {
        for (text, millis) in [
            ("0", 0),
            ("30000", 30_000),
            ("500ms", 500),
            ("30s", 30_000),
            ("0s", 0),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1m30s", 90_000),
            ("1h 2m 3s 4ms", 3_723_004),
            ("90 s", 90_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-5s", "1.5s", "30s1m", "1s1s", "1d", "5 seconds", "1m30", "30S"] {
            assert_eq!(parse_duration(text), Err(UnitError::Duration), "{text}");
        }
        assert_eq!(parse_duration("18446744073709551615h"), Err(UnitError::TooLarge));
        assert_eq!(parse_duration("18446744073709551615ms1ms"), Err(UnitError::Duration));
    }

    #[test]
    fn rates_have_a_grace_and_zero_is_off() {
        let rate =
            |bytes_per_second, grace| Ok(Some(Rate { bytes_per_second, grace: Duration::from_secs(grace) }));
        for (text, expected) in [
            ("500", rate(500, 5)),
            ("500 B/s", rate(500, 5)),
            ("1KiB/s", rate(1024, 5)),
            ("500 B/s after 5s", rate(500, 5)),
            ("2 KB/s after 1m", rate(2000, 60)),
            ("500 after 10s", rate(500, 10)),
            ("500B/s after 0s", rate(500, 0)),
            ("0", Ok(None)),
            ("off", Ok(None)),
            ("0 B/s after 5s", Ok(None)),
            ("fast", Err(UnitError::Rate)),
            ("500 B/s after", Err(UnitError::Duration)),
            ("500 B/m", Err(UnitError::Rate)),
        ] {
            assert_eq!(parse_rate(text), expected, "{text}");
        }
    }

    #[test]
    fn the_display_is_what_a_person_would_write() {
        assert_eq!(Size(0).to_string(), "0B");
        assert_eq!(Size(65_536).to_string(), "64KiB");
        assert_eq!(Size(10 << 20).to_string(), "10MiB");
        assert_eq!(Size(5_000_000).to_string(), "5MB");
        assert_eq!(Size(65_534).to_string(), "65534B");
        assert_eq!(Time(Duration::ZERO).to_string(), "0s");
        assert_eq!(Time(Duration::from_secs(75)).to_string(), "75s");
        assert_eq!(Time(Duration::from_secs(3600)).to_string(), "1h");
        assert_eq!(Time(Duration::from_millis(1500)).to_string(), "1500ms");
        let rate = Rate { bytes_per_second: 500, grace: DEFAULT_GRACE };
        assert_eq!(rate.to_string(), "500 B/s after 5s");
    }

    #[test]
    fn what_is_displayed_parses_to_the_same_value() {
        // A walk over all magnitudes, with neighbours, rather than a list of favourites.
        let mut seed = 0x9e37_79b9_7f4a_7c15u64;
        let mut samples: Vec<u64> = (0..64).flat_map(|bit| [1u64 << bit, (1u64 << bit) - 1]).collect();
        samples.extend((0..20).map(|power| 10u64.pow(power)));
        for bits in 0..2_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            samples.push(seed >> (bits % 60));
        }
        for number in samples {
            assert_eq!(parse_size(&Size(number).to_string()), Ok(number));
            let duration = Duration::from_millis(number);
            assert_eq!(parse_duration(&Time(duration).to_string()), Ok(duration));
            let rate = Rate { bytes_per_second: number.max(1), grace: duration };
            assert_eq!(parse_rate(&rate.to_string()), Ok(Some(rate)));
        }
    }
}
