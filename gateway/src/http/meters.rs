//! Counts answers.
//!
//! Finding a metric by its labels costs more than adding to it, so it is found once and kept. The labels
//! are bounded: routes are patterns such as `/orders/{id}`, and methods that nobody knows are one.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use http::StatusCode;
use metrics::{Counter, Histogram, counter, histogram};

/// The metrics of all routes so far.
#[derive(Default)]
pub(super) struct Meters {
    routes: RwLock<HashMap<String, Vec<Meter>>>,
}

/// Those of one kind of answer.
struct Meter {
    method: &'static str,
    status: StatusCode,
    answers: Counter,
    seconds: Histogram,
}

impl Meters {
    /// Counts an answer.
    pub(super) fn answered(&self, method: &'static str, route: &str, status: StatusCode, took: Duration) {
        let known = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let meters = known.get(route).map(Vec::as_slice).unwrap_or_default();
        if let Some(meter) = meters.iter().find(|meter| meter.status == status && meter.method == method) {
            return meter.record(took);
        }
        drop(known);
        let meter = Meter::new(method, route, status);
        meter.record(took);
        let mut known = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        // Two may come here at once for the same kind; the second of them is never looked at again.
        known.entry(route.to_owned()).or_default().push(meter);
    }
}

impl Meter {
    fn new(method: &'static str, route: &str, status: StatusCode) -> Self {
        let labels = [
            ("method", method.to_owned()),
            ("route", route.to_owned()),
            ("status", status.as_str().to_owned()),
        ];
        Self {
            method,
            status,
            answers: counter!("orders_http_requests_total", &labels),
            seconds: histogram!("orders_http_request_duration_seconds", &labels[..2]),
        }
    }

    fn record(&self, took: Duration) {
        self.answers.increment(1);
        self.seconds.record(took);
    }
}
