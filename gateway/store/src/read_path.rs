//! Reads: a connection, the deadline, and what an error means for the connection.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::connection::{Connection, Pool};
use super::hosts::SUSPICIOUS_WAIT;
use super::{Error, Outage, Shard, Work, statement};

impl Shard {
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
        let connection = self.acquired(pool.acquire()).await?;
        let result = self.read_over(connection, deadline, work).await;
        self.abandon_if_read_only(&result);
        self.count_answer(&result);
        result
    }

    /// Runs `work` on this connection until the deadline.
    pub(super) async fn read_over<T: Send>(
        &self,
        connection: Connection,
        deadline: Instant,
        work: impl for<'c> FnOnce(&'c mut Connection) -> Work<'c, T> + Send,
    ) -> Result<T, Error> {
        let mut used = ConnectionInUse::new(connection);
        used.connection().place = self.inner.place;
        let work = statement::counted(&self.inner.statements, work(used.connection()));
        let result = tokio::time::timeout_at(deadline, work).await.unwrap_or(Err(Error::TimedOut));
        if !result.as_ref().is_err_and(Error::ends_connection) {
            drop(used.finish());
        }
        result
    }

    /// Waits for a connection. The pool waits for half of the deadline, which leaves the other half to the work.
    pub(super) async fn acquired(
        &self,
        connection: impl Future<Output = Result<Connection, sqlx::Error>>,
    ) -> Result<Connection, Error> {
        let before = self.inner.answers.load(Ordering::Relaxed);
        let connection = match self.inner.hosts.as_ref().filter(|hosts| hosts.are_several()) {
            Some(hosts) => {
                let mut connection = pin!(connection);
                match tokio::time::timeout(SUSPICIOUS_WAIT, &mut connection).await {
                    Ok(connection) => connection,
                    Err(_) => {
                        hosts.suspect();
                        connection.await
                    }
                }
            }
            None => connection.await,
        };
        let result = connection.map_err(|error| match error {
            sqlx::Error::PoolTimedOut if self.inner.answers.load(Ordering::Relaxed) != before => {
                Error::Unavailable(Outage::PoolExhausted)
            }
            // No other caller got a response either.
            other => other.into(),
        });
        self.suspect_host(&result);
        result
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
