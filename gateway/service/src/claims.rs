//! Workers that wait for jobs of this gateway, and the assignment of jobs to them.
//!
//! A worker grants credits over its stream. The gateway uses a credit for each job, for a new order that is started in the
//! transaction of its creation ([`Claims::reserve`] by the create batch) or for a job from the queue (`claim_queue`). Jobs go
//! to the worker with the most credits, and among equals to the one that has waited longest.
//!
//! Credits are reserved before a transaction and return when it starts no order. A worker that has disconnected in between
//! gets no job, and the caller ends the attempt, which does not count.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{
    JsonText, Kind, Kinds, LeasePrefix, LeaseToken, Order, OrderId, Principal, TenantId, TraceContext,
    WorkerName,
};
use tokio::sync::{Notify, mpsc};

/// Maximum number of unused credits of a stream.
pub const MAX_CREDITS: u32 = 1_000;

/// A started attempt, for the worker that runs it.
#[derive(Debug)]
pub struct AssignedJob {
    /// The order.
    pub order: Box<Order>,
    /// The lease of the attempt.
    pub lease: LeaseToken,
    /// The span of its start, if its trace is recorded.
    pub trace: Option<TraceContext>,
    /// The state from which the attempt continues.
    pub checkpoint: Option<JsonText>,
}

/// Where the job of a worker was started.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Origin {
    /// In the transaction of its creation.
    Creation,
    /// From the queue.
    Queue,
}

impl Origin {
    fn as_str(self) -> &'static str {
        match self {
            Self::Creation => "creation",
            Self::Queue => "queue",
        }
    }
}

/// The workers that wait for jobs of this gateway. Cheap to clone.
#[derive(Clone, Default)]
pub struct Claims(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Credits were added.
    credited: Notify,
    lease_prefix: Option<LeasePrefix>,
}

#[derive(Default)]
struct Waiting {
    claimers: Vec<Entry>,
    /// The number of registrations, from which ids follow.
    registered: u64,
    /// The number of assignments.
    assigned: u64,
}

struct Entry {
    id: u64,
    principal: Arc<Principal>,
    kinds: Kinds,
    worker: Option<WorkerName>,
    credits: u32,
    /// The number of the last assignment.
    assigned: u64,
    jobs: mpsc::UnboundedSender<Vec<AssignedJob>>,
}

/// A worker that waits for jobs. Dropping it removes the worker.
pub struct Claimer {
    claims: Claims,
    id: u64,
}

/// Reserved credits of one worker. Unused ones return when they are dropped.
pub(crate) struct Slots {
    claims: Claims,
    id: u64,
    jobs: mpsc::UnboundedSender<Vec<AssignedJob>>,
    credits: usize,
    /// The caller whose orders the worker may process.
    pub(crate) principal: Arc<Principal>,
    pub(crate) worker: Option<WorkerName>,
    /// One token for all orders, which therefore share an UPDATE at their end. An order and a token together identify a
    /// lease.
    pub(crate) lease: LeaseToken,
}

impl Claims {
    /// Creates an empty list. Lease tokens have this prefix.
    pub(crate) fn new(lease_prefix: Option<LeasePrefix>) -> Self {
        Self(Arc::new(Shared { lease_prefix, ..Shared::default() }))
    }

    /// Registers a worker without credits. The number of messages in the channel is limited by the credits.
    pub fn register(
        &self,
        principal: Arc<Principal>,
    ) -> (Claimer, mpsc::UnboundedReceiver<Vec<AssignedJob>>) {
        let (jobs, receiver) = mpsc::unbounded_channel();
        let mut waiting = self.lock();
        waiting.registered += 1;
        let (id, assigned) = (waiting.registered, waiting.assigned);
        let kinds = Kinds::default();
        waiting.claimers.push(Entry { id, principal, kinds, worker: None, credits: 0, assigned, jobs });
        (Claimer { claims: self.clone(), id }, receiver)
    }

    /// Returns the names of the workers.
    pub(crate) fn workers(&self) -> BTreeSet<WorkerName> {
        self.lock().claimers.iter().filter_map(|entry| entry.worker.clone()).collect()
    }

    /// Returns the number of unused credits for orders of a kind.
    pub(crate) fn credits(&self, kind: &Kind) -> usize {
        let waiting = self.lock();
        let able = waiting.claimers.iter().filter(|entry| entry.kinds.contains(kind));
        able.map(|entry| entry.credits as usize).sum()
    }

    /// Returns the number of unused credits.
    pub(crate) fn unused(&self) -> usize {
        self.lock().claimers.iter().map(|entry| entry.credits as usize).sum()
    }

    /// Completes when credits were added since the future was created.
    pub(crate) fn credited(&self) -> tokio::sync::futures::Notified<'_> {
        self.0.credited.notified()
    }

    /// Reserves up to this number of credits, of workers that process orders of the kind and may process those of the
    /// tenant; `None` is any tenant.
    pub(crate) fn reserve(&self, tenant: Option<&TenantId>, kind: &Kind, mut wanted: usize) -> Vec<Slots> {
        let mut reserved = Vec::new();
        let mut waiting = self.lock();
        while wanted > 0 {
            waiting.assigned += 1;
            let assigned = waiting.assigned;
            let able = waiting.claimers.iter_mut().filter(|entry| {
                entry.credits > 0
                    && entry.kinds.contains(kind)
                    && tenant.is_none_or(|tenant| entry.principal.covers(tenant))
            });
            let Some(entry) = able.max_by_key(|entry| (entry.credits, std::cmp::Reverse(entry.assigned)))
            else {
                break;
            };
            let credits = (entry.credits as usize).min(wanted);
            entry.credits -= u32::try_from(credits).unwrap_or(u32::MAX);
            entry.assigned = assigned;
            wanted -= credits;
            reserved.push(Slots {
                claims: self.clone(),
                id: entry.id,
                jobs: entry.jobs.clone(),
                credits,
                principal: entry.principal.clone(),
                worker: entry.worker.clone(),
                lease: self.0.lease_prefix.map_or_else(LeaseToken::random, LeasePrefix::random_token),
            });
        }
        reserved
    }

    fn add(&self, id: u64, credits: u32) {
        if credits == 0 {
            return;
        }
        let mut waiting = self.lock();
        if let Some(entry) = waiting.claimers.iter_mut().find(|entry| entry.id == id) {
            entry.credits = entry.credits.saturating_add(credits).min(MAX_CREDITS);
            drop(waiting);
            self.0.credited.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claimer {
    /// Sets the name of the worker, which the events of its attempts contain, and the kinds of orders that it processes.
    pub fn set_worker(&self, name: Option<WorkerName>, kinds: Kinds) {
        let mut waiting = self.claims.lock();
        if let Some(entry) = waiting.claimers.iter_mut().find(|entry| entry.id == self.id) {
            (entry.worker, entry.kinds) = (name, kinds);
        }
    }

    /// Adds credits, up to [`MAX_CREDITS`].
    pub fn grant(&self, credits: u32) {
        self.claims.add(self.id, credits);
    }
}

/// Jobs that were assigned before may still be in the channel.
impl Drop for Claimer {
    fn drop(&mut self) {
        self.claims.lock().claimers.retain(|entry| entry.id != self.id);
    }
}

impl Slots {
    /// Returns the number of reserved credits.
    pub(crate) fn len(&self) -> usize {
        self.credits
    }

    /// Returns whether the worker has disconnected.
    pub(crate) fn is_closed(&self) -> bool {
        self.jobs.is_closed()
    }

    /// Sends started attempts, each of which uses a credit.
    ///
    /// # Errors
    /// If the worker has disconnected. Returns the leases.
    pub(crate) fn send(
        mut self,
        jobs: Vec<AssignedJob>,
        origin: Origin,
    ) -> Result<(), Vec<(OrderId, LeaseToken)>> {
        let count = jobs.len();
        if count == 0 {
            return Ok(());
        }
        self.credits = self.credits.saturating_sub(count);
        let sent = self.jobs.send(jobs);
        sent.map_err(|unsent| unsent.0.iter().map(|job| (job.order.id, job.lease)).collect::<Vec<_>>())?;
        metrics::counter!("orders_assigned_jobs_total", "origin" => origin.as_str()).increment(count as u64);
        Ok(())
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        self.claims.add(self.id, u32::try_from(self.credits).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use limits_page::{count, row};

    fn any_client() -> Arc<Principal> {
        Arc::new(Principal::anonymous())
    }

    #[test]
    fn the_limits_are_documented() {
        row("unused credits of a worker's stream", &count(MAX_CREDITS as usize));
    }

    #[test]
    fn jobs_go_to_the_worker_with_the_most_credits() {
        let claims = Claims::default();
        let (first, _jobs) = claims.register(any_client());
        let (second, _jobs) = claims.register(any_client());
        first.set_worker(WorkerName::clean("first"), Kinds::default());
        second.set_worker(WorkerName::clean("second"), Kinds::default());
        assert!(claims.reserve(None, &Kind::default(), 1).is_empty());
        first.grant(2);
        second.grant(3);
        let names = |slots: &[Slots]| -> Vec<_> {
            slots.iter().map(|slots| (slots.worker.as_ref().unwrap().to_string(), slots.len())).collect()
        };
        let reserved = claims.reserve(None, &Kind::default(), 4);
        assert_eq!(names(&reserved), [("second".to_owned(), 3), ("first".to_owned(), 1)]);
        assert_eq!(claims.credits(&Kind::default()), 1);
        drop(reserved);
        assert_eq!(claims.credits(&Kind::default()), 5, "unused credits return");
        // Among equals, the one that has waited longest.
        first.grant(1);
        let turns: Vec<_> = (0..2).map(|_| claims.reserve(None, &Kind::default(), 1)).collect();
        assert_ne!(names(&turns[0])[0].0, names(&turns[1])[0].0);
        drop(second);
        drop(turns);
        assert_eq!(claims.credits(&Kind::default()), 3, "credits of a worker that has left do not return");
    }

    #[test]
    fn credits_are_limited() {
        let claims = Claims::default();
        let (claimer, _jobs) = claims.register(any_client());
        claimer.grant(u32::MAX);
        claimer.grant(1);
        assert_eq!(claims.credits(&Kind::default()), MAX_CREDITS as usize);
    }

    #[test]
    fn worker_of_a_tenant_gets_only_its_orders() {
        let claims = Claims::default();
        let tenant = |name: &str| -> TenantId { name.parse().unwrap() };
        let of = |name| Principal { tenant: tenant(name), all_tenants: false, ..Principal::anonymous() };
        let (claimer, _jobs) = claims.register(Arc::new(of("acme")));
        claimer.grant(5);
        assert!(claims.reserve(Some(&tenant("other")), &Kind::default(), 1).is_empty());
        assert_eq!(claims.reserve(Some(&tenant("acme")), &Kind::default(), 9)[0].len(), 5);
    }

    #[test]
    fn workers_get_only_their_kinds() {
        let claims = Claims::default();
        let refund: Kind = "refund".parse().unwrap();
        let (tagged, _jobs) = claims.register(any_client());
        tagged.set_worker(None, Kinds::parse(&["refund"]).unwrap());
        tagged.grant(2);
        assert!(claims.reserve(None, &Kind::default(), 1).is_empty());
        assert_eq!((claims.credits(&refund), claims.credits(&Kind::default())), (2, 0));
        let (any, _jobs) = claims.register(any_client());
        any.set_worker(None, Kinds::All);
        any.grant(3);
        assert_eq!((claims.credits(&refund), claims.credits(&Kind::default())), (5, 3));
    }
}
