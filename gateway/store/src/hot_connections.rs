//! The connections that write.
//!
//! sqlx's pool tests each connection that returns to it, which costs one round trip for each transaction. A connection
//! that has just committed is therefore kept here for the next transaction. It returns to the pool as soon as a caller
//! waits there, or after a short idle time.
//!
//! Written by hand: the pool of sqlx has no such mode, and costs one more round trip and one more task for each
//! transaction. That was counted and not timed, so no command measures it; decision 36 has the reason.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::connection::{Connection, Pool};

/// Idle time after which a connection is tested before its next use.
pub(super) const PING_IF_IDLE_FOR: Duration = Duration::from_millis(500);

pub(super) struct HotConnections {
    pool: Pool,
    idle: Mutex<Idle>,
    /// The number of times that all connections were abandoned.
    generation: AtomicU64,
}

/// When a connection was acquired, in relation to the times at which all were abandoned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Generation(u64);

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
        Self { pool, idle: Mutex::default(), generation: AtomicU64::new(0) }
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Returns the number of open connections, and of those that are idle.
    pub(super) fn count(&self) -> (usize, usize) {
        let (open, idle) = self.pool.count();
        (open, (idle + self.lock().connections.len()).min(open))
    }

    /// Returns the generation of connections that are acquired from now on.
    pub(super) fn generation(&self) -> Generation {
        Generation(self.generation.load(Ordering::Relaxed))
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

    /// Takes a connection that runs no statement and is in no transaction. `acquired` is from before it was acquired.
    pub(super) fn release(&self, connection: Connection, acquired: Generation) {
        let mut kept = self.lock();
        // The pool tests an abandoned connection before its next use.
        if kept.waiting == 0 && !kept.closed && acquired == self.generation() {
            kept.connections.push((connection, Instant::now()));
        }
    }

    /// Closes the idle connections, and keeps none that is in use now.
    pub(super) fn close_idle(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
        let kept = std::mem::take(&mut self.lock().connections);
        kept.into_iter().for_each(|(connection, _)| connection.discard());
        self.pool.close_idle();
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
        let first = writers.generation();
        let only = writers.acquire().await.unwrap();
        writers.release(only, first);
        assert_eq!(writers.lock().connections.len(), 1);
        let only = writers.acquire().await.unwrap();

        let mut waiting = Box::pin(writers.acquire());
        assert!(futures_util::poll!(&mut waiting).is_pending());
        writers.release(only, first);
        assert_eq!(writers.lock().connections.len(), 0);
        writers.release(waiting.await.unwrap(), first);
        assert_eq!(writers.lock().connections.len(), 1);
        assert_eq!(writers.lock().waiting, 0);

        writers.close_idle();
        assert_eq!(writers.lock().connections.len(), 0);
        // This connection is older than the call.
        writers.release(writers.acquire().await.unwrap(), first);
        assert_eq!(writers.lock().connections.len(), 0);
        writers.release(writers.acquire().await.unwrap(), writers.generation());
        assert_eq!(writers.lock().connections.len(), 1);
        store.close().await;
        assert!(writers.acquire().await.is_err());
    }
}
