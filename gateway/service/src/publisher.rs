//! Publishes events to subscribers and the bus, after the response to the client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use broker::Bus;
use domain::OrderEvent;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::event_log::EventLog;
use crate::feed::Feed;
use telemetry::LogThrottle;
use telemetry::panics;

/// Maximum number of batches of events that wait for the bus. Further ones are dropped, and a gap is announced, after
/// which the other gateways compare their watched orders with the database.
const BACKLOG: usize = 1_024;
/// Maximum number of events in one message.
const MAX_EVENTS_PER_MESSAGE: usize = 500;

/// Interval between attempts to announce a gap.
const ANNOUNCE_PAUSE: Duration = Duration::from_secs(1);

/// Publishes events: directly to subscribers of this gateway, over the bus to those of others.
///
/// Cheap to clone. Publishing never waits and never fails.
#[derive(Clone)]
pub(crate) struct Publisher {
    sender: mpsc::Sender<Vec<Arc<OrderEvent>>>,
    feed: Feed,
    event_log: EventLog,
    lost: Arc<AtomicBool>,
}

impl Publisher {
    /// Starts the publishing task. It ends when every clone is dropped and everything is sent.
    pub(crate) fn start(bus: Arc<dyn Bus>, feed: Feed, event_log: EventLog, tasks: &TaskTracker) -> Self {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let lost = Arc::new(AtomicBool::new(false));
        tasks.spawn(run(bus, lost.clone(), receiver));
        Self { sender, feed, event_log, lost }
    }

    /// Delivers events to subscribers of this gateway, and enqueues them for the bus.
    pub(crate) fn publish(&self, events: Vec<Arc<OrderEvent>>) {
        if events.is_empty() {
            return;
        }
        self.event_log.committed();
        self.feed.deliver(&events);
        let count = events.len() as u64;
        if self.sender.try_send(events).is_err() {
            metrics::counter!("orders_bus_events_dropped_total").increment(count);
            self.lost.store(true, Ordering::Relaxed);
        }
    }
}

/// Publishes until every sender is dropped. `lost` is set while a gap has to be announced.
async fn run(bus: Arc<dyn Bus>, lost: Arc<AtomicBool>, mut receiver: mpsc::Receiver<Vec<Arc<OrderEvent>>>) {
    let log = LogThrottle::default();
    let mut batches = Vec::new();
    loop {
        tokio::select! {
            count = receiver.recv_many(&mut batches, BACKLOG) => if count == 0 { return },
            () = tokio::time::sleep(ANNOUNCE_PAUSE), if lost.load(Ordering::Relaxed) => {}
        }
        let events = batches.drain(..).flatten().collect();
        let published = panics::catch_async("publish", publish(&*bus, &lost, events)).await;
        let published = published.unwrap_or_else(|_| Err(broker::Error::Unavailable("a panic".to_owned())));
        if let Err(error) = published {
            lost.store(true, Ordering::Relaxed);
            metrics::counter!("orders_bus_publish_errors_total").increment(1);
            if let Some(more) = log.allow() {
                tracing::warn!(%error, more, "failed to publish events, subscribers of other gateways receive them later");
            }
        }
    }
}

async fn publish(
    bus: &dyn Bus,
    lost: &AtomicBool,
    events: Vec<Arc<OrderEvent>>,
) -> Result<(), broker::Error> {
    // Announced first: without the gap, a gateway would take the following events for complete.
    if lost.swap(false, Ordering::Relaxed) {
        bus.publish_gap().await?;
    }
    for message in events.chunks(MAX_EVENTS_PER_MESSAGE) {
        bus.publish(message).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker::{Error, GatewayInfo, Subscription};
    use domain::{OrderId, Status, Timestamp};
    use futures_util::StreamExt;

    use super::*;
    use crate::feed::FeedItem;
    use crate::presence::Presence;
    use gateway_store::Options;
    use gateway_store::Store;

    /// A bus that can be disconnected and reports what it received.
    struct Cut {
        cut: AtomicBool,
        said: mpsc::UnboundedSender<String>,
    }

    impl Cut {
        fn say(&self, text: String) -> Result<(), Error> {
            if self.cut.load(Ordering::Relaxed) {
                return Err(Error::Unavailable("cut".into()));
            }
            self.said.send(text).unwrap();
            Ok(())
        }
    }

    #[async_trait::async_trait]
    impl Bus for Cut {
        async fn publish(&self, events: &[Arc<OrderEvent>]) -> Result<(), Error> {
            self.say(format!("{}", events.len()))
        }

        async fn publish_progress(&self, _: &[domain::Progress]) -> Result<(), Error> {
            Ok(())
        }

        async fn publish_gap(&self) -> Result<(), Error> {
            self.say("loss".to_owned())
        }

        async fn announce(&self, _: &GatewayInfo) -> Result<(), Error> {
            Ok(())
        }

        async fn subscribe(&self) -> Subscription {
            mpsc::channel(1).1.into()
        }
    }

    fn test_presence() -> Presence {
        Presence::new(GatewayInfo {
            id: broker::GatewayId(1),
            host: Arc::from(""),
            version: Arc::from(""),
            started_at: Timestamp::from_micros(0),
        })
    }

    #[tokio::test]
    async fn gap_is_announced_when_the_bus_returns() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("orders.db").display());
        let store = Store::connect(&url, &Options::default()).await.unwrap();
        let feed = Feed::new(&store, test_presence());
        let mut all = feed.all(&domain::Principal::anonymous()).unwrap();
        let (said, mut heard) = mpsc::unbounded_channel();
        let bus = Arc::new(Cut { cut: AtomicBool::new(true), said });
        let installation = gateway_store::Installation { id: [0; 16], secret: [0; 32] };
        let event_log = EventLog::new(&store, &installation);
        let publisher = Publisher::start(bus.clone(), feed, event_log, &TaskTracker::new());
        let event = |sequence| {
            Arc::new(OrderEvent {
                tenant_id: domain::TenantId::default(),
                order_id: OrderId::from_bytes([1; 16]),
                sequence,
                status: Status::Pending,
                previous_status: None,
                attempt: 0,
                reason: None,
                error_class: None,
                worker: None,
                occurred_at: Timestamp::from_micros(1),
            })
        };
        publisher.publish(vec![event(1), event(2)]);
        // Subscribers of this gateway receive the events without the bus.
        for sequence in [1, 2] {
            assert!(matches!(all.next().await, Some(FeedItem::Event(event)) if event.sequence == sequence));
        }
        while !publisher.lost.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
        bus.cut.store(false, Ordering::Relaxed);
        assert_eq!(heard.recv().await.unwrap(), "loss", "without any further event");
        publisher.publish(vec![event(3)]);
        assert_eq!(heard.recv().await.unwrap(), "1");
    }
}
