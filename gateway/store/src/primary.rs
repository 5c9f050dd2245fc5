//! Abandons a server that is no longer the primary.
//!
//! After a switchover the old primary often stays reachable and read-only, and serves stale reads. When a server
//! refuses a change as read-only, every connection that is older is closed before its next use.
//!
//! A gateway that writes nothing at that time detects the switchover with idle connections: in place of a ping, the
//! store queries whether the server is read-only. For a short time it also queries all other connections after a new
//! connection has led to another server than the previous one: a change may then succeed there while reads still come
//! from the old server. A gateway whose connections are never idle queries from time to time (`check_primary`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::MySqlConnection;
use sqlx::pool::PoolConnectionMetadata;

use super::hot_connections::PING_IF_IDLE_FOR;

/// Time after a change of the server in which older connections are queried before each use. Later, those that were not
/// used meanwhile are queried because they were idle.
const DOUBT: Duration = Duration::from_secs(5);
/// Minimum interval between two replacements of all connections. While no other server takes over, idle connections
/// lead to a read-only one again and again.
const PATIENCE: Duration = Duration::from_secs(5);

/// Queries the identity of the server.
const SERVER: &str = "SELECT CONCAT_WS('/', @@global.hostname, @@global.port, @@global.server_id)";
/// Queries whether the server refuses changes. The options are numbers on some servers and words on others.
pub(super) const IS_READ_ONLY: &str = "SELECT CAST(@@global.read_only NOT IN ('0', 'OFF') OR @@global.innodb_read_only \
    NOT IN ('0', 'OFF') AS SIGNED)";

/// State about connections that may lead to a server that is no longer the primary.
#[derive(Debug)]
pub(super) struct Primary {
    opened: Instant,
    /// Connections older than this are closed: milliseconds after `opened`. 0 means none.
    left_ms: AtomicU64,
    /// The time at which a new connection led to another server, in the same form.
    doubted_ms: AtomicU64,
    /// The server of the newest connection.
    server: Mutex<String>,
}

impl Default for Primary {
    fn default() -> Self {
        Self::new()
    }
}

impl Primary {
    pub(super) fn new() -> Self {
        Self {
            opened: Instant::now(),
            left_ms: AtomicU64::new(0),
            doubted_ms: AtomicU64::new(0),
            server: Mutex::default(),
        }
    }

    /// Records the server of a new connection.
    ///
    /// Reads use other connections, which may still lead to a server that is no longer the primary and has refused
    /// nothing yet.
    pub(super) async fn connected(&self, connection: &mut MySqlConnection) {
        // A server that does not answer this counts as unchanged.
        let Ok(server) = sqlx::query_scalar::<_, String>(SERVER).fetch_one(connection).await else {
            return;
        };
        let mut last = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        if !last.is_empty() && *last != server {
            self.doubted_ms.fetch_max(self.now_ms(), Ordering::Relaxed);
        }
        *last = server;
    }

    /// Marks all present connections as leading to a read-only server.
    pub(super) fn leave(&self) {
        self.left_ms.fetch_max(self.now_ms(), Ordering::Relaxed);
    }

    /// Returns whether a pooled connection may be used. Queries one that was idle.
    pub(super) async fn serves(
        &self,
        connection: &mut MySqlConnection,
        usage: &PoolConnectionMetadata,
    ) -> bool {
        if self.was_left(usage.age) {
            return false;
        }
        let doubtful = self.is_doubtful(usage.age);
        if usage.idle_for < PING_IF_IDLE_FOR && !doubtful {
            return true;
        }
        match sqlx::query_scalar::<_, i64>(IS_READ_ONLY).fetch_one(connection).await {
            Ok(0) => true,
            Ok(_) if doubtful => {
                self.leave();
                false
            }
            Ok(_) => !self.may_leave(),
            Err(_) => false,
        }
    }

    /// Returns whether a connection of this age is older than the last replacement.
    fn was_left(&self, age: Duration) -> bool {
        let made = self.now_ms().saturating_sub(millis(age));
        let left = self.left_ms.load(Ordering::Relaxed);
        left > 0 && made <= left
    }

    /// Returns whether a connection of this age is older than a recent change of the server.
    fn is_doubtful(&self, age: Duration) -> bool {
        let doubted = self.doubted_ms.load(Ordering::Relaxed);
        let now = self.now_ms();
        doubted > 0 && now.saturating_sub(millis(age)) <= doubted && now < doubted + millis(DOUBT)
    }

    /// Marks the present connections, unless that was done a short time ago.
    pub(super) fn may_leave(&self) -> bool {
        let left = self.left_ms.load(Ordering::Relaxed);
        let now = self.now_ms();
        if left > 0 && now < left + millis(PATIENCE) {
            return false;
        }
        self.left_ms.fetch_max(now, Ordering::Relaxed);
        true
    }

    fn now_ms(&self) -> u64 {
        // Never 0, which means that no server was abandoned.
        millis(self.opened.elapsed()).saturating_add(1)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_from_before_are_left_and_later_ones_are_kept() {
        let opened = Instant::now() - Duration::from_secs(60);
        let primary = Primary { opened, ..Primary::new() };
        assert!(!primary.was_left(Duration::from_secs(30)));
        primary.leave();
        assert!(primary.was_left(Duration::from_secs(30)));
        // It was abandoned a short time ago.
        assert!(!primary.may_leave());
        let earlier = Primary { opened, left_ms: AtomicU64::new(20_000), ..Primary::new() };
        assert!(earlier.was_left(Duration::from_secs(50)));
        assert!(!earlier.was_left(Duration::from_secs(30)));
        assert!(earlier.may_leave());
        assert!(earlier.was_left(Duration::from_secs(30)));

        // Another server was seen 2 s ago, and 20 s ago.
        let doubted = |ms| Primary { opened, doubted_ms: AtomicU64::new(ms), ..Primary::new() };
        assert!(doubted(58_000).is_doubtful(Duration::from_secs(30)));
        assert!(!doubted(58_000).is_doubtful(Duration::from_secs(1)));
        assert!(!doubted(40_000).is_doubtful(Duration::from_secs(30)));
        assert!(!doubted(0).is_doubtful(Duration::from_secs(30)));
    }
}
