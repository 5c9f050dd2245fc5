//! The cause that prevents the start of a pending order, and the earliest time of its next attempt.

use std::fmt;
use std::str::FromStr;

use crate::order::Order;
use crate::status::Status;
use crate::timestamp::Timestamp;
use crate::transition::CLOCK_STEP;

/// The cause that prevents the start of a pending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// It waits for a free worker.
    Worker,
    /// It waits for the delay after a failed attempt.
    Retry,
    /// It waits for its scheduled start, or for the start that a redrive assigned.
    Schedule,
    /// It waits for the end of the pause of the queue.
    Pause,
}

impl WaitsFor {
    /// All causes.
    pub const ALL: [Self; 4] = [Self::Worker, Self::Retry, Self::Schedule, Self::Pause];

    /// Returns the lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Retry => "retry",
            Self::Schedule => "schedule",
            Self::Pause => "pause",
        }
    }
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The string is not a cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be worker, retry, schedule or pause")]
pub struct InvalidWaitsFor;

impl FromStr for WaitsFor {
    type Err = InvalidWaitsFor;

    fn from_str(string: &str) -> Result<Self, InvalidWaitsFor> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == string).ok_or(InvalidWaitsFor)
    }
}

/// The state of the queue at one time, on which the wait of a pending order depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSnapshot {
    /// The database's time.
    pub now: Timestamp,
    /// The start of the pause, if the queue is paused.
    pub paused_at: Option<Timestamp>,
    /// The end of the pause; `None` if an operator must resume the queue, or if it is not paused.
    pub paused_until: Option<Timestamp>,
}

impl QueueSnapshot {
    /// Reconstructs the snapshot at the creation of an order, as far as it is still known.
    ///
    /// It is the same for a repetition of the create, unless a pause has ended in between.
    pub fn at_creation(self, created_at: Timestamp) -> Self {
        let paused_at = self.paused_at.filter(|at| *at <= created_at);
        Self { now: created_at, paused_at, paused_until: self.paused_until }
    }
}

/// The wait of a pending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The first condition for its start.
    pub waits_for: WaitsFor,
    /// The earliest time of its next attempt. `None` if a free worker can start it immediately, and if an operator must
    /// resume the queue first.
    pub next_attempt_at: Option<Timestamp>,
}

/// The values of an order on which its wait depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitState {
    /// Status.
    pub status: Status,
    /// The latest attempt; 0 before the first.
    pub attempt: u32,
    /// Whether its latest event is a failure.
    pub is_retried: bool,
    /// The start that its creator set.
    pub process_after: Option<Timestamp>,
    /// The earliest start of its next attempt.
    pub not_before: Timestamp,
    /// The time of the last status change.
    pub updated_at: Timestamp,
}

impl Order {
    /// Returns the wait of a pending order; `None` in other statuses.
    pub fn waiting(&self, queue: &QueueSnapshot) -> Option<Waiting> {
        let state = WaitState {
            status: self.status,
            attempt: self.attempt,
            is_retried: self.error_class.is_some(),
            process_after: self.process_after,
            not_before: self.not_before,
            updated_at: self.updated_at,
        };
        state.waiting(queue)
    }
}

impl WaitState {
    /// As [`Order::waiting`].
    pub fn waiting(&self, queue: &QueueSnapshot) -> Option<Waiting> {
        if self.status != Status::Pending {
            return None;
        }
        let paused = queue.paused_at.is_some();
        let pause_ends = queue.paused_until.filter(|_| paused);
        let starts_at = self.earliest_start(queue.now);
        Some(match self.delay_cause(queue.now, starts_at) {
            Some(waits_for) => {
                Waiting { waits_for, next_attempt_at: Some(starts_at.max(pause_ends.unwrap_or(starts_at))) }
            }
            None if paused => Waiting { waits_for: WaitsFor::Pause, next_attempt_at: pause_ends },
            None => Waiting { waits_for: WaitsFor::Worker, next_attempt_at: None },
        })
    }

    /// Returns the earliest start. If the clock was set back after the order's last change, the remaining wait applies
    /// instead of the stored time, unless the order is scheduled.
    fn earliest_start(&self, now: Timestamp) -> Timestamp {
        let scheduled = self.process_after.is_some() && self.attempt == 0;
        let from_the_future = self.updated_at > now + CLOCK_STEP && self.not_before >= self.updated_at;
        if from_the_future && !scheduled {
            now + self.not_before.since(self.updated_at)
        } else {
            self.not_before
        }
    }

    /// Returns the cause of a delay. An order without a schedule and without an attempt has none: its earliest start is
    /// its creation, which is in the future only if the clock was set back.
    fn delay_cause(&self, now: Timestamp, starts_at: Timestamp) -> Option<WaitsFor> {
        if starts_at <= now {
            None
        } else if self.is_retried {
            Some(WaitsFor::Retry)
        } else if self.process_after.is_some() || self.attempt > 0 {
            Some(WaitsFor::Schedule)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Content, Currency, Money};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000 + seconds * 1_000_000)
    }

    fn order(not_before: i64) -> Order {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let content = Content::new(Vec::new(), Money::zero(Currency::USD));
        Order { not_before: at(not_before), ..Order::pending(id, crate::TenantId::default(), content, at(0)) }
    }

    fn scheduled_order(process_after: i64, not_before: i64) -> Order {
        let mut order = order(not_before);
        order.content.process_after = Some(at(process_after));
        order
    }

    #[test]
    fn order_waits_for_the_first_condition() {
        use WaitsFor::{Pause, Retry, Schedule, Worker};
        let running = QueueSnapshot { now: at(10), paused_at: None, paused_until: None };
        let paused = QueueSnapshot { paused_at: Some(at(1)), ..running };
        let paused_until = |seconds| QueueSnapshot { paused_until: Some(at(seconds)), ..paused };
        let new = order(0);
        let scheduled = scheduled_order(60, 60);
        let due = scheduled_order(5, 5);
        let failed =
            |not_before| Order { attempt: 1, error_class: Some("http_503".into()), ..order(not_before) };
        let redriven = Order { attempt: 3, ..order(30) };
        // The clock was set back after its creation.
        let ahead = order(3_600);
        for (case, order, queue, expected) in [
            ("new", &new, running, (Worker, None)),
            ("new, paused", &new, paused, (Pause, None)),
            ("new, paused until", &new, paused_until(20), (Pause, Some(at(20)))),
            ("scheduled", &scheduled, running, (Schedule, Some(at(60)))),
            ("scheduled, paused", &scheduled, paused, (Schedule, Some(at(60)))),
            ("scheduled, paused for longer", &scheduled, paused_until(90), (Schedule, Some(at(90)))),
            ("its time has come", &due, running, (Worker, None)),
            ("failed", &failed(12), running, (Retry, Some(at(12)))),
            ("failed, and the wait is over", &failed(10), running, (Worker, None)),
            ("redriven for later", &redriven, running, (Schedule, Some(at(30)))),
            ("created by a faster clock", &ahead, running, (Worker, None)),
        ] {
            let waiting = order.waiting(&queue).unwrap();
            assert_eq!((waiting.waits_for, waiting.next_attempt_at), expected, "{case}");
        }
        let later = QueueSnapshot { paused_at: Some(at(5)), ..running };
        for (queue, expected) in [(running, Worker), (paused, Worker), (later, Worker)] {
            assert_eq!(new.waiting(&queue.at_creation(at(0))).unwrap().waits_for, expected);
        }
        assert_eq!(new.waiting(&paused.at_creation(at(1))).unwrap().waits_for, Pause);
        for status in [Status::Processing, Status::Completed, Status::Failed, Status::Cancelled] {
            assert_eq!(Order { status, ..order(60) }.waiting(&running), None, "{status}");
        }
    }
}
