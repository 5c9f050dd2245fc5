//! The feed of all orders.
//!
//! An event may arrive twice (directly and over the bus), late, or not at all. Events of one order are delivered in
//! order and without repeats; skipped ones are reported. Events of the bus are delivered only while they are fresh: a
//! recorded message of a gateway may be replayed after this gateway has forgotten it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::{OrderEvent, OrderId, OrderMap, Principal, Timestamp};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

/// Items buffered for a subscriber before it lags.
const BACKLOG: usize = 4_096;
/// Minimum number of orders whose position is remembered; at most twice as many are.
const REMEMBERED: usize = 32_768;

/// An item that a subscriber of all orders receives.
#[derive(Debug, Clone)]
pub enum FeedItem {
    /// A change of an order. Those of one order arrive in order, each at most once.
    Event(Arc<OrderEvent>),
    /// Number of skipped events; 0 if it is unknown.
    ///
    /// The subscriber was too slow, or events were lost. The number is unknown when the gateway was disconnected from
    /// the bus.
    Lagged(u64),
}

/// Older events of the bus are dropped. Gateways drop events that cannot reach the bus long before.
const FRESH: Duration = Duration::from_secs(60);
/// Maximum difference between the clocks of two gateways.
const SKEW: Duration = Duration::from_secs(1);

pub(super) struct AllOrders {
    items: broadcast::Sender<FeedItem>,
    passed: Mutex<Passed>,
}

impl AllOrders {
    pub(super) fn new() -> Self {
        Self { items: broadcast::channel(BACKLOG).0, passed: Mutex::default() }
    }

    /// Streams the events of the orders that the caller may see.
    ///
    /// A caller of one tenant learns that events were skipped and not their number, which includes other tenants.
    pub(super) fn subscribe(&self, principal: &Principal, now: Timestamp) -> BoxStream<'static, FeedItem> {
        let only = (!principal.all_tenants).then(|| principal.tenant.clone());
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        if self.items.receiver_count() == 0 {
            *passed = Passed { since: now, ..Passed::default() };
        }
        BroadcastStream::new(self.items.subscribe())
            .map(|item| match item {
                Ok(item) => item,
                Err(BroadcastStreamRecvError::Lagged(count)) => FeedItem::Lagged(count),
            })
            .filter_map(move |item| {
                std::future::ready(match (&only, item) {
                    (None, item) => Some(item),
                    (Some(tenant), FeedItem::Event(event)) => {
                        (event.tenant_id == *tenant).then_some(FeedItem::Event(event))
                    }
                    (Some(_), FeedItem::Lagged(_)) => Some(FeedItem::Lagged(0)),
                })
            })
            .boxed()
    }

    /// Delivers events of the bus.
    pub(super) fn deliver_from_bus(&self, events: &[Arc<OrderEvent>], now: Timestamp) {
        let since = self.passed.lock().unwrap_or_else(PoisonError::into_inner).since;
        // After the clock was set back, the beginning of the subscription is a time in the future.
        let fresh = since.min(now).max(now - FRESH) - SKEW;
        // Almost always all of them are fresh.
        if events.iter().all(|event| event.occurred_at >= fresh) {
            return self.deliver(events);
        }
        let events: Vec<_> = events.iter().filter(|event| event.occurred_at >= fresh).cloned().collect();
        self.deliver(&events);
    }

    pub(super) fn deliver(&self, events: &[Arc<OrderEvent>]) {
        // Held while sending, so that two deliveries cannot overtake each other.
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        if self.items.receiver_count() == 0 {
            *passed = Passed::default();
            return;
        }
        for event in events {
            let (skipped, new) = passed.place(event.order_id, event.sequence);
            // The error means that there is no receiver.
            if skipped > 0 {
                let _ = self.items.send(FeedItem::Lagged(skipped.into()));
            }
            if new {
                let _ = self.items.send(FeedItem::Event(event.clone()));
            }
        }
    }

    /// Reports a loss of an unknown number of events to the subscribers.
    pub(super) fn missed(&self) {
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        passed.outages = passed.outages.wrapping_add(1);
        // The error means that there is no receiver.
        let _ = self.items.send(FeedItem::Lagged(0));
    }
}

/// The delivered sequences of the orders that changed latest. When the newer half is full the older half is forgotten;
/// the next event of a forgotten order is delivered in any case.
#[derive(Default)]
struct Passed {
    newer: OrderMap<Span>,
    older: OrderMap<Span>,
    /// Time of the first present subscription. Earlier events are not delivered.
    since: Timestamp,
    /// Number of reported losses of an unknown number of events.
    outages: u32,
}

#[derive(Clone, Copy)]
struct Span {
    first: u32,
    last: u32,
    outages: u32,
}

impl Passed {
    /// Returns the number of skipped events, and whether this event must be delivered.
    fn place(&mut self, id: OrderId, sequence: u32) -> (u32, bool) {
        let outages = self.outages;
        let known = self.newer.get(&id).or_else(|| self.older.get(&id)).copied();
        let (span, skipped, new) = match known {
            None => (Span { first: sequence, last: sequence, outages }, 0, true),
            Some(span) if sequence > span.last => {
                // A gap from before the last outage has been reported.
                let hole = if span.outages == outages { sequence - span.last - 1 } else { 0 };
                (Span { last: sequence, outages, ..span }, hole, true)
            }
            // Not delivered, because a later one was. Reported, because it was unknown until now.
            Some(span) if sequence < span.first => (Span { first: sequence, ..span }, 1, false),
            Some(_) => return (0, false),
        };
        self.newer.insert(id, span);
        if self.newer.len() >= REMEMBERED {
            self.older = std::mem::take(&mut self.newer);
        }
        (skipped, new)
    }
}

#[cfg(test)]
mod tests {
    use domain::Status;
    use futures_util::FutureExt;

    use super::*;

    fn event(order: u8, sequence: u32) -> Arc<OrderEvent> {
        Arc::new(OrderEvent {
            tenant_id: domain::TenantId::default(),
            order_id: OrderId::from_bytes([order; 16]),
            sequence,
            status: Status::Pending,
            previous_status: None,
            attempt: 0,
            reason: None,
            error_class: None,
            worker: None,
            occurred_at: Timestamp::from_micros(0),
        })
    }

    /// Returns the received items: `order.sequence` for an event, `+n` for `n` skipped events.
    fn seen(items: &mut BoxStream<'static, FeedItem>) -> String {
        let mut seen = Vec::new();
        while let Some(Some(item)) = items.next().now_or_never() {
            seen.push(match item {
                FeedItem::Event(event) => format!("{}.{}", event.order_id.as_bytes()[0], event.sequence),
                FeedItem::Lagged(count) => format!("+{count}"),
            });
        }
        seen.join(" ")
    }

    #[test]
    fn each_event_is_delivered_once_and_in_order() {
        let all = AllOrders::new();
        let mut items = all.subscribe(&Principal::anonymous(), Timestamp::from_micros(0));
        all.deliver(&[event(1, 1), event(1, 1), event(2, 1)]);
        all.deliver(&[event(1, 2), event(1, 1), event(2, 2), event(1, 2)]);
        assert_eq!(seen(&mut items), "1.1 2.1 1.2 2.2");
    }

    #[test]
    fn skipped_events_are_reported_once() {
        let all = AllOrders::new();
        let mut items = all.subscribe(&Principal::anonymous(), Timestamp::from_micros(0));
        all.deliver(&[event(1, 2), event(1, 5), event(1, 4), event(1, 1), event(1, 1), event(1, 6)]);
        assert_eq!(seen(&mut items), "1.2 +2 1.5 +1 1.6");
        // An outage reports all losses before it.
        all.missed();
        all.deliver(&[event(1, 9), event(2, 7), event(1, 11)]);
        assert_eq!(seen(&mut items), "+0 1.9 2.7 +1 1.11");
    }

    #[test]
    fn events_without_subscribers_are_not_reported() {
        let all = AllOrders::new();
        let mut items = all.subscribe(&Principal::anonymous(), Timestamp::from_micros(0));
        all.deliver(&[event(1, 1)]);
        drop(items);
        all.deliver(&[event(1, 2)]);
        items = all.subscribe(&Principal::anonymous(), Timestamp::from_micros(0));
        all.deliver(&[event(1, 3)]);
        assert_eq!(seen(&mut items), "1.3");
    }

    #[test]
    fn remembered_positions_are_limited() {
        let mut passed = Passed::default();
        for n in 0..5 * REMEMBERED {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            passed.place(OrderId::from_bytes(bytes), 1);
            assert!(passed.newer.len() + passed.older.len() <= 2 * REMEMBERED);
        }
    }

    #[test]
    fn slow_subscriber_receives_its_lag() {
        let all = AllOrders::new();
        let mut items = all.subscribe(&Principal::anonymous(), Timestamp::from_micros(0));
        for sequence in 1..=BACKLOG as u32 + 10 {
            all.deliver(&[event(1, sequence)]);
        }
        assert!(seen(&mut items).starts_with("+10 1.11 1.12 "));
    }

    #[test]
    fn late_repetitions_of_the_bus_are_dropped() {
        let all = AllOrders::new();
        let second = |n: i64| Timestamp::from_micros(n * 1_000_000);
        let mut items = all.subscribe(&Principal::anonymous(), second(1_000));
        let at = |order, sequence, time| {
            Arc::new(OrderEvent { occurred_at: second(time), ..(*event(order, sequence)).clone() })
        };
        // One event from before the subscription, and one from after it.
        all.deliver_from_bus(&[at(1, 1, 990), at(2, 1, 1_001)], second(1_001));
        assert_eq!(seen(&mut items), "2.1");
        all.deliver_from_bus(&[at(3, 7, 1_930), at(2, 2, 1_990), at(3, 8, 1_999)], second(2_000));
        assert_eq!(seen(&mut items), "2.2 3.8");
        // Events of this gateway are delivered whatever their age.
        all.deliver(&[at(4, 1, 5)]);
        assert_eq!(seen(&mut items), "4.1");
    }
}
