//! The effect of one command on one order.
//!
//! Only this module decides about changes. The store calls it while it holds the lock of the order's row, and writes the
//! decision.

use std::sync::Arc;
use std::time::Duration;

use crate::json_text::JsonText;
use crate::lease::LeaseToken;
use crate::outcome::Outcome;
use crate::requester::Requester;
use crate::retry::{MAX_POSTPONEMENTS, RetryPolicy};
use crate::status::Status;
use crate::strings;
use crate::timestamp::Timestamp;
use crate::worker_name::WorkerName;

/// The fields of an order on which decisions depend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderState {
    /// The present status.
    pub status: Status,
    /// The sequence of the latest event.
    pub version: u32,
    /// The number of the latest attempt; 0 before the first.
    pub attempt: u32,
    /// Attempts that count against `max_attempts`: errors and expired leases, not releases.
    pub failures: u32,
    /// The number of failures at which the order becomes a dead letter.
    pub max_attempts: u32,
    /// The token of the latest attempt. A report keeps it, so that a repetition is recognised. It is removed if the
    /// lease expires or the order is cancelled or redriven.
    pub lease: Option<LeaseToken>,
    /// The time of the next action on the order; `None` for a final one.
    pub due_at: Option<Timestamp>,
    /// The earliest start of a pending order: its creation, the end of its retry delay, or its schedule.
    pub not_before: Timestamp,
    /// The start that its creator scheduled, without tolerance.
    pub process_after: Option<Timestamp>,
    /// The time of its last change, by the clock at that time.
    pub updated_at: Timestamp,
}

/// A request to change an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A worker starts an attempt.
    Start {
        /// The token that the worker drew; a repeated Start has the same token.
        lease: LeaseToken,
        /// The maximum size of an order that the worker can receive now, in bytes of
        /// [`Order::approximate_bytes`](crate::Order::approximate_bytes). The store compares it, because
        /// [`OrderState`] has no content; a larger order stays unchanged.
        max_bytes: usize,
        /// The name of the worker, which the event contains.
        worker: Option<WorkerName>,
    },
    /// The worker still runs the attempt.
    Heartbeat {
        /// The token of the attempt.
        lease: LeaseToken,
    },
    /// The worker has reached a state from which the next attempt continues. It renews the lease.
    Checkpoint {
        /// The token of the attempt.
        lease: LeaseToken,
        /// The state. The store writes it.
        checkpoint: JsonText,
    },
    /// The attempt of the worker has ended.
    Finish {
        /// The token of the attempt.
        lease: LeaseToken,
        /// The outcome of the attempt. The store writes its result.
        outcome: Outcome,
    },
    /// The lease was not renewed in time.
    Expire,
    /// The job never reached a worker. The attempt does not count, up to [`MAX_UNDELIVERED`] times.
    Undeliver {
        /// The token of the attempt.
        lease: LeaseToken,
    },
    /// A client cancels the order.
    Cancel {
        /// The client's reason, if it has one.
        reason: Option<String>,
        /// The caller; the store writes it to the audit log.
        requester: Option<Arc<Requester>>,
    },
    /// A dead letter gets a new set of attempts.
    Redrive {
        /// The requester, and its reason if it has one.
        reason: Option<String>,
        /// The earliest start; absent or past means immediately. Separate times spread the load of a redrive of many
        /// dead letters.
        not_before: Option<Timestamp>,
        /// The caller; the store writes it to the audit log.
        requester: Option<Arc<Requester>>,
    },
}

impl Command {
    /// Creates a start of an order of any size.
    pub const fn start(lease: LeaseToken) -> Self {
        Self::Start { lease, max_bytes: usize::MAX, worker: None }
    }
}

/// The settings and the queue state on which decisions depend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The duration of a lease from its start or its last heartbeat.
    pub lease: Duration,
    /// The delays between attempts.
    pub retry: RetryPolicy,
    /// Whether the queue is paused. A pause prevents only starts.
    pub paused: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self { lease: Duration::from_secs(30), retry: RetryPolicy::default(), paused: false }
    }
}

/// The result of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The order changes: one new event, `version + 1`.
    Change(Change),
    /// The lease now ends at this time. There is no event.
    Renew(Timestamp),
    /// The same command was applied before. Nothing is written, and the response is the same.
    Repeat,
    /// The command is not possible. Nothing is written.
    Refuse(Refusal),
    /// The command is not possible now, and the order becomes due at this time. There is no event.
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
    /// The reason in the event.
    pub reason: Option<String>,
    /// The error class, if the change is a failure.
    pub error_class: Option<String>,
}

/// The reason why a command is not possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Start: the order is being processed under another lease.
    #[error("the order is already being processed")]
    AlreadyStarted,
    /// Start: the order waits for a retry or its schedule.
    #[error("the order may not be started before {0}")]
    NotYet(Timestamp),
    /// Start: the queue is paused.
    #[error("the queue is paused; the order is offered again when it is resumed")]
    Paused,
    /// Heartbeat, Checkpoint, Finish: the lease is not, or no longer, the order's lease.
    #[error("the lease is not valid: the order is {0} and belongs to another attempt or to none")]
    StaleLease(Status),
    /// Start, Cancel: the order is final.
    #[error("the order is already {0}")]
    Final(Status),
    /// Redrive: only failed orders can be redriven.
    #[error("only a failed order can be redriven; this one is {0}")]
    NotFailed(Status),
    /// Expire: the lease was renewed, or the order has another status.
    #[error("the lease has not expired")]
    NotExpired,
}

impl Refusal {
    /// Returns the status of the order, if it is the reason.
    pub fn status(self) -> Option<Status> {
        match self {
            Self::AlreadyStarted => Some(Status::Processing),
            Self::StaleLease(status) | Self::Final(status) | Self::NotFailed(status) => Some(status),
            Self::NotYet(_) | Self::Paused | Self::NotExpired => None,
        }
    }
}

/// The time by which an order may be started early, unless it is scheduled.
///
/// The clock readings of two gateways differ slightly. A Start over one gateway, immediately after the other has pushed
/// the order, must not be refused: the order would wait for the end of its visibility timeout.
pub const CLOCK_TOLERANCE: Duration = Duration::from_millis(250);

/// The minimum difference that counts as a clock that was set, and not as drift.
pub const CLOCK_STEP: Duration = Duration::from_secs(1);

/// The reason in events of attempts whose lease expired.
pub const LEASE_EXPIRED: &str = "the lease expired: the worker stopped reporting";
/// The error class of attempts whose lease expired.
pub const CLASS_LEASE_EXPIRED: &str = "lease_expired";
/// The error class of failures for which the worker sets none.
pub const CLASS_ERROR: &str = "error";
/// The reason in events of attempts that a worker released.
pub const RELEASED: &str = "released by its worker, which is shutting down";
/// The reason in events of attempts whose job never reached a worker.
pub const UNDELIVERED: &str = "the job did not reach a worker";
/// The error class of attempts whose job never reached a worker, after [`MAX_UNDELIVERED`].
pub const CLASS_UNDELIVERED: &str = "undelivered";
/// The number of attempts of an order that do not count because their jobs reached no worker. Further ones are failures: an
/// order that ends each worker at once must not be repeated forever.
pub const MAX_UNDELIVERED: u32 = 10;

/// Decides about one command. `random` is any evenly drawn number, for the jitter of retries.
pub fn decide(state: &OrderState, command: &Command, now: Timestamp, rules: &Rules, random: u32) -> Decision {
    match command {
        Command::Start { lease, .. } => start(state, *lease, now, rules),
        Command::Heartbeat { lease } | Command::Checkpoint { lease, .. } => match has_lease(state, *lease) {
            true => Decision::Renew(now + rules.lease),
            false => Decision::Refuse(Refusal::StaleLease(state.status)),
        },
        Command::Finish { lease, outcome } => {
            if has_lease(state, *lease) {
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
        Command::Undeliver { lease } => match has_lease(state, *lease) {
            true if undelivered(state) >= MAX_UNDELIVERED => {
                let class = Some(CLASS_UNDELIVERED);
                let change = failure(state, UNDELIVERED, class, None, now, rules, random);
                Decision::Change(Change { lease: None, ..change })
            }
            true => Decision::Change(Change {
                attempt: match state.process_after {
                    // The clock was set back since the start. Without an attempt the order would wait for its schedule again.
                    Some(at) if at > now => state.attempt,
                    Some(_) | None => state.attempt.saturating_sub(1),
                },
                lease: None,
                due_at: Some(now),
                not_before: now,
                ..change_to(state, Status::Pending, Some(UNDELIVERED))
            }),
            false => Decision::Refuse(Refusal::StaleLease(state.status)),
        },
        Command::Cancel { reason, .. } => match state.status {
            Status::Pending | Status::Processing => Decision::Change(Change {
                lease: None,
                due_at: None,
                ..change_to(state, Status::Cancelled, reason.as_deref())
            }),
            Status::Cancelled => Decision::Repeat,
            Status::Completed | Status::Failed => Decision::Refuse(Refusal::Final(state.status)),
        },
        Command::Redrive { reason, not_before, .. } => match state.status {
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

/// Returns how often the jobs of the order have not reached a worker.
///
/// Each start and each end of an attempt is an event. Redrives count as half.
fn undelivered(state: &OrderState) -> u32 {
    (state.version / 2).saturating_sub(state.attempt)
}

fn start(state: &OrderState, lease: LeaseToken, now: Timestamp, rules: &Rules) -> Decision {
    match state.status {
        // A late repetition of a Start: its attempt has ended.
        Status::Pending if state.lease == Some(lease) => Decision::Refuse(Refusal::StaleLease(state.status)),
        Status::Pending if now < earliest_start(state, now) => {
            Decision::Refuse(Refusal::NotYet(state.not_before))
        }
        // The job of the order is used up. The order is due immediately, so that it is pushed again when the queue is
        // resumed.
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

/// Returns the earliest start, with the tolerance for a clock that is slightly behind.
fn earliest_start(state: &OrderState, now: Timestamp) -> Timestamp {
    if let Some(at) = scheduled_start(state)
        && now < at
    {
        return at;
    }
    // The clock was set back after the last change, so its times cannot be compared with `now`. Dispatch has waited.
    if wait_after_clock_step(state, now).is_some() { now } else { state.not_before - CLOCK_TOLERANCE }
}

/// Returns the scheduled start of an order that has not been started.
pub fn scheduled_start(state: &OrderState) -> Option<Timestamp> {
    state.process_after.filter(|_| state.attempt == 0)
}

/// Returns the wait of a pending order whose row is from the future, because the clock was set back.
///
/// The wait begins with its last change. `None` if its times can be compared with the present clock.
pub fn wait_after_clock_step(state: &OrderState, now: Timestamp) -> Option<Duration> {
    let from_the_future = state.updated_at > now + CLOCK_STEP;
    // The times of a timeline never decrease. Therefore a change after the step keeps the later time of the change before
    // it, and a wait that begins with the change is stored relative to that time. A change without a wait keeps the
    // earlier `not_before`, which has passed.
    (from_the_future && state.not_before >= state.updated_at)
        .then(|| state.not_before.since(state.updated_at))
}

fn finish(state: &OrderState, outcome: &Outcome, now: Timestamp, rules: &Rules, random: u32) -> Change {
    match outcome {
        Outcome::Completed | Outcome::CompletedWith(_) => {
            Change { due_at: None, ..change_to(state, Status::Completed, None) }
        }
        Outcome::Retry { reason, class, after: Some(requested) } if can_be_postponed(state, *requested) => {
            let postponements = state.attempt.saturating_sub(state.failures);
            let next = now + rules.retry.postponement(postponements, *requested, random);
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

/// Returns whether an attempt that the called service asked to repeat later does not count as a failure.
///
/// The number of postponements is limited: all attempts that were no failures count, also those before a redrive.
fn can_be_postponed(state: &OrderState, requested: Duration) -> bool {
    !requested.is_zero() && state.attempt.saturating_sub(state.failures) <= MAX_POSTPONEMENTS
}

/// Returns the change after a failed attempt: pending with a delay, or a dead letter after the last attempt.
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

/// Returns the change to another status that keeps all other fields.
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

fn has_lease(state: &OrderState, lease: LeaseToken) -> bool {
    state.status == Status::Processing && state.lease == Some(lease)
}

/// Returns whether a report of the latest attempt, which has ended, repeats the recorded outcome.
///
/// A report with another outcome is not a repetition, and must not get the response of a recorded report.
fn is_repetition(state: &OrderState, outcome: &Outcome) -> bool {
    match (outcome, state.status) {
        (Outcome::Completed | Outcome::CompletedWith(_), Status::Completed) => true,
        (Outcome::Failed { .. }, Status::Failed) => true,
        (Outcome::Retry { .. } | Outcome::Released, Status::Pending) => true,
        // The retry that used up the last attempt.
        (Outcome::Retry { .. }, Status::Failed) => state.failures >= state.max_attempts,
        (
            Outcome::Completed
            | Outcome::CompletedWith(_)
            | Outcome::Failed { .. }
            | Outcome::Retry { .. }
            | Outcome::Released,
            Status::Pending | Status::Processing | Status::Completed | Status::Failed | Status::Cancelled,
        ) => false,
    }
}

#[cfg(test)]
mod tests;
