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
}

impl Publisher {
    /// Starts the publishing task. It ends when every clone is dropped and everything is sent. Events
    /// that the bus does not take go at least to the subscribers of this gateway.
    pub(crate) fn start(bus: Arc<dyn Bus>, feed: Feed, tasks: &TaskTracker) -> Self {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        tasks.spawn(run(bus, feed, receiver));
        Self { sender }
    }

    /// Sends the events soon.
    pub(crate) fn publish(&self, events: Vec<Arc<OrderEvent>>) {
        if events.is_empty() {
            return;
        }
        let count = events.len() as u64;
        if self.sender.try_send(events).is_err() {
            metrics::counter!("bus_dropped_total").increment(count);
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
