//! The connections that write.
//!
//! The pool asks each connection that comes back whether it is still good, which would be one more round
//! trip for each transaction. So a connection that has just committed is kept here for the next one. It goes
//! back to the pool as soon as somebody waits there, or when it is not used for a moment.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::connection::{Connection, Pool};

/// A connection that was unused for so long is tested before it is used.
pub(super) const PING_IF_IDLE_FOR: Duration = Duration::from_millis(500);

pub(super) struct HotConnections {
    pool: Pool,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// With the time of their last use, the latest of which comes last. None while somebody waits.
    connections: Vec<(Connection, Instant)>,
    /// Who waits for the pool.
    waiting: usize,
    closed: bool,
}

impl HotConnections {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool, kept: Mutex::default() }
    }

    /// A connection that was in use just now, or one of the pool.
    pub(super) async fn acquire(&self) -> Result<Connection, sqlx::Error> {
        let _waiting = {
            let mut kept = self.lock();
            let old =
                kept.connections.iter().take_while(|(_, used)| used.elapsed() >= PING_IF_IDLE_FOR).count();
            // Back to the pool, which tests them.
            kept.connections.drain(..old);
            if let Some((connection, _)) = kept.connections.pop() {
                return Ok(connection);
            }
            kept.waiting += 1;
            Waiting(self)
        };
        self.pool.acquire().await
    }

    /// Takes back a connection that is good and in no transaction.
    pub(super) fn release(&self, connection: Connection) {
        let mut kept = self.lock();
        if kept.waiting == 0 && !kept.closed {
            kept.connections.push((connection, Instant::now()));
        }
    }

    /// Gives up the connections that nobody uses.
    pub(super) fn close_idle(&self) {
        let kept = std::mem::take(&mut self.lock().connections);
        for connection in kept.into_iter().map(|(connection, _)| connection).chain(self.idle()) {
            connection.discard();
        }
    }

    fn idle(&self) -> impl Iterator<Item = Connection> {
        std::iter::from_fn(|| self.pool.try_acquire())
    }

    /// Closes every connection; what still runs ends first.
    pub(super) async fn close(&self) {
        {
            let mut kept = self.lock();
            kept.closed = true;
            kept.connections.clear();
        }
        self.pool.close().await;
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody waits for the pool.
struct Waiting<'w>(&'w HotConnections);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // On its way back to the pool a connection needs the runtime, which may be gone.
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
    async fn a_connection_is_kept_for_the_next_transaction_and_goes_to_who_waits() {
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
