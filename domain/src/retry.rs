//! The delays between attempts: of an order, and of an operation that failed.

use std::time::Duration;

/// Exponential backoff with full jitter.
///
/// After the n-th failure the delay is drawn evenly from 0 to `base * 2^(n-1)`, at most `cap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The maximum delay after the first failure.
    pub base: Duration,
    /// The maximum of every delay that the gateway chooses.
    pub cap: Duration,
}

/// The maximum number of postponements of an order.
///
/// A postponed attempt ended because the called service asked for a later one. Further postponements count as failures.
pub const MAX_POSTPONEMENTS: u32 = 100;

/// The maximum delay that the called service can ask for; a longer one is shortened to it.
pub const MAX_POSTPONEMENT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { base: Duration::from_secs(1), cap: Duration::from_secs(300) }
    }
}

impl RetryPolicy {
    /// Returns the maximum delay after `failures` failures (1 or more).
    pub fn max_delay(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(32);
        let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.cap)
    }

    /// Returns the delay before the next attempt.
    ///
    /// `random` is any evenly drawn number. `retry_after` is the delay that the called service asked for; it takes
    /// precedence, up to [`MAX_POSTPONEMENT`].
    pub fn delay(&self, failures: u32, retry_after: Option<Duration>, random: u32) -> Duration {
        match retry_after {
            Some(requested) => requested.min(MAX_POSTPONEMENT),
            None => self.max_delay(failures).mul_f64(f64::from(random) / f64::from(u32::MAX)),
        }
    }

    /// Returns the delay after the n-th postponed attempt in succession.
    ///
    /// It is never shorter than requested, and grows as after failures, so that short requests cause no busy loop.
    pub fn postponement(&self, postponements: u32, requested: Duration, random: u32) -> Duration {
        self.delay(postponements, Some(requested), random).max(self.delay(postponements, None, random))
    }
}

/// The delays of an operation that is retried until it succeeds, such as a connect.
///
/// A delay is at least half of its maximum, so that retries are never immediate. The other half is random, so that many
/// processes do not retry at the same time. It is written by hand because [`RetryPolicy`] exists for orders anyway, and
/// because retry libraries such as `backon` drive the operation themselves, while the callers here are event loops.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    policy: RetryPolicy,
    failures: u32,
}

impl Backoff {
    /// Creates a backoff without failures.
    pub fn new(policy: RetryPolicy) -> Self {
        Self { policy, failures: 0 }
    }

    /// Counts a failure and returns the delay before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.policy.max_delay(self.failures).mul_f64(0.5 + rand::random::<f64>() / 2.0)
    }

    /// Returns the number of failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Records a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap() {
        let policy = RetryPolicy { base: Duration::from_secs(1), cap: Duration::from_secs(10) };
        let delays: Vec<u64> = (1..=6).map(|n| policy.max_delay(n).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 10, 10]);
        assert_eq!(policy.max_delay(u32::MAX), policy.cap);
        assert_eq!(policy.delay(3, None, 0), Duration::ZERO);
        assert_eq!(policy.delay(3, None, u32::MAX), Duration::from_secs(4));
    }

    #[test]
    fn retry_after_takes_precedence_up_to_its_maximum() {
        let policy = RetryPolicy::default();
        let requested = |secs| policy.delay(1, Some(Duration::from_secs(secs)), 7);
        assert_eq!(requested(20), Duration::from_secs(20));
        assert_eq!(requested(86_400), Duration::from_secs(86_400));
        assert_eq!(requested(30 * 86_400), MAX_POSTPONEMENT);
    }

    #[test]
    fn short_postponements_grow() {
        let policy = RetryPolicy::default();
        let delay = |n, secs| policy.postponement(n, Duration::from_secs(secs), u32::MAX).as_secs();
        assert_eq!((delay(1, 3_600), delay(50, 3_600)), (3_600, 3_600));
        assert_eq!((delay(1, 1), delay(3, 1), delay(50, 1)), (1, 4, 300));
    }

    #[test]
    fn backoff_doubles_up_to_the_cap_and_restarts_after_a_success() {
        let policy = RetryPolicy { base: Duration::from_millis(100), cap: Duration::from_secs(2) };
        let mut backoff = Backoff::new(policy);
        for max in [100, 200, 400, 800, 1_600, 2_000, 2_000].map(Duration::from_millis) {
            let delay = backoff.next_delay();
            assert!(delay >= max / 2 && delay <= max, "{delay:?} of {max:?}");
        }
        assert_eq!(backoff.failures(), 7);
        backoff.reset();
        assert!(backoff.next_delay() <= policy.base);
    }
}
