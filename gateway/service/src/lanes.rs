//! The queues of the kinds of orders. Each kind has its own jobs, its own capacity and its own turns, so orders of a kind
//! without a worker delay no others.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use broker::Queue;
use domain::Kind;

use crate::dispatch_wake::Wake;
use crate::queue_capacity::QueueCapacity;
use crate::queue_shares::QueueShares;
use gateway_store::MAX_KINDS;

/// The queue of one kind.
pub(crate) struct Lane {
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) capacity: QueueCapacity,
    pub(crate) shares: QueueShares,
    /// An order of the kind is due.
    is_woken: AtomicBool,
    /// The number of jobs at the last pass of dispatch.
    length: AtomicU64,
}

/// The queues of all known kinds. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Lanes(Arc<Shared>);

struct Shared {
    /// That of the default kind, which most orders have.
    first: Arc<Lane>,
    others: Mutex<BTreeMap<Kind, Arc<Lane>>>,
    wake: Wake,
}

impl Lane {
    fn new(queue: Arc<dyn Queue>) -> Self {
        let (capacity, shares) = (QueueCapacity::default(), QueueShares::default());
        Self { queue, capacity, shares, is_woken: AtomicBool::new(false), length: AtomicU64::new(0) }
    }

    /// Returns whether an order of the kind has become due since the last call.
    pub(crate) fn take_wake(&self) -> bool {
        self.is_woken.swap(false, Ordering::Relaxed)
    }

    /// Records the length of the queue.
    pub(crate) fn set_length(&self, jobs: u64) {
        self.length.store(jobs, Ordering::Relaxed);
        self.shares.observe(jobs);
    }
}

impl Lanes {
    /// Creates the queue of the default kind.
    pub(crate) fn new(queue: Arc<dyn Queue>, wake: Wake) -> Self {
        let first = Arc::new(Lane::new(queue));
        Self(Arc::new(Shared { first, others: Mutex::default(), wake }))
    }

    /// Returns the queue of the default kind.
    pub(crate) fn first(&self) -> &Arc<Lane> {
        &self.0.first
    }

    /// Returns the queue of a kind, which is known from now on.
    pub(crate) fn of(&self, kind: &Kind) -> Arc<Lane> {
        if kind.is_default() {
            return self.0.first.clone();
        }
        let mut others = self.lock();
        if let Some(lane) = others.get(kind) {
            return lane.clone();
        }
        let lane = Arc::new(Lane::new(self.0.first.queue.of_kind(kind)));
        others.insert(kind.clone(), lane.clone());
        lane
    }

    /// Returns whether orders of a kind can be accepted. The kind is known from then on.
    pub(crate) fn admit(&self, kind: &Kind) -> bool {
        let is_known = |others: &BTreeMap<Kind, _>| others.len() + 1 < MAX_KINDS || others.contains_key(kind);
        let is_admitted = kind.is_default() || is_known(&self.lock());
        if is_admitted {
            self.of(kind);
        }
        is_admitted
    }

    /// Returns the queues of all known kinds.
    pub(crate) fn all(&self) -> Vec<(Kind, Arc<Lane>)> {
        let others = self.lock();
        let others = others.iter().map(|(kind, lane)| (kind.clone(), lane.clone()));
        [(Kind::default(), self.0.first.clone())].into_iter().chain(others).collect()
    }

    /// Returns the number of jobs in all queues at the last passes.
    pub(crate) fn length(&self) -> u64 {
        self.all().iter().map(|(_, lane)| lane.length.load(Ordering::Relaxed)).sum()
    }

    /// Makes all new orders wait for dispatch.
    pub(crate) fn close(&self) {
        self.all().iter().for_each(|(_, lane)| lane.capacity.close());
    }

    /// Reports that orders of a kind wait in the table.
    pub(crate) fn due(&self, kind: &Kind) {
        let lane = self.of(kind);
        lane.capacity.close();
        lane.is_woken.store(true, Ordering::Relaxed);
        self.0.wake.due();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Kind, Arc<Lane>>> {
        self.0.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_documented() {
        use domain::{MAX_KIND, MAX_WORKER_KINDS};
        let limits = format!("{MAX_KIND} characters; {MAX_KINDS}; {MAX_WORKER_KINDS}");
        limits_page::row("kind of an order; kinds of an installation; of a worker", &limits);
    }
}
