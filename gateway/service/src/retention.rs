//! Removes orders that have been final for longer than their retention.
//!
//! The gateway with the lease of the sweeper runs it. It keeps no state between passes, so the loss of a gateway loses nothing.

use std::time::Duration;

use domain::Status;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use gateway_store::Store;
use gateway_store::{Error, PrunePosition, Retention};

use crate::sweeper::Sweeper;

/// Pause between two passes.
const PASS_INTERVAL: Duration = Duration::from_secs(60);
/// Pause after a failed pass.
const RETRY_PAUSE: Duration = Duration::from_secs(5);
/// Minimum pause between two batches. A batch that took longer is followed by a pause of its duration, so that pruning
/// uses at most half of one connection.
const BATCH_PAUSE: Duration = Duration::from_millis(20);

/// Runs until `stop`; a started batch finishes first.
pub(crate) async fn run(store: Store, sweeper: Sweeper, retention: Retention, stop: CancellationToken) {
    if retention == Retention::default() {
        return;
    }
    let mut pause = Duration::ZERO;
    loop {
        tokio::select! {
            () = sweeper.held_after(pause) => {}
            () = stop.cancelled() => return,
        }
        let mut orders = 0;
        pause = match prune_expired(&store, &sweeper, retention, &stop, &mut orders).await {
            Ok(()) => PASS_INTERVAL,
            Err(error) => {
                tracing::debug!(%error, "failed to remove old orders, retrying later");
                RETRY_PAUSE
            }
        };
        if orders > 0 {
            tracing::info!(orders, "removed orders past their retention");
        }
    }
}

/// Removes all expired orders while this gateway holds the lease, and adds their number to `orders`.
async fn prune_expired(
    store: &Store,
    sweeper: &Sweeper,
    retention: Retention,
    stop: &CancellationToken,
    orders: &mut u64,
) -> Result<(), Error> {
    for status in Status::ALL.into_iter().filter(|status| retention.of(*status).is_some()) {
        let mut after: Option<PrunePosition> = None;
        loop {
            let began = Instant::now();
            let pruned = store.prune_orders(status, retention, after.take()).await?;
            metrics::counter!("orders_pruned_total").increment(pruned.orders);
            *orders += pruned.orders;
            tokio::select! {
                () = tokio::time::sleep(began.elapsed().max(BATCH_PAUSE)) => {}
                () = stop.cancelled() => return Ok(()),
            }
            after = pruned.next;
            if !sweeper.is_held() {
                return Ok(());
            }
            if after.is_none() {
                break;
            }
        }
    }
    Ok(())
}
