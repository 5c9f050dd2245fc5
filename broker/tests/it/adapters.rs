//! The adapters under test, and helpers of the tests.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use broker::redis::{BusKey, Redis};
use broker::{Bus, Job, Queue};
use domain::{OrderEvent, OrderId, Status, Timestamp};

/// The deadline of a test that would otherwise hang; no assertion depends on it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Both ports of one adapter.
pub(crate) struct Adapter {
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) bus: Arc<dyn Bus>,
}

pub(crate) fn memory() -> Adapter {
    Adapter {
        queue: Arc::new(broker::memory::MemoryQueue::new()),
        bus: Arc::new(broker::memory::MemoryBus::new()),
    }
}

pub(crate) fn redis() -> Adapter {
    redis_at(&redis_url())
}

/// The adapter over the Redis with this URL.
pub(crate) fn redis_at(url: &str) -> Adapter {
    let redis = Redis::new(url, &random_prefix()).unwrap();
    Adapter { queue: Arc::new(redis.queue()), bus: Arc::new(redis.bus(key())) }
}

/// The key of the tests' installation.
pub(crate) fn key() -> BusKey {
    BusKey::new([1; 16], b"the secret of the tests")
}

pub(crate) fn redis_url() -> String {
    std::env::var("ORDERS_TEST_REDIS_URL").expect(
        "ORDERS_TEST_REDIS_URL is not set: run scripts/test.sh, which starts a Redis for the tests, \
         or set it to a Redis that they may write to",
    )
}

pub(crate) fn random_prefix() -> String {
    format!("test-{:032x}", rand::random::<u128>())
}

/// Jobs with the quantities of the range, so that a test can tell their order.
pub(crate) fn jobs(quantities: std::ops::Range<u64>) -> Vec<Job> {
    quantities.map(|quantity| Job { order_id: order_id(), quantity }).collect()
}

/// Events of one order with the sequences of the range.
pub(crate) fn events(sequences: std::ops::Range<u32>) -> Vec<Arc<OrderEvent>> {
    let order_id = order_id();
    let event = |sequence| OrderEvent {
        tenant_id: domain::TenantId::default(),
        order_id,
        sequence,
        status: Status::Processing,
        previous_status: Some(Status::Pending),
        attempt: 1,
        reason: Some("because of “quotes” and\nlines".to_owned()),
        error_class: None,
        worker: None,
        occurred_at: Timestamp::from_micros(1_700_000_000_123_456),
    };
    sequences.map(event).map(Arc::new).collect()
}

fn order_id() -> OrderId {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    OrderId::new(Timestamp::from_micros(i64::from(NEXT.fetch_add(1, Ordering::Relaxed)) * 1_000))
}

/// Returns the number of jobs with each quantity.
pub(crate) fn count_by_quantity(jobs: &[Job]) -> HashMap<u64, usize> {
    jobs.iter().fold(HashMap::new(), |mut counts, job| {
        *counts.entry(job.quantity).or_default() += 1;
        counts
    })
}

/// Awaits the future and fails after the deadline.
pub(crate) async fn within_deadline<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

/// Polls the condition until it is true.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    within_deadline(what, async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
