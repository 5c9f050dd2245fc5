//! Leaving a server that is no longer the primary.
//!
//! After a switchover the old primary often stays up and read-only, and answers reads with what it had. So every
//! connection that was made before a server refused a change as read-only is given up before its next use. A gateway
//! that writes nothing at that time learns it from connections that were idle: in place of a ping they are asked
//! whether their server is read-only. One whose connections are never idle asks now and then (`check_primary`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::AnyConnection;
use sqlx::pool::PoolConnectionMetadata;

use super::Dialect;
use super::connect::TESTED_AFTER;

/// While no other server takes over, connections that were idle lead to a read-only one again and again. They are
/// made anew no more often than this.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which connections may lead to a server that is no longer the primary.
#[derive(Debug)]
pub(super) struct Primary {
    opened: Instant,
    /// Connections that were made before are given up: milliseconds after `opened`. 0: none.
    left_ms: AtomicU64,
}

impl Primary {
    pub(super) fn new() -> Self {
        Self { opened: Instant::now(), left_ms: AtomicU64::new(0) }
    }

    /// The server of the present connections is read-only.
    pub(super) fn leave(&self) {
        self.left_ms.fetch_max(self.now_ms(), Ordering::Relaxed);
    }

    /// Whether a connection of the pool may be used. One that was idle is asked.
    pub(super) async fn serves(
        &self,
        dialect: Dialect,
        connection: &mut AnyConnection,
        usage: &PoolConnectionMetadata,
    ) -> bool {
        if self.was_left(usage.age) {
            return false;
        }
        if usage.idle_for < TESTED_AFTER {
            return true;
        }
        match dialect.is_read_only() {
            None => sqlx::Connection::ping(connection).await.is_ok(),
            Some(question) => match sqlx::query_scalar::<_, i64>(question).fetch_one(connection).await {
                Ok(0) => true,
                Ok(_) => !self.may_leave(),
                Err(_) => false,
            },
        }
    }

    /// Whether a connection of this age was made before the server was left.
    fn was_left(&self, age: Duration) -> bool {
        let made = self.now_ms().saturating_sub(millis(age));
        let left = self.left_ms.load(Ordering::Relaxed);
        left > 0 && made <= left
    }

    /// Leaves the server, unless that was done a moment ago.
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
        // Never 0, which means that no server was left.
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
        let primary =
            Primary { opened: Instant::now() - Duration::from_secs(60), left_ms: AtomicU64::new(0) };
        assert!(!primary.was_left(Duration::from_secs(30)));
        primary.leave();
        assert!(primary.was_left(Duration::from_secs(30)));
        // It was left a moment ago.
        assert!(!primary.may_leave());
        let earlier = Primary { opened: primary.opened, left_ms: AtomicU64::new(20_000) };
        assert!(earlier.was_left(Duration::from_secs(50)));
        assert!(!earlier.was_left(Duration::from_secs(30)));
        assert!(earlier.may_leave());
        assert!(earlier.was_left(Duration::from_secs(30)));
    }
}
