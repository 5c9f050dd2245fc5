//! The progress of running attempts: to subscribers of this gateway, and over the bus to those of others.
//!
//! It is not stored. Every gateway keeps the latest progress of the orders that run, up to a number.

use std::sync::Arc;

use broker::Bus;
use domain::{OrderId, Progress, TenantId};
use gateway_store::Store;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::feed::Feed;
use telemetry::panics;

/// Maximum number of reports that wait for the bus. Further ones are dropped; the next report of an order replaces them.
const BACKLOG: usize = 1_024;
/// Maximum number of reports in one message.
const MAX_PER_MESSAGE: usize = 100;

/// Publishes progress. Cheap to clone. Publishing never waits and never fails.
#[derive(Clone)]
pub struct ProgressReports {
    store: Store,
    feed: Feed,
    sender: mpsc::Sender<Progress>,
}

impl ProgressReports {
    /// Starts the publishing task. It ends when every clone is dropped.
    pub(crate) fn start(store: &Store, feed: &Feed, bus: Arc<dyn Bus>, tasks: &TaskTracker) -> Self {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        tasks.spawn(run(bus, receiver));
        Self { store: store.clone(), feed: feed.clone(), sender }
    }

    /// Publishes the progress of an attempt.
    pub fn report(
        &self,
        order_id: OrderId,
        tenant_id: TenantId,
        attempt: u32,
        percent: Option<u8>,
        note: Option<String>,
    ) {
        let reported_at = self.store.now();
        let progress = Progress { order_id, tenant_id, attempt, percent, note, reported_at }.cleaned();
        self.feed.deliver_progress(std::slice::from_ref(&progress));
        if self.sender.try_send(progress).is_err() {
            metrics::counter!("orders_progress_dropped_total").increment(1);
        }
    }
}

async fn run(bus: Arc<dyn Bus>, mut receiver: mpsc::Receiver<Progress>) {
    let mut reports = Vec::new();
    while receiver.recv_many(&mut reports, MAX_PER_MESSAGE).await > 0 {
        let published = panics::catch_async("progress", bus.publish_progress(&reports)).await;
        if let Ok(Err(error)) = published {
            tracing::debug!(%error, "failed to publish progress, subscribers of other gateways do not receive it");
            metrics::counter!("orders_progress_dropped_total").increment(reports.len() as u64);
        }
        reports.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_documented() {
        use limits_page::{count, row};
        row("progress of orders that waits for Redis", &count(BACKLOG));
        row("progress of orders in a message of the bus", &count(MAX_PER_MESSAGE));
    }
}
