//! Queue and bus within one process, for the embedded default.
//!
//! They need no server and lose their contents with the process. That is sufficient, because the database knows the due
//! orders.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::{Kind, OrderEvent, Progress};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::bus::{Bus, MAX_EVENTS_PER_MESSAGE};
use crate::error::Error;
use crate::queue::{Job, Queue, QueueEnd, REGISTRATION_TTL, Registrations};
use crate::signal::{GatewayInfo, Signal};
use crate::subscriber::{Subscriber, Subscription};

/// A queue in memory. A job takes 24 bytes; the dispatcher limits their number.
#[derive(Clone)]
pub struct MemoryQueue {
    lane: Arc<Lane>,
    shared: Arc<Shared>,
}

/// The jobs of one kind.
#[derive(Default)]
struct Lane {
    jobs: Mutex<VecDeque<Job>>,
    /// Wakes the puller that has waited longest. A puller that leaves jobs in the queue wakes the next one.
    job_added: Notify,
}

/// What the queues of all kinds share.
#[derive(Default)]
struct Shared {
    lanes: Mutex<HashMap<Kind, Arc<Lane>>>,
    workers: Mutex<Registry>,
    installations: Mutex<Registry>,
}

/// Registered members, each with the time of its latest registration.
#[derive(Default)]
struct Registry(HashMap<Vec<u8>, Instant>);

impl Registry {
    fn register(&mut self, member: &[u8]) {
        self.0.insert(member.to_vec(), Instant::now());
    }

    fn count(&mut self) -> u64 {
        self.0.retain(|_, registered_at| registered_at.elapsed() < REGISTRATION_TTL);
        self.0.len() as u64
    }
}

impl Default for MemoryQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryQueue {
    /// Creates an empty queue.
    pub fn new() -> Self {
        let (lane, shared) = (Arc::<Lane>::default(), Arc::<Shared>::default());
        lock(&shared.lanes).insert(Kind::default(), lane.clone());
        Self { lane, shared }
    }

    fn take_jobs(&self, max: usize) -> Vec<Job> {
        let mut jobs = lock(&self.lane.jobs);
        let count = max.min(jobs.len());
        let taken: Vec<Job> = jobs.drain(..count).collect();
        if !taken.is_empty() && !jobs.is_empty() {
            self.lane.job_added.notify_one();
        }
        taken
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    fn of_kind(&self, kind: &Kind) -> Arc<dyn Queue> {
        let lane = lock(&self.shared.lanes).entry(kind.clone()).or_default().clone();
        Arc::new(Self { lane, shared: self.shared.clone() })
    }

    async fn push(&self, jobs: &[Job], end: QueueEnd) -> Result<u64, Error> {
        if jobs.is_empty() {
            return Ok(0);
        }
        let mut queued = lock(&self.lane.jobs);
        match end {
            QueueEnd::Back => queued.extend(jobs),
            QueueEnd::Front => jobs.iter().rev().for_each(|job| queued.push_front(*job)),
        }
        let length = queued.len() as u64;
        drop(queued);
        self.lane.job_added.notify_one();
        Ok(length)
    }

    async fn pull(&self, max: usize, wait: Duration) -> Result<Vec<Job>, Error> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let first_jobs = async {
            loop {
                // The wake-up is armed before the queue is read, so that no push in between is missed. If this future
                // is dropped after its wake-up, tokio passes the wake-up to the next puller.
                let job_added = self.lane.job_added.notified();
                let taken = self.take_jobs(max);
                if !taken.is_empty() {
                    return taken;
                }
                job_added.await;
            }
        };
        // The poll that takes the jobs returns them, so cancellation loses none.
        Ok(tokio::time::timeout(wait, first_jobs).await.unwrap_or_default())
    }

    async fn len(&self) -> Result<u64, Error> {
        Ok(lock(&self.lane.jobs).len() as u64)
    }

    async fn register_worker(&self, worker: &str) -> Result<(), Error> {
        let mut workers = lock(&self.shared.workers);
        workers.register(worker.as_bytes());
        workers.count();
        Ok(())
    }

    async fn deregister_worker(&self, worker: &str) -> Result<(), Error> {
        lock(&self.shared.workers).0.remove(worker.as_bytes());
        Ok(())
    }

    async fn register_installation(&self, installation: &[u8]) -> Result<Registrations, Error> {
        let workers = lock(&self.shared.workers).count();
        let mut installations = lock(&self.shared.installations);
        installations.register(installation);
        Ok(Registrations { workers, installations: installations.count() })
    }
}

/// A bus in memory.
#[derive(Default)]
pub struct MemoryBus {
    subscribers: Mutex<Vec<Subscriber>>,
}

impl MemoryBus {
    /// Creates a bus without subscribers.
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl Bus for MemoryBus {
    async fn publish(&self, events: &[Arc<OrderEvent>]) -> Result<(), Error> {
        let mut subscribers = lock(&self.subscribers);
        subscribers.retain(|subscriber| !subscriber.is_closed());
        if subscribers.is_empty() {
            return Ok(());
        }
        for chunk in events.chunks(MAX_EVENTS_PER_MESSAGE) {
            let message: Arc<[Arc<OrderEvent>]> = chunk.into();
            for subscriber in subscribers.iter_mut() {
                subscriber.deliver(Signal::Events(message.clone()));
            }
        }
        Ok(())
    }

    async fn publish_progress(&self, reports: &[Progress]) -> Result<(), Error> {
        for subscriber in lock(&self.subscribers).iter_mut().filter(|_| !reports.is_empty()) {
            subscriber.deliver(Signal::Progress(reports.into()));
        }
        Ok(())
    }

    async fn publish_gap(&self) -> Result<(), Error> {
        for subscriber in lock(&self.subscribers).iter_mut() {
            subscriber.deliver(Signal::Connected);
        }
        Ok(())
    }

    async fn announce(&self, gateway: &GatewayInfo) -> Result<(), Error> {
        for subscriber in lock(&self.subscribers).iter_mut() {
            subscriber.deliver(Signal::Gateway(gateway.clone()));
        }
        Ok(())
    }

    async fn subscribe(&self) -> Subscription {
        let (mut subscriber, receiver) = Subscriber::new();
        subscriber.deliver(Signal::Connected);
        let mut subscribers = lock(&self.subscribers);
        subscribers.retain(|subscriber| !subscriber.is_closed());
        subscribers.push(subscriber);
        receiver.into()
    }
}

/// Locks a mutex, also after a panic of another holder: no code under these locks leaves the data half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
