//! The connections that write.
//!
//! sqlx's pool tests each connection that returns to it, which costs one round trip for each transaction. A connection
//! that has just committed is therefore kept here for the next transaction. It returns to the pool as soon as a caller
//! waits there, or after a short idle time.
//!
//! Written by hand: the pool of sqlx has no such mode, and costs one more round trip and one more task for each
//! transaction. That was counted and not timed, so no command measures it; decision 36 has the reason.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::connection::{Connection, Pool};

/// Idle time after which a connection is tested before its next use.
pub(super) const PING_IF_IDLE_FOR: Duration = Duration::from_millis(500);

pub(super) struct HotConnections {
    pool: Pool,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// With the time of their last use, the latest one last. Empty while a caller waits.
    connections: Vec<(Connection, Instant)>,
    /// The number of callers that wait for the pool.
    waiting: usize,
    closed: bool,
}

impl HotConnections {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool, idle: Mutex::default() }
    }

    /// Returns a connection that was in use a short time ago, or one of the pool.
    pub(super) async fn acquire(&self) -> Result<Connection, sqlx::Error> {
        let _waiting = {
            let mut kept = self.lock();
            let old =
                kept.connections.iter().take_while(|(_, used)| used.elapsed() >= PING_IF_IDLE_FOR).count();
            // They return to the pool, which tests them.
            kept.connections.drain(..old);
            if let Some((connection, _)) = kept.connections.pop() {
                return Ok(connection);
            }
            kept.waiting += 1;
            Waiting(self)
        };
        self.pool.acquire().await
    }

    /// Takes a connection that runs no statement and is in no transaction.
    pub(super) fn release(&self, connection: Connection) {
        let mut kept = self.lock();
        if kept.waiting == 0 && !kept.closed {
            kept.connections.push((connection, Instant::now()));
        }
    }

    /// Closes the idle connections.
    pub(super) fn close_idle(&self) {
        let kept = std::mem::take(&mut self.lock().connections);
        for connection in kept.into_iter().map(|(connection, _)| connection).chain(self.idle_of_pool()) {
            connection.discard();
        }
    }

    fn idle_of_pool(&self) -> impl Iterator<Item = Connection> {
        std::iter::from_fn(|| self.pool.try_acquire())
    }

    /// Closes every connection after its present work.
    pub(super) async fn close(&self) {
        {
            let mut kept = self.lock();
            kept.closed = true;
            kept.connections.clear();
        }
        self.pool.close().await;
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A caller that waits for the pool.
struct Waiting<'w>(&'w HotConnections);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        // A connection needs the runtime to return to the pool, and the runtime may have ended.
        for (connection, _) in self.connections.drain(..) {
            connection.discard();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::Options;
    use crate::tests::sqlite;

    #[tokio::test]
    async fn a_released_connection_serves_the_next_transaction_or_a_waiting_caller() {
        let folder = tempfile::tempdir().unwrap();
        let store =
            sqlite(&folder, &Options { deadline: Duration::from_secs(60), ..Options::default() }).await;
        let writers = &store.inner.writers;
        let only = writers.acquire().await.unwrap();
        writers.release(only);
        assert_eq!(writers.lock().connections.len(), 1);
        let only = writers.acquire().await.unwrap();

        let mut waiting = Box::pin(writers.acquire());
        assert!(futures_util::poll!(&mut waiting).is_pending());
        writers.release(only);
        assert_eq!(writers.lock().connections.len(), 0);
        writers.release(waiting.await.unwrap());
        assert_eq!(writers.lock().connections.len(), 1);
        assert_eq!(writers.lock().waiting, 0);

        writers.close_idle();
        assert_eq!(writers.lock().connections.len(), 0);
        writers.release(writers.acquire().await.unwrap());
        store.close().await;
        assert!(writers.acquire().await.is_err());
    }
}
