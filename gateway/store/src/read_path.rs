//! Reads: a connection, the deadline, and what an error means for the connection.

use std::future::Future;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::connection::{Connection, Pool};
use super::{Error, Outage, Store, Work, statement};

impl Store {
    /// Runs `work` on a connection of the readers, within the deadline.
    pub(super) async fn read<T: Send>(
        &self,
        work: impl for<'c> FnOnce(&'c mut Connection) -> Work<'c, T> + Send,
    ) -> Result<T, Error> {
        let result = self.try_read(&self.inner.readers, work).await;
        self.log(&result);
        result
    }

    pub(super) async fn try_read<T: Send>(
        &self,
        pool: &Pool,
        work: impl for<'c> FnOnce(&'c mut Connection) -> Work<'c, T> + Send,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + self.inner.deadline;
        let mut used = ConnectionInUse::new(self.acquired(pool.acquire()).await?);
        let work = statement::counted(&self.inner.statements, work(used.connection()));
        let result = tokio::time::timeout_at(deadline, work).await.unwrap_or(Err(Error::TimedOut));
        if !result.as_ref().is_err_and(Error::ends_connection) {
            drop(used.finish());
        }
        self.abandon_if_read_only(&result);
        self.count_answer(&result);
        result
    }

    /// Waits for a connection. The pool waits for half of the deadline, which leaves the other half to the work.
    pub(super) async fn acquired(
        &self,
        connection: impl Future<Output = Result<Connection, sqlx::Error>>,
    ) -> Result<Connection, Error> {
        let before = self.inner.answers.load(Ordering::Relaxed);
        connection.await.map_err(|error| match error {
            sqlx::Error::PoolTimedOut if self.inner.answers.load(Ordering::Relaxed) != before => {
                Error::Unavailable(Outage::PoolExhausted)
            }
            // No other caller got a response either.
            other => other.into(),
        })
    }

    pub(super) fn count_answer<T>(&self, result: &Result<T, Error>) {
        if !result.as_ref().is_err_and(Error::is_outage) {
            self.inner.answers.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Logs an outage, at a limited rate: every request notices it.
    pub(super) fn log<T>(&self, result: &Result<T, Error>) {
        if let Err(error) = result
            && error.is_outage()
            && let Some(more) = self.inner.log.allow()
        {
            tracing::warn!(%error, more, "database error");
        }
    }
}

/// A connection during a read or a transaction, which is closed unless [`Self::finish`] takes it.
///
/// That includes a caller that is cancelled or panics. A statement may still run on the server, and the next user must
/// not receive its response; an open transaction must not become a part of the next one.
pub(super) struct ConnectionInUse(Option<Connection>);

impl ConnectionInUse {
    pub(super) fn new(connection: Connection) -> Self {
        Self(Some(connection))
    }

    pub(super) fn connection(&mut self) -> &mut Connection {
        self.0.as_mut().expect("only `finish` takes the connection, and with it this guard")
    }

    /// Returns the connection, which runs no statement and is in no transaction.
    pub(super) fn finish(mut self) -> Connection {
        self.0.take().expect("only `finish` takes the connection, and with it this guard")
    }
}

impl Drop for ConnectionInUse {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            connection.discard();
        }
    }
}
