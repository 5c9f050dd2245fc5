//! Writes: one transaction, its repetition after a conflict, and its COMMIT.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;

use super::connection::Connection;
use super::hot_connections::HotConnections;
use super::last_statements::CommitFailure;
use super::read_path::ConnectionInUse;
use super::{Error, Shard, Work, files, statement};

/// Maximum number of tries of a transaction that conflicts with others.
const MAX_TRIES: u32 = 6;

impl Shard {
    /// Runs `work` in a transaction and commits.
    ///
    /// A transaction that conflicts with another one is repeated, so `work` may be called several times and must not keep
    /// anything from a call that failed.
    pub(super) async fn write<T: Send>(
        &self,
        work: impl for<'c> Fn(&'c mut Connection) -> Work<'c, T> + Send + Sync,
    ) -> Result<T, Error> {
        self.write_on(&self.inner.writers, work).await
    }

    /// As [`Self::write`], over certain connections.
    pub(super) async fn write_on<T: Send>(
        &self,
        connections: &HotConnections,
        work: impl for<'c> Fn(&'c mut Connection) -> Work<'c, T> + Send + Sync,
    ) -> Result<T, Error> {
        let mut tries = 0;
        let begun = Instant::now();
        loop {
            tries += 1;
            match self.try_write(connections, &work).await {
                Err(Error::Conflict(error)) if tries < MAX_TRIES => {
                    metrics::counter!("orders_database_transaction_retries_total").increment(1);
                    tracing::debug!(%error, tries, "retrying transaction");
                    let jitter = rand::rng().random_range(0..5 << tries);
                    tokio::time::sleep(Duration::from_millis(jitter)).await;
                }
                result => {
                    metrics::histogram!("orders_database_transaction_duration_seconds")
                        .record(begun.elapsed());
                    let outage = result.as_ref().is_err_and(Error::is_outage);
                    self.inner.unhealthy.store(outage, Ordering::Relaxed);
                    self.count_answer(&result);
                    self.log(&result);
                    return result;
                }
            }
        }
    }

    async fn try_write<T: Send>(
        &self,
        connections: &HotConnections,
        work: &(impl for<'c> Fn(&'c mut Connection) -> Work<'c, T> + Send + Sync),
    ) -> Result<T, Error> {
        self.check_file()?;
        let deadline = Instant::now() + self.inner.deadline;
        let generation = connections.generation();
        let mut used = ConnectionInUse::new(self.acquired(connections.acquire()).await?);
        used.connection().last = self.inner.joins_statements.then(Vec::new);
        used.connection().place = self.inner.place;
        let result = tokio::time::timeout_at(deadline, async {
            if let Some(begin) = self.inner.dialect.begin() {
                used.connection().execute_text(begin).await?;
            }
            statement::counted(&self.inner.statements, work(used.connection())).await
        })
        .await
        .unwrap_or(Err(Error::TimedOut));
        let value = match result {
            Ok(value) => value,
            Err(error) => return self.roll_back(used, deadline, error).await,
        };
        let commit = statement::counted(&self.inner.statements, used.connection().commit());
        match tokio::time::timeout(self.inner.deadline, commit).await {
            Ok(Ok(())) => {
                connections.release(used.finish(), generation);
                // A write to a file that was removed is not committed.
                self.check_file().map(|()| value)
            }
            Ok(Err(CommitFailure::Outdated)) => {
                connections.release(used.finish(), generation);
                Err(Error::Outdated)
            }
            Ok(Err(CommitFailure::Statement(error))) => {
                self.roll_back(used, Instant::now() + self.inner.deadline, error).await
            }
            Ok(Err(CommitFailure::Commit(error))) => {
                let result = Err(error);
                self.abandon_if_read_only(&result);
                result
            }
            Err(_) => {
                let result = Err(Error::CommitUnknown);
                self.suspect_host(&result);
                result
            }
        }
    }

    /// Ends a transaction in which a statement has failed.
    async fn roll_back<T>(
        &self,
        mut used: ConnectionInUse,
        deadline: Instant,
        error: Error,
    ) -> Result<T, Error> {
        // Without a clean rollback the connection is closed, and the transaction ends with it.
        let clean = !error.ends_connection() && {
            let rollback = used.connection().execute_text("ROLLBACK");
            matches!(tokio::time::timeout_at(deadline, rollback).await, Ok(Ok(_)))
        };
        if clean {
            drop(used.finish());
        }
        let result = Err(error);
        self.abandon_if_read_only(&result);
        result
    }

    /// Returns whether the file of an embedded database was removed or replaced.
    pub fn has_lost_its_file(&self) -> bool {
        self.inner.file.as_ref().is_some_and(files::Claim::is_lost)
    }

    fn check_file(&self) -> Result<(), Error> {
        match self.has_lost_its_file() {
            true => Err(sqlx::Error::Io(std::io::ErrorKind::NotFound.into()).into()),
            false => Ok(()),
        }
    }
}
