//! The results and checkpoints of a stream, whose writes are repeated until the database decides them.

use std::sync::Arc;
use std::time::Duration;

use domain::{Backoff, JsonText, LeaseToken, OrderId, Outcome, RetryPolicy};
use proto::v1;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusals::{refusal, refused};
use super::session::Session;
use gateway_service::Error;
use gateway_service::workers::OutcomeKind;

/// Delays between tries to record results and checkpoints.
const RETRY_DELAYS: RetryPolicy =
    RetryPolicy { base: Duration::from_millis(100), cap: Duration::from_secs(2) };

/// Maximum number of reports of a stream that wait for a shard of the database, besides the messages that are being recorded.
pub(super) const MAX_WAITING_REPORTS: usize = 1_000;

/// The right to record a message.
pub(super) struct RecordPermit {
    permit: OwnedSemaphorePermit,
    waiting: Arc<Semaphore>,
    is_waiting: bool,
}

impl RecordPermit {
    /// `waiting` has a permit for each of [`MAX_WAITING_REPORTS`].
    pub(super) fn new(permit: OwnedSemaphorePermit, waiting: &Arc<Semaphore>) -> Self {
        Self { permit, waiting: waiting.clone(), is_waiting: false }
    }

    /// Lets another message be recorded meanwhile, unless too many reports wait. Otherwise the messages with reports of a lost
    /// shard would stop those of the others.
    fn wait_for_shard(&mut self, reports: usize) {
        let count = u32::try_from(reports).unwrap_or(u32::MAX);
        if !self.is_waiting
            && let Ok(permit) = self.waiting.clone().try_acquire_many_owned(count)
        {
            (self.permit, self.is_waiting) = (permit, true);
        }
    }
}

impl Session {
    /// Records results, and returns the refused ones. `None` if the stream has ended before all are decided.
    pub(super) async fn record(
        &self,
        reports: Vec<v1::Report>,
        permit: &mut RecordPermit,
    ) -> Option<Vec<v1::Refused>> {
        let mut refusals = Vec::new();
        let mut undecided = Vec::with_capacity(reports.len());
        for report in reports {
            let lease = report.lease.clone();
            match report.parse() {
                Ok(report) => undecided.push(report),
                Err(problem) => {
                    tracing::warn!(%problem, "worker sent an invalid message");
                    if let Some((id, token)) = lease.as_ref().and_then(|lease| lease.parse().ok()) {
                        self.forget(id, token);
                    }
                    refusals.push(refused(lease, problem.code(), None));
                }
            }
        }
        let mut backoff = Backoff::new(RETRY_DELAYS);
        loop {
            undecided = self.record_once(undecided, &mut refusals).await;
            if undecided.is_empty() {
                return Some(refusals);
            }
            if undecided.iter().all(|(id, ..)| self.state.orders.is_in_unhealthy_shard(*id)) {
                permit.wait_for_shard(undecided.len());
            }
            if !self.wait(backoff.next_delay()).await {
                return None;
            }
        }
    }

    /// Records results once, and returns those that could not be decided.
    async fn record_once(
        &self,
        reports: Vec<(OrderId, LeaseToken, Outcome)>,
        refusals: &mut Vec<v1::Refused>,
    ) -> Vec<(OrderId, LeaseToken, Outcome)> {
        let results = match self.state.orders.finish(&self.principal, reports.clone()).await {
            Ok(results) => results,
            Err(Error::Unavailable { .. }) => return reports,
            // A repetition would fail in the same way.
            Err(error) => vec![Err(error); reports.len()],
        };
        let worker = self.worker();
        let mut undecided = Vec::new();
        for ((id, token, outcome), result) in reports.into_iter().zip(results) {
            match result {
                Ok(()) => {
                    let duration = self.forget(id, token);
                    if let Some(worker) = &worker {
                        worker.record(OutcomeKind::of(&outcome), duration);
                    }
                }
                Err(error) => match refusal(id, token, &error) {
                    Some(refusal) => {
                        self.forget(id, token);
                        refusals.push(refusal);
                    }
                    None => undecided.push((id, token, outcome)),
                },
            }
        }
        undecided
    }

    /// Stores a checkpoint. Returns the refusal, if it is refused; `None` if the stream has ended before it is decided.
    pub(super) async fn record_checkpoint(
        &self,
        lease: Option<v1::Lease>,
        json: &str,
        permit: &mut RecordPermit,
    ) -> Option<Option<v1::Refused>> {
        let parsed = v1::Lease::parse(&lease.clone().unwrap_or_default());
        let parsed = parsed.and_then(|lease| Ok((lease, proto::parse_json("json", json)?)));
        let ((id, token), checkpoint): (_, JsonText) = match parsed {
            Ok(parsed) => parsed,
            Err(problem) => {
                tracing::warn!(%problem, "worker sent an invalid checkpoint");
                return Some(Some(refused(lease, problem.code(), None)));
            }
        };
        let mut backoff = Backoff::new(RETRY_DELAYS);
        loop {
            let stored = self.state.orders.checkpoint(&self.principal, id, token, checkpoint.clone()).await;
            match stored {
                Ok(()) => return Some(None),
                Err(error) => {
                    if let Some(refusal) = refusal(id, token, &error) {
                        self.forget(id, token);
                        return Some(Some(refusal));
                    }
                }
            }
            if self.state.orders.is_in_unhealthy_shard(id) {
                permit.wait_for_shard(1);
            }
            if !self.wait(backoff.next_delay()).await {
                return None;
            }
        }
    }

    /// Waits before a repetition. Returns false if the stream has ended.
    async fn wait(&self, delay: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(delay) => !self.running().is_closed,
            () = self.sender.closed() => false,
        }
    }
}
