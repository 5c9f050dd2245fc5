//! Logs and counts failed orders by error class.
//!
//! Workers choose the classes, so their number is limited: the first ones have a separate window and label, all others
//! share one.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use domain::{OrderEvent, TraceContext, WorkerName};

/// Maximum number of lines of one class in a window. The others are counted and reported at its end.
const LINES: u64 = 10;
/// Length of a window.
const WINDOW: Duration = Duration::from_secs(60);
/// Maximum number of separate classes.
const CLASSES: usize = 50;
/// The class of all others.
const OTHER: &str = "other";

/// The windows by class.
#[derive(Default)]
pub(crate) struct FailedOrderLog {
    windows: Mutex<HashMap<String, Window>>,
}

struct Window {
    began: Instant,
    failed: u64,
}

impl FailedOrderLog {
    /// Records a failed order.
    pub(crate) fn record(
        &self,
        event: &OrderEvent,
        class: Option<&str>,
        worker: Option<&WorkerName>,
        trace: Option<TraceContext>,
    ) {
        let class = class.unwrap_or(domain::transition::CLASS_ERROR);
        let (label, logged) = self.count(class, Instant::now());
        metrics::counter!("orders_failed_total", "error_class" => label).increment(1);
        if logged {
            let OrderEvent { order_id, tenant_id: tenant, attempt, .. } = event;
            let (reason, worker) = (event.reason.as_deref(), worker.map(WorkerName::as_str));
            let trace_id = trace.map(|trace| trace.trace_id_text());
            tracing::warn!(%order_id, %tenant, worker, trace_id, class, attempt, reason, "order failed");
        }
    }

    /// Logs the number of suppressed lines of ended windows.
    pub(crate) fn flush(&self) {
        for (class, failed) in self.ended(Instant::now()) {
            tracing::warn!(
                class,
                failed,
                logged = LINES,
                "orders have failed within a minute; the others were not logged"
            );
        }
    }

    /// Returns the label of the class, and whether this order is logged.
    fn count(&self, class: &str, now: Instant) -> (String, bool) {
        let mut windows = self.lock();
        let known = windows.contains_key(class) || windows.len() < CLASSES;
        let label = if known { class } else { OTHER };
        let window = windows.entry(label.to_owned()).or_insert(Window { began: now, failed: 0 });
        window.failed += 1;
        (label.to_owned(), window.failed <= LINES)
    }

    fn ended(&self, now: Instant) -> Vec<(String, u64)> {
        let mut reports = Vec::new();
        for (class, window) in self.lock().iter_mut() {
            if now.saturating_duration_since(window.began) >= WINDOW {
                if window.failed > LINES {
                    reports.push((class.clone(), window.failed));
                }
                *window = Window { began: now, failed: 0 };
            }
        }
        reports
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Window>> {
        // No change under this lock can panic half-way.
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_per_class_are_limited_and_the_rest_is_counted() {
        let (log, start) = (FailedOrderLog::default(), Instant::now());
        let logged = (0..25).filter(|_| log.count("http_503", start).1).count();
        assert_eq!(logged as u64, LINES);
        assert!(log.count("http_402", start).1, "another class");
        assert_eq!(log.ended(start + WINDOW / 2), []);
        assert_eq!(log.ended(start + WINDOW), [("http_503".to_owned(), 25)]);
        assert!(log.count("http_503", start + WINDOW).1, "a new window");
    }

    #[test]
    fn number_of_classes_is_limited() {
        let (log, start) = (FailedOrderLog::default(), Instant::now());
        let labels: std::collections::HashSet<String> =
            (0..500).map(|n| log.count(&format!("class_{n}"), start).0).collect();
        assert_eq!(labels.len(), CLASSES + 1);
        assert!(labels.contains(OTHER));
        limits_page::row("log lines of failed orders per error class and minute", &LINES.to_string());
        limits_page::row("distinct error classes in logs and metrics", &CLASSES.to_string());
    }
}
