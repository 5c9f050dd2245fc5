//! What happened to orders in one interval.

use serde::{Deserialize, Serialize};
use std::time::Duration;

use domain::transition::CLASS_ERROR;
use domain::{EventType, OrderEvent};

use super::histogram::Histogram;

/// Maximum number of separate error classes of an interval.
pub(super) const MAX_CLASSES: usize = 50;
/// The class of all others.
pub(super) const OTHER: &str = "other";

/// The counts and times of an interval.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Interval {
    /// Orders that were accepted.
    #[serde(rename = "a", skip_serializing_if = "is_zero")]
    pub accepted: u64,
    /// Attempts that began.
    #[serde(rename = "s", skip_serializing_if = "is_zero")]
    pub started: u64,
    /// Orders that were completed.
    #[serde(rename = "c", skip_serializing_if = "is_zero")]
    pub completed: u64,
    /// Attempts that ended without success and are followed by another one.
    #[serde(rename = "t", skip_serializing_if = "is_zero")]
    pub retried: u64,
    /// Orders that failed.
    #[serde(rename = "f", skip_serializing_if = "is_zero")]
    pub failed: u64,
    /// Orders that were cancelled.
    #[serde(rename = "x", skip_serializing_if = "is_zero")]
    pub cancelled: u64,
    /// Failed orders that were started again.
    #[serde(rename = "d", skip_serializing_if = "is_zero")]
    pub redriven: u64,
    /// Failed orders by error class.
    #[serde(rename = "fc", skip_serializing_if = "Classes::is_empty")]
    pub failed_by_class: Classes,
    /// Attempts that are followed by another one, by error class.
    #[serde(rename = "tc", skip_serializing_if = "Classes::is_empty")]
    pub retried_by_class: Classes,
    /// From the time at which an order could be started to its start.
    #[serde(rename = "w")]
    pub wait: Histogram,
    /// From the start of an attempt to its end.
    #[serde(rename = "h")]
    pub handling: Histogram,
    /// From the creation of an order to its completion.
    #[serde(rename = "e")]
    pub completion: Histogram,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Counts by error class. Workers choose the classes, so their number is limited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Classes(Vec<(String, u64)>);

impl Classes {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, class: &str, count: u64) {
        if let Some((_, known)) = self.0.iter_mut().find(|(known, _)| known == class) {
            *known = known.saturating_add(count);
        } else if self.0.len() < MAX_CLASSES || class == OTHER {
            self.0.push((class.to_owned(), count));
        } else {
            self.add(OTHER, count);
        }
    }

    /// Returns the classes, the most frequent first and [`OTHER`] last.
    pub fn sorted(&self) -> Vec<(String, u64)> {
        let mut sorted = self.0.clone();
        sorted.sort_by(|(a, m), (b, n)| (a == OTHER, n, a).cmp(&(b == OTHER, m, b)));
        sorted
    }
}

impl Interval {
    /// Records an event. `elapsed` is the wait of a start, or the time of an attempt that has ended.
    pub fn record(&mut self, event: &OrderEvent, elapsed: Option<Duration>) {
        let class = || event.error_class.as_deref().unwrap_or(CLASS_ERROR);
        match EventType::of(event) {
            EventType::Created => self.accepted += 1,
            EventType::Processing => {
                self.started += 1;
                elapsed.into_iter().for_each(|wait| self.wait.record(wait));
                return;
            }
            EventType::Completed => {
                self.completed += 1;
                self.completion.record(event.occurred_at.since(event.order_id.time()));
            }
            EventType::Retrying => {
                self.retried += 1;
                // An attempt that was released has no class.
                if let Some(class) = event.error_class.as_deref() {
                    self.retried_by_class.add(class, 1);
                }
            }
            EventType::Failed => {
                self.failed += 1;
                self.failed_by_class.add(class(), 1);
            }
            EventType::Cancelled => self.cancelled += 1,
            EventType::Redriven => self.redriven += 1,
        }
        elapsed.into_iter().for_each(|handling| self.handling.record(handling));
    }

    /// Adds the counts and times of another interval.
    pub fn merge(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.started += other.started;
        self.completed += other.completed;
        self.retried += other.retried;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
        self.redriven += other.redriven;
        for (class, count) in &other.failed_by_class.0 {
            self.failed_by_class.add(class, *count);
        }
        for (class, count) in &other.retried_by_class.0 {
            self.retried_by_class.add(class, *count);
        }
        self.wait.merge(&other.wait);
        self.handling.merge(&other.handling);
        self.completion.merge(&other.completion);
    }

    /// Returns whether nothing happened.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use domain::{OrderId, Status, TenantId, Timestamp};

    use super::*;

    fn event(previous_status: Option<Status>, status: Status, class: Option<&str>) -> OrderEvent {
        let created = Timestamp::from_micros(1_700_000_000_000_000);
        OrderEvent {
            order_id: OrderId::first_at(created),
            tenant_id: TenantId::default(),
            sequence: 1,
            status,
            previous_status,
            attempt: 1,
            reason: None,
            error_class: class.map(str::to_owned),
            worker: None,
            occurred_at: created + Duration::from_secs(8),
        }
    }

    #[test]
    fn events_are_counted_with_their_times() {
        use Status::{Cancelled, Completed, Failed, Pending, Processing};
        let mut interval = Interval::default();
        let second = Some(Duration::from_secs(1));
        for (before, after, class, elapsed) in [
            (None, Pending, None, None),
            (Some(Pending), Processing, None, second),
            (Some(Processing), Pending, Some("http_503"), second),
            (Some(Processing), Completed, None, second),
            (Some(Processing), Failed, Some("card_declined"), second),
            (Some(Failed), Pending, None, None),
            (Some(Pending), Cancelled, None, None),
        ] {
            interval.record(&event(before, after, class), elapsed);
        }
        let counts = (interval.accepted, interval.started, interval.retried, interval.completed);
        assert_eq!(counts, (1, 1, 1, 1));
        assert_eq!((interval.failed, interval.redriven, interval.cancelled), (1, 1, 1));
        assert_eq!(interval.failed_by_class.sorted(), [("card_declined".to_owned(), 1)]);
        assert_eq!(interval.retried_by_class.sorted(), [("http_503".to_owned(), 1)]);
        let counts = [&interval.wait, &interval.handling, &interval.completion]
            .map(|times| times.percentiles().map_or(0, |times| times.count));
        assert_eq!(counts, [1, 3, 1]);
        assert_eq!(interval.completion.percentiles().unwrap().max_s, 8.0);
        let text = serde_json::to_string(&interval).unwrap();
        assert_eq!(serde_json::from_str::<Interval>(&text).unwrap(), interval);
        let mut twice = interval.clone();
        twice.merge(&interval);
        assert_eq!((twice.accepted, twice.failed_by_class.sorted()[0].1), (2, 2));
    }

    #[test]
    fn classes_are_limited() {
        let mut classes = Classes::default();
        for n in 0..MAX_CLASSES + 10 {
            classes.add(&format!("class_{n}"), 1);
        }
        classes.add("class_3", 5);
        let sorted = classes.sorted();
        assert_eq!((sorted.len(), &sorted[0]), (MAX_CLASSES + 1, &("class_3".to_owned(), 6)));
        assert_eq!(sorted.last(), Some(&(OTHER.to_owned(), 10)));
        limits_page::row(
            "error classes that the statistics of an interval separate",
            &MAX_CLASSES.to_string(),
        );
    }
}
