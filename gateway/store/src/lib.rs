//! SQL. Nothing outside this module knows any.
//!
//! Start with [`transition`]: every change of an order goes through it. [`insert`] accepts orders,
//! [`ready`] finds those that need attention, [`read`] and [`list`] show them, [`timeline`] puts their events
//! together, [`retention`] removes them.
//!
//! One body of SQL serves MySQL, MariaDB and SQLite; where they differ, [`Dialect`] says how. Every
//! write is one short transaction over many rows, at READ COMMITTED, with the rows locked while the
//! domain decides about them. Conflicts between transactions are repeated here; a lost answer to
//! COMMIT is reported as such and is resolved by whoever knows what was written.
//!
//! SQLite has one connection that writes and some that read; MySQL has pools of both, so that
//! neither can starve the other. Searches have two more of their own (see [`search`]).

mod abandoned_leases;
mod address;
mod backup;
mod clock;
mod columns;
mod connect;
mod connection;
mod counts;
mod create_request;
mod dialect;
mod error;
mod error_codes;
mod files;
mod hot_connections;
mod idempotency;
mod insert;
mod inspect;
mod installation;
mod isolate;
mod later_clock;
mod list;
mod migrate;
mod park;
mod pause;
mod pools;
mod primary;
mod probe;
mod read;
mod ready;
mod repair;
mod request_hash;
mod retention;
mod row;
mod row_cache;
mod rows;
mod scan;
mod search;
mod session;
mod statement;
mod steady_time;
mod tcp_nodelay;
#[cfg(test)]
mod tests;
mod timeline;
mod transition;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use domain::Timestamp;
use rand::Rng;
use telemetry::LogThrottle;
use tokio::time::Instant;

use connection::{Connection, Pool};
use statement::Statement;

pub use address::{BadUrl, check as check_database_url};
pub use backup::{BackupError, back_up};
pub use connect::{ConnectError, Options};
pub use counts::{COUNT_LIMIT, Counts};
pub use create_request::{CreateRequest, Idempotency, InsertOutcome, NewOrder};
pub use dialect::Dialect;
pub use error::{Error, Outage};
pub use inspect::{IntegrityIssue, IntegrityReport, IssueKind};
pub use installation::Installation;
pub use isolate::{Cause, LARGEST_ORDER, Unreadable};
pub use later_clock::ClaimLimits;
pub use migrate::Schema;
pub use pause::Pause;
pub use probe::Probe;
pub use read::FoundOrders;
pub use ready::{Claimed, DispatchCursor, ExpiredClaims, ReadyOrder};
pub use repair::{InvalidSetting, Repaired, Setting};
pub use request_hash::{bulk_hash, request_hash};
pub use request_hash::{draft_hash, unreadable_hash};
pub use retention::{PRUNE_BATCH, Pruned, Retention};
pub use scan::{Listed, Scan, ScanStart, Scanned};
pub use search::{SEARCHES, SearchPass};
pub use timeline::Timelines;
pub use transition::CommandOutcome;

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    dialect: Dialect,
    readers: Pool,
    lane: search::SearchPool,
    writers: hot_connections::HotConnections,
    /// For messages: host and port, or the file.
    address: String,
    deadline: Duration,
    clock: clock::Clock,
    /// The last write did not get through to the database.
    unhealthy: AtomicBool,
    /// What transitions need not read.
    row_cache: row_cache::RowCache,
    /// How often the database has answered.
    answers: AtomicU64,
    /// How many statements were sent.
    statements: Arc<AtomicU64>,
    log: LogThrottle,
    primary: Arc<primary::Primary>,
    parking: park::Log,
    installation: tokio::sync::OnceCell<Installation>,
    pause_seen: pause::Seen,
    steady: steady_time::Record,
    /// Keeps other processes away from an SQLite file for as long as the store lives.
    file: Option<files::Claim>,
}

/// The pause between two questions to a database that did not answer.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// How often a transaction is tried that collides with others.
const TRIES: u32 = 6;

/// The future of a piece of work on one connection.
type Work<'c, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'c>>;

impl Store {
    /// The database's time: the local clock, corrected by the difference last seen. Gateways whose
    /// clocks disagree, or are set while they run, therefore agree on leases, due times and ids.
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// How often a step of the clock was seen.
    pub fn clock_steps(&self) -> u64 {
        self.inner.clock.steps()
    }

    /// Which kind of database this is.
    pub fn dialect(&self) -> Dialect {
        self.inner.dialect
    }

    /// How many statements this store has sent, those that open and end transactions not counted.
    pub fn statements(&self) -> u64 {
        self.inner.statements.load(Ordering::Relaxed)
    }

    /// Asks the database for its time and remembers the difference. Also tells whether it answers.
    ///
    /// # Errors
    /// [`Error::Unavailable`] and [`Error::TimedOut`].
    pub async fn refresh_clock(&self) -> Result<(), Error> {
        let query = self.inner.dialect.now();
        let local = self.inner.clock.local;
        let (before, database, after) = self
            .read(move |connection| {
                Box::pin(async move {
                    // Not counting the wait for a connection, which can be long.
                    let before = local.micros();
                    let rows = Statement::new(query).fetch(connection).await?;
                    let database = rows.first().map_or(Ok(0), |row| row.get(0))?;
                    Ok((before, database, local.micros()))
                })
            })
            .await?;
        let offset = match self.inner.dialect {
            Dialect::MySql => clock::corrected(self.inner.clock.offset(), before, database, after),
            // It answers from the clock of this machine, in milliseconds; that clock itself is more exact.
            Dialect::Sqlite => clock::wall_micros().saturating_sub(local.micros()),
        };
        self.inner.clock.set(offset);
        Ok(())
    }

    /// Asks the database something, for readiness.
    ///
    /// # Errors
    /// As [`Self::refresh_clock`].
    pub async fn ping(&self) -> Result<(), Error> {
        self.refresh_clock().await
    }

    /// Whether the last write did not get through to the database.
    pub fn is_unhealthy(&self) -> bool {
        self.inner.unhealthy.load(Ordering::Relaxed)
    }

    /// Waits until it makes sense to write: after a write that did not get through, until the database
    /// answers again. What has not been sent meanwhile has certainly not been done.
    ///
    /// A server that is there and refuses is not waited for: the next write is refused as fast, and its
    /// caller learns why.
    pub async fn wait_until_healthy(&self) {
        while self.inner.unhealthy.load(Ordering::Relaxed) {
            match self.refresh_clock().await {
                Ok(()) => self.inner.unhealthy.store(false, Ordering::Relaxed),
                Err(Error::Unavailable(Outage::ConnectionLimit(_))) => return,
                Err(_) => tokio::time::sleep(ASK_AGAIN).await,
            }
        }
    }

    /// Closes every connection; what still runs ends first.
    pub async fn close(&self) {
        self.inner.writers.close().await;
        self.inner.readers.close().await;
        self.inner.lane.close().await;
    }

    /// Runs `work` on a reading connection, within the deadline.
    async fn read<T: Send>(
        &self,
        work: impl for<'c> FnOnce(&'c mut Connection) -> Work<'c, T> + Send,
    ) -> Result<T, Error> {
        let result = self.try_read(&self.inner.readers, work).await;
        self.log(&result);
        result
    }

    async fn try_read<T: Send>(
        &self,
        pool: &Pool,
        work: impl for<'c> FnOnce(&'c mut Connection) -> Work<'c, T> + Send,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + self.inner.deadline;
        let mut used = ConnectionInUse::new(self.acquired(pool.acquire()).await?);
        let work = statement::counted(&self.inner.statements, work(used.connection()));
        let result = tokio::time::timeout_at(deadline, work).await.unwrap_or(Err(Error::TimedOut));
        if !result.as_ref().is_err_and(Error::ends_connection) {
            drop(used.good());
        }
        self.abandon_if_read_only(&result);
        self.count_answer(&result);
        result
    }

    /// A connection. The pool waits for half of the deadline, which leaves the other half to the work.
    async fn acquired(
        &self,
        connection: impl Future<Output = Result<Connection, sqlx::Error>>,
    ) -> Result<Connection, Error> {
        let before = self.inner.answers.load(Ordering::Relaxed);
        connection.await.map_err(|error| match error {
            sqlx::Error::PoolTimedOut if self.inner.answers.load(Ordering::Relaxed) != before => {
                Error::Unavailable(Outage::PoolExhausted)
            }
            // Nobody else got an answer either.
            other => other.into(),
        })
    }

    fn count_answer<T>(&self, result: &Result<T, Error>) {
        if !result.as_ref().is_err_and(Error::is_outage) {
            self.inner.answers.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Says that the database is away, once for everybody who notices in the same moment.
    fn log<T>(&self, result: &Result<T, Error>) {
        if let Err(error) = result
            && error.is_outage()
            && let Some(more) = self.inner.log.allow()
        {
            tracing::warn!(%error, more, "database error");
        }
    }

    /// Runs `work` in a transaction and commits. Repeats it when it collides with another one, so it
    /// may be called several times and must not keep anything from a call that did not succeed.
    async fn write<T: Send>(
        &self,
        work: impl for<'c> Fn(&'c mut Connection) -> Work<'c, T> + Send + Sync,
    ) -> Result<T, Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_write(&work).await {
                Err(Error::Conflict(error)) if tries < TRIES => {
                    metrics::counter!("orders_database_transaction_retries_total").increment(1);
                    tracing::debug!(%error, tries, "retrying transaction");
                    let jitter = rand::rng().random_range(0..5 << tries);
                    tokio::time::sleep(Duration::from_millis(jitter)).await;
                }
                result => {
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
        work: &(impl for<'c> Fn(&'c mut Connection) -> Work<'c, T> + Send + Sync),
    ) -> Result<T, Error> {
        self.check_file()?;
        let deadline = Instant::now() + self.inner.deadline;
        let mut used = ConnectionInUse::new(self.acquired(self.inner.writers.acquire()).await?);
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
            Err(error) => {
                // Without a clean rollback the connection is dropped, and with it the transaction.
                let clean = !error.ends_connection() && {
                    let rollback = used.connection().execute_text("ROLLBACK");
                    matches!(tokio::time::timeout_at(deadline, rollback).await, Ok(Ok(_)))
                };
                if clean {
                    drop(used.good());
                }
                let result = Err(error);
                self.abandon_if_read_only(&result);
                return result;
            }
        };
        let commit = used.connection().execute_text("COMMIT");
        match tokio::time::timeout(self.inner.deadline, commit).await {
            Ok(Ok(_)) => {
                self.inner.writers.release(used.good());
                // What was written to a file that is gone is not committed.
                self.check_file().map(|()| value)
            }
            Ok(Err(error)) => {
                let result = Err(error::of_commit(error));
                self.abandon_if_read_only(&result);
                result
            }
            Err(_) => Err(Error::CommitUnknown),
        }
    }
}

impl Store {
    /// Whether the file of an embedded database is no longer the one that was opened.
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

/// A connection in the middle of a read or a transaction. Unless that ends well, the connection is given
/// up, also when the caller goes away or panics: a statement may still run over there, whose answer must
/// not meet the next user, and an open transaction must not become a part of the next one.
struct ConnectionInUse(Option<Connection>);

impl ConnectionInUse {
    fn new(connection: Connection) -> Self {
        Self(Some(connection))
    }

    fn connection(&mut self) -> &mut Connection {
        self.0.as_mut().expect("only `good` takes the connection, and with it this guard")
    }

    /// The connection, which has no statement and no transaction under way.
    fn good(mut self) -> Connection {
        self.0.take().expect("only `good` takes the connection, and with it this guard")
    }
}

impl Drop for ConnectionInUse {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            connection.discard();
        }
    }
}
