//! Queues with several lists and buses with several channels, on one server and on a cluster.

use std::collections::BTreeSet;
use std::num::NonZeroU8;
use std::sync::Arc;

use broker::redis::Redis;
use broker::{QueueEnd, Signal};
use domain::OrderEvent;
use test_redis::{Cluster, REDIS};

use crate::adapters::{DEADLINE, events, jobs, key, random_prefix, redis_url, within_deadline};

const PARTS: NonZeroU8 = NonZeroU8::new(4).unwrap();

async fn carries_everything(url: &str) {
    let redis = Redis::new(url, &random_prefix()).unwrap();
    let (queue, bus) = (redis.queue_lists(PARTS), redis.bus_channels(&key(), PARTS));

    let pushed = jobs(0..400);
    assert_eq!(queue.push(&pushed, QueueEnd::Back).await.unwrap(), 400);
    for list in queue.lists().unwrap() {
        assert!(list.len().await.unwrap() > 0, "jobs of 400 orders are in each of 4 lists");
    }
    let first = redis.queue();
    assert!(broker::Queue::len(&first).await.unwrap() > 0, "the first list has the name of the only one");
    let mut quantities = BTreeSet::new();
    while quantities.len() < pushed.len() {
        let pulled = queue.pull(1_000, DEADLINE).await.unwrap();
        assert!(!pulled.is_empty(), "the queue ended after {} jobs", quantities.len());
        for job in pulled {
            assert!(quantities.insert(job.quantity), "{job:?} was delivered twice");
        }
    }
    assert_eq!(queue.len().await.unwrap(), 0);

    let mut subscription = bus.subscribe().await;
    for _ in 0..PARTS.get() {
        let signal = within_deadline("a channel", subscription.recv()).await;
        assert!(matches!(signal, Some(Signal::Connected)), "{signal:?}");
    }
    let mut published: Vec<Arc<OrderEvent>> = (0..100).flat_map(|_| events(1..3)).collect();
    bus.publish(&published).await.unwrap();
    let mut received = Vec::new();
    while received.len() < published.len() {
        match within_deadline("the events", subscription.recv()).await {
            Some(Signal::Events(events)) => received.extend(events.iter().cloned()),
            signal => panic!("{signal:?}"),
        }
    }
    // The events of an order arrive in their order.
    let by_order = |event: &Arc<OrderEvent>| event.order_id;
    received.sort_by_key(by_order);
    published.sort_by_key(by_order);
    assert_eq!(received, published);
}

#[tokio::test]
async fn one_server_carries_every_list_and_channel() {
    carries_everything(&redis_url()).await;
}

#[tokio::test]
async fn a_cluster_carries_every_list_and_channel() {
    carries_everything(&Cluster::start(&REDIS).await.url()).await;
}
