//! Removes the oldest events of the log, by their age and by their bytes.

use std::time::Duration;

use super::{ends, set_ends};
use crate::rows;
use crate::statement::{Statement, bucketed_chunks};
use crate::{Error, Shard};

/// Maximum number of rows that one transaction removes.
const MAX_REMOVED: i64 = 256;

/// For how long and up to which size events are kept. `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRetention {
    /// Maximum age.
    pub age: Option<Duration>,
    /// Maximum bytes of all events.
    pub bytes: Option<u64>,
}

impl Shard {
    /// Removes the oldest events beyond the limits, up to 256 rows of them. Returns whether there may be more.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn trim_event_log(&self, retention: LogRetention) -> Result<bool, Error> {
        let lock = self.inner.dialect.for_update();
        let before = retention.age.map(|age| self.now() - age);
        self.write(|connection| {
            Box::pin(async move {
                let mut ends = ends(connection, lock).await?;
                let mut sql = Statement::new(
                    "SELECT id, events, LENGTH(payload), created_at FROM event_log WHERE position IS NOT NULL \
                     ORDER BY position LIMIT ?",
                );
                sql.bind(MAX_REMOVED);
                let found = sql.fetch(connection).await?;
                let mut removed = Vec::new();
                for row in &found {
                    let is_old = before.is_some_and(|before| rows::time(row, 3).is_ok_and(|at| at < before));
                    let is_beyond = retention.bytes.is_some_and(|max| ends.bytes > max);
                    if !is_old && !is_beyond {
                        break;
                    }
                    removed.push(rows::number::<i64>(row, 0)?);
                    ends.first += rows::number::<u64>(row, 1)?;
                    ends.bytes = ends.bytes.saturating_sub(rows::number(row, 2)?);
                }
                if removed.is_empty() {
                    return Ok(false);
                }
                for piece in bucketed_chunks(&removed) {
                    let mut sql = Statement::new("DELETE FROM event_log WHERE id");
                    sql.push_in(piece.iter().copied());
                    sql.execute(connection).await?;
                }
                set_ends(connection, ends).await?;
                Ok(removed.len() as i64 == MAX_REMOVED)
            })
        })
        .await
    }
}
