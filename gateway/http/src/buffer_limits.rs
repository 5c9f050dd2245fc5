//! The memory for requests and responses, over all clients and transports.
//!
//! Bytes of a body are reserved when they arrive and released when the request ends. Bytes of a response are reserved
//! when it is complete and released when the kernel has taken the last of them. A budget is one counter, and no request
//! waits for it: bytes that exceed it are rejected as `overloaded`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use metrics::counter;
use tokio::time::Instant;

use crate::Config;

/// Maximum size of a small message.
const SMALL_BYTES: usize = 64 * 1024;
/// The divisor of the part of a budget that only small messages use, so large ones cannot exclude them.
const RESERVE: usize = 8;
/// Bytes that a client must send in each [`Config::request_read_timeout`].
const STEP_BYTES: usize = 64 * 1024;
/// Maximum duration of a message, in these timeouts.
const STEPS: u32 = 6;

/// The budgets of a process.
#[derive(Debug, Clone)]
pub struct BufferLimits {
    /// The memory for request bodies.
    pub bodies: Arc<Budget>,
    /// The memory for responses.
    pub responses: Arc<Budget>,
}

impl BufferLimits {
    /// Creates the budgets of a process.
    pub fn new(limits: &Config) -> Self {
        Self {
            bodies: Budget::new("request_buffer", limits.request_buffer_limit),
            responses: Budget::new("response_buffer", limits.response_buffer_limit),
        }
    }
}

/// A limit of bytes in memory.
#[derive(Debug)]
pub struct Budget {
    /// The reason under which rejections are counted.
    name: &'static str,
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    /// Creates a budget of `limit` bytes; `name` is the reason under which its rejections are counted.
    pub fn new(name: &'static str, limit: usize) -> Arc<Self> {
        Arc::new(Self { name, limit, used: AtomicUsize::new(0) })
    }

    /// Returns the number of reserved bytes.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Reserves bytes until the value is dropped; `None` when they do not fit.
    pub fn reserve(self: &Arc<Self>, bytes: usize) -> Option<Reservation> {
        let mut reservation = Reservation { budget: Arc::clone(self), bytes: 0 };
        reservation.grow(bytes).then_some(reservation)
    }

    /// Reserves bytes of a message that `holds` others already, and returns whether they fit.
    ///
    /// If they fit, the caller must return them with [`Self::release`].
    pub fn take(&self, bytes: usize, holds: usize) -> bool {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let reserve = if holds.saturating_add(bytes) > SMALL_BYTES { self.limit / RESERVE } else { 0 };
        let fits = before.saturating_add(bytes) <= self.limit - reserve;
        if !fits {
            self.release(bytes);
            counter!("orders_http_rejections_total", "reason" => self.name).increment(1);
        }
        fits
    }

    /// Releases bytes that [`Self::take`] reserved.
    pub fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Reserved bytes of a budget; the drop releases them.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Reservation {
    /// Releases all bytes.
    pub fn clear(&mut self) {
        self.budget.release(std::mem::take(&mut self.bytes));
    }

    /// Adds bytes; `false` when they do not fit.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let fits = self.budget.take(bytes, self.bytes);
        if fits {
            self.bytes += bytes;
        }
        fits
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}

/// The read deadline of a message: one step for each 64 KiB, and six steps for the whole.
#[derive(Debug)]
pub struct ReadDeadline {
    step: Duration,
    received: usize,
    step_ends: Instant,
    ends: Instant,
}

impl ReadDeadline {
    /// Starts the timeouts of a message.
    pub fn begin(step: Duration) -> Self {
        let now = Instant::now();
        Self { step, received: 0, step_ends: now + step, ends: now + step * STEPS }
    }

    /// Counts bytes that have arrived.
    pub fn received(&mut self, bytes: usize) {
        self.received += bytes;
        if self.received >= STEP_BYTES {
            self.received = 0;
            self.step_ends = (Instant::now() + self.step).min(self.ends);
        }
    }

    /// Returns the time by which the next bytes must arrive.
    pub fn deadline(&self) -> Instant {
        self.step_ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_rejects_bytes_over_its_limit_and_gets_all_back() {
        let budget = Budget::new("test", 10);
        let mut first = budget.reserve(6).unwrap();
        assert!(budget.reserve(5).is_none());
        assert!(first.grow(4));
        assert!(!first.grow(1));
        assert_eq!(budget.used(), 10);
        drop(first);
        assert!(budget.reserve(11).is_none());
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn large_messages_leave_memory_for_small_ones() {
        let budget = Budget::new("test", 16 * SMALL_BYTES);
        let mut large = budget.reserve(SMALL_BYTES).unwrap();
        while large.grow(SMALL_BYTES) {}
        assert_eq!(budget.used(), 14 * SMALL_BYTES);
        let _small = [budget.reserve(SMALL_BYTES).unwrap(), budget.reserve(SMALL_BYTES).unwrap()];
        assert!(budget.reserve(1).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn message_has_a_timeout_for_each_step_and_one_for_the_whole() {
        let step = Duration::from_secs(10);
        let began = Instant::now();
        let mut read_deadline = ReadDeadline::begin(step);
        for _ in 0..STEP_BYTES - 1 {
            read_deadline.received(1);
        }
        assert_eq!(read_deadline.deadline(), began + step, "a few bytes at a time do not move it");
        tokio::time::sleep(Duration::from_secs(9)).await;
        read_deadline.received(1);
        assert_eq!(read_deadline.deadline(), began + Duration::from_secs(19));
        for _ in 0..9 {
            tokio::time::sleep(Duration::from_secs(9)).await;
            read_deadline.received(STEP_BYTES);
        }
        assert_eq!(read_deadline.deadline(), began + step * STEPS);
    }

    #[test]
    fn the_limits_are_documented() {
        use limits_page::{bytes, row, time};
        assert_eq!(RESERVE, 8);
        let limits = crate::Config::default();
        let held = |budget, what| {
            format!("{}, an eighth of it for {what} up to {}", bytes(budget), bytes(SMALL_BYTES))
        };
        row("memory for request bodies, over all clients", &held(limits.request_buffer_limit, "bodies"));
        row("memory for responses, over all clients", &held(limits.response_buffer_limit, "responses"));
        let step = limits.request_read_timeout;
        let pace =
            format!("{} for each {} of it, {} in all", time(step), bytes(STEP_BYTES), time(step * STEPS));
        row("read timeout of a body, or a gRPC message", &pace);
        row("read timeout of an HTTP/2 frame", &pace);
        row("read timeout of a message with its fragments", &pace);
        row(
            "memory for incomplete messages, part of the memory for request bodies",
            &bytes(limits.request_buffer_limit),
        );
    }
}
