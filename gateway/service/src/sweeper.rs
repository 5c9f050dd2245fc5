//! The lease of the sweeper. Its holder does the work of which one gateway is enough for a database: it ends expired
//! claims, removes old rows and measures the queue.
//!
//! The sweeps are correct when several gateways run them, so the lease needs no fencing: it only keeps their cost
//! independent of the number of gateways. When its holder is killed, another gateway takes it after
//! [`LEASE`] at most. While the row of the lease cannot be reached, every gateway sweeps.

use std::sync::Arc;
use std::time::Duration;

use gateway_store::Store;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Duration of the lease.
const LEASE: Duration = Duration::from_secs(6);
/// Interval of its renewal, and of the attempts of other gateways to take it.
const INTERVAL: Duration = Duration::from_secs(2);
/// Maximum time of returning the lease when the gateway stops.
const RETURN_TIME: Duration = Duration::from_secs(1);

/// The lease. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sweeper(Arc<Inner>);

struct Inner {
    store: Store,
    gateway: i64,
    held_until: watch::Sender<Option<Instant>>,
}

impl Sweeper {
    /// Creates the lease of a gateway, which does not hold it yet.
    pub(crate) fn new(store: &Store, gateway: i64) -> Self {
        metrics::gauge!("orders_sweeper").set(0.0);
        Self(Arc::new(Inner { store: store.clone(), gateway, held_until: watch::Sender::new(None) }))
    }

    /// The random number of the gateway's process.
    pub(crate) fn gateway(&self) -> i64 {
        self.0.gateway
    }

    /// Returns whether this gateway holds the lease.
    pub(crate) fn is_held(&self) -> bool {
        self.0.held_until.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Waits until this gateway holds the lease.
    pub(crate) async fn held(&self) {
        let mut held = self.0.held_until.subscribe();
        // The sender lives as long as `self`.
        let _ = held.wait_for(|until| until.is_some_and(|until| Instant::now() < until)).await;
    }

    /// Waits for `pause`, and then until this gateway holds the lease.
    pub(crate) async fn held_after(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
        self.held().await;
    }

    /// Holds the lease whenever no other gateway does, until `stop`. Then returns it.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut failing_since = None;
        loop {
            let begun = Instant::now();
            // The lease in the database began no earlier than `begun`.
            let held = match self.0.store.hold_sweeper_lease(self.0.gateway, LEASE).await {
                Ok(is_held) => {
                    failing_since = None;
                    is_held.then_some(begun + LEASE)
                }
                Err(error) => {
                    tracing::debug!(%error, "failed to take the lease of the sweeper, retrying");
                    // Possibly no gateway can renew it, while the other shards of the database respond: each sweeps then.
                    let since = *failing_since.get_or_insert(begun);
                    if begun.duration_since(since) < LEASE {
                        *self.0.held_until.borrow()
                    } else {
                        Some(begun + LEASE)
                    }
                }
            };
            self.set(held);
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = stop.cancelled() => break,
            }
        }
        if self.0.held_until.send_replace(None).is_some() {
            let returned = self.0.store.return_sweeper_lease(self.0.gateway);
            match tokio::time::timeout(RETURN_TIME, returned).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::debug!(%error, "failed to return the lease of the sweeper, it ends soon")
                }
                Err(_) => tracing::debug!("the lease of the sweeper was not returned in time, it ends soon"),
            }
        }
    }

    fn set(&self, held: Option<Instant>) {
        let before = self.0.held_until.send_replace(held);
        if before.is_some() != held.is_some() {
            tracing::info!(held = held.is_some(), "the lease of the sweeper has changed");
        }
        metrics::gauge!("orders_sweeper").set(if self.is_held() { 1.0 } else { 0.0 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lease_is_documented() {
        limits_page::row(
            "lease of the sweeper; interval of its renewal",
            &format!("{}; {}", limits_page::time(LEASE), limits_page::time(INTERVAL)),
        );
    }
}
