//! Whether the database responds.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Error, Outage, Store};

/// Interval between two queries to a database that did not respond.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

impl Store {
    /// Sends a query to the database, for readiness.
    ///
    /// # Errors
    /// As [`Self::refresh_clock`].
    pub async fn ping(&self) -> Result<(), Error> {
        self.refresh_clock().await
    }

    /// Returns whether the last write did not reach the database.
    pub fn is_unhealthy(&self) -> bool {
        self.inner.unhealthy.load(Ordering::Relaxed)
    }

    /// Waits until a write can succeed: after a write that did not reach the database, until it responds again.
    ///
    /// A write that was not sent meanwhile was certainly not made. A server that is reachable and refuses connections is
    /// not waited for: the next write is refused as fast, and its caller receives the reason.
    pub async fn wait_until_healthy(&self) {
        while self.inner.unhealthy.load(Ordering::Relaxed) {
            match self.refresh_clock().await {
                Ok(()) => self.inner.unhealthy.store(false, Ordering::Relaxed),
                Err(Error::Unavailable(Outage::ConnectionLimit(_))) => return,
                Err(_) => tokio::time::sleep(RETRY_INTERVAL).await,
            }
        }
    }
}
