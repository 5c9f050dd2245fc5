//! Small periodic tasks: the database's clock and role, expired idempotency keys, and old entries of the audit log.

use std::time::Duration;

use gateway_store::Store;
use tokio_util::sync::CancellationToken;

use crate::dispatch::CLOCK_INTERVAL;
use crate::sweeper::Sweeper;

/// Interval of removing expired idempotency keys and entries of the audit log.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60);

/// Interval of testing a shard that did not accept a write.
const SHARD_INTERVAL: Duration = Duration::from_secs(1);

/// Updates the database's clock and its read-only state, until `stop`.
pub(crate) async fn follow_database(store: Store, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(CLOCK_INTERVAL) => {
                if let Err(error) = store.refresh_clock().await {
                    tracing::debug!(%error, "failed to read the clock of the database");
                }
                if let Err(error) = store.check_primary().await {
                    tracing::debug!(%error, "failed to check whether the database is read-only");
                }
            }
            () = stop.cancelled() => return,
        }
    }
}

/// Tests the shards that did not accept a write, until `stop`. Without shards it ends at once.
pub(crate) async fn retry_shards(store: Store, stop: CancellationToken) {
    if !store.has_shards() {
        return;
    }
    loop {
        tokio::select! {
            () = tokio::time::sleep(SHARD_INTERVAL) => store.retry_unhealthy_shards().await,
            () = stop.cancelled() => return,
        }
    }
}

/// Updates the state of the replica, if there is one, until `stop`.
pub(crate) async fn follow_replica(store: Store, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(CLOCK_INTERVAL) => store.check_replica().await,
            () = stop.cancelled() => return,
        }
    }
}

/// Removes expired idempotency keys until `stop`.
pub(crate) async fn expire_keys(store: Store, sweeper: Sweeper, stop: CancellationToken) {
    let mut more = false;
    loop {
        let pause = if more { Duration::from_millis(100) } else { PRUNE_INTERVAL };
        tokio::select! {
            () = sweeper.held_after(pause) => {
                more = store.prune_idempotency_keys().await.unwrap_or_else(|error| {
                    tracing::debug!(%error, "failed to remove expired idempotency keys, retrying later");
                    false
                });
            }
            () = stop.cancelled() => return,
        }
    }
}

/// Removes old entries of the audit log until `stop`.
pub(crate) async fn prune_audit_log(
    store: Store,
    sweeper: Sweeper,
    retention: Option<Duration>,
    stop: CancellationToken,
) {
    let Some(retention) = retention else { return };
    let mut more = false;
    loop {
        let pause = if more { Duration::from_millis(100) } else { PRUNE_INTERVAL };
        tokio::select! {
            () = sweeper.held_after(pause) => {
                more = store.prune_audit_log(store.now() - retention).await.unwrap_or_else(|error| {
                    tracing::debug!(%error, "failed to remove old entries of the audit log, retrying later");
                    false
                });
            }
            () = stop.cancelled() => return,
        }
    }
}
