//! The database's time as this process knows it, and steps of the clocks.
//!
//! The local clock is monotonic, and the difference to the database's clock is measured from time to time. A difference
//! that changes by more than a clock can drift means that one clock was set, or that this machine was suspended: a
//! step. It is logged, counted, and reported to dispatch. Dispatch then expires no lease for a time, and shortens waits
//! that are longer than possible ([`super::later_clock`]).

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use domain::Timestamp;
use domain::transition::CLOCK_STEP;
use tokio::sync::OnceCell;

/// While the steady time is behind, it runs faster by one part in this number.
///
/// A gap that was no step (all gateways were stopped) therefore closes, and an order is removed earlier by at most this
/// part of its retention.
const CATCH_UP: i64 = 32;

/// See the head of this file.
pub(super) struct Clock {
    pub(super) local: LocalClock,
    /// Database time minus local time, in microseconds.
    offset: AtomicI64,
    /// Steady time minus local time (see [`super::steady_time`]): never above `offset`.
    steady: AtomicI64,
    /// Local time of the latest measurement.
    measured: AtomicI64,
    known: AtomicBool,
    steps: AtomicU64,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            local: LocalClock::new(),
            offset: AtomicI64::new(0),
            steady: AtomicI64::new(0),
            measured: AtomicI64::new(0),
            known: AtomicBool::new(false),
            steps: AtomicU64::new(0),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.at(self.offset.load(Ordering::Relaxed))
    }

    /// Returns the time without the steps forward, by which old orders and keys are removed: a clock that is a day
    /// ahead must not remove a day's orders or keys too early.
    pub(super) fn steady_now(&self) -> Timestamp {
        self.at(self.steady.load(Ordering::Relaxed))
    }

    /// Continues the steady time from a recorded one, if it is ahead of that.
    pub(super) fn resume(&self, recorded: Timestamp) {
        let offset = recorded.as_micros().saturating_sub(self.local.micros());
        self.steady.fetch_min(offset, Ordering::Relaxed);
    }

    fn at(&self, offset: i64) -> Timestamp {
        Timestamp::from_micros(self.local.micros().saturating_add(offset))
    }

    pub(super) fn offset(&self) -> i64 {
        self.offset.load(Ordering::Relaxed)
    }

    /// Returns the number of steps.
    pub(super) fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// Stores a new measurement.
    pub(super) fn set(&self, offset: i64) {
        let before = self.offset.swap(offset, Ordering::Relaxed);
        let local = self.local.micros();
        let passed = local.saturating_sub(self.measured.swap(local, Ordering::Relaxed)).max(0);
        if !self.known.swap(true, Ordering::Relaxed) {
            self.steady.store(offset, Ordering::Relaxed);
            return;
        }
        let caught_up = self.steady.load(Ordering::Relaxed).saturating_add(passed / CATCH_UP);
        self.steady.store(caught_up.min(offset), Ordering::Relaxed);
        let step = offset.saturating_sub(before);
        if step.unsigned_abs() >= CLOCK_STEP.as_micros() as u64 {
            self.steps.fetch_add(1, Ordering::Relaxed);
            tell(step);
        }
    }

    /// Shifts the time, for tests.
    #[cfg(test)]
    pub(super) fn shift(&self, micros: i64) {
        let offset = self.offset.fetch_add(micros, Ordering::Relaxed) + micros;
        self.steady.fetch_min(offset, Ordering::Relaxed);
    }
}

/// Logs and counts a step of this number of microseconds.
fn tell(step: i64) {
    let seconds = step as f64 / 1e6;
    let direction = if step < 0 { "back" } else { "forward" };
    metrics::counter!("orders_database_clock_steps_total", "direction" => direction).increment(1);
    metrics::gauge!("orders_database_clock_step_seconds").set(seconds);
    tracing::warn!(
        seconds,
        "the clock of the database was set {direction}, or this machine was suspended: no lease is taken back for a \
         moment, and orders that would wait for too long are released"
    );
}

/// The machine's clock when the store was opened, plus the time since.
///
/// Setting the machine's clock does not change it. Otherwise leases would expire at once, or never, until the next
/// measurement.
#[derive(Clone, Copy)]
pub(super) struct LocalClock {
    opened: std::time::Instant,
    opened_micros: i64,
}

impl LocalClock {
    fn new() -> Self {
        Self { opened: std::time::Instant::now(), opened_micros: wall_micros() }
    }

    pub(super) fn micros(&self) -> i64 {
        let passed = i64::try_from(self.opened.elapsed().as_micros()).unwrap_or(i64::MAX);
        self.opened_micros.saturating_add(passed)
    }
}

pub(super) fn wall_micros() -> i64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(wall.as_micros()).unwrap_or(i64::MAX)
}

/// Returns the difference between the clocks, when the database returned `database` at some time between `before` and
/// `after`.
///
/// It changes no more than that proves: a slow response, or a process that was suspended meanwhile, proves little.
pub(super) fn corrected(offset: i64, before: i64, database: i64, after: i64) -> i64 {
    let least = database.saturating_sub(after.max(before));
    let most = database.saturating_sub(before);
    offset.clamp(least, most)
}

/// The record of the steady time as this process knows it (see [`super::steady_time`]).
#[derive(Default)]
pub(super) struct SteadyTimeRecord {
    pub(super) resumed: OnceCell<()>,
    /// The latest steady time that it has recorded.
    pub(super) at: AtomicI64,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_clock_is_corrected_no_further_than_a_response_proves() {
        // Prompt responses: 1 ms.
        assert_eq!(corrected(0, 10_000, 60_500, 11_000), 49_500);
        assert_eq!(corrected(90_000, 10_000, 60_500, 11_000), 50_500);
        assert_eq!(corrected(50_100, 10_000, 60_500, 11_000), 50_100);
        // 30 s between query and response, whenever it was sent.
        for database in [10_000, 15_000_000, 30_000_000] {
            assert_eq!(corrected(0, 10_000, database, 30_010_000), 0);
        }
        // The local clock was set back in between.
        assert_eq!(corrected(0, 10_000, 10_000, 4_000), 0);
    }

    #[test]
    fn a_step_is_counted_and_drift_is_not() {
        let clock = Clock::new();
        let hour = 3_600_000_000;
        clock.set(5 * hour);
        assert_eq!(clock.steps(), 0, "the first measurement");
        clock.set(5 * hour + 900_000);
        assert_eq!(clock.steps(), 0, "drift");
        for (n, offset) in [6 * hour, 4 * hour, 30 * hour].into_iter().enumerate() {
            clock.set(offset);
            assert_eq!(clock.steps(), n as u64 + 1);
        }
        // Old orders are not removed a day too early.
        assert!(clock.now().since(clock.steady_now()) > Duration::from_secs(25 * 3_600));
    }
}
