//! One stream: its worker, its jobs and what is recorded for them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::{Kinds, LeaseToken, OrderId, Principal, WorkerName};
use proto::v1::claim_response::Message as Response;
use proto::{MAX_BATCH, v1};
use telemetry::panics;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tonic::Status;

use super::control::{Control, response};
use super::refusals::{refusal, refused};
use super::running::{AttemptOf, DueProgress, Running};
use crate::state::State;
use gateway_service::claims::{AssignedJob, Claimer};
use gateway_service::workers::{WorkerHello, WorkerSession};

/// Interval in which the progress of a job is published once.
pub(super) const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// One stream.
pub(super) struct Session {
    pub(super) state: State,
    pub(super) principal: Arc<Principal>,
    pub(super) sender: mpsc::Sender<Control>,
    running: Mutex<Running>,
    /// Whether a renewal of the leases is in progress.
    is_renewing: AtomicBool,
    /// The worker in the list of workers, if it has stated a name.
    worker: Mutex<Option<Arc<WorkerSession>>>,
}

/// The jobs of a stream while further ones are added.
pub(super) struct Starting<'s> {
    session: &'s Session,
    running: MutexGuard<'s, Running>,
}

impl Starting<'_> {
    /// Adds a job, which runs on this stream from now on.
    pub(super) fn add(&mut self, job: &AssignedJob, number: u64) {
        self.running.add(job, number);
    }
}

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        self.session.count_running(&self.running);
    }
}

impl Session {
    pub(super) fn new(state: State, principal: Arc<Principal>, sender: mpsc::Sender<Control>) -> Self {
        let (running, worker) = (Mutex::default(), Mutex::default());
        Self { state, principal, sender, running, is_renewing: AtomicBool::new(false), worker }
    }

    /// Returns whether no job runs on this stream.
    pub(super) fn is_idle(&self) -> bool {
        self.running().len() == 0
    }

    /// Begins to add jobs. `None` if no further ones are sent.
    pub(super) fn starting(&self) -> Option<Starting<'_>> {
        let running = self.running();
        (!running.is_draining).then_some(Starting { session: self, running })
    }

    /// Records that the worker has received the Jobs up to this number.
    pub(super) fn confirm_messages(&self, received: u64) {
        self.running().confirm_messages(received);
    }

    /// Records that the worker has received these jobs.
    pub(super) fn confirm<'l>(&self, leases: impl Iterator<Item = &'l v1::Lease>) {
        self.running().confirm(leases);
    }

    /// Sends no further jobs. Those that are assigned from now on return to the queue.
    pub(super) fn set_draining(&self) {
        self.running().is_draining = true;
        self.worker().iter().for_each(|worker| worker.set_draining());
    }

    /// Begins the shutdown of the worker, which ignores jobs that it has not confirmed.
    pub(super) fn drain_worker(&self) {
        self.set_draining();
        let unconfirmed = self.running().take_unconfirmed();
        if !unconfirmed.is_empty() {
            self.spawn_undeliver(unconfirmed);
        }
    }

    /// Completes when the worker has gone.
    pub(super) async fn closed(&self) {
        self.sender.closed().await;
    }

    /// Ends the stream, after the messages before.
    pub(super) async fn end(&self, status: Option<Status>) {
        let _ = self.sender.send(status.map(Err)).await;
    }

    pub(super) fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn worker(&self) -> Option<Arc<WorkerSession>> {
        self.worker.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reports the number of running attempts.
    fn count_running(&self, running: &Running) {
        if let Some(worker) = self.worker() {
            worker.set_in_flight(running.len());
        }
    }

    pub(super) async fn send(&self, message: Response) {
        let _ = self.sender.send(Some(Ok(response(message)))).await;
    }

    /// Sends a message if the queue has space.
    pub(super) fn try_send(&self, message: Response) {
        let _ = self.sender.try_send(Some(Ok(response(message))));
    }

    /// Lists the worker under the name that it states, and resumes its jobs of an earlier stream.
    pub(super) async fn greet(
        &self,
        hello: v1::ClaimHello,
        kinds: Kinds,
        claimer: Option<&Claimer>,
        interval: Duration,
    ) {
        tracing::debug!(worker_id = %hello.worker_id, "worker connected");
        let name = WorkerName::clean(&hello.worker_id);
        if let Some(name) = name.clone() {
            let (version, host, slots) = (hello.version, hello.host, hello.slots);
            let stated = WorkerHello { version, host, slots, kinds: kinds.words() };
            let worker = self.state.workers.connected(&self.principal, name, stated).map(Arc::new);
            *self.worker.lock().unwrap_or_else(PoisonError::into_inner) = worker;
        }
        if let Some(claimer) = claimer {
            claimer.set_worker(name, kinds);
        }
        let mut lost = Vec::new();
        let mut leases = Vec::with_capacity(hello.running.len());
        for lease in hello.running {
            match lease.parse() {
                Ok(lease) => leases.push(lease),
                Err(problem) => lost.push(refused(Some(lease), problem.code(), None)),
            }
        }
        {
            let mut running = self.running();
            leases.iter().for_each(|(id, token)| running.resume(*id, *token));
            self.count_running(&running);
        }
        let resumed: Vec<OrderId> = leases.iter().map(|(id, _)| *id).collect();
        lost.extend(self.heartbeat(leases).await);
        self.identify(&resumed).await;
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let lease_ms = millis(self.state.orders.config().rules.lease);
        let welcome = v1::ClaimWelcome { lease_ms, heartbeat_interval_ms: millis(interval).max(1), lost };
        self.send(Response::Welcome(welcome)).await;
    }

    /// Reads the attempts of resumed jobs, for their progress.
    async fn identify(&self, resumed: &[OrderId]) {
        if resumed.is_empty() {
            return;
        }
        match self.state.orders.attempts(&self.principal, resumed).await {
            Ok(attempts) => {
                let mut running = self.running();
                for (id, tenant, number) in attempts {
                    running.identify(id, AttemptOf { tenant, number });
                }
            }
            Err(error) => {
                tracing::debug!(%error, "failed to read resumed orders, their progress is not shown")
            }
        }
    }

    /// Renews the leases of all jobs in a separate task, unless an earlier renewal is in progress.
    pub(super) fn renew(self: &Arc<Self>) {
        let leases = self.running().leases();
        if leases.is_empty() || self.is_renewing.swap(true, Ordering::AcqRel) {
            return;
        }
        let session = self.clone();
        self.state.context.tasks.spawn(async move {
            let lost = panics::catch_async("grpc", session.heartbeat(leases)).await.unwrap_or_default();
            session.is_renewing.store(false, Ordering::Release);
            let leases: Vec<_> = lost.into_iter().filter_map(|refused| refused.lease).collect();
            if !leases.is_empty() {
                session.send(Response::Cancel(v1::Cancel { leases })).await;
            }
        });
    }

    /// Renews leases, and returns the lost ones. A lease that cannot be decided now is neither.
    async fn heartbeat(&self, leases: Vec<(OrderId, LeaseToken)>) -> Vec<v1::Refused> {
        let mut lost = Vec::new();
        for part in leases.chunks(MAX_BATCH) {
            let Ok(results) = self.state.orders.heartbeat(&self.principal, part).await else { continue };
            for ((id, token), result) in part.iter().zip(results) {
                if let Some(refusal) = result.err().and_then(|error| refusal(*id, *token, &error)) {
                    self.forget(*id, *token);
                    lost.push(refusal);
                }
            }
        }
        lost
    }

    pub(super) fn forget(&self, id: OrderId, token: LeaseToken) -> Option<Duration> {
        let mut running = self.running();
        let ended = running.forget(id, token);
        self.count_running(&running);
        ended
    }

    /// Keeps the progress of a job, and publishes it if none was published a moment before. Returns whether it waits.
    pub(super) fn report_progress(&self, progress: v1::Progress) -> bool {
        self.running().set_progress(progress);
        self.publish_progress()
    }

    /// Publishes progress that waits and is due. Returns whether more waits.
    pub(super) fn publish_progress(&self) -> bool {
        let (due, waits) = self.running().due_progress(PROGRESS_INTERVAL);
        for DueProgress { order_id, attempt: AttemptOf { tenant, number }, progress } in due {
            let v1::Progress { percent, note, .. } = progress;
            let percent = percent.map(|percent| u8::try_from(percent).unwrap_or(u8::MAX));
            self.state.progress.report(order_id, tenant, number, percent, Some(note));
        }
        waits
    }

    /// Tells the worker to stop cancelled orders of this stream.
    pub(super) async fn cancel_orders(
        &self,
        received: Result<OrderId, RecvError>,
        more: &mut broadcast::Receiver<OrderId>,
    ) {
        let mut leases = Vec::new();
        let mut next = received.ok();
        while let Some(id) = next {
            leases.extend(self.running().cancel(id));
            next = if leases.len() < MAX_BATCH { more.try_recv().ok() } else { None };
        }
        if !leases.is_empty() {
            self.send(Response::Cancel(v1::Cancel { leases })).await;
        }
    }

    /// Ends the attempts of jobs that the worker has not confirmed.
    pub(super) async fn close(&self) {
        let unconfirmed = {
            let mut running = self.running();
            running.is_closed = true;
            running.take_unconfirmed()
        };
        self.state.orders.undeliver(unconfirmed).await;
    }

    /// Ends the attempts of jobs that were not sent.
    pub(super) fn spawn_undeliver(&self, leases: Vec<(OrderId, LeaseToken)>) {
        let orders = self.state.orders.clone();
        self.state.context.tasks.spawn(async move { orders.undeliver(leases).await });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_documented() {
        let interval = format!("{} s", PROGRESS_INTERVAL.as_secs());
        limits_page::row("progress of an order: interval", &interval);
        let length = format!("{} characters", domain::MAX_PROGRESS_NOTE);
        limits_page::row("note of a progress", &length);
    }
}
