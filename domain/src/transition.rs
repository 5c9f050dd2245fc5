//! What one command does to one order. This is the only place where a change is decided; the store
//! calls it while it holds the order's row and writes down what it says.

use std::time::Duration;

use crate::retry::MAX_POSTPONEMENTS;
use crate::{LeaseToken, Outcome, RetryPolicy, Status, Timestamp, strings};

/// The part of an order that decides about changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderState {
    /// The present status.
    pub status: Status,
    /// The sequence of the latest event.
    pub version: u32,
    /// The number of the latest attempt; 0 before the first.
    pub attempt: u32,
    /// Attempts that count against `max_attempts`: errors and expired leases, not graceful releases.
    pub failures: u32,
    /// After that many failures the order is a dead letter.
    pub max_attempts: u32,
    /// The token of the running attempt. It stays after a report so that the same report again is
    /// recognised, and goes when the lease is taken away (expired, cancelled, redriven).
    pub lease: Option<LeaseToken>,
    /// When the order next needs attention; `None` for final ones.
    pub due_at: Option<Timestamp>,
    /// A pending order is not started before this time: its creation, the end of its wait for a
    /// retry, or the time for which it is scheduled.
    pub not_before: Timestamp,
    /// The time for which its creator scheduled it. It is kept to the letter.
    pub process_after: Option<Timestamp>,
    /// When it last changed, by the clock of that time.
    pub updated_at: Timestamp,
}

/// Something that is asked of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A worker wants to run it.
    Start {
        /// Drawn by the worker; the same token again means the same Start again.
        lease: LeaseToken,
        /// The largest order that the worker can receive now, in bytes as [`Order::approximate_bytes`](crate::Order)
        /// counts. The store compares it, because [`OrderState`] has no content; a larger order stays as it is.
        max_bytes: usize,
    },
    /// The worker is still at it.
    Heartbeat {
        /// The token of the attempt.
        lease: LeaseToken,
    },
    /// The worker is done with its attempt.
    Finish {
        /// The token of the attempt.
        lease: LeaseToken,
        /// How it went.
        outcome: Outcome,
    },
    /// Nobody has renewed the lease in time.
    Expire,
    /// A person or a system calls the order off.
    Cancel {
        /// Why, if they say.
        reason: Option<String>,
    },
    /// A dead letter gets a new set of attempts.
    Redrive {
        /// Who asked, and why if they say.
        reason: Option<String>,
        /// When it may be started; at once when absent or past. Many dead letters are redriven
        /// without a stampede by giving each a time of its own.
        not_before: Option<Timestamp>,
    },
}

impl Command {
    /// A start of an order of any size.
    pub const fn start(lease: LeaseToken) -> Self {
        Self::Start { lease, max_bytes: usize::MAX }
    }
}

/// What decisions depend on besides the order: settings, and whether the queue is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How long a lease lasts from its start or its last heartbeat.
    pub lease: Duration,
    /// When failed attempts are tried again.
    pub retry: RetryPolicy,
    /// Whether the queue is paused: then nothing is started. Everything else goes on.
    pub paused: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self { lease: Duration::from_secs(30), retry: RetryPolicy::default(), paused: false }
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The order changes: one new event, `version + 1`.
    Change(Change),
    /// The lease now ends at this time. No event.
    Renew(Timestamp),
    /// It was done before, by the same command. Nothing is written and the answer is the same.
    Repeat,
    /// It cannot be done. Nothing is written.
    Refuse(Refusal),
    /// It cannot be done now, and the order next needs attention at this time. No event.
    Postpone(Refusal, Timestamp),
}

/// The new values of an order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    /// The new status.
    pub status: Status,
    /// The new attempt number.
    pub attempt: u32,
    /// The new count of failures.
    pub failures: u32,
    /// The new lease token.
    pub lease: Option<LeaseToken>,
    /// The new due time.
    pub due_at: Option<Timestamp>,
    /// The new earliest start.
    pub not_before: Timestamp,
    /// What the event says about it.
    pub reason: Option<String>,
    /// What kind of failure it is, if it is one.
    pub error_class: Option<String>,
}

/// Why a command cannot be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Start: the order is being processed under another lease.
    #[error("the order is already being processed")]
    AlreadyStarted,
    /// Start: the order waits for a retry or for its time.
    #[error("the order may not be started before {0}")]
    NotYet(Timestamp),
    /// Start: nothing is started at present.
    #[error("the queue is paused; the order is offered again when it is resumed")]
    Paused,
    /// Heartbeat, Finish: the lease is not, or no longer, the order's lease.
    #[error("the lease is not valid: the order is {0} and belongs to another attempt or to none")]
    StaleLease(Status),
    /// Start, Cancel: the order is final.
    #[error("the order is already {0}")]
    Final(Status),
    /// Redrive: only failed orders can be redriven.
    #[error("only a failed order can be redriven; this one is {0}")]
    NotFailed(Status),
    /// Expire: the lease was renewed or the order moved on.
    #[error("the lease has not expired")]
    NotExpired,
}

impl Refusal {
    /// The status that the order has, where that is the reason.
    pub fn status(self) -> Option<Status> {
        match self {
            Self::AlreadyStarted => Some(Status::Processing),
            Self::StaleLease(status) | Self::Final(status) | Self::NotFailed(status) => Some(status),
            Self::NotYet(_) | Self::Paused | Self::NotExpired => None,
        }
    }
}

/// So much earlier than its time an order may be started, unless it is scheduled. Two gateways read
/// the time a little differently, and a Start that comes over the one right after the other has pushed
/// the order must not be refused: the order would wait until its guard runs out.
pub const CLOCK_TOLERANCE: Duration = Duration::from_millis(250);

/// A clock that differs by more from what it should say was set, and does not only run a little differently.
pub const CLOCK_STEP: Duration = Duration::from_secs(1);

/// The reason of events for attempts whose lease ran out.
pub const LEASE_EXPIRED: &str = "the lease expired: the worker stopped reporting";
/// The error class of attempts whose lease ran out.
pub const CLASS_LEASE_EXPIRED: &str = "lease_expired";
/// The error class of failures for which the worker names none.
pub const CLASS_ERROR: &str = "error";
/// The reason of events for attempts that a worker gave back.
pub const RELEASED: &str = "released by its worker, which is shutting down";

/// Decides about one command. `random` is any number, evenly drawn (for the jitter of retries).
pub fn decide(state: &OrderState, command: &Command, now: Timestamp, rules: &Rules, random: u32) -> Decision {
    match command {
        Command::Start { lease, .. } => start(state, *lease, now, rules),
        Command::Heartbeat { lease } => match holds(state, *lease) {
            true => Decision::Renew(now + rules.lease),
            false => Decision::Refuse(Refusal::StaleLease(state.status)),
        },
        Command::Finish { lease, outcome } => {
            if holds(state, *lease) {
                Decision::Change(finish(state, outcome, now, rules, random))
            } else if state.lease == Some(*lease) && is_repetition(state, outcome) {
                Decision::Repeat
            } else {
                Decision::Refuse(Refusal::StaleLease(state.status))
            }
        }
        Command::Expire => {
            let expired = state.status == Status::Processing && state.due_at.is_some_and(|due| due <= now);
            if !expired {
                return Decision::Refuse(Refusal::NotExpired);
            }
            let change = failure(state, LEASE_EXPIRED, Some(CLASS_LEASE_EXPIRED), None, now, rules, random);
            Decision::Change(Change { lease: None, ..change })
        }
        Command::Cancel { reason } => match state.status {
            Status::Pending | Status::Processing => Decision::Change(Change {
                lease: None,
                due_at: None,
                ..change_to(state, Status::Cancelled, reason.as_deref())
            }),
            Status::Cancelled => Decision::Repeat,
            Status::Completed | Status::Failed => Decision::Refuse(Refusal::Final(state.status)),
        },
        Command::Redrive { reason, not_before } => match state.status {
            Status::Failed => {
                let start = not_before.map_or(now, |at| at.max(now));
                Decision::Change(Change {
                    lease: None,
                    failures: 0,
                    due_at: Some(start),
                    not_before: start,
                    ..change_to(state, Status::Pending, reason.as_deref())
                })
            }
            Status::Pending | Status::Processing | Status::Completed | Status::Cancelled => {
                Decision::Refuse(Refusal::NotFailed(state.status))
            }
        },
    }
}

fn start(state: &OrderState, lease: LeaseToken, now: Timestamp, rules: &Rules) -> Decision {
    match state.status {
        // A Start that was on its way for long: the attempt that it asked for is over.
        Status::Pending if state.lease == Some(lease) => Decision::Refuse(Refusal::StaleLease(state.status)),
        Status::Pending if now < earliest_start(state, now) => {
            Decision::Refuse(Refusal::NotYet(state.not_before))
        }
        // The job that brought it here is used up. It is due at once, so that it is offered again as
        // soon as the queue is resumed.
        Status::Pending if rules.paused => Decision::Postpone(Refusal::Paused, state.not_before.min(now)),
        Status::Pending => Decision::Change(Change {
            attempt: state.attempt.saturating_add(1),
            lease: Some(lease),
            due_at: Some(now + rules.lease),
            ..change_to(state, Status::Processing, None)
        }),
        Status::Processing if state.lease == Some(lease) => Decision::Repeat,
        Status::Processing => Decision::Refuse(Refusal::AlreadyStarted),
        Status::Completed | Status::Failed | Status::Cancelled => {
            Decision::Refuse(Refusal::Final(state.status))
        }
    }
}

/// When an order may be started by a clock that may be a little behind.
fn earliest_start(state: &OrderState, now: Timestamp) -> Timestamp {
    if let Some(at) = schedule(state)
        && now < at
    {
        return at;
    }
    // Its times are those of a clock that was ahead: they say nothing about now. Dispatch has waited.
    if wait_of_later_clock(state, now).is_some() { now } else { state.not_before - CLOCK_TOLERANCE }
}

/// The time for which an order is scheduled, unless it was started since: then the time had come.
pub fn schedule(state: &OrderState) -> Option<Timestamp> {
    state.process_after.filter(|_| state.attempt == 0)
}

/// How long a pending order was to wait when it last changed, if that was by a clock that has been set back since:
/// its row is from the future. `None` when its times can be compared with the present clock.
pub fn wait_of_later_clock(state: &OrderState, now: Timestamp) -> Option<Duration> {
    let from_the_future = state.updated_at > now + CLOCK_STEP;
    // The times of a timeline never run backwards, so a change after the step keeps the later time of the one before
    // it, and a wait that begins with the change is written as one from then on. A change that begins none leaves the
    // time before it, which has come.
    (from_the_future && state.not_before >= state.updated_at)
        .then(|| state.not_before.since(state.updated_at))
}

fn finish(state: &OrderState, outcome: &Outcome, now: Timestamp, rules: &Rules, random: u32) -> Change {
    match outcome {
        Outcome::Completed => Change { due_at: None, ..change_to(state, Status::Completed, None) },
        Outcome::Retry { reason, class, after: Some(asked) } if may_be_postponed(state, *asked) => {
            let postponements = state.attempt.saturating_sub(state.failures);
            let next = now + rules.retry.postponement(postponements, *asked, random);
            Change {
                due_at: Some(next),
                not_before: next,
                error_class: Some(error_class(class.as_deref())),
                ..change_to(state, Status::Pending, Some(reason))
            }
        }
        Outcome::Retry { reason, class, after } => {
            failure(state, reason, class.as_deref(), *after, now, rules, random)
        }
        Outcome::Failed { reason, class } => Change {
            failures: state.failures.saturating_add(1),
            due_at: None,
            error_class: Some(error_class(class.as_deref())),
            ..change_to(state, Status::Failed, Some(reason))
        },
        Outcome::Released => {
            Change { due_at: Some(now), not_before: now, ..change_to(state, Status::Pending, Some(RELEASED)) }
        }
    }
}

/// Whether an attempt that the other side asked to repeat later leaves the count of failures as it is. An order cannot be
/// postponed without end: attempts that were no failures are counted, those before a redrive among them.
fn may_be_postponed(state: &OrderState, asked: Duration) -> bool {
    !asked.is_zero() && state.attempt.saturating_sub(state.failures) <= MAX_POSTPONEMENTS
}

/// A failed attempt: back to pending with a wait, or a dead letter when there were enough.
fn failure(
    state: &OrderState,
    reason: &str,
    class: Option<&str>,
    after: Option<Duration>,
    now: Timestamp,
    rules: &Rules,
    random: u32,
) -> Change {
    let failures = state.failures.saturating_add(1);
    let error_class = Some(error_class(class));
    if failures >= state.max_attempts {
        let change = change_to(state, Status::Failed, Some(reason));
        return Change { failures, due_at: None, error_class, ..change };
    }
    let next = now + rules.retry.delay(failures, after, random);
    Change {
        failures,
        due_at: Some(next),
        not_before: next,
        error_class,
        ..change_to(state, Status::Pending, Some(reason))
    }
}

fn error_class(class: Option<&str>) -> String {
    class.and_then(strings::clean_error_class).unwrap_or_else(|| CLASS_ERROR.to_owned())
}

/// `state` with another status and everything else kept.
fn change_to(state: &OrderState, status: Status, reason: Option<&str>) -> Change {
    Change {
        status,
        attempt: state.attempt,
        failures: state.failures,
        lease: state.lease,
        due_at: state.due_at,
        not_before: state.not_before,
        reason: reason.and_then(strings::clean_reason),
        error_class: None,
    }
}

fn holds(state: &OrderState, lease: LeaseToken) -> bool {
    state.status == Status::Processing && state.lease == Some(lease)
}

/// Whether a report of the latest attempt, which is over, says what the order says already. A report with
/// another outcome is not a repetition, and must not be answered as if it had been recorded.
fn is_repetition(state: &OrderState, outcome: &Outcome) -> bool {
    match (outcome, state.status) {
        (Outcome::Completed, Status::Completed) | (Outcome::Failed { .. }, Status::Failed) => true,
        (Outcome::Retry { .. } | Outcome::Released, Status::Pending) => true,
        // The retry that used up the last attempt.
        (Outcome::Retry { .. }, Status::Failed) => state.failures >= state.max_attempts,
        (
            Outcome::Completed | Outcome::Failed { .. } | Outcome::Retry { .. } | Outcome::Released,
            Status::Pending | Status::Processing | Status::Completed | Status::Failed | Status::Cancelled,
        ) => false,
    }
}

#[cfg(test)]
mod tests;
