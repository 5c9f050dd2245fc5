//! Limits the failed authentications of an address.
//!
//! A table of fixed size counts the failures of the present second. Addresses that share an entry share the limit; a
//! credential that is cached is not affected. The hash has a random key, so that no client can choose its entry.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::ErrorCode;
use tokio::time::Instant;

use crate::address_limiter::group;
use crate::problem::Problem;

/// Maximum number of failed authentications of an address in a second.
const MAX_FAILURES: u64 = 20;
/// Number of entries: 128 KiB.
const ENTRIES: usize = 16 * 1024;
/// An entry contains the second above these bits, and the number of failures in them.
const COUNT_BITS: u32 = 20;

/// The failures of the present second.
pub(super) struct FailureLimiter {
    entries: Box<[AtomicU64]>,
    keys: RandomState,
    started: Instant,
}

impl Default for FailureLimiter {
    fn default() -> Self {
        Self {
            entries: (0..ENTRIES).map(|_| AtomicU64::new(0)).collect(),
            keys: RandomState::new(),
            started: Instant::now(),
        }
    }
}

impl FailureLimiter {
    /// Returns whether an address has failed as often as it may.
    pub(super) fn is_exhausted(&self, client: Option<IpAddr>) -> bool {
        count_in(self.entry(client).load(Ordering::Relaxed), self.second()) >= MAX_FAILURES
    }

    /// Counts a failure. Returns false if it exceeds the limit.
    pub(super) fn count(&self, client: Option<IpAddr>) -> bool {
        let second = self.second();
        let next = |entry| {
            let count = count_in(entry, second);
            (count < MAX_FAILURES).then_some(second << COUNT_BITS | (count + 1))
        };
        self.entry(client).fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    fn entry(&self, client: Option<IpAddr>) -> &AtomicU64 {
        let hash = self.keys.hash_one(client.map(group));
        &self.entries[usize::try_from(hash % ENTRIES as u64).unwrap_or_default()]
    }

    fn second(&self) -> u64 {
        // An unused entry is 0, so the first second is 1.
        self.started.elapsed().as_secs() + 1
    }
}

fn count_in(entry: u64, second: u64) -> u64 {
    if entry >> COUNT_BITS == second { entry & ((1 << COUNT_BITS) - 1) } else { 0 }
}

/// Returns the error of an address with too many failures.
pub(super) fn rate_limited() -> Problem {
    Problem::new(
        ErrorCode::RateLimited,
        "too many requests of this address had an invalid credential; send a valid one after a second",
    )
    .retry_after(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn failures_are_limited_for_each_second() {
        let limiter = FailureLimiter::default();
        let client = Some("192.0.2.7".parse().unwrap());
        for _ in 0..MAX_FAILURES {
            assert!(!limiter.is_exhausted(client) && limiter.count(client));
        }
        assert!(limiter.is_exhausted(client) && !limiter.count(client));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!limiter.is_exhausted(client) && limiter.count(client));
    }

    #[test]
    fn the_limits_are_documented() {
        limits_page::row(
            "failed authentications of one client address",
            &format!("{MAX_FAILURES} in a second"),
        );
    }
}
