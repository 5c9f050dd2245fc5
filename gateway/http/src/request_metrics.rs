//! Counts responses and measures their duration.
//!
//! The lookup of a metric by its labels costs more than the increment, so each metric is looked up once and kept. The
//! labels are bounded: routes are patterns such as `/orders/{id}`, and unknown methods share one label.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use http::StatusCode;
use metrics::{Counter, Histogram, counter, histogram};

/// The metrics of all routes that have had a request.
#[derive(Default)]
pub(super) struct RequestMetrics {
    routes: RwLock<HashMap<String, Vec<Series>>>,
}

/// The metrics of one route, method and status.
struct Series {
    method: &'static str,
    status: StatusCode,
    answers: Counter,
    seconds: Histogram,
}

impl RequestMetrics {
    /// Counts a response.
    pub(super) fn record(&self, method: &'static str, route: &str, status: StatusCode, took: Duration) {
        let known = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let series = known.get(route).map(Vec::as_slice).unwrap_or_default();
        if let Some(series) = series.iter().find(|series| series.status == status && series.method == method)
        {
            return series.record(took);
        }
        drop(known);
        let series = Series::new(method, route, status);
        series.record(took);
        let mut known = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        // Two requests can add the same series at once. The second entry is never used, and both share one metric.
        known.entry(route.to_owned()).or_default().push(series);
    }
}

impl Series {
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
