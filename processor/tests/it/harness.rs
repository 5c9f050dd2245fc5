//! A processor under test, a queue that records its calls, and handlers from closures.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use broker::{Job, Queue};
use domain::OrderId;
use processor::{Attempt, CancellationToken, Config, Error, OrderHandler, Outcome};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::fake_gateway::FakeGateway;

const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `condition` is true, and fails the test after the deadline.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A handler that is a closure.
pub(crate) struct Handler<F>(pub(crate) F);

#[async_trait]
impl<F, R> OrderHandler for Handler<F>
where
    F: Fn(Attempt, CancellationToken) -> R + Send + Sync + 'static,
    R: Future<Output = Outcome> + Send + 'static,
{
    async fn handle(&self, attempt: Attempt, cancelled: CancellationToken) -> Outcome {
        (self.0)(attempt, cancelled).await
    }
}

/// A queue in memory that records its pulls.
#[derive(Default)]
pub(crate) struct TestQueue {
    jobs: Mutex<VecDeque<Job>>,
    arrived: Notify,
    pub(crate) pulls: Mutex<Vec<usize>>,
    pub(crate) unavailable: AtomicBool,
}

impl TestQueue {
    pub(crate) fn add(&self, ids: &[OrderId]) {
        let jobs = ids.iter().map(|id| Job { order_id: *id, quantity: 1 });
        self.jobs.lock().unwrap().extend(jobs);
        self.arrived.notify_one();
    }
}

#[async_trait]
impl Queue for TestQueue {
    fn of_kind(&self, _: &domain::Kind) -> std::sync::Arc<dyn Queue> {
        unreachable!("this queue has one kind")
    }

    async fn push(&self, jobs: &[Job], _: broker::QueueEnd) -> Result<u64, broker::Error> {
        self.jobs.lock().unwrap().extend(jobs);
        self.arrived.notify_one();
        Ok(jobs.len() as u64)
    }

    async fn pull(&self, max: usize, wait: Duration) -> Result<Vec<Job>, broker::Error> {
        self.pulls.lock().unwrap().push(max);
        if self.unavailable.load(Ordering::SeqCst) {
            return Err(broker::Error::Unavailable("unavailable".to_owned()));
        }
        let take = || {
            let mut jobs = self.jobs.lock().unwrap();
            let count = jobs.len().min(max);
            jobs.drain(..count).collect::<Vec<_>>()
        };
        let found = take();
        if found.is_empty() && timeout(wait, self.arrived.notified()).await.is_ok() {
            return Ok(take());
        }
        Ok(found)
    }

    async fn len(&self) -> Result<u64, broker::Error> {
        Ok(self.jobs.lock().unwrap().len() as u64)
    }
}

/// A running processor.
pub(crate) struct Processor {
    pub(crate) queue: Arc<TestQueue>,
    shutdown: oneshot::Sender<()>,
    noticed: Arc<AtomicBool>,
    task: JoinHandle<Result<(), Error>>,
}

impl Processor {
    pub(crate) fn start<F, R>(config: Config, handler: F) -> Self
    where
        F: Fn(Attempt, CancellationToken) -> R + Send + Sync + 'static,
        R: Future<Output = Outcome> + Send + 'static,
    {
        let queue = Arc::new(TestQueue::default());
        let (shutdown, told) = oneshot::channel();
        let noticed = Arc::new(AtomicBool::new(false));
        let notice = noticed.clone();
        let run = processor::run(config, Some(queue.clone()), Arc::new(Handler(handler)), async move {
            let _ = told.await;
            notice.store(true, Ordering::SeqCst);
        });
        Self { queue, shutdown, noticed, task: tokio::spawn(run) }
    }

    /// Sends the shutdown signal, and returns after the processor has received it.
    pub(crate) async fn shut_down(self) -> JoinHandle<Result<(), Error>> {
        self.shutdown.send(()).expect("the processor runs");
        eventually("the signal is received", || self.noticed.load(Ordering::SeqCst)).await;
        self.task
    }

    /// Sends the shutdown signal and waits for the end.
    pub(crate) async fn stop(self) {
        let task = self.shut_down().await;
        timeout(DEADLINE, task).await.expect("the processor ends").unwrap().unwrap();
    }
}

pub(crate) fn config(gateway: &FakeGateway) -> Config {
    Config { gateway_urls: vec![gateway.url()], ..Config::default() }
}
