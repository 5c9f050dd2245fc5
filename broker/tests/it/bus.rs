//! What every bus promises.

use std::sync::Arc;

use broker::{MAX_EVENTS_PER_MESSAGE, Signal};
use domain::OrderEvent;
use tokio::sync::mpsc::Receiver;

use crate::backend::{Backend, events, eventually, in_time};

async fn next(subscription: &mut Receiver<Signal>) -> Signal {
    in_time("the next signal", subscription.recv()).await.expect("a subscription never ends by itself")
}

/// The next signal, which must say that the subscription is in place.
pub(crate) async fn connected(subscription: &mut Receiver<Signal>) {
    let signal = next(subscription).await;
    assert!(matches!(signal, Signal::Connected), "expected Connected, got {signal:?}");
}

/// The next signal, which must be a message.
pub(crate) async fn message(subscription: &mut Receiver<Signal>) -> Vec<Arc<OrderEvent>> {
    match next(subscription).await {
        Signal::Events(events) => events.to_vec(),
        Signal::Connected => panic!("expected events, got Connected"),
    }
}

pub(crate) async fn connected_comes_first_then_the_events_in_order(Backend { bus, .. }: Backend) {
    let mut subscription = bus.subscribe().await;
    connected(&mut subscription).await;
    let all = events(1..20);
    for event in &all {
        bus.publish(std::slice::from_ref(event)).await.unwrap();
    }
    for event in all {
        assert_eq!(message(&mut subscription).await, [event]);
    }
}

pub(crate) async fn a_batch_is_one_message(Backend { bus, .. }: Backend) {
    let mut subscription = bus.subscribe().await;
    connected(&mut subscription).await;
    let (first, last) = (events(1..MAX_EVENTS_PER_MESSAGE as u32 + 1), events(1..2));
    bus.publish(&first).await.unwrap();
    bus.publish(&[]).await.unwrap();
    bus.publish(&last).await.unwrap();
    assert_eq!(message(&mut subscription).await, first);
    assert_eq!(message(&mut subscription).await, last, "an empty batch is no message");
}

pub(crate) async fn a_big_batch_is_split(Backend { bus, .. }: Backend) {
    let mut subscription = bus.subscribe().await;
    connected(&mut subscription).await;
    let all = events(0..2 * MAX_EVENTS_PER_MESSAGE as u32 + 1);
    bus.publish(&all).await.unwrap();
    for chunk in all.chunks(MAX_EVENTS_PER_MESSAGE) {
        assert_eq!(message(&mut subscription).await, chunk);
    }
}

pub(crate) async fn every_subscriber_gets_everything(Backend { bus, .. }: Backend) {
    let mut first = bus.subscribe().await;
    let mut gone = bus.subscribe().await;
    let mut second = bus.subscribe().await;
    for subscription in [&mut first, &mut gone, &mut second] {
        connected(subscription).await;
    }
    drop(gone);
    let all = events(1..4);
    bus.publish(&all).await.unwrap();
    assert_eq!(message(&mut first).await, all);
    assert_eq!(message(&mut second).await, all);

    // From the moment of subscription, and not before.
    let mut late = bus.subscribe().await;
    connected(&mut late).await;
    let more = events(7..8);
    bus.publish(&more).await.unwrap();
    for subscription in [&mut first, &mut second, &mut late] {
        assert_eq!(message(subscription).await, more);
    }
}

pub(crate) async fn a_subscriber_that_falls_behind_is_told(Backend { bus, .. }: Backend) {
    let mut slow = bus.subscribe().await;
    connected(&mut slow).await;

    let mut published = 0;
    let publish_next = async |published: &mut u32| {
        *published += 1;
        bus.publish(&events(*published..*published + 1)).await.unwrap();
    };
    // Nobody reads until nothing fits any more.
    eventually("the channel is full", async || {
        publish_next(&mut published).await;
        slow.len() == slow.max_capacity()
    })
    .await;

    // There is no hole without a Connected in it, up to an event that is published after all was read.
    let (mut last, mut told, mut holes) = (0, false, 0);
    eventually("new events arrive again", async || {
        publish_next(&mut published).await;
        let newest = published;
        while let Ok(signal) = slow.try_recv() {
            match signal {
                Signal::Connected => told = true,
                Signal::Events(events) => {
                    let sequence = events[0].sequence;
                    assert!(sequence == last + 1 || told, "a hole in silence from {last} to {sequence}");
                    holes += u32::from(sequence != last + 1);
                    (last, told) = (sequence, false);
                }
            }
        }
        last == newest && holes > 0
    })
    .await;
    assert_eq!(holes, 1, "one stall of the reader makes one hole");
}

pub(crate) async fn publishing_to_nobody_works(Backend { bus, .. }: Backend) {
    bus.publish(&events(1..3)).await.unwrap();
    let subscription = bus.subscribe().await;
    drop(subscription);
    bus.publish(&events(1..3)).await.unwrap();
    assert_eq!(Arc::strong_count(&bus), 1);
}

pub(crate) async fn a_loss_is_told_to_every_subscriber(Backend { bus, .. }: Backend) {
    let (mut one, mut two) = (bus.subscribe().await, bus.subscribe().await);
    connected(&mut one).await;
    connected(&mut two).await;
    let all = events(1..2);
    bus.publish_gap().await.unwrap();
    bus.publish(&all).await.unwrap();
    for subscription in [&mut one, &mut two] {
        connected(subscription).await;
        assert_eq!(message(subscription).await, all);
    }
}
