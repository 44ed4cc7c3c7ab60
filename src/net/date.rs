//! The `Date` of answers ([RFC 9110 section 6.6.1](https://www.rfc-editor.org/rfc/rfc9110#section-6.6.1)).
//!
//! hyper makes one too, but looks only for whether its second is over: when the wall clock is set
//! back, it goes on saying what it said until that moment comes again.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;

/// The last second of the year 9999, behind which the format has no years.
const LAST: u64 = 253_402_300_799;

thread_local! {
    /// The second that was asked for last, and its value: it is made once a second and thread.
    static SECOND: RefCell<(u64, HeaderValue)> = const { RefCell::new((u64::MAX, HeaderValue::from_static(""))) };
}

/// The value for this moment.
pub(super) fn now() -> HeaderValue {
    of(SystemTime::now())
}

fn of(moment: SystemTime) -> HeaderValue {
    let second = moment.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()).min(LAST);
    SECOND.with_borrow_mut(|(known, value)| {
        if *known != second {
            let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
            if let Ok(made) = HeaderValue::try_from(text) {
                (*known, *value) = (second, made);
            }
        }
        value.clone()
    })
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
            (at(LAST + 1), "Fri, 31 Dec 9999 23:59:59 GMT"),
            (UNIX_EPOCH - Duration::from_secs(1), "Thu, 01 Jan 1970 00:00:00 GMT"),
        ] {
            assert_eq!(of(moment), text);
        }
    }
}
