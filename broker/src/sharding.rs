//! Queues and buses that are divided by the shards of the orders, so that no single list or channel has to carry all of them.
//!
//! In a cluster of Redis, each list and each channel has its own slot, and so its own node.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use domain::{Kind, OrderEvent, OrderId, Progress};
use futures_util::future::{join_all, try_join_all};
use tokio::time::Instant;

use crate::bus::Bus;
use crate::error::Error;
use crate::queue::{Job, Queue, QueueEnd, Registrations};
use crate::signal::GatewayInfo;
use crate::subscriber::Subscription;

/// The maximum wait of a pull for the jobs of one list, after which it looks into the next one.
const MAX_LIST_WAIT: Duration = Duration::from_millis(100);

/// Returns the part of the order among `parts`.
fn part(id: OrderId, parts: usize) -> usize {
    usize::from(id.shard()) % parts
}

/// Divides what belongs to orders into `parts`. The order within each part stays.
fn divide<T: Clone>(items: &[T], parts: usize, id: impl Fn(&T) -> OrderId) -> Vec<Vec<T>> {
    let mut divided = vec![Vec::new(); parts];
    for item in items {
        divided[part(id(item), parts)].push(item.clone());
    }
    divided
}

/// A bus with several channels. Events and progress use that of their order, announcements the first one.
pub struct ShardedBus {
    channels: Vec<Arc<dyn Bus>>,
}

impl ShardedBus {
    /// Creates a bus of these channels.
    ///
    /// # Panics
    /// Without a channel.
    pub fn new(channels: Vec<Arc<dyn Bus>>) -> Self {
        assert!(!channels.is_empty(), "a bus has at least one channel");
        Self { channels }
    }
}

#[async_trait]
impl Bus for ShardedBus {
    async fn publish(&self, events: &[Arc<OrderEvent>]) -> Result<(), Error> {
        let divided = divide(events, self.channels.len(), |event| event.order_id);
        let publications =
            self.channels.iter().zip(&divided).map(|(channel, events)| channel.publish(events));
        // Every channel is tried, although one may have failed.
        join_all(publications).await.into_iter().collect()
    }

    async fn publish_progress(&self, reports: &[Progress]) -> Result<(), Error> {
        let divided = divide(reports, self.channels.len(), |report| report.order_id);
        let publications =
            self.channels.iter().zip(&divided).map(|(channel, reports)| channel.publish_progress(reports));
        join_all(publications).await.into_iter().collect()
    }

    async fn publish_gap(&self) -> Result<(), Error> {
        self.channels[0].publish_gap().await
    }

    async fn announce(&self, gateway: &GatewayInfo) -> Result<(), Error> {
        self.channels[0].announce(gateway).await
    }

    async fn subscribe(&self) -> Subscription {
        Subscription::merge(join_all(self.channels.iter().map(|channel| channel.subscribe())).await)
    }
}

/// A queue with several lists. A job is in the list of its order.
pub struct ShardedQueue {
    lists: Vec<Arc<dyn Queue>>,
    /// The last known length of each list.
    lengths: Vec<AtomicU64>,
    /// The list that the next pull asks first.
    next: AtomicUsize,
}

impl ShardedQueue {
    /// Creates a queue of these lists.
    ///
    /// # Panics
    /// Without a list.
    pub fn new(lists: Vec<Arc<dyn Queue>>) -> Self {
        assert!(!lists.is_empty(), "a queue has at least one list");
        let lengths = lists.iter().map(|_| AtomicU64::new(0)).collect();
        Self { lists, lengths, next: AtomicUsize::new(0) }
    }

    fn known_length(&self) -> u64 {
        self.lengths.iter().map(|length| length.load(Ordering::Relaxed)).sum()
    }
}

#[async_trait]
impl Queue for ShardedQueue {
    fn of_kind(&self, kind: &Kind) -> Arc<dyn Queue> {
        Arc::new(Self::new(self.lists.iter().map(|list| list.of_kind(kind)).collect()))
    }

    fn lists(&self) -> Option<&[Arc<dyn Queue>]> {
        Some(&self.lists)
    }

    async fn push(&self, jobs: &[Job], end: QueueEnd) -> Result<u64, Error> {
        if jobs.is_empty() {
            return Ok(0);
        }
        let divided = divide(jobs, self.lists.len(), |job| job.order_id);
        let pushes =
            self.lists.iter().zip(&divided).zip(&self.lengths).map(|((list, jobs), length)| async move {
                if !jobs.is_empty() {
                    length.store(list.push(jobs, end).await?, Ordering::Relaxed);
                }
                Ok(())
            });
        join_all(pushes).await.into_iter().collect::<Result<(), Error>>()?;
        Ok(self.known_length())
    }

    async fn server(&self) -> Result<Option<String>, Error> {
        self.lists[0].server().await
    }

    /// Looks into each list, and then waits at one after the other.
    async fn pull(&self, max: usize, wait: Duration) -> Result<Vec<Job>, Error> {
        let started = Instant::now();
        let mut round = 0;
        loop {
            for _ in 0..self.lists.len() {
                let list = &self.lists[self.next.fetch_add(1, Ordering::Relaxed) % self.lists.len()];
                let left = wait.saturating_sub(started.elapsed());
                let list_wait = if round == 0 { Duration::ZERO } else { left.min(MAX_LIST_WAIT) };
                let jobs = list.pull(max, list_wait).await?;
                if !jobs.is_empty() {
                    return Ok(jobs);
                }
            }
            if max == 0 || started.elapsed() >= wait {
                return Ok(Vec::new());
            }
            round += 1;
        }
    }

    async fn len(&self) -> Result<u64, Error> {
        let lengths = try_join_all(self.lists.iter().map(|list| list.len())).await?;
        for (known, length) in self.lengths.iter().zip(&lengths) {
            known.store(*length, Ordering::Relaxed);
        }
        Ok(lengths.iter().sum())
    }

    async fn register_worker(&self, worker: &str) -> Result<(), Error> {
        self.lists[0].register_worker(worker).await
    }

    async fn deregister_worker(&self, worker: &str) -> Result<(), Error> {
        self.lists[0].deregister_worker(worker).await
    }

    async fn register_installation(&self, installation: &[u8]) -> Result<Registrations, Error> {
        self.lists[0].register_installation(installation).await
    }
}

#[cfg(test)]
mod tests {
    use domain::Timestamp;

    use super::*;
    use crate::memory::{MemoryBus, MemoryQueue};
    use crate::signal::Signal;

    const LISTS: usize = 4;

    fn jobs(count: u64) -> Vec<Job> {
        let job = |quantity| Job { order_id: OrderId::new(Timestamp::from_micros(0)), quantity };
        (0..count).map(job).collect()
    }

    fn queue() -> ShardedQueue {
        ShardedQueue::new((0..LISTS).map(|_| Arc::new(MemoryQueue::new()) as Arc<dyn Queue>).collect())
    }

    #[tokio::test]
    async fn each_job_is_in_the_list_of_its_order() {
        let (queue, pushed) = (queue(), jobs(400));
        assert_eq!(queue.push(&pushed, QueueEnd::Back).await.unwrap(), 400);
        assert_eq!(queue.len().await.unwrap(), 400);
        for (number, list) in queue.lists().unwrap().iter().enumerate() {
            let expected: Vec<Job> =
                pushed.iter().filter(|job| part(job.order_id, LISTS) == number).copied().collect();
            assert!(!expected.is_empty());
            assert_eq!(list.pull(1_000, Duration::ZERO).await.unwrap(), expected, "in the order of the push");
        }
    }

    #[tokio::test]
    async fn the_length_counts_lists_without_new_jobs() {
        let (queue, pushed) = (queue(), jobs(40));
        queue.push(&pushed, QueueEnd::Back).await.unwrap();
        assert_eq!(queue.push(&pushed[..1], QueueEnd::Front).await.unwrap(), 41);
        assert_eq!(queue.push(&[], QueueEnd::Back).await.unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pull_finds_a_job_of_any_list() {
        let queue = queue();
        assert_eq!(queue.pull(1, Duration::from_secs(1)).await.unwrap(), []);
        for job in jobs(50) {
            queue.push(&[job], QueueEnd::Back).await.unwrap();
            assert_eq!(queue.pull(10, Duration::ZERO).await.unwrap(), [job]);
        }
        let job = jobs(1)[0];
        let late = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            queue.push(&[job], QueueEnd::Back).await.unwrap()
        };
        let (pulled, _) = tokio::join!(queue.pull(10, Duration::MAX), late);
        assert_eq!(pulled.unwrap(), [job]);
    }

    #[tokio::test]
    async fn kinds_have_separate_lists() {
        let queue = queue();
        let kind = "refund".parse().unwrap();
        queue.of_kind(&kind).push(&jobs(8), QueueEnd::Back).await.unwrap();
        assert_eq!(queue.len().await.unwrap(), 0);
        assert_eq!(queue.of_kind(&kind).len().await.unwrap(), 8);
    }

    #[tokio::test]
    async fn a_subscription_has_the_messages_of_every_channel() {
        let bus = ShardedBus::new((0..LISTS).map(|_| Arc::new(MemoryBus::new()) as Arc<dyn Bus>).collect());
        let mut subscription = bus.subscribe().await;
        for _ in 0..LISTS {
            assert!(matches!(subscription.recv().await, Some(Signal::Connected)));
        }
        let report = |job: Job| Progress {
            order_id: job.order_id,
            tenant_id: domain::TenantId::default(),
            attempt: 1,
            percent: None,
            note: None,
            reported_at: Timestamp::from_micros(0),
        };
        let reports: Vec<Progress> = jobs(100).into_iter().map(report).collect();
        bus.publish_progress(&reports).await.unwrap();
        bus.publish_gap().await.unwrap();
        let (mut received, mut gaps) = (0, 0);
        while received < reports.len() || gaps == 0 {
            match subscription.recv().await {
                Some(Signal::Progress(reports)) => {
                    let first = part(reports[0].order_id, LISTS);
                    assert!(reports.iter().all(|report| part(report.order_id, LISTS) == first));
                    received += reports.len();
                }
                Some(Signal::Connected) => gaps += 1,
                signal => panic!("{signal:?}"),
            }
        }
        assert_eq!((received, gaps), (reports.len(), 1));
        drop(bus);
        assert!(subscription.recv().await.is_none());
    }

    #[test]
    fn the_limits_are_documented() {
        let limits = format!("{}; {}", crate::redis::MAX_EVENT_CHANNELS, crate::redis::MAX_QUEUE_LISTS);
        limits_page::row("channels of the events; lists of a queue", &limits);
    }
}
