//! The position of a time in the event log.

use std::time::Duration;

use domain::Timestamp;

use super::ends;
use crate::connection::Connection;
use crate::row::Row;
use crate::statement::Statement;
use crate::{Error, Shard, rows};

/// Rows are in the order of their times, except for transactions that took longer than others. The search begins this much
/// earlier, in microseconds.
const LONGEST_TRANSACTION: i64 = 30_000_000;
/// Maximum number of rows that one statement reads.
const ROWS_AT_ONCE: i64 = 1_000;

/// How far a reader is behind the end of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogLag {
    /// The events after its position, of all types and tenants.
    pub events: u64,
    /// The age of the oldest of them.
    pub age: Duration,
}

impl Shard {
    /// Returns the position before the first row of the log that was written at a time or later.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn event_log_position_at(&self, time: Timestamp) -> Result<u64, Error> {
        let time = time.as_micros();
        self.read(move |connection| {
            Box::pin(async move {
                let ends = ends(connection, "").await?;
                let (mut low, mut high) = (ends.first, ends.next);
                // The row of `low` is earlier, that of `high` is not.
                while high - low > 1 {
                    let middle = low + (high - low) / 2;
                    match row_of(connection, middle).await? {
                        Some((_, at)) if at < time - LONGEST_TRANSACTION => low = middle,
                        _ => high = middle,
                    }
                }
                loop {
                    let found = rows_after(connection, low).await?;
                    for row in &found {
                        let (position, at) = times(row)?;
                        if at >= time {
                            return Ok(position.max(ends.first) - 1);
                        }
                        low = position + 1;
                    }
                    if found.is_empty() {
                        return Ok(ends.next - 1);
                    }
                }
            })
        })
        .await
    }

    /// Returns the time of the row that contains the event after a position, or a later event. `None` at the end of the log.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn event_log_time_after(&self, position: u64) -> Result<Option<Timestamp>, Error> {
        self.read(move |connection| {
            Box::pin(async move {
                let ends = ends(connection, "").await?;
                let wanted = position.saturating_add(1).max(ends.first);
                if wanted >= ends.next {
                    return Ok(None);
                }
                Ok(row_of(connection, wanted).await?.map(|(_, at)| Timestamp::from_micros(at)))
            })
        })
        .await
    }

    /// Returns how far a reader at a position is behind the end of the log.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn event_log_lag(&self, position: u64) -> Result<LogLag, Error> {
        let Some(oldest) = self.event_log_time_after(position).await? else { return Ok(LogLag::default()) };
        let next = self.event_log_ends().await?.next;
        Ok(LogLag { events: next.saturating_sub(position + 1), age: self.now().since(oldest) })
    }

    /// Counts rows of the log without a position, at most `limit`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn count_unnumbered_events(&self, limit: u32) -> Result<u64, Error> {
        self.read(move |connection| {
            Box::pin(async move {
                let mut sql = Statement::new(
                    "SELECT COUNT(*) FROM (SELECT id FROM event_log WHERE position IS NULL LIMIT ?) AS unnumbered",
                );
                sql.bind(i64::from(limit));
                sql.fetch(connection).await?.first().map_or(Ok(0), |row| rows::number(row, 0))
            })
        })
        .await
    }
}

/// Reads the position and the time of the row that contains a position.
async fn row_of(connection: &mut Connection, position: u64) -> Result<Option<(u64, i64)>, Error> {
    let mut sql = Statement::new(
        "SELECT position, created_at FROM event_log WHERE position <= ? ORDER BY position DESC LIMIT 1",
    );
    sql.bind(i64::try_from(position).unwrap_or(i64::MAX));
    sql.fetch(connection).await?.first().map(times).transpose()
}

/// Reads the positions and times of the row that contains a position, and of the rows after it.
async fn rows_after(connection: &mut Connection, position: u64) -> Result<Vec<Row>, Error> {
    let mut sql = Statement::new(
        "SELECT position, created_at FROM event_log WHERE position >= ? ORDER BY position LIMIT ?",
    );
    sql.bind(i64::try_from(position).unwrap_or(i64::MAX)).bind(ROWS_AT_ONCE);
    sql.fetch(connection).await
}

fn times(row: &Row) -> Result<(u64, i64), Error> {
    Ok((rows::number(row, 0)?, row.get(1)?))
}
