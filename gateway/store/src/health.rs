//! Whether the database responds.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::statement::Statement;
use super::{Dialect, Error, Outage, Shard};

/// Interval between two queries to a database that did not respond.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

impl Shard {
    /// Sends a query to the database, for readiness.
    ///
    /// # Errors
    /// As [`Self::refresh_clock`].
    pub async fn ping(&self) -> Result<(), Error> {
        self.refresh_clock().await
    }

    /// Returns the name and the version of the database, such as `MariaDB 10.11.6`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn server_version(&self) -> Result<String, Error> {
        let is_sqlite = self.dialect() == Dialect::Sqlite;
        let version = self.read(move |connection| {
            Box::pin(async move {
                let text = if is_sqlite { "SELECT sqlite_version()" } else { "SELECT VERSION()" };
                let rows = Statement::new(text).fetch(connection).await?;
                rows.first().map_or(Ok(String::new()), |row| row.get::<&str>(0).map(str::to_owned))
            })
        });
        let version = version.await?;
        Ok(match version.split_once("-MariaDB") {
            Some((number, _)) => format!("MariaDB {number}"),
            None if is_sqlite => format!("SQLite {version}"),
            None => format!("MySQL {version}"),
        })
    }

    pub(super) fn set_unhealthy(&self) {
        self.inner.unhealthy.store(true, Ordering::Relaxed);
    }

    /// Returns whether the last write did not reach the database.
    pub fn is_unhealthy(&self) -> bool {
        self.inner.unhealthy.load(Ordering::Relaxed)
    }

    /// Waits until a write can succeed: after a write that did not reach the database, until it responds again.
    ///
    /// A write that was not sent meanwhile was certainly not made. A server that is reachable and refuses the query is
    /// not waited for: the next write is refused as fast, and its caller receives the reason.
    pub async fn wait_until_healthy(&self) {
        while self.inner.unhealthy.load(Ordering::Relaxed) {
            match self.refresh_clock().await {
                Ok(()) => self.inner.unhealthy.store(false, Ordering::Relaxed),
                Err(Error::Unavailable(outage))
                    if !matches!(outage, Outage::Away(_) | Outage::PoolExhausted) =>
                {
                    return;
                }
                Err(_) => tokio::time::sleep(RETRY_INTERVAL).await,
            }
        }
    }
}
