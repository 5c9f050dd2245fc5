//! Follows changes of keys and tenants, so that a revocation takes effect before the cached key is read again.
//!
//! The gateway reads the changes from the database twice a second, because `orders keys revoke` writes only there. A
//! message between gateways would not reach them from that command.

use std::time::Duration;

use domain::Timestamp;
use gateway_store::{Error, Store};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::credential_cache::{CredentialCache, FRESH};

/// Interval between reads of the changes.
pub(crate) const INTERVAL: Duration = Duration::from_millis(500);
/// Time after which ended keys are deleted. The audit log still contains their creation and revocation.
pub(crate) const KEEP_ENDED: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// Interval between deletions of ended keys.
const DELETE_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Removes changed keys, and those of changed tenants, from the cache until `stop`.
pub(crate) async fn follow_keys(store: &Store, cache: Option<&CredentialCache>, stop: &CancellationToken) {
    let Some(cache) = cache else { return };
    let mut times = interval(INTERVAL);
    times.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut complete_until = store.now();
    while stop.run_until_cancelled(times.tick()).await.is_some() {
        let begun = store.now();
        match forget_changed(store, cache, complete_until).await {
            Ok(()) => complete_until = begun,
            Err(error) => tracing::debug!(%error, "failed to read the changes of keys, retrying"),
        }
    }
}

/// Removes all tokens from the cache when a tenant has changed, until `stop`. Their signatures are verified again.
pub(crate) async fn follow_tenants(store: &Store, cache: Option<&CredentialCache>, stop: &CancellationToken) {
    let Some(cache) = cache else { return };
    let mut times = interval(INTERVAL);
    times.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = None;
    while stop.run_until_cancelled(times.tick()).await.is_some() {
        match store.latest_tenant_change().await {
            Ok(latest) if latest == seen => {}
            Ok(latest) => {
                cache.clear();
                seen = latest;
            }
            Err(error) => tracing::debug!(%error, "failed to read the changes of tenants, retrying"),
        }
    }
}

/// Forgets the keys that changed since a time.
///
/// A change is written some time after its time was set. An older one is found as well, up to the time for which a key is
/// cached: by then the key is read again anyway.
async fn forget_changed(store: &Store, cache: &CredentialCache, since: Timestamp) -> Result<(), Error> {
    for hash in store.api_keys_changed_since(since - FRESH).await? {
        cache.forget(&hash);
    }
    Ok(())
}

/// Deletes keys that ended long ago, until `stop`.
pub(crate) async fn delete_ended(store: &Store, stop: &CancellationToken) {
    let mut times = interval(DELETE_INTERVAL);
    times.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(times.tick()).await.is_some() {
        loop {
            match store.delete_ended_api_keys(store.now() - KEEP_ENDED).await {
                Ok(true) if !stop.is_cancelled() => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::debug!(%error, "failed to delete ended keys, retrying later");
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_documented() {
        limits_page::row("time until a revocation takes effect", &format!("{} ms", INTERVAL.as_millis()));
        limits_page::row(
            "time for which an ended API key is kept",
            &format!("{} d", KEEP_ENDED.as_secs() / (24 * 60 * 60)),
        );
    }
}
