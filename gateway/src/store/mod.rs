//! SQL. Nothing outside this module knows any.
//!
//! Start with [`transition`]: every change of an order goes through it. [`insert`] accepts orders,
//! [`due`] finds those that need attention, [`read`] shows them.
//!
//! One body of SQL serves MySQL, MariaDB and SQLite; where they differ, [`Dialect`] says how. Every
//! write is one short transaction over many rows, at READ COMMITTED, with the rows locked while the
//! domain decides about them. Conflicts between transactions are repeated here; a lost answer to
//! COMMIT is reported as such and is resolved by whoever knows what was written.
//!
//! SQLite has one connection that writes and some that read; MySQL has pools of both, so that
//! neither can starve the other.

mod connect;
mod dialect;
mod due;
mod error;
mod idempotency;
mod insert;
mod inspect;
mod read;
mod rows;
mod sql;
mod transition;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use domain::Timestamp;
use rand::Rng;
use sqlx::{AnyConnection, AnyPool};

pub use connect::{ConnectError, Options};
pub use dialect::Dialect;
pub use due::DueCounts;
pub use error::Error;
pub use idempotency::{Idempotency, request_hash};
pub use insert::{Inserted, NewOrder};
pub use inspect::{Finding, Problem, Report};
pub use transition::Applied;

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    dialect: Dialect,
    readers: AnyPool,
    writers: AnyPool,
    deadline: Duration,
    /// Database time minus local time, in microseconds.
    clock_offset: AtomicI64,
    /// Keeps other processes away from an SQLite file for as long as the store lives.
    _lock: Option<std::fs::File>,
}

/// How often a transaction is tried that collides with others.
const TRIES: u32 = 6;

/// The future of a piece of work on one connection.
type Work<'c, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'c>>;

impl Store {
    /// The database's time: the local clock, corrected by the difference last seen. Gateways whose
    /// clocks disagree therefore agree on leases, due times and ids.
    pub fn now(&self) -> Timestamp {
        let local = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let local = i64::try_from(local.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(local.saturating_add(self.inner.clock_offset.load(Ordering::Relaxed)))
    }

    /// Which kind of database this is.
    pub fn dialect(&self) -> Dialect {
        self.inner.dialect
    }

    /// Asks the database for its time and remembers the difference. Also tells whether it answers.
    ///
    /// # Errors
    /// [`Error::Unavailable`] and [`Error::TimedOut`].
    pub async fn refresh_clock(&self) -> Result<(), Error> {
        let query = self.inner.dialect.now();
        let local_before = SystemTime::now();
        let micros: i64 = self
            .read(move |connection| {
                Box::pin(async move { Ok(sqlx::query_scalar(query).fetch_one(connection).await?) })
            })
            .await?;
        let elapsed = local_before.elapsed().unwrap_or_default();
        // The answer was true some time during the call; take the middle.
        let local = local_before.duration_since(UNIX_EPOCH).unwrap_or_default() + elapsed / 2;
        let offset = micros - i64::try_from(local.as_micros()).unwrap_or(0);
        // SQLite answers from the same clock, in milliseconds: that is no difference.
        let offset = if self.inner.dialect == Dialect::Sqlite { 0 } else { offset };
        self.inner.clock_offset.store(offset, Ordering::Relaxed);
        Ok(())
    }

    /// Asks the database something, for readiness.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`].
    pub async fn ping(&self) -> Result<(), crate::Error> {
        self.refresh_clock().await.map_err(Into::into)
    }

    /// Closes every connection; what still runs ends first.
    pub async fn close(&self) {
        self.inner.writers.close().await;
        self.inner.readers.close().await;
    }

    /// Runs `work` on a reading connection, within the deadline.
    async fn read<T: Send>(
        &self,
        work: impl for<'c> FnOnce(&'c mut AnyConnection) -> Work<'c, T> + Send,
    ) -> Result<T, Error> {
        let mut connection = self.inner.readers.acquire().await?;
        match tokio::time::timeout(self.inner.deadline, work(&mut connection)).await {
            Ok(result) => result,
            Err(_) => {
                // The statement may still run over there; its connection is of no use to others.
                drop(connection.detach());
                Err(Error::TimedOut)
            }
        }
    }

    /// Runs `work` in a transaction and commits. Repeats it when it collides with another one, so it
    /// may be called several times and must not keep anything from a call that did not succeed.
    async fn write<T: Send>(
        &self,
        work: impl for<'c> Fn(&'c mut AnyConnection) -> Work<'c, T> + Send + Sync,
    ) -> Result<T, Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_write(&work).await {
                Err(Error::Conflict(error)) if tries < TRIES => {
                    metrics::counter!("store_conflicts_total").increment(1);
                    tracing::debug!(%error, tries, "transaction repeated");
                    let jitter = rand::rng().random_range(0..5 << tries);
                    tokio::time::sleep(Duration::from_millis(jitter)).await;
                }
                result => return result,
            }
        }
    }

    async fn try_write<T: Send>(
        &self,
        work: &(impl for<'c> Fn(&'c mut AnyConnection) -> Work<'c, T> + Send + Sync),
    ) -> Result<T, Error> {
        let mut connection = self.inner.writers.acquire().await?;
        let deadline = tokio::time::Instant::now() + self.inner.deadline;
        let result = tokio::time::timeout_at(deadline, async {
            sqlx::raw_sql(self.inner.dialect.begin()).execute(&mut *connection).await?;
            work(&mut connection).await
        })
        .await
        .unwrap_or(Err(Error::TimedOut));
        let value = match result {
            Ok(value) => value,
            Err(error) => {
                // Without a clean rollback the connection is dropped, and with it the transaction.
                let broken = matches!(error, Error::TimedOut | Error::Unavailable(_));
                let clean = !broken && {
                    let rollback = sqlx::raw_sql("ROLLBACK").execute(&mut *connection);
                    matches!(tokio::time::timeout_at(deadline, rollback).await, Ok(Ok(_)))
                };
                if !clean {
                    drop(connection.detach());
                }
                return Err(error);
            }
        };
        let commit = sqlx::raw_sql("COMMIT").execute(&mut *connection);
        match tokio::time::timeout(self.inner.deadline, commit).await {
            Ok(Ok(_)) => Ok(value),
            Ok(Err(sqlx::Error::Database(error))) => {
                // The database answered: it was not committed.
                drop(connection.detach());
                Err(sqlx::Error::Database(error).into())
            }
            Ok(Err(_)) | Err(_) => {
                drop(connection.detach());
                Err(Error::CommitUnknown)
            }
        }
    }
}
