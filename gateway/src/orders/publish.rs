//! Telling the bus, behind the answer to the client.

use std::sync::Arc;
use std::time::Duration;

use broker::Bus;
use domain::OrderEvent;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::feed::Feed;

/// Batches of events that may wait for the bus. When it is that far behind, more are dropped:
/// subscribers notice the hole, or the timer of the feed does, and read the database.
const BACKLOG: usize = 1_024;
/// Most events in one message.
const MESSAGE: usize = 500;
/// At most one log line in this time says that the bus is away.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// The way to the bus. Cheap to clone; publishing never waits and never fails.
#[derive(Clone)]
pub(crate) struct Publisher {
    sender: mpsc::Sender<Vec<Arc<OrderEvent>>>,
    feed: Feed,
}

impl Publisher {
    /// Starts the publishing task. It ends when every clone is dropped and everything is sent. Events
    /// that the bus does not take go at least to the subscribers of this gateway.
    pub(crate) fn start(bus: Arc<dyn Bus>, feed: Feed, tasks: &TaskTracker) -> Self {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        tasks.spawn(run(bus, feed.clone(), receiver));
        Self { sender, feed }
    }

    /// Sends the events soon.
    pub(crate) fn publish(&self, events: Vec<Arc<OrderEvent>>) {
        if events.is_empty() {
            return;
        }
        let count = events.len() as u64;
        if self.sender.try_send(events).is_err() {
            metrics::counter!("bus_dropped_total").increment(count);
            self.feed.missed(count);
        }
    }
}

async fn run(bus: Arc<dyn Bus>, feed: Feed, mut receiver: mpsc::Receiver<Vec<Arc<OrderEvent>>>) {
    let mut logged: Option<tokio::time::Instant> = None;
    let mut batches = Vec::new();
    while receiver.recv_many(&mut batches, BACKLOG).await > 0 {
        let events: Vec<Arc<OrderEvent>> = batches.drain(..).flatten().collect();
        for message in events.chunks(MESSAGE) {
            let plain: Vec<OrderEvent> = message.iter().map(|event| OrderEvent::clone(event)).collect();
            let Err(error) = bus.publish(&plain).await else { continue };
            metrics::counter!("bus_errors_total").increment(1);
            if logged.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
                tracing::warn!(%error, "events cannot be published; subscribers here get them all the same");
                logged = Some(tokio::time::Instant::now());
            }
            feed.deliver(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use broker::{Error, Signal};
    use domain::{OrderId, Status, Timestamp};
    use futures_util::StreamExt;

    use super::*;
    use crate::Store;
    use crate::feed::FeedItem;
    use crate::store::Options;

    /// A bus that never answers.
    struct Stuck;

    #[async_trait::async_trait]
    impl Bus for Stuck {
        async fn publish(&self, _: &[OrderEvent]) -> Result<(), Error> {
            std::future::pending().await
        }

        async fn subscribe(&self) -> mpsc::Receiver<Signal> {
            mpsc::channel(1).1
        }
    }

    #[tokio::test]
    async fn who_follows_all_orders_is_told_of_events_that_were_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("orders.db").display());
        let feed = Feed::new(&Store::connect(&url, &Options::default()).await.unwrap());
        let mut all = feed.all();
        let publisher = Publisher::start(Arc::new(Stuck), feed, &TaskTracker::new());
        let event = Arc::new(OrderEvent {
            order_id: OrderId::new(Timestamp::from_micros(1)),
            sequence: 1,
            status: Status::Pending,
            previous_status: None,
            attempt: 0,
            reason: None,
            occurred_at: Timestamp::from_micros(1),
        });
        // Nothing leaves, so the task takes one backlog at most and the next one fills up.
        for _ in 0..=2 * BACKLOG {
            publisher.publish(vec![event.clone(); 3]);
        }
        assert!(matches!(all.next().await, Some(FeedItem::Lagged(3))));
    }
}
