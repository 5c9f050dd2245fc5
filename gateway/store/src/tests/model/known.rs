//! What the model knows about an order, and the result that it expects of a command.

use std::time::Duration;

use domain::retry::MAX_POSTPONEMENTS;
use domain::transition::{CLOCK_STEP, Command, MAX_UNDELIVERED};
use domain::{LeaseToken, OrderId, Outcome, Status, Timestamp};

use super::{LEASE, RETRY, TOLERANCE};

/// The knowledge about an order.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) id: OrderId,
    pub(super) status: Status,
    pub(super) attempt: u32,
    pub(super) failures: u32,
    pub(super) max_attempts: u32,
    /// Every token that was used for it.
    pub(super) tokens: Vec<LeaseToken>,
    /// The token of the latest attempt, while its worker may still receive a response.
    pub(super) current: Option<LeaseToken>,
    pub(super) lease_end: Timestamp,
    /// The range of times from which it may be started; a random delay is in between when the ends differ.
    pub(super) start: (Timestamp, Timestamp),
    pub(super) scheduled: Option<Timestamp>,
    /// The same, also after the clock was set back.
    pub(super) process_after: Option<Timestamp>,
    /// Its last change, by the latest clock that it has seen.
    pub(super) updated: Timestamp,
    /// Not pushed again before.
    pub(super) guarded: Timestamp,
    pub(super) timeline: Vec<Status>,
}

/// What the model expects of a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Becomes(Status),
    Same,
    Refused,
    /// Started or refused: it depends on a random wait, or on one that only dispatch knows.
    StartsOrNot,
}

impl Known {
    /// Returns the expected result, at some time from `now.0` to `now.1`.
    pub(super) fn expect(&self, command: &Command, now: (Timestamp, Timestamp), paused: bool) -> Expected {
        let runs = |lease: &LeaseToken| self.status == Status::Processing && self.current == Some(*lease);
        match command {
            Command::Start { lease, .. } => match self.status {
                Status::Pending => {
                    let early =
                        |at: Timestamp| self.scheduled.map_or(at - TOLERANCE, |set| set.max(at - TOLERANCE));
                    let from_the_future = self.is_from_the_future(now.1);
                    if self.current == Some(*lease) || paused {
                        Expected::Refused
                    } else if now.1 < early(self.start.0) {
                        if from_the_future { Expected::StartsOrNot } else { Expected::Refused }
                    } else if now.0 >= early(self.start.1) {
                        Expected::Becomes(Status::Processing)
                    } else {
                        Expected::StartsOrNot
                    }
                }
                Status::Processing if self.current == Some(*lease) => Expected::Same,
                _ => Expected::Refused,
            },
            Command::Heartbeat { lease } | Command::Checkpoint { lease, .. } if runs(lease) => Expected::Same,
            Command::Heartbeat { .. } | Command::Checkpoint { .. } => Expected::Refused,
            Command::Finish { lease, outcome } => {
                if !runs(lease) {
                    let same = self.current == Some(*lease) && self.was_reported(outcome);
                    return if same { Expected::Same } else { Expected::Refused };
                }
                Expected::Becomes(match outcome {
                    Outcome::Completed | Outcome::CompletedWith(_) => Status::Completed,
                    Outcome::Failed { .. } => Status::Failed,
                    Outcome::Released => Status::Pending,
                    Outcome::Retry { after, .. }
                        if self.counts(*after) && self.failures + 1 >= self.max_attempts =>
                    {
                        Status::Failed
                    }
                    Outcome::Retry { .. } => Status::Pending,
                })
            }
            Command::Cancel { .. } => match self.status {
                Status::Pending | Status::Processing => Expected::Becomes(Status::Cancelled),
                Status::Cancelled => Expected::Same,
                Status::Completed | Status::Failed => Expected::Refused,
            },
            Command::Redrive { .. } if self.status == Status::Failed => Expected::Becomes(Status::Pending),
            Command::Redrive { .. } => Expected::Refused,
            Command::Undeliver { lease } if runs(lease) => {
                let is_last = self.was_often_undelivered() && self.failures + 1 >= self.max_attempts;
                Expected::Becomes(if is_last { Status::Failed } else { Status::Pending })
            }
            Command::Undeliver { .. } => Expected::Refused,
            Command::Expire => unreachable!("leases are taken back by the sweep"),
        }
    }

    /// Returns whether its times are those of a clock that was set back since: dispatch waits for them, a Start does not.
    fn is_from_the_future(&self, now: Timestamp) -> bool {
        self.updated > now + CLOCK_STEP && (self.scheduled.is_none() || self.attempt > 0)
    }

    /// Returns whether the latest attempt may have ended like this.
    fn was_reported(&self, outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Completed | Outcome::CompletedWith(_) => self.status == Status::Completed,
            Outcome::Failed { .. } => self.status == Status::Failed,
            Outcome::Released => self.status == Status::Pending,
            Outcome::Retry { .. } => {
                let last = self.status == Status::Failed && self.failures >= self.max_attempts;
                self.status == Status::Pending || last
            }
        }
    }

    /// Applies the result.
    pub(super) fn carry_out(
        &mut self,
        command: &Command,
        got: &Expected,
        now: (Timestamp, Timestamp),
        paused: bool,
    ) {
        match (command, got) {
            (Command::Start { lease, .. }, Expected::Becomes(_)) => {
                self.attempt += 1;
                self.current = Some(*lease);
                self.lease_end = now.0 + LEASE;
                self.becomes(Status::Processing);
            }
            // Its job is used up: it is pushed again when the queue is resumed.
            (Command::Start { .. }, Expected::Refused) if paused && self.status == Status::Pending => {
                // But for the pause it could have started, so it is due at once.
                if self.is_from_the_future(now.1) || now.1 + TOLERANCE >= self.start.0 {
                    self.start.0 = self.start.0.min(now.0);
                }
                self.guarded = self.start.0.min(self.guarded);
            }
            (Command::Heartbeat { .. }, Expected::Same) => self.lease_end = now.0 + LEASE,
            (Command::Finish { outcome, .. }, Expected::Becomes(status)) => match outcome {
                Outcome::Retry { after, .. } => self.fail(*after, now),
                Outcome::Released => self.waits(now),
                Outcome::Failed { .. } => {
                    self.failures += 1;
                    self.becomes(*status);
                }
                Outcome::Completed | Outcome::CompletedWith(_) => self.becomes(*status),
            },
            (Command::Undeliver { .. }, Expected::Becomes(_)) if self.was_often_undelivered() => {
                self.current = None;
                self.fail(None, now);
            }
            (Command::Undeliver { .. }, Expected::Becomes(_)) => {
                if self.process_after.is_none_or(|at| at <= now.1) {
                    self.attempt -= 1;
                }
                self.current = None;
                self.waits(now);
            }
            (Command::Cancel { .. }, Expected::Becomes(status)) => {
                self.current = None;
                self.becomes(*status);
            }
            (Command::Redrive { not_before, .. }, Expected::Becomes(_)) => {
                self.current = None;
                self.failures = 0;
                let at = |now: Timestamp| not_before.map_or(now, |at| at.max(now));
                self.waits((at(now.0), at(now.1)));
            }
            _ => {}
        }
    }

    /// Returns whether a further attempt that reaches no worker counts.
    fn was_often_undelivered(&self) -> bool {
        (self.timeline.len() as u32 / 2).saturating_sub(self.attempt) >= MAX_UNDELIVERED
    }

    /// Returns whether such a retry is a failure, and not a delay that the called service requested.
    fn counts(&self, after: Option<Duration>) -> bool {
        after.is_none_or(|after| after.is_zero()) || self.attempt - self.failures > MAX_POSTPONEMENTS
    }

    /// Applies a failed attempt: a further one, or a dead letter.
    pub(super) fn fail(&mut self, after: Option<Duration>, now: (Timestamp, Timestamp)) {
        if !self.counts(after) {
            let after = after.unwrap_or_default();
            let longest = RETRY.max_delay(self.attempt - self.failures).max(after);
            return self.waits((now.0 + after, now.1 + longest));
        }
        self.failures += 1;
        if self.failures >= self.max_attempts {
            return self.becomes(Status::Failed);
        }
        match after {
            Some(after) => self.waits((now.0 + after, now.1 + after)),
            None => {
                let longest = RETRY.base * 2_u32.pow(self.failures - 1);
                self.waits((now.0, now.1 + longest.min(RETRY.cap)));
            }
        }
    }

    fn waits(&mut self, start: (Timestamp, Timestamp)) {
        self.start = start;
        self.guarded = start.0;
        self.becomes(Status::Pending);
    }

    fn becomes(&mut self, status: Status) {
        self.status = status;
        self.timeline.push(status);
    }
}
