//! The names of the processor's metrics, once.

use domain::transition::Outcome;
use metrics::{counter, describe_counter, describe_gauge, gauge};

const RUNNING: &str = "processor_running";
const STARTED: &str = "processor_started_total";
const FINISHED: &str = "processor_finished_total";
const REFUSED: &str = "processor_reports_refused_total";
const RECONNECTS: &str = "processor_reconnects_total";
const QUEUE_ERRORS: &str = "processor_queue_errors_total";

/// Tells the recorder, if there is one, what each metric means.
pub(crate) fn describe() {
    describe_gauge!(RUNNING, "Attempts whose handler runs now.");
    describe_counter!(STARTED, "Attempts that were started.");
    describe_counter!(FINISHED, "Attempts that ended here, by outcome; abandoned ones are not reported.");
    describe_counter!(REFUSED, "Reports that the gateway refused because their lease was gone.");
    describe_counter!(RECONNECTS, "Connections to a gateway that were lost or given up.");
    describe_counter!(QUEUE_ERRORS, "Pulls from the queue that failed.");
}

pub(crate) fn running(now: usize) {
    // Exact up to 2^53.
    gauge!(RUNNING).set(now as f64);
}

pub(crate) fn started() {
    counter!(STARTED).increment(1);
}

pub(crate) fn finished(outcome: &Outcome) {
    let label = match outcome {
        Outcome::Completed => "completed",
        Outcome::Retry { .. } => "retry",
        Outcome::Failed { .. } => "failed",
        Outcome::Released => "released",
    };
    counter!(FINISHED, "outcome" => label).increment(1);
}

/// Cancelled, or its lease was lost.
pub(crate) fn abandoned() {
    counter!(FINISHED, "outcome" => "abandoned").increment(1);
}

pub(crate) fn refused(reports: usize) {
    counter!(REFUSED).increment(reports as u64);
}

pub(crate) fn reconnect() {
    counter!(RECONNECTS).increment(1);
}

pub(crate) fn queue_error() {
    counter!(QUEUE_ERRORS).increment(1);
}
