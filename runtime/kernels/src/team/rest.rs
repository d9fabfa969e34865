//! When a team works alone: after its caller had to wait for a helper that the system had put aside.

use std::time::{Duration, Instant};

/// Length of a first rest, in units of the wait that caused it: at most a ninth of the time is lost to waiting.
const FIRST: u32 = 8;
/// Length of the longest rest, in the same units.
const LONGEST: u32 = 64;

/// The rests of a team. Each is eight times as long as the wait that caused it. One that the next stall follows sooner than it
/// lasted has been too short, and the next is twice as long, up to 64 times its wait: a second core that stays busy costs a
/// sixty-fifth of the time then, and one that becomes free is used within a fraction of a second.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// The last rest's end and length.
    last: Option<(Instant, Duration)>,
    /// Its length in units of its wait.
    times: u32,
}

impl Rest {
    /// Whether to work alone.
    pub(super) fn is_on(&self, now: Instant) -> bool {
        self.last.is_some_and(|(end, _)| now < end)
    }

    /// Begins a rest, since the caller has waited until `now`.
    pub(super) fn begin(&mut self, now: Instant, waited: Duration) {
        let again = self.last.is_some_and(|(end, length)| now.saturating_duration_since(end) < length);
        self.times = if again { (2 * self.times).min(LONGEST) } else { FIRST };
        let length = self.times * waited;
        self.last = Some((now + length, length));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(3);

    #[test]
    fn a_rest_is_longer_after_one_that_did_not_help() {
        let mut rest = Rest::default();
        let mut now = Instant::now();
        assert!(!rest.is_on(now));
        for times in [8, 16, 32, 64, 64] {
            rest.begin(now, WAIT);
            assert!(rest.is_on(now + times * WAIT - Duration::from_nanos(1)), "{times}");
            now += times * WAIT;
            assert!(!rest.is_on(now), "{times}");
            // Another stall at once.
        }
        // Undisturbed for as long as the rest was: the next stall is a first one.
        now += 64 * WAIT;
        rest.begin(now, WAIT);
        assert!(!rest.is_on(now + 8 * WAIT));
    }
}
