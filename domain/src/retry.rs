//! When a failed attempt is tried again.

use std::time::Duration;

/// Exponential backoff with full jitter: after the n-th failure the wait is drawn evenly from
/// 0 to `base * 2^(n-1)`, the upper end held at `cap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Upper end of the wait after the first failure.
    pub base: Duration,
    /// Upper end of every wait that the gateway chooses.
    pub cap: Duration,
}

/// Most postponements of an order: attempts that ended because the other side asked to be tried again later. Further
/// ones count as failures.
pub const MAX_POSTPONEMENTS: u32 = 100;

/// The longest wait that the other side can ask for; longer ones are cut to it.
pub const MAX_POSTPONEMENT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { base: Duration::from_secs(1), cap: Duration::from_secs(300) }
    }
}

impl RetryPolicy {
    /// The longest wait after `failures` failures (1 or more).
    pub fn ceiling(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(32);
        let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.cap)
    }

    /// The wait before the next attempt. `random` is any number, evenly drawn; `retry_after` is
    /// what the other side asked for and wins, up to [`MAX_POSTPONEMENT`].
    pub fn delay(&self, failures: u32, retry_after: Option<Duration>, random: u32) -> Duration {
        match retry_after {
            Some(asked) => asked.min(MAX_POSTPONEMENT),
            None => self.ceiling(failures).mul_f64(f64::from(random) / f64::from(u32::MAX)),
        }
    }

    /// The wait after the n-th attempt in a row that the other side has postponed: never shorter than it asked for, and
    /// growing as after failures, so that short requests do not become a busy loop.
    pub fn postponement(&self, postponements: u32, asked: Duration, random: u32) -> Duration {
        self.delay(postponements, Some(asked), random).max(self.delay(postponements, None, random))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap() {
        let policy = RetryPolicy { base: Duration::from_secs(1), cap: Duration::from_secs(10) };
        let ceilings: Vec<u64> = (1..=6).map(|n| policy.ceiling(n).as_secs()).collect();
        assert_eq!(ceilings, [1, 2, 4, 8, 10, 10]);
        assert_eq!(policy.ceiling(u32::MAX), policy.cap);
        assert_eq!(policy.delay(3, None, 0), Duration::ZERO);
        assert_eq!(policy.delay(3, None, u32::MAX), Duration::from_secs(4));
    }

    #[test]
    fn retry_after_wins_up_to_its_limit() {
        let policy = RetryPolicy::default();
        let asked = |secs| policy.delay(1, Some(Duration::from_secs(secs)), 7);
        assert_eq!(asked(20), Duration::from_secs(20));
        assert_eq!(asked(86_400), Duration::from_secs(86_400));
        assert_eq!(asked(30 * 86_400), MAX_POSTPONEMENT);
    }

    #[test]
    fn short_postponements_grow() {
        let policy = RetryPolicy::default();
        let wait = |n, secs| policy.postponement(n, Duration::from_secs(secs), u32::MAX).as_secs();
        assert_eq!((wait(1, 3_600), wait(50, 3_600)), (3_600, 3_600));
        assert_eq!((wait(1, 1), wait(3, 1), wait(50, 1)), (1, 4, 300));
    }
}
