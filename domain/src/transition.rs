//! What one command does to one order. This is the only place where a change is decided; the store
//! calls it while it holds the order's row and writes down what it says.

use std::time::Duration;

use crate::{LeaseToken, RetryPolicy, Status, Timestamp, text};

/// The part of an order that decides about changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
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
}

/// Something that is asked of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A worker wants to run it.
    Start {
        /// Drawn by the worker; the same token again means the same Start again.
        lease: LeaseToken,
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

/// How an attempt went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The order is done.
    Completed,
    /// It failed and may be tried again.
    Retry {
        /// What went wrong.
        reason: String,
        /// What kind of thing went wrong, as one word for machines.
        class: Option<String>,
        /// When the other side asked to be tried again.
        after: Option<Duration>,
    },
    /// It failed for good; trying again would not help.
    Failed {
        /// What went wrong.
        reason: String,
        /// What kind of thing went wrong, as one word for machines.
        class: Option<String>,
    },
    /// The worker gives it back unharmed, because it shuts down. Not a failure.
    Released,
}

/// The settings that decisions depend on.
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

/// The reason of events for attempts whose lease ran out.
pub const LEASE_EXPIRED: &str = "the lease expired: the worker stopped reporting";
/// The error class of attempts whose lease ran out.
pub const CLASS_LEASE_EXPIRED: &str = "lease_expired";
/// The error class of failures for which the worker names none.
pub const CLASS_ERROR: &str = "error";
/// The reason of events for attempts that a worker gave back.
pub const RELEASED: &str = "released by its worker, which is shutting down";

/// Decides about one command. `random` is any number, evenly drawn (for the jitter of retries).
pub fn decide(state: &State, command: &Command, now: Timestamp, rules: &Rules, random: u32) -> Decision {
    match command {
        Command::Start { lease } => start(state, *lease, now, rules),
        Command::Heartbeat { lease } => match holds(state, *lease) {
            true => Decision::Renew(now + rules.lease),
            false => Decision::Refuse(Refusal::StaleLease(state.status)),
        },
        Command::Finish { lease, outcome } => {
            if holds(state, *lease) {
                Decision::Change(finish(state, outcome, now, rules, random))
            } else if state.lease == Some(*lease) {
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

fn start(state: &State, lease: LeaseToken, now: Timestamp, rules: &Rules) -> Decision {
    match state.status {
        // A Start that was on its way for long: the attempt that it asked for is over.
        Status::Pending if state.lease == Some(lease) => Decision::Refuse(Refusal::StaleLease(state.status)),
        Status::Pending if now < earliest_start(state) => Decision::Refuse(Refusal::NotYet(state.not_before)),
        // The job that brought it here is used up. It is due at once, so that it is offered again as
        // soon as the queue is resumed.
        Status::Pending if rules.paused => Decision::Postpone(Refusal::Paused, state.not_before),
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
fn earliest_start(state: &State) -> Timestamp {
    let tolerant = state.not_before - CLOCK_TOLERANCE;
    state.process_after.map_or(tolerant, |at| tolerant.max(at))
}

fn finish(state: &State, outcome: &Outcome, now: Timestamp, rules: &Rules, random: u32) -> Change {
    match outcome {
        Outcome::Completed => Change { due_at: None, ..change_to(state, Status::Completed, None) },
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

/// A failed attempt: back to pending with a wait, or a dead letter when there were enough.
fn failure(
    state: &State,
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
    class.and_then(text::error_class).unwrap_or_else(|| CLASS_ERROR.to_owned())
}

/// `state` with another status and everything else kept.
fn change_to(state: &State, status: Status, reason: Option<&str>) -> Change {
    Change {
        status,
        attempt: state.attempt,
        failures: state.failures,
        lease: state.lease,
        due_at: state.due_at,
        not_before: state.not_before,
        reason: reason.and_then(text::reason),
        error_class: None,
    }
}

fn holds(state: &State, lease: LeaseToken) -> bool {
    state.status == Status::Processing && state.lease == Some(lease)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_700_000_000_000_000;

    fn now() -> Timestamp {
        Timestamp::from_micros(NOW)
    }

    fn state(status: Status) -> State {
        let held = matches!(status, Status::Processing | Status::Completed | Status::Failed);
        State {
            status,
            version: 2,
            attempt: 1,
            failures: 0,
            max_attempts: 3,
            lease: held.then(|| LeaseToken::from_i64(7)),
            due_at: (!status.is_final()).then(|| now() + Duration::from_secs(5)),
            not_before: now(),
            process_after: None,
        }
    }

    fn run(state: &State, command: Command) -> Decision {
        decide(state, &command, now(), &Rules::default(), u32::MAX)
    }

    fn changed(decision: Decision) -> Change {
        match decision {
            Decision::Change(change) => change,
            other => panic!("expected a change, got {other:?}"),
        }
    }

    /// Every status with every command: what happens, in one table.
    #[test]
    fn every_status_and_command() {
        use Refusal::*;
        use Status::*;
        let mine = LeaseToken::from_i64(7);
        let other = LeaseToken::from_i64(8);
        let done = |lease| Command::Finish { lease, outcome: Outcome::Completed };
        let retry = |lease| Command::Finish {
            lease,
            outcome: Outcome::Retry { reason: "x".into(), class: None, after: None },
        };
        let fail =
            |lease| Command::Finish { lease, outcome: Outcome::Failed { reason: "x".into(), class: None } };
        let release = |lease| Command::Finish { lease, outcome: Outcome::Released };
        let cancel = || Command::Cancel { reason: None };
        let redrive = || Command::Redrive { reason: None, not_before: None };
        let to = Ok::<Status, Option<Refusal>>;
        let no = |refusal| Err(Some(refusal));
        let repeat = Err(None);
        for (from, command, expected) in [
            (Pending, Command::Start { lease: other }, to(Processing)),
            (Pending, done(mine), no(StaleLease(Pending))),
            (Pending, Command::Expire, no(NotExpired)),
            (Pending, cancel(), to(Cancelled)),
            (Pending, redrive(), no(NotFailed(Pending))),
            (Processing, Command::Start { lease: mine }, repeat),
            (Processing, Command::Start { lease: other }, no(AlreadyStarted)),
            (Processing, done(mine), to(Completed)),
            (Processing, retry(mine), to(Pending)),
            (Processing, fail(mine), to(Failed)),
            (Processing, release(mine), to(Pending)),
            (Processing, done(other), no(StaleLease(Processing))),
            (Processing, Command::Heartbeat { lease: other }, no(StaleLease(Processing))),
            (Processing, Command::Expire, no(NotExpired)),
            (Processing, cancel(), to(Cancelled)),
            (Processing, redrive(), no(NotFailed(Processing))),
            (Completed, Command::Start { lease: other }, no(Final(Completed))),
            (Completed, done(mine), repeat),
            (Completed, done(other), no(StaleLease(Completed))),
            (Completed, Command::Heartbeat { lease: mine }, no(StaleLease(Completed))),
            (Completed, Command::Expire, no(NotExpired)),
            (Completed, cancel(), no(Final(Completed))),
            (Completed, redrive(), no(NotFailed(Completed))),
            (Failed, Command::Start { lease: other }, no(Final(Failed))),
            (Failed, done(mine), repeat),
            (Failed, Command::Expire, no(NotExpired)),
            (Failed, cancel(), no(Final(Failed))),
            (Failed, redrive(), to(Pending)),
            (Cancelled, Command::Start { lease: other }, no(Final(Cancelled))),
            (Cancelled, done(mine), no(StaleLease(Cancelled))),
            (Cancelled, Command::Expire, no(NotExpired)),
            (Cancelled, cancel(), repeat),
            (Cancelled, redrive(), no(NotFailed(Cancelled))),
        ] {
            let got = match run(&state(from), command.clone()) {
                Decision::Change(change) => Ok(change.status),
                Decision::Refuse(refusal) => Err(Some(refusal)),
                Decision::Repeat => Err(None),
                Decision::Renew(_) | Decision::Postpone(..) => panic!("{from:?} {command:?} moved"),
            };
            assert_eq!(got, expected, "{from:?} {command:?}");
        }
    }

    #[test]
    fn a_heartbeat_moves_the_end_of_the_lease() {
        let mine = LeaseToken::from_i64(7);
        let end = now() + Duration::from_secs(30);
        assert_eq!(run(&state(Status::Processing), Command::Heartbeat { lease: mine }), Decision::Renew(end));
    }

    #[test]
    fn an_order_is_not_started_before_its_time() {
        let start = |not_before| {
            let lease = LeaseToken::from_i64(1);
            run(&State { not_before, ..state(Status::Pending) }, Command::Start { lease })
        };
        // What another gateway's clock may make of the same moment.
        let nearly = now() + CLOCK_TOLERANCE;
        assert_eq!(changed(start(nearly)).status, Status::Processing);
        let later = nearly + Duration::from_micros(1);
        assert_eq!(start(later), Decision::Refuse(Refusal::NotYet(later)));
    }

    #[test]
    fn a_start_that_comes_again_after_its_attempt_starts_no_other() {
        let lease = LeaseToken::from_i64(7);
        let outcome = Outcome::Retry { reason: "x".into(), class: None, after: Some(Duration::ZERO) };
        let change = changed(run(&state(Status::Processing), Command::Finish { lease, outcome }));
        let waiting = State { lease: change.lease, ..state(Status::Pending) };
        let stale = Decision::Refuse(Refusal::StaleLease(Status::Pending));
        assert_eq!(run(&waiting, Command::Start { lease }), stale);
        let other = LeaseToken::from_i64(8);
        assert_eq!(changed(run(&waiting, Command::Start { lease: other })).status, Status::Processing);
    }

    #[test]
    fn a_scheduled_order_is_not_started_a_microsecond_early() {
        let start = |at: Timestamp| {
            let scheduled = State { not_before: at, process_after: Some(at), ..state(Status::Pending) };
            run(&scheduled, Command::Start { lease: LeaseToken::from_i64(1) })
        };
        assert_eq!(changed(start(now())).status, Status::Processing);
        let next = now() + Duration::from_micros(1);
        assert_eq!(start(next), Decision::Refuse(Refusal::NotYet(next)));
    }

    #[test]
    fn a_paused_queue_starts_nothing_and_takes_the_order_back() {
        let paused = Rules { paused: true, ..Rules::default() };
        let decide = |state: &State, command| decide(state, &command, now(), &paused, 0);
        let waiting = state(Status::Pending);
        let lease = LeaseToken::from_i64(7);
        let start = || Command::Start { lease };
        assert_eq!(decide(&waiting, start()), Decision::Postpone(Refusal::Paused, waiting.not_before));
        // What runs goes on, and a Start whose answer was lost is answered again.
        let running = state(Status::Processing);
        assert_eq!(decide(&running, start()), Decision::Repeat);
        let done = Command::Finish { lease, outcome: Outcome::Completed };
        assert_eq!(changed(decide(&running, done)).status, Status::Completed);
    }

    #[test]
    fn an_expired_lease_is_a_failure_and_its_token_is_gone() {
        let expired = State { due_at: Some(now()), ..state(Status::Processing) };
        let change = changed(run(&expired, Command::Expire));
        assert_eq!((change.status, change.failures, change.lease), (Status::Pending, 1, None));
        assert_eq!(change.due_at, Some(now() + Duration::from_secs(1)));
        let last = State { failures: 2, ..expired };
        let change = changed(run(&last, Command::Expire));
        assert_eq!((change.status, change.failures, change.due_at), (Status::Failed, 3, None));
        assert_eq!(change.error_class.as_deref(), Some(CLASS_LEASE_EXPIRED));
    }

    #[test]
    fn a_failure_has_a_class_and_what_follows_has_none() {
        let lease = LeaseToken::from_i64(7);
        let fail = |class: Option<&str>| {
            let outcome = Outcome::Failed { reason: "x".into(), class: class.map(Into::into) };
            changed(run(&state(Status::Processing), Command::Finish { lease, outcome })).error_class
        };
        assert_eq!(fail(Some("card_declined")).as_deref(), Some("card_declined"));
        assert_eq!(fail(Some(" \n ")).as_deref(), Some(CLASS_ERROR));
        assert_eq!(fail(None).as_deref(), Some(CLASS_ERROR));
        let done = Command::Finish { lease, outcome: Outcome::Completed };
        assert_eq!(changed(run(&state(Status::Processing), done)).error_class, None);
    }

    #[test]
    fn a_release_costs_no_attempt() {
        let lease = LeaseToken::from_i64(7);
        let last = State { failures: 2, ..state(Status::Processing) };
        let change = changed(run(&last, Command::Finish { lease, outcome: Outcome::Released }));
        assert_eq!((change.status, change.failures, change.due_at), (Status::Pending, 2, Some(now())));
    }

    #[test]
    fn a_redrive_gives_a_new_set_of_attempts() {
        let dead = State { failures: 3, ..state(Status::Failed) };
        let redrive =
            |not_before| changed(run(&dead, Command::Redrive { reason: Some("by Ann".into()), not_before }));
        let change = redrive(None);
        assert_eq!((change.failures, change.due_at, change.lease), (0, Some(now()), None));
        assert_eq!(change.reason.as_deref(), Some("by Ann"));
        let later = now() + Duration::from_secs(9);
        assert_eq!((redrive(Some(later)).due_at, redrive(Some(later)).not_before), (Some(later), later));
        assert_eq!(redrive(Some(Timestamp::from_micros(1))).due_at, Some(now()));
    }

    fn any_command() -> impl Strategy<Value = Command> {
        let lease = (1..4_i64).prop_map(LeaseToken::from_i64);
        let outcome = prop_oneof![
            Just(Outcome::Completed),
            Just(Outcome::Released),
            "[a-z]{0,9}".prop_map(|reason| Outcome::Failed { reason, class: None }),
            ("[a-z]{0,9}", prop::option::of(0..1_000_u64)).prop_map(|(reason, after)| Outcome::Retry {
                reason,
                class: None,
                after: after.map(Duration::from_secs)
            }),
        ];
        prop_oneof![
            lease.clone().prop_map(|lease| Command::Start { lease }),
            lease.clone().prop_map(|lease| Command::Heartbeat { lease }),
            (lease, outcome).prop_map(|(lease, outcome)| Command::Finish { lease, outcome }),
            Just(Command::Expire),
            Just(Command::Cancel { reason: None }),
            prop::option::of(0..2 * NOW)
                .prop_map(|at| Command::Redrive { reason: None, not_before: at.map(Timestamp::from_micros) }),
        ]
    }

    proptest! {
        /// Whatever is asked, in whatever order: each change is a declared transition, final orders
        /// are never due, and all others always are.
        #[test]
        fn invariants_hold_on_every_path(
            steps in prop::collection::vec(
                (any_command(), 0..60_000_000_i64, any::<u32>(), any::<bool>()),
                1..60,
            )
        ) {
            let mut state = State { attempt: 0, lease: None, due_at: Some(now()), ..state(Status::Pending) };
            let mut at = NOW;
            for (command, wait, random, paused) in steps {
                let rules = Rules { paused, ..Rules::default() };
                at += wait;
                let clock = Timestamp::from_micros(at);
                match decide(&state, &command, clock, &rules, random) {
                    Decision::Change(change) => {
                        prop_assert!(state.status.may_become(change.status));
                        state = State {
                            status: change.status,
                            version: state.version + 1,
                            attempt: change.attempt,
                            failures: change.failures,
                            max_attempts: state.max_attempts,
                            lease: change.lease,
                            due_at: change.due_at,
                            not_before: change.not_before,
                            process_after: state.process_after,
                        };
                    }
                    Decision::Postpone(_, until) => {
                        prop_assert!(paused && state.status == Status::Pending);
                        state.due_at = Some(until);
                    }
                    Decision::Renew(until) => {
                        prop_assert_eq!(state.status, Status::Processing);
                        state.due_at = Some(until);
                    }
                    Decision::Repeat | Decision::Refuse(_) => {}
                }
                prop_assert_eq!(state.status.is_final(), state.due_at.is_none());
                prop_assert!(state.failures <= state.max_attempts);
                prop_assert!(state.failures <= state.attempt);
            }
        }
    }
}
