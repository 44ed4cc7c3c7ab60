//! The `Date` of answers ([RFC 9110 section 6.6.1](https://www.rfc-editor.org/rfc/rfc9110#section-6.6.1)).
//!
//! hyper makes one too, but looks only for whether its second is over: when the wall clock is set
//! back, it goes on saying what it said until that moment comes again.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use tokio::time::Instant;

/// The last second of the year 9999, behind which the format has no years.
const LAST_SECOND: u64 = 253_402_300_799;

/// How long a value is used before the wall clock is looked at again: the other clock is one that was looked at
/// already.
const GOOD_FOR: Duration = Duration::from_millis(100);

/// A value, the second that it stands for, and when it was looked up.
struct Last {
    value: HeaderValue,
    second: u64,
    at: Option<Instant>,
}

thread_local! {
    static LAST: RefCell<Last> =
        const { RefCell::new(Last { value: HeaderValue::from_static(""), second: u64::MAX, at: None }) };
}

/// The value for this moment.
pub(super) fn now() -> HeaderValue {
    LAST.with_borrow_mut(|last| last.look(SystemTime::now()).clone())
}

/// Writes the value for this moment, which is `now`.
pub(super) fn write(now: Instant, into: &mut Vec<u8>) {
    LAST.with_borrow_mut(|last| {
        if last.at.is_none_or(|at| now.saturating_duration_since(at) >= GOOD_FOR) {
            last.look(SystemTime::now());
            last.at = Some(now);
        }
        into.extend_from_slice(last.value.as_bytes());
    });
}

impl Last {
    fn look(&mut self, moment: SystemTime) -> &HeaderValue {
        let second = moment.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()).min(LAST_SECOND);
        if self.second != second {
            let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
            if let Ok(made) = HeaderValue::try_from(text) {
                (self.second, self.value) = (second, made);
            }
        }
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_the_clock_forth_and_back_and_to_the_ends_of_time() {
        let at = |second| UNIX_EPOCH + Duration::from_millis(second * 1000 + 999);
        for (moment, text) in [
            (at(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT"),
            (at(784_111_778), "Sun, 06 Nov 1994 08:49:38 GMT"),
            (at(784_108_177), "Sun, 06 Nov 1994 07:49:37 GMT"),
            (at(LAST_SECOND + 1), "Fri, 31 Dec 9999 23:59:59 GMT"),
            (UNIX_EPOCH - Duration::from_secs(1), "Thu, 01 Jan 1970 00:00:00 GMT"),
        ] {
            assert_eq!(LAST.with_borrow_mut(|last| last.look(moment).clone()), text);
        }
    }
}
