//! Takes jobs from the queue for the workers that wait for jobs of this gateway.
//!
//! Each kind of orders has its own queue, and each list of a queue its own task. The queue is shared with other gateways and with workers that use it
//! directly. Each takes as many jobs as it has free slots, so the queue divides the orders fairly among them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use broker::{Job, Queue, QueueEnd};
use domain::{Backoff, Kind, LeaseToken, OrderId, RetryPolicy};
use telemetry::LogThrottle;
use telemetry::panics::restart_on_panic;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::claims::{AssignedJob, Claims, Origin, Slots};
use crate::error::Error;
use crate::lanes::Lanes;
use crate::orders::{Orders, StartOutcome};
use gateway_store::Store;

/// Maximum wait of one pull for a first job.
const PULL_WAIT: Duration = Duration::from_secs(2);
/// Interval of looking for further kinds of orders.
const KINDS_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum number of jobs of one pull.
const MAX_PULL: usize = 1_000;
/// Maximum number of concurrent transactions that start jobs of the queue.
const MAX_STARTS: usize = 4;
/// Delays after a failed pull.
const RETRY_DELAYS: RetryPolicy =
    RetryPolicy { base: Duration::from_millis(100), cap: Duration::from_secs(2) };
/// Pause after jobs that no worker of this gateway may process went back to the queue.
const RETURNED_PAUSE: Duration = Duration::from_millis(100);

/// A list of the queue of a kind, which has `count` lists.
#[derive(Clone)]
struct QueuePart {
    kind: Kind,
    list: Arc<dyn Queue>,
    count: usize,
}

/// The task that takes jobs. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ClaimQueue {
    pub(crate) claims: Claims,
    pub(crate) lanes: Lanes,
    pub(crate) orders: Orders,
    pub(crate) store: Store,
}

impl ClaimQueue {
    /// Runs until `stop`. Jobs that are not assigned by then become due again.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let starts = Arc::new(Semaphore::new(MAX_STARTS));
        let tasks = TaskTracker::new();
        let mut pulling = BTreeSet::new();
        while !stop.is_cancelled() {
            let credited = self.claims.credited();
            metrics::gauge!("orders_worker_credits").set(self.claims.unused() as f64);
            // Kinds that only workers name are not known: their number has no limit.
            for (kind, lane) in self.lanes.all() {
                if self.claims.credits(&kind) == 0 || !pulling.insert(kind.clone()) {
                    continue;
                }
                let lists = lane.queue.lists().map_or_else(|| vec![lane.queue.clone()], <[_]>::to_vec);
                let count = lists.len();
                for list in lists {
                    let (this, starts, stop) = (self.clone(), starts.clone(), stop.clone());
                    let part = QueuePart { kind: kind.clone(), list, count };
                    let pull = restart_on_panic("claim_queue", move || {
                        this.clone().pull(part.clone(), starts.clone(), stop.clone())
                    });
                    tasks.spawn(pull);
                }
            }
            tokio::select! {
                () = credited => {}
                // The first order of a kind may have arrived.
                () = tokio::time::sleep(KINDS_INTERVAL) => {}
                () = stop.cancelled() => {}
            }
        }
        tasks.close();
        tasks.wait().await;
    }

    /// Takes the jobs of one list, from the first worker for its kind until `stop`.
    async fn pull(self, part: QueuePart, starts: Arc<Semaphore>, stop: CancellationToken) {
        let QueuePart { kind, list: queue, count } = part;
        let tasks = TaskTracker::new();
        let mut backoff = Backoff::new(RETRY_DELAYS);
        let log = LogThrottle::default();
        loop {
            let credited = self.claims.credited();
            let credits = self.claims.credits(&kind);
            if credits == 0 {
                tokio::select! {
                    () = credited => continue,
                    () = stop.cancelled() => break,
                }
            }
            let pulled = tokio::select! {
                pulled = queue.pull(credits.div_ceil(count).min(MAX_PULL), PULL_WAIT) => pulled,
                () = stop.cancelled() => break,
            };
            match pulled {
                Ok(jobs) => {
                    backoff.reset();
                    self.assign(&kind, &queue, jobs, &starts, &tasks, &stop).await;
                }
                Err(error) => {
                    if log.allow().is_some() {
                        tracing::warn!(%error, "queue unreachable, retrying");
                    }
                    tokio::select! {
                        () = tokio::time::sleep(backoff.next_delay()) => {}
                        () = stop.cancelled() => break,
                    }
                }
            }
        }
        tasks.close();
        tasks.wait().await;
    }

    /// Assigns the jobs to workers. Waits for credits if new orders have used up those of the pull.
    async fn assign(
        &self,
        kind: &Kind,
        queue: &Arc<dyn Queue>,
        mut jobs: Vec<Job>,
        starts: &Arc<Semaphore>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) {
        while !jobs.is_empty() {
            let credited = self.claims.credited();
            let reserved = self.claims.reserve(None, kind, jobs.len());
            if reserved.is_empty() {
                tokio::select! {
                    () = credited => continue,
                    () = stop.cancelled() => {
                        let ids = jobs.iter().map(|job| job.order_id).collect();
                        if let Err(error) = self.store.release_unstarted(ids).await {
                            tracing::debug!(%error, "failed to release jobs, they wait for the visibility timeout");
                        }
                        return;
                    }
                }
            }
            for slots in reserved {
                let rest = jobs.split_off(slots.len().min(jobs.len()));
                let part = std::mem::replace(&mut jobs, rest);
                let Ok(permit) = starts.clone().acquire_owned().await else { return };
                let (this, queue, stop) = (self.clone(), queue.clone(), stop.clone());
                tasks.spawn(async move {
                    let undelivered = this.start(slots, &*queue, part, &stop).await;
                    drop(permit);
                    this.orders.undeliver(undelivered).await;
                });
            }
        }
    }

    /// Starts the orders of jobs, and sends those that were started to the worker. Returns the attempts that may have begun
    /// without reaching it.
    async fn start(
        &self,
        slots: Slots,
        queue: &dyn Queue,
        mut jobs: Vec<Job>,
        stop: &CancellationToken,
    ) -> Vec<(OrderId, LeaseToken)> {
        // Those of a shard that does not respond must not keep slots from the others. They wait for their visibility timeout.
        let left = jobs.extract_if(.., |job| self.store.is_in_unhealthy_shard(job.order_id)).count();
        if left > 0 {
            tracing::debug!(
                jobs = left,
                "jobs of a shard that does not respond wait for the visibility timeout"
            );
        }
        if !slots.principal.all_tenants {
            jobs = self.visible(&slots, queue, jobs).await;
        }
        if jobs.is_empty() {
            return Vec::new();
        }
        let leases = jobs.iter().map(|job| (job.order_id, slots.lease)).collect();
        let (mut started, undecided) = self.start_decided(&slots, leases, stop).await;
        let without_checkpoint = self.add_checkpoints(&mut started).await;
        let mut undelivered = slots.send(started, Origin::Queue).err().unwrap_or_default();
        undelivered.extend(without_checkpoint);
        undelivered.extend(undecided);
        undelivered
    }

    /// Starts attempts, and repeats starts that the database does not decide: they may have been written. Returns the
    /// started ones, and the undecided ones if the worker has left, the gateway stops, or only one shard does not respond.
    async fn start_decided(
        &self,
        slots: &Slots,
        mut leases: Vec<(OrderId, LeaseToken)>,
        stop: &CancellationToken,
    ) -> (Vec<AssignedJob>, Vec<(OrderId, LeaseToken)>) {
        let mut jobs = Vec::with_capacity(leases.len());
        let mut backoff = Backoff::new(RETRY_DELAYS);
        loop {
            let started = match self.orders.start_assigned(slots.worker.as_ref(), &leases).await {
                Ok(started) => started,
                Err(Error::Unavailable { .. }) => {
                    leases.iter().map(|_| Err(Error::database_unavailable())).collect()
                }
                Err(error) => {
                    tracing::warn!(%error, "failed to start jobs, they wait for the visibility timeout");
                    return (jobs, leases);
                }
            };
            let mut undecided = Vec::new();
            for ((id, lease), started) in leases.into_iter().zip(started) {
                match started {
                    Ok(StartOutcome::Order { order, trace }) => {
                        jobs.push(AssignedJob { order, lease, trace, checkpoint: None });
                    }
                    Err(Error::Unavailable { .. }) => undecided.push((id, lease)),
                    // Another worker has the order, or it cannot be processed now.
                    Ok(StartOutcome::TooLarge(_)) | Err(_) => {}
                }
            }
            let is_pointless = slots.is_closed()
                || stop.is_cancelled()
                || undecided.iter().any(|(id, _)| self.store.is_in_unhealthy_shard(*id));
            // Started ones do not wait for the others.
            if undecided.is_empty() || !jobs.is_empty() || is_pointless {
                return (jobs, undecided);
            }
            leases = undecided;
            tokio::select! {
                () = tokio::time::sleep(backoff.next_delay()) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Adds the checkpoints of earlier attempts. Removes jobs whose checkpoints cannot be read, and returns their leases.
    async fn add_checkpoints(&self, jobs: &mut Vec<AssignedJob>) -> Vec<(OrderId, LeaseToken)> {
        let is_repeated = |job: &&mut AssignedJob| job.order.attempt > 1;
        let ids: Vec<OrderId> = jobs.iter_mut().filter(is_repeated).map(|job| job.order.id).collect();
        match self.store.outputs(&ids).await {
            Ok(mut outputs) => {
                for job in jobs.iter_mut().filter(is_repeated) {
                    job.checkpoint = outputs.remove(&job.order.id).and_then(|outputs| outputs.checkpoint);
                }
                Vec::new()
            }
            Err(error) => {
                tracing::debug!(%error, "failed to read checkpoints, the jobs return to the queue");
                let unread = jobs.extract_if(.., |job| job.order.attempt > 1);
                unread.map(|job| (job.order.id, job.lease)).collect()
            }
        }
    }

    /// Returns the jobs that the worker may process, and returns the others to the queue.
    async fn visible(&self, slots: &Slots, queue: &dyn Queue, jobs: Vec<Job>) -> Vec<Job> {
        let ids: Vec<OrderId> = jobs.iter().map(|job| job.order_id).collect();
        let visible = match self.store.visible(&slots.principal, &ids).await {
            Ok(visible) => visible,
            Err(error) => {
                tracing::debug!(%error, "failed to read the tenants of jobs");
                Default::default()
            }
        };
        let (jobs, others): (Vec<_>, Vec<_>) =
            jobs.into_iter().partition(|job| visible.contains(&job.order_id));
        if !others.is_empty() {
            if let Err(error) = queue.push(&others, QueueEnd::Back).await {
                tracing::debug!(%error, "failed to return jobs, they wait for the visibility timeout");
            }
            tokio::time::sleep(RETURNED_PAUSE).await;
        }
        jobs
    }
}
