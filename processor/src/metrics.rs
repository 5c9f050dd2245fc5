//! The metrics of the processor.

use domain::Outcome;
use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

const RUNNING: &str = "orders_processor_running";
const SLOTS: &str = "orders_processor_slots";
const STARTED: &str = "orders_processor_attempts_started_total";
const FINISHED: &str = "orders_processor_attempts_finished_total";
const REJECTED: &str = "orders_processor_reports_rejected_total";
const RECONNECTS: &str = "orders_processor_reconnects_total";
const QUEUE_ERRORS: &str = "orders_processor_queue_errors_total";

/// The name, type and help of every metric.
pub(crate) const METRICS: [(&str, &str, &str); 7] = [
    (RUNNING, "gauge", "Attempts whose handler is running."),
    (SLOTS, "gauge", "Slots for attempts, by state: busy or free."),
    (STARTED, "counter", "Attempts started."),
    (FINISHED, "counter", "Attempts finished in this process, by outcome; abandoned ones are not reported."),
    (REJECTED, "counter", "Reports rejected by the gateway because their lease had expired."),
    (RECONNECTS, "counter", "Connections to a gateway that were lost or closed."),
    (QUEUE_ERRORS, "counter", "Failed pulls from the queue."),
];

/// Describes each metric to the recorder, if there is one, and registers those that have no series yet with 0. The others
/// are registered by [`AttemptMetrics::new`].
pub(crate) fn describe() {
    for (name, kind, help) in METRICS {
        match kind {
            "gauge" => describe_gauge!(name, help),
            _ => describe_counter!(name, help),
        }
    }
    for name in [REJECTED, RECONNECTS, QUEUE_ERRORS] {
        counter!(name).increment(0);
    }
}

/// The metrics of each attempt. A lookup costs more than an increment, so they are looked up once.
#[derive(Clone)]
pub(crate) struct AttemptMetrics {
    running: Gauge,
    busy: Gauge,
    free: Gauge,
    /// The number of all slots.
    slots: usize,
    started: Counter,
    completed: Counter,
    retry: Counter,
    failed: Counter,
    released: Counter,
    abandoned: Counter,
}

impl AttemptMetrics {
    pub(crate) fn new(slots: usize) -> Self {
        let finished = |outcome: &'static str| counter!(FINISHED, "outcome" => outcome);
        Self {
            running: gauge!(RUNNING),
            busy: gauge!(SLOTS, "state" => "busy"),
            free: gauge!(SLOTS, "state" => "free"),
            slots,
            started: counter!(STARTED),
            completed: finished("completed"),
            retry: finished("retry"),
            failed: finished("failed"),
            released: finished("released"),
            abandoned: finished("abandoned"),
        }
    }

    pub(crate) fn set_running(&self, running: usize) {
        // Exact up to 2^53.
        self.running.set(running as f64);
        self.busy.set(running as f64);
        self.free.set(self.slots.saturating_sub(running) as f64);
    }

    pub(crate) fn count_started(&self) {
        self.started.increment(1);
    }

    pub(crate) fn count_finished(&self, outcome: &Outcome) {
        let counter = match outcome {
            Outcome::Completed | Outcome::CompletedWith(_) => &self.completed,
            Outcome::Retry { .. } => &self.retry,
            Outcome::Failed { .. } => &self.failed,
            Outcome::Released => &self.released,
        };
        counter.increment(1);
    }

    /// Counts an attempt whose order was cancelled or whose lease was lost.
    pub(crate) fn count_abandoned(&self) {
        self.abandoned.increment(1);
    }
}

pub(crate) fn count_rejected_reports(reports: usize) {
    counter!(REJECTED).increment(reports as u64);
}

pub(crate) fn count_reconnect() {
    counter!(RECONNECTS).increment(1);
}

pub(crate) fn count_queue_error() {
    counter!(QUEUE_ERRORS).increment(1);
}
