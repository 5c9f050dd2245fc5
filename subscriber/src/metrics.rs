//! The metrics of a subscriber.

use metrics::{counter, describe_counter, describe_gauge, gauge};

const EVENTS: &str = "orders_subscriber_events_total";
const LAG: &str = "orders_subscriber_lag_seconds";
const LOST: &str = "orders_subscriber_leases_lost_total";
const RECONNECTS: &str = "orders_subscriber_reconnects_total";

/// The name, type and help of every metric.
pub(crate) const METRICS: [(&str, &str, &str); 4] = [
    (EVENTS, "counter", "Runs of the handler, by reader and outcome: applied or retried."),
    (LAG, "gauge", "Age of the event that the handler works on, by reader; 0 at the end of the log."),
    (LOST, "counter", "Leases that were lost to another process or not renewed in time, by reader."),
    (RECONNECTS, "counter", "Calls to a gateway that failed and were repeated over another connection."),
];

/// Describes each metric to the recorder, if there is one, and registers the series of a reader with 0.
pub(crate) fn describe(reader: &str) {
    for (name, kind, help) in METRICS {
        match kind {
            "gauge" => describe_gauge!(name, help),
            _ => describe_counter!(name, help),
        }
    }
    for outcome in ["applied", "retried"] {
        counter!(EVENTS, "reader" => reader.to_owned(), "outcome" => outcome).increment(0);
    }
    gauge!(LAG, "reader" => reader.to_owned()).increment(0.0);
    counter!(LOST, "reader" => reader.to_owned()).increment(0);
    counter!(RECONNECTS).increment(0);
}

pub(crate) fn count_event(reader: &str, outcome: &'static str) {
    counter!(EVENTS, "reader" => reader.to_owned(), "outcome" => outcome).increment(1);
}

pub(crate) fn set_lag(reader: &str, seconds: f64) {
    gauge!(LAG, "reader" => reader.to_owned()).set(seconds);
}

pub(crate) fn count_lost_lease(reader: &str) {
    counter!(LOST, "reader" => reader.to_owned()).increment(1);
}

pub(crate) fn count_reconnect() {
    counter!(RECONNECTS).increment(1);
}
