//! Queue and bus within one process, for the embedded default: no server, and nothing survives the
//! process. That is enough, because the database knows which orders are due.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::OrderEvent;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::subscriber::Subscriber;
use crate::{Error, Job, MAX_EVENTS_PER_MESSAGE, QueueEnd, REGISTRATION_TTL, Registrations, Signal};

/// A queue in memory. It grows with what is pushed, 24 bytes a job; the window of the dispatcher is
/// its limit.
#[derive(Default)]
pub struct MemoryQueue {
    jobs: Mutex<VecDeque<Job>>,
    /// Wakes one waiting puller, the one that waits longest. A puller that leaves jobs behind passes
    /// the wake-up on.
    arrival: Notify,
    workers: Mutex<Present>,
    installations: Mutex<Present>,
}

/// Who has announced itself, and when.
#[derive(Default)]
struct Present(HashMap<Vec<u8>, Instant>);

impl Present {
    fn enter(&mut self, member: &[u8]) {
        self.0.insert(member.to_vec(), Instant::now());
    }

    fn count(&mut self) -> u64 {
        self.0.retain(|_, at| at.elapsed() < REGISTRATION_TTL);
        self.0.len() as u64
    }
}

impl MemoryQueue {
    /// An empty queue.
    pub fn new() -> Self {
        Self::default()
    }

    fn take(&self, max: usize) -> Vec<Job> {
        let mut jobs = lock(&self.jobs);
        let count = max.min(jobs.len());
        let taken: Vec<Job> = jobs.drain(..count).collect();
        if !taken.is_empty() && !jobs.is_empty() {
            self.arrival.notify_one();
        }
        taken
    }
}

#[async_trait]
impl crate::Queue for MemoryQueue {
    async fn push(&self, jobs: &[Job], place: QueueEnd) -> Result<u64, Error> {
        if jobs.is_empty() {
            return Ok(0);
        }
        let mut waiting = lock(&self.jobs);
        match place {
            QueueEnd::Back => waiting.extend(jobs),
            QueueEnd::Front => jobs.iter().rev().for_each(|job| waiting.push_front(*job)),
        }
        let length = waiting.len() as u64;
        drop(waiting);
        self.arrival.notify_one();
        Ok(length)
    }

    async fn pull(&self, max: usize, wait: Duration) -> Result<Vec<Job>, Error> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let first_come = async {
            loop {
                // Waits for its turn before it looks, so that a push in between is not missed. When
                // this future is dropped after being woken, tokio passes the wake-up on.
                let arrival = self.arrival.notified();
                let taken = self.take(max);
                if !taken.is_empty() {
                    return taken;
                }
                arrival.await;
            }
        };
        // Jobs are handed over in the same poll that takes them, so cancelling loses none.
        Ok(tokio::time::timeout(wait, first_come).await.unwrap_or_default())
    }

    async fn len(&self) -> Result<u64, Error> {
        Ok(lock(&self.jobs).len() as u64)
    }

    async fn register_worker(&self, worker: &str) -> Result<(), Error> {
        let mut workers = lock(&self.workers);
        workers.enter(worker.as_bytes());
        workers.count();
        Ok(())
    }

    async fn deregister_worker(&self, worker: &str) -> Result<(), Error> {
        lock(&self.workers).0.remove(worker.as_bytes());
        Ok(())
    }

    async fn register_installation(&self, installation: &[u8]) -> Result<Registrations, Error> {
        let workers = lock(&self.workers).count();
        let mut installations = lock(&self.installations);
        installations.enter(installation);
        Ok(Registrations { workers, installations: installations.count() })
    }
}

/// A bus in memory.
#[derive(Default)]
pub struct MemoryBus {
    subscribers: Mutex<Vec<Subscriber>>,
}

impl MemoryBus {
    /// A bus without subscribers.
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl crate::Bus for MemoryBus {
    async fn publish(&self, events: &[Arc<OrderEvent>]) -> Result<(), Error> {
        let mut subscribers = lock(&self.subscribers);
        subscribers.retain(|subscriber| !subscriber.is_gone());
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

    async fn publish_gap(&self) -> Result<(), Error> {
        for subscriber in lock(&self.subscribers).iter_mut() {
            subscriber.deliver(Signal::Connected);
        }
        Ok(())
    }

    async fn subscribe(&self) -> mpsc::Receiver<Signal> {
        let (mut subscriber, receiver) = Subscriber::new();
        subscriber.deliver(Signal::Connected);
        let mut subscribers = lock(&self.subscribers);
        subscribers.retain(|subscriber| !subscriber.is_gone());
        subscribers.push(subscriber);
        receiver
    }
}

/// Nothing that runs under these locks can leave the data half changed, so a panic elsewhere is no
/// reason to stop.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
