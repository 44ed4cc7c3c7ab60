//! Whether the process stood still, and whether the wall clock was set, since the last look.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Later than expected by this much, or off by this much: less is everyday life.
const NOTABLE: Duration = Duration::from_secs(1);

/// At most one line about each in this time.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// What has happened since the last beat.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Beat {
    /// The process stood still for about so long.
    pub(super) stalled: Option<Duration>,
    /// The wall clock was set forth, or back, by so many milliseconds.
    pub(super) stepped: Option<i64>,
}

/// The last moment, by both clocks.
#[derive(Debug)]
pub(super) struct Pulse {
    every: Duration,
    last: Instant,
    wall: SystemTime,
    said_stalled: Option<Instant>,
    said_stepped: Option<Instant>,
}

impl Pulse {
    /// To be asked once in `every`.
    pub(super) fn new(every: Duration, now: Instant, wall: SystemTime) -> Self {
        Self { every, last: now, wall, said_stalled: None, said_stepped: None }
    }

    /// Compares this moment with the last.
    pub(super) fn beat(&mut self, now: Instant, wall: SystemTime) -> Beat {
        let passed = now.duration_since(self.last);
        let late = passed.saturating_sub(self.every);
        let passed = millis(passed);
        // A clock that was set back shows a time that ends before it begins.
        let shown = match wall.duration_since(self.wall) {
            Ok(forth) => millis(forth),
            Err(error) => -millis(error.duration()),
        };
        (self.last, self.wall) = (now, wall);
        let off = shown.saturating_sub(passed);
        Beat {
            stalled: (late >= NOTABLE).then_some(late),
            stepped: (off.abs() >= millis(NOTABLE)).then_some(off),
        }
    }

    /// Says what happened, and not too often.
    pub(super) fn log(&mut self, beat: &Beat) {
        let due = |said: &mut Option<Instant>, now: Instant| {
            let due = said.is_none_or(|said| now.duration_since(said) >= LOG_EVERY);
            if due {
                *said = Some(now);
            }
            due
        };
        if let Some(late) = beat.stalled
            && due(&mut self.said_stalled, self.last)
        {
            tracing::warn!(ms = millis(late), "the process stood still");
        }
        if let Some(by) = beat.stepped
            && due(&mut self.said_stepped, self.last)
        {
            tracing::warn!(by_ms = by, "the wall clock was set");
        }
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_stop_and_a_step_are_told_apart() {
        let (now, wall) = (Instant::now(), SystemTime::now());
        let mut pulse = Pulse::new(SECOND, now, wall);
        let mut beat = |seconds, wall_seconds: i64| {
            let shown = SECOND * u32::try_from(wall_seconds.unsigned_abs()).unwrap();
            let wall = if wall_seconds < 0 { wall - shown } else { wall + shown };
            let Beat { stalled, stepped } = pulse.beat(now + SECOND * seconds, wall);
            (stalled.map(|it| it.as_secs()), stepped)
        };
        assert_eq!(beat(1, 1), (None, None));
        assert_eq!(beat(5, 5), (Some(3), None));
        assert_eq!(beat(6, 3606), (None, Some(3_600_000)));
        assert_eq!(beat(7, 7), (None, Some(-3_600_000)));
        assert_eq!(beat(8, -7200), (None, Some(-7_208_000)));
        assert_eq!(beat(12, -7200), (Some(3), Some(-4000)));
    }
}
