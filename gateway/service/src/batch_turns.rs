//! When the batches of a group commit are written.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

/// The weight from which on a batch is written alone. The fixed part of a transaction is the smaller one then.
const LARGE_BATCH: usize = 8;
/// The time of a write after which another writer takes what waits.
pub(crate) const SLOW_WRITE: Duration = Duration::from_millis(10);

/// Time between the beginnings of batches while groups arrive at least twice as often.
const PACE: Duration = Duration::from_millis(3);

/// The right to flush: of one writer, and of further ones while batches are small, the write is slow or a full batch waits.
pub(crate) struct Writers {
    first: Arc<Semaphore>,
    further: Arc<Semaphore>,
    /// The weight of the latest batch.
    latest: usize,
}

impl Writers {
    pub(crate) fn new(count: usize) -> Self {
        Self {
            first: Arc::new(Semaphore::new(1)),
            further: Arc::new(Semaphore::new(count.saturating_sub(1))),
            latest: 0,
        }
    }

    pub(crate) fn record_batch(&mut self, weight: usize) {
        self.latest = weight;
    }

    pub(crate) async fn acquire(&self, is_full: impl Fn() -> bool) -> Option<OwnedSemaphorePermit> {
        if let Ok(writer) = self.first.clone().try_acquire_owned() {
            return Some(writer);
        }
        let further = async {
            if self.latest >= LARGE_BATCH && !is_full() {
                sleep(SLOW_WRITE).await;
            }
            self.further.clone().acquire_owned().await
        };
        tokio::select! {
            writer = self.first.clone().acquire_owned() => writer.ok(),
            writer = further => writer.ok(),
        }
    }
}

/// The times at which batches begin.
///
/// While groups arrive quickly but a write ends before the next one comes, batches begin [`PACE`] apart, so that each has
/// several groups. Clients that wait for their responses before they send again would only be delayed: after waits in
/// which nothing arrived, batches begin at once for a while.
pub(crate) struct Pace {
    latest: Option<Instant>,
    /// Moving average of the time from one group to the next, in seconds.
    interval: f64,
    /// Increased by waits in which nothing arrived, and decreased by others.
    vain: u32,
    /// Batches that begin without a wait.
    skipped: u32,
}

impl Pace {
    /// The number of `vain` from which on batches begin without a wait.
    const MAX_VAIN: u32 = 8;
    /// The number of batches after which a wait is tried again.
    const SKIPPED: u32 = 200;

    pub(crate) fn new() -> Self {
        Self { latest: None, interval: f64::INFINITY, vain: 0, skipped: 0 }
    }

    /// Returns the time at which the next batch begins; `None` is at once.
    pub(crate) fn next_batch(&mut self, now: Instant) -> Option<Instant> {
        let until = self.latest? + PACE;
        if until <= now || self.interval * 2.0 > PACE.as_secs_f64() {
            return None;
        }
        if self.vain >= Self::MAX_VAIN {
            self.skipped += 1;
            if self.skipped < Self::SKIPPED {
                return None;
            }
            self.skipped = 0;
        }
        Some(until)
    }

    pub(crate) fn record_wait(&mut self, has_arrived: bool) {
        self.vain =
            if has_arrived { self.vain.saturating_sub(1) } else { (self.vain + 2).min(Self::MAX_VAIN) };
    }

    pub(crate) fn record_batch(&mut self, now: Instant, groups: usize) {
        if let Some(latest) = self.latest {
            let interval = (now - latest).as_secs_f64() / groups as f64;
            // The first one sets it.
            let before = if self.interval.is_finite() { self.interval } else { interval };
            self.interval = 0.9 * before + 0.1 * interval;
        }
        self.latest = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a pace after groups that arrived in this interval, and the present time.
    fn pace_of(interval: Duration) -> (Pace, Instant) {
        let (mut pace, mut now) = (Pace::new(), Instant::now());
        assert_eq!(pace.next_batch(now), None);
        for _ in 0..50 {
            pace.record_batch(now, 1);
            now += interval;
        }
        (pace, now)
    }

    #[test]
    fn batches_begin_apart_while_groups_arrive_quickly() {
        let millis = Duration::from_millis;
        let (mut pace, now) = pace_of(millis(1));
        assert_eq!(pace.next_batch(now), Some(now - millis(1) + PACE));
        assert_eq!(pace.next_batch(now + PACE), None, "a write that takes longer delays nothing");
        let (mut pace, now) = pace_of(millis(2));
        assert_eq!(pace.next_batch(now), None);
    }

    #[test]
    fn clients_that_wait_for_responses_are_not_delayed() {
        let (mut pace, now) = pace_of(Duration::from_millis(1));
        let tries = (0..1_000).filter(|_| {
            let waits = pace.next_batch(now).is_some();
            if waits {
                pace.record_wait(false);
            }
            waits
        });
        assert_eq!(tries.count(), 4 + 4, "four at first, and one after each 200 batches");
        // Some vain waits among useful ones change nothing.
        let (mut pace, now) = pace_of(Duration::from_millis(1));
        for nth in 0..1_000 {
            assert!(pace.next_batch(now).is_some(), "{nth}");
            pace.record_wait(nth % 5 > 0);
        }
    }
}
