use std::time::Duration;

use tokio::time::Instant;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(2);
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Patience with something that is away: how long to wait before it is tried again, and whether
/// this failure is worth a line in the log.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    logged_at: Option<Instant>,
}

impl Backoff {
    /// The wait after one more failure: doubling from 100 ms to 2 s. The lower half of each is fixed
    /// and the upper half drawn, so that many workers do not come back in the same moment.
    pub(crate) fn next(&mut self) -> Duration {
        let ceiling = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures += 1;
        ceiling.mul_f64(0.5 + rand::random::<f64>() / 2.0)
    }

    /// It works again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// At most once a second.
    pub(crate) fn should_log(&mut self) -> bool {
        let now = Instant::now();
        let due = self.logged_at.is_none_or(|at| now - at >= LOG_INTERVAL);
        if due {
            self.logged_at = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_again() {
        let mut backoff = Backoff::default();
        for ceiling in [100, 200, 400, 800, 1_600, 2_000, 2_000].map(Duration::from_millis) {
            let wait = backoff.next();
            assert!(wait >= ceiling / 2 && wait <= ceiling, "{wait:?} of {ceiling:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
