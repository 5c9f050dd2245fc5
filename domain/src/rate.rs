//! Limits a rate of requests: the generic cell rate algorithm (GCRA).
//!
//! A limiter keeps one number: the time at which its burst is complete again. A request moves that time by its cost,
//! and is refused while the time is too far ahead. So a decision is one comparison and one exchange of an integer,
//! without a timer and without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Maximum rate, in requests per second.
pub const MAX_RATE: u32 = 1_000_000;
/// Maximum burst, in requests.
pub const MAX_BURST: u32 = 1_000_000;
/// Maximum number of gateways that share a limit.
pub const MAX_SHARES: u32 = 1_000;
/// Maximum cost of a request. No request costs as much.
const MAX_COST: u32 = 1_000_000;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A rate and the requests that may arrive at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    per_second: u32,
    burst: u32,
}

impl Rate {
    /// Returns a rate within [`MAX_RATE`] and [`MAX_BURST`].
    pub fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second: per_second.clamp(1, MAX_RATE), burst: burst.clamp(1, MAX_BURST) }
    }

    /// Returns the time in which a request of cost 1 is earned, in nanoseconds.
    fn interval(self) -> u64 {
        NANOS_PER_SECOND / u64::from(self.per_second)
    }

    /// Returns the time in which the burst is earned, in nanoseconds.
    fn capacity(self) -> u64 {
        self.interval() * u64::from(self.burst)
    }
}

/// The cost of a request, in requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// The whole cost.
    pub total: u32,
    /// The part for which the request was admitted before.
    pub paid: u32,
}

impl From<u32> for Cost {
    fn from(total: u32) -> Self {
        Self { total, paid: 0 }
    }
}

/// What a limiter grants at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateState {
    /// The burst of this gateway.
    pub limit: u32,
    /// The time in which the burst is earned.
    pub window: Duration,
    /// The requests of cost 1 that are admitted now.
    pub remaining: u32,
    /// The time until the burst is complete.
    pub reset: Duration,
}

/// The use of one rate. The gateways that share the rate each have a limiter.
///
/// In any period, a limiter admits at most the burst and what the rate earns in that period, divided by the number of
/// gateways. A request that costs more than the burst is admitted while the burst is complete, and is earned afterwards.
#[derive(Debug)]
pub struct RateLimiter {
    started: Instant,
    /// The time at which the burst is complete, in nanoseconds after `started`.
    complete_at: AtomicU64,
}

impl RateLimiter {
    /// Creates a limiter with a complete burst.
    pub fn new(now: Instant) -> Self {
        Self { started: now, complete_at: AtomicU64::new(0) }
    }

    /// Admits a request of this cost to a rate that `shares` gateways share.
    ///
    /// # Errors
    /// Returns the time after which the request is admitted, if no other one is.
    pub fn charge(
        &self,
        rate: Rate,
        cost: impl Into<Cost>,
        shares: u32,
        now: Instant,
    ) -> Result<(), Duration> {
        let cost = cost.into();
        let now = self.nanos(now);
        let mut complete_at = self.complete_at.load(Ordering::Relaxed);
        loop {
            let next = admit(rate, cost, shares, complete_at, now)?;
            match self.complete_at.compare_exchange_weak(
                complete_at,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(()),
                Err(changed) => complete_at = changed,
            }
        }
    }

    /// Checks whether [`Self::charge`] would admit a request, without admitting it.
    ///
    /// # Errors
    /// As [`Self::charge`].
    pub fn check(
        &self,
        rate: Rate,
        cost: impl Into<Cost>,
        shares: u32,
        now: Instant,
    ) -> Result<(), Duration> {
        admit(rate, cost.into(), shares, self.complete_at.load(Ordering::Relaxed), self.nanos(now)).map(drop)
    }

    /// Returns what the limiter grants.
    pub fn state(&self, rate: Rate, shares: u32, now: Instant) -> RateState {
        let shares = shares.clamp(1, MAX_SHARES);
        let used = self.complete_at.load(Ordering::Relaxed).saturating_sub(self.nanos(now));
        let free = rate.capacity().saturating_sub(used) / (rate.interval() * u64::from(shares));
        let free = u32::try_from(free).unwrap_or(u32::MAX);
        RateState {
            limit: (rate.burst / shares).max(1),
            window: Duration::from_nanos(rate.capacity()),
            remaining: if used == 0 { free.max(1) } else { free },
            reset: Duration::from_nanos(used),
        }
    }

    /// Returns whether the burst is complete, so that the limiter is equal to a new one.
    pub fn is_complete(&self, now: Instant) -> bool {
        self.complete_at.load(Ordering::Relaxed) <= self.nanos(now)
    }

    fn nanos(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.started).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Returns the time at which the burst is complete after this request, or the wait until the request is admitted.
fn admit(rate: Rate, cost: Cost, shares: u32, complete_at: u64, now: u64) -> Result<u64, Duration> {
    let shares = u64::from(shares.clamp(1, MAX_SHARES));
    let price = |cost: u32| (u64::from(cost.min(MAX_COST)) * shares).saturating_mul(rate.interval());
    let (total, paid) = (price(cost.total), price(cost.paid));
    let used = complete_at.saturating_sub(now);
    // A price above the capacity is paid with a complete burst and the time after it.
    let room = rate.capacity().saturating_sub(total);
    if used.saturating_sub(paid) > room {
        // A repetition of the request is charged from its beginning.
        return Err(Duration::from_nanos(used - room));
    }
    Ok(complete_at.max(now).saturating_add(total.saturating_sub(paid)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_burst_is_admitted_at_once_and_then_the_rate() {
        let start = Instant::now();
        let (limiter, rate) = (RateLimiter::new(start), Rate::new(10, 3));
        for _ in 0..3 {
            assert_eq!(limiter.charge(rate, 1, 1, start), Ok(()));
        }
        assert_eq!(limiter.charge(rate, 1, 1, start), Err(millis(100)));
        assert_eq!(limiter.charge(rate, 2, 1, start + millis(50)), Err(millis(150)));
        assert_eq!(limiter.check(rate, 1, 1, start + millis(100)), Ok(()));
        assert_eq!(limiter.charge(rate, 1, 1, start + millis(100)), Ok(()));
        assert_eq!(
            limiter.charge(rate, 1, 1, start + millis(100)),
            Err(millis(100)),
            "a refusal costs nothing"
        );
    }

    #[test]
    fn a_cost_above_the_burst_needs_a_complete_burst_and_is_earned_later() {
        let start = Instant::now();
        let (limiter, rate) = (RateLimiter::new(start), Rate::new(10, 3));
        limiter.charge(rate, 1, 1, start).unwrap();
        assert_eq!(limiter.charge(rate, 50, 1, start), Err(millis(100)));
        let complete = start + millis(100);
        limiter.charge(rate, 50, 1, complete).unwrap();
        // 50 requests of 100 ms each, of which the burst of 3 remains.
        assert_eq!(limiter.charge(rate, 1, 1, complete), Err(millis(5_000 - 200)));
        assert_eq!(limiter.state(rate, 1, complete).remaining, 0);
        limiter.charge(rate, 1, 1, complete + millis(4_800)).unwrap();
    }

    #[test]
    fn the_rest_of_a_cost_is_charged_as_a_part_of_the_whole() {
        let start = Instant::now();
        let rate = Rate::new(10, 3);
        for (total, used) in [(3, 300), (50, 5_000)] {
            let limiter = RateLimiter::new(start);
            limiter.charge(rate, 1, 1, start).unwrap();
            limiter.charge(rate, Cost { total, paid: 1 }, 1, start).unwrap();
            assert_eq!(limiter.state(rate, 1, start).reset, millis(used));
        }
        let limiter = RateLimiter::new(start);
        limiter.charge(rate, 2, 1, start).unwrap();
        let rest = Cost { total: 50, paid: 1 };
        assert_eq!(limiter.charge(rate, rest, 1, start), Err(millis(200)));
        // The request is repeated after the wait.
        limiter.charge(rate, 1, 1, start + millis(200)).unwrap();
        limiter.charge(rate, rest, 1, start + millis(200)).unwrap();
    }

    #[test]
    fn the_state_is_that_of_the_share() {
        let start = Instant::now();
        let (limiter, rate) = (RateLimiter::new(start), Rate::new(10, 20));
        let state = limiter.state(rate, 2, start);
        let complete = RateState { limit: 10, window: millis(2_000), remaining: 10, reset: Duration::ZERO };
        assert_eq!(state, complete);
        for left in (0..10).rev() {
            limiter.charge(rate, 1, 2, start).unwrap();
            assert_eq!(limiter.state(rate, 2, start).remaining, left);
        }
        assert_eq!(limiter.charge(rate, 1, 2, start), Err(millis(200)));
        assert_eq!(limiter.state(rate, 2, start).reset, millis(2_000));
        assert!(!limiter.is_complete(start + millis(1_999)) && limiter.is_complete(start + millis(2_000)));
        // A share below one request still admits one.
        assert_eq!(RateLimiter::new(start).state(rate, 100, start).remaining, 1);
        RateLimiter::new(start).charge(rate, 1, 100, start).unwrap();
    }

    #[test]
    fn extreme_values_do_not_overflow() {
        let start = Instant::now();
        for rate in [Rate::new(0, 0), Rate::new(u32::MAX, u32::MAX), Rate::new(1, u32::MAX)] {
            let limiter = RateLimiter::new(start);
            let _ = limiter.charge(rate, u32::MAX, u32::MAX, start);
            let _ =
                limiter.charge(rate, u32::MAX, u32::MAX, start + Duration::from_secs(u64::from(u32::MAX)));
            limiter.state(rate, u32::MAX, start);
        }
    }

    /// A request: milliseconds after the previous one, the gateway that receives it, its cost.
    fn requests() -> impl Strategy<Value = Vec<(u64, usize, u32)>> {
        prop::collection::vec((prop_oneof![Just(0), 0_u64..300], 0_usize..3, 1_u32..6), 1..80)
    }

    proptest! {
        /// In each window, all gateways together admit at most the burst and what the rate earns in the window.
        #[test]
        fn no_window_exceeds_burst_and_rate(
            per_second in 1_u32..50,
            burst in 1_u32..40,
            gateways in 1_usize..4,
            requests in requests(),
        ) {
            let start = Instant::now();
            let rate = Rate::new(per_second, burst);
            let limiters: Vec<_> = (0..gateways).map(|_| RateLimiter::new(start)).collect();
            let shares = u32::try_from(gateways).unwrap();
            let mut now = start;
            let mut admitted: Vec<(Instant, u32)> = Vec::new();
            for (wait, gateway, cost) in requests {
                now += millis(wait);
                // A cost above the share of the burst has another bound.
                if cost * shares <= burst
                    && limiters[gateway % gateways].charge(rate, cost, shares, now).is_ok()
                {
                    admitted.push((now, cost));
                }
            }
            for first in 0..admitted.len() {
                let mut sum = 0;
                for &(at, cost) in &admitted[first..] {
                    sum += u64::from(cost);
                    let elapsed = u64::try_from((at - admitted[first].0).as_nanos()).unwrap();
                    prop_assert!(sum * rate.interval() <= rate.capacity() + elapsed);
                }
            }
        }

        /// A refused request is admitted after the wait of its refusal, and not before.
        #[test]
        fn the_wait_of_a_refusal_is_exact(requests in requests(), shares in 1_u32..5) {
            let start = Instant::now();
            let (limiter, rate) = (RateLimiter::new(start), Rate::new(7, 10));
            let mut now = start;
            for (wait, _, cost) in requests {
                now += millis(wait);
                if let Err(wait) = limiter.charge(rate, cost, shares, now) {
                    let before = now + wait - Duration::from_nanos(1);
                    prop_assert_eq!(limiter.check(rate, cost, shares, before), Err(Duration::from_nanos(1)));
                    prop_assert_eq!(limiter.check(rate, cost, shares, now + wait), Ok(()));
                }
            }
        }
    }
}
