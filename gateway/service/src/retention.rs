//! Removes orders that have been final for longer than they are kept, all the time and never in a hurry.
//!
//! Every gateway does so. Nothing is remembered between two rounds, so nothing is lost with a gateway.

use std::time::Duration;

use domain::Status;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use gateway_store::Store;
use gateway_store::{Error, Retention};

/// The pause between two rounds.
const ROUND_INTERVAL: Duration = Duration::from_secs(60);
/// The pause after a round that broke off.
const RETRY_PAUSE: Duration = Duration::from_secs(5);
/// The shortest pause between two batches. It is as long as the batch took when that is longer, so that
/// pruning never takes more than half of what one connection can do.
const BATCH_PAUSE: Duration = Duration::from_millis(20);

/// Runs until `stop`; the batch that is being removed then is finished first.
pub(crate) async fn run(store: Store, retention: Retention, stop: CancellationToken) {
    if retention == Retention::default() {
        return;
    }
    loop {
        let mut orders = 0;
        let pause = match round(&store, retention, &stop, &mut orders).await {
            Ok(()) => ROUND_INTERVAL,
            Err(error) => {
                tracing::debug!(%error, "failed to remove old orders, retrying later");
                RETRY_PAUSE
            }
        };
        if orders > 0 {
            tracing::info!(orders, "removed orders past their retention");
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Removes what there is to remove, and counts it.
async fn round(
    store: &Store,
    retention: Retention,
    stop: &CancellationToken,
    orders: &mut u64,
) -> Result<(), Error> {
    for status in Status::ALL.into_iter().filter(|status| retention.of(*status).is_some()) {
        let mut after = None;
        loop {
            let began = Instant::now();
            let pruned = store.prune_orders(status, retention, after).await?;
            metrics::counter!("orders_pruned_total").increment(pruned.orders);
            *orders += pruned.orders;
            tokio::select! {
                () = tokio::time::sleep(began.elapsed().max(BATCH_PAUSE)) => {}
                () = stop.cancelled() => return Ok(()),
            }
            match pruned.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
    }
    Ok(())
}
