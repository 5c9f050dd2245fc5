//! The contract of the bus.

use std::sync::Arc;

use broker::{GatewayId, GatewayInfo, MAX_EVENTS_PER_MESSAGE, Signal, Subscription};
use domain::OrderEvent;
use futures_util::FutureExt;

use crate::adapters::{Adapter, events, eventually, within_deadline};

async fn next(subscription: &mut Subscription) -> Signal {
    within_deadline("the next signal", subscription.recv())
        .await
        .expect("a subscription never ends by itself")
}

/// Receives the next signal, which must be [`Signal::Connected`].
pub(crate) async fn expect_connected(subscription: &mut Subscription) {
    let signal = next(subscription).await;
    assert!(matches!(signal, Signal::Connected), "expected Connected, got {signal:?}");
}

/// Receives the next signal, which must have events.
pub(crate) async fn expect_events(subscription: &mut Subscription) -> Vec<Arc<OrderEvent>> {
    match next(subscription).await {
        Signal::Events(events) => events.to_vec(),
        signal => panic!("expected events, got {signal:?}"),
    }
}

pub(crate) async fn connected_precedes_the_events_in_order(Adapter { bus, .. }: Adapter) {
    let mut subscription = bus.subscribe().await;
    expect_connected(&mut subscription).await;
    let all = events(1..20);
    for event in &all {
        bus.publish(std::slice::from_ref(event)).await.unwrap();
    }
    for event in all {
        assert_eq!(expect_events(&mut subscription).await, [event]);
    }
}

pub(crate) async fn batch_is_one_message(Adapter { bus, .. }: Adapter) {
    let mut subscription = bus.subscribe().await;
    expect_connected(&mut subscription).await;
    let (first, last) = (events(1..MAX_EVENTS_PER_MESSAGE as u32 + 1), events(1..2));
    bus.publish(&first).await.unwrap();
    bus.publish(&[]).await.unwrap();
    bus.publish(&last).await.unwrap();
    assert_eq!(expect_events(&mut subscription).await, first);
    assert_eq!(expect_events(&mut subscription).await, last, "an empty batch is no message");
}

pub(crate) async fn large_batch_is_split(Adapter { bus, .. }: Adapter) {
    let mut subscription = bus.subscribe().await;
    expect_connected(&mut subscription).await;
    let all = events(0..2 * MAX_EVENTS_PER_MESSAGE as u32 + 1);
    bus.publish(&all).await.unwrap();
    for chunk in all.chunks(MAX_EVENTS_PER_MESSAGE) {
        assert_eq!(expect_events(&mut subscription).await, chunk);
    }
}

pub(crate) async fn every_subscriber_receives_all_events(Adapter { bus, .. }: Adapter) {
    let mut first = bus.subscribe().await;
    let mut gone = bus.subscribe().await;
    let mut second = bus.subscribe().await;
    for subscription in [&mut first, &mut gone, &mut second] {
        expect_connected(subscription).await;
    }
    drop(gone);
    let all = events(1..4);
    bus.publish(&all).await.unwrap();
    assert_eq!(expect_events(&mut first).await, all);
    assert_eq!(expect_events(&mut second).await, all);

    // A late subscriber receives only events after its subscription.
    let mut late = bus.subscribe().await;
    expect_connected(&mut late).await;
    let more = events(7..8);
    bus.publish(&more).await.unwrap();
    for subscription in [&mut first, &mut second, &mut late] {
        assert_eq!(expect_events(subscription).await, more);
    }
}

pub(crate) async fn slow_subscriber_receives_connected(Adapter { bus, .. }: Adapter) {
    let mut slow = bus.subscribe().await;
    expect_connected(&mut slow).await;

    let mut published = 0;
    let publish_next = async |published: &mut u32| {
        *published += 1;
        bus.publish(&events(*published..*published + 1)).await.unwrap();
    };
    // The subscriber does not read until its channel is full.
    eventually("the channel is full", async || {
        publish_next(&mut published).await;
        slow.is_full()
    })
    .await;

    // Every gap is marked by a Connected, up to an event that is published after the channel was drained.
    let (mut last, mut reported, mut gaps) = (0, false, 0);
    eventually("new events arrive again", async || {
        publish_next(&mut published).await;
        let newest = published;
        while let Some(Some(signal)) = slow.recv().now_or_never() {
            match signal {
                Signal::Connected => reported = true,
                signal @ (Signal::Gateway(_) | Signal::Progress(_)) => panic!("{signal:?} was not published"),
                Signal::Events(events) => {
                    let sequence = events[0].sequence;
                    assert!(sequence == last + 1 || reported, "an unreported gap from {last} to {sequence}");
                    gaps += u32::from(sequence != last + 1);
                    (last, reported) = (sequence, false);
                }
            }
        }
        last == newest && gaps > 0
    })
    .await;
    assert_eq!(gaps, 1, "one stall of the reader causes one gap");
}

pub(crate) async fn publish_without_subscribers_succeeds(Adapter { bus, .. }: Adapter) {
    bus.publish(&events(1..3)).await.unwrap();
    let subscription = bus.subscribe().await;
    drop(subscription);
    bus.publish(&events(1..3)).await.unwrap();
    assert_eq!(Arc::strong_count(&bus), 1);
}

pub(crate) async fn announcement_reaches_every_subscriber(Adapter { bus, .. }: Adapter) {
    let (mut one, mut two) = (bus.subscribe().await, bus.subscribe().await);
    expect_connected(&mut one).await;
    expect_connected(&mut two).await;
    for id in [7, u64::MAX] {
        let gateway = GatewayInfo {
            id: GatewayId(id),
            host: Arc::from("web-1"),
            version: Arc::from("0.1.0"),
            started_at: domain::Timestamp::from_micros(5),
        };
        bus.announce(&gateway).await.unwrap();
        for subscription in [&mut one, &mut two] {
            let signal = next(subscription).await;
            assert!(matches!(&signal, Signal::Gateway(announced) if *announced == gateway), "{signal:?}");
        }
    }
}

pub(crate) async fn gap_reaches_every_subscriber(Adapter { bus, .. }: Adapter) {
    let (mut one, mut two) = (bus.subscribe().await, bus.subscribe().await);
    expect_connected(&mut one).await;
    expect_connected(&mut two).await;
    let all = events(1..2);
    bus.publish_gap().await.unwrap();
    bus.publish(&all).await.unwrap();
    for subscription in [&mut one, &mut two] {
        expect_connected(subscription).await;
        assert_eq!(expect_events(subscription).await, all);
    }
}
