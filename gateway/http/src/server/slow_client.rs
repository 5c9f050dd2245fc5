//! Limits how slowly a client can read the bytes that are written to it.

use std::time::Duration;

use tokio::time::Instant;

use crate::Config;

/// Limits for the speed of a client.
#[derive(Debug, Clone, Copy)]
pub(super) struct SlowClientLimits {
    /// Maximum time without any byte read.
    pub(super) stall: Duration,
    /// Time for which the client can be slower than `rate`.
    pub(super) grace: Duration,
    /// Minimum average rate after that, in bytes per second.
    pub(super) rate: usize,
}

impl From<&Config> for SlowClientLimits {
    fn from(limits: &Config) -> Self {
        Self {
            stall: limits.write_timeout,
            grace: limits.slow_client_grace,
            rate: limits.min_read_rate.max(1),
        }
    }
}

/// A period in which bytes wait for a client without interruption.
#[derive(Debug, Clone, Copy)]
pub(super) struct PendingWrite {
    since: Instant,
    /// Number of bytes that the client has read in the period.
    taken: usize,
    last: Instant,
}

impl PendingWrite {
    pub(super) fn begin() -> Self {
        let now = Instant::now();
        Self { since: now, taken: 0, last: now }
    }

    pub(super) fn took(&mut self, bytes: usize) {
        self.taken += bytes;
        self.last = Instant::now();
    }

    /// Returns the time at which the client is too slow if it reads nothing more.
    pub(super) fn deadline(&self, slow_client: &SlowClientLimits) -> Instant {
        let earned = Duration::from_secs_f64(self.taken as f64 / slow_client.rate as f64);
        (self.last + slow_client.stall).min(self.since + slow_client.grace + earned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn client_can_be_slow_for_the_grace_period_and_stall_for_less() {
        let slow_client =
            SlowClientLimits { stall: Duration::from_secs(20), grace: Duration::from_secs(30), rate: 1_000 };
        let began = Instant::now();
        let mut waiting = PendingWrite::begin();
        assert_eq!(waiting.deadline(&slow_client), began + Duration::from_secs(20));
        for _ in 0..29 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            waiting.took(10);
        }
        assert_eq!(waiting.deadline(&slow_client), began + Duration::from_millis(30_290));
        waiting.took(50_000);
        assert_eq!(waiting.deadline(&slow_client), began + Duration::from_secs(49));
    }
}
