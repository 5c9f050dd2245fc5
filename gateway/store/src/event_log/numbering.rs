//! Assigns positions to the rows of the event log, after their commit.
//!
//! Every gateway does so, and the lock of `event_log_ends` lets one of them do it at a time. The lock is taken before the
//! rows are read, so the read sees all rows that earlier holders of the lock have numbered. It locks no row and waits for
//! no transaction: rows that are not committed yet are numbered later.
//!
//! It uses a separate connection, whose session the database ends soon when the gateway freezes in the transaction.

use domain::Timestamp;

use super::{LogEnds, ends, set_ends};
use crate::connection::Connection;
use crate::hot_connections::HotConnections;
use crate::rows;
use crate::statement::{Statement, bucketed_chunks};
use crate::{Error, Shard};

/// Maximum number of rows that one transaction numbers.
const MAX_NUMBERED: usize = 256;

/// The result of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbered {
    /// The ends of the log after it.
    pub ends: LogEnds,
    /// The events that it numbered.
    pub events: u64,
    /// The time of the oldest of them, by the clock of its gateway.
    pub oldest: Option<Timestamp>,
    /// Whether there may be more.
    pub more: bool,
}

/// A row without a position.
struct Row {
    id: i64,
    events: u64,
    bytes: u64,
    created_at: Timestamp,
}

impl Shard {
    /// Returns whether there are events without a position, without a lock.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn has_unnumbered_events(&self) -> Result<bool, Error> {
        self.read(|connection| Box::pin(async move { Ok(!unnumbered(connection, 1).await?.is_empty()) }))
            .await
    }

    /// SQLite has one connection that writes.
    pub(super) fn numbering_connections(&self) -> &HotConnections {
        self.inner.numbering.as_ref().unwrap_or(&self.inner.writers)
    }

    /// Assigns positions to committed events, up to [`MAX_NUMBERED`] rows of them.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Conflict`] while another gateway has frozen in this transaction. No position is assigned
    /// twice or skipped.
    pub async fn number_events(&self) -> Result<Numbered, Error> {
        let lock = self.inner.dialect.for_update();
        self.write_on(self.numbering_connections(), |connection| {
            Box::pin(async move {
                let mut ends = ends(connection, lock).await?;
                let rows = unnumbered(connection, MAX_NUMBERED).await?;
                let before = ends.next;
                let mut positions = Vec::with_capacity(rows.len());
                for row in &rows {
                    positions.push((row.id, ends.next));
                    ends.next += row.events;
                    ends.bytes += row.bytes;
                }
                for piece in bucketed_chunks(&positions) {
                    set_positions(piece).execute(connection).await?;
                }
                if !rows.is_empty() {
                    set_ends(connection, ends).await?;
                }
                Ok(Numbered {
                    ends,
                    events: ends.next - before,
                    oldest: rows.iter().map(|row| row.created_at).min(),
                    more: rows.len() >= MAX_NUMBERED,
                })
            })
        })
        .await
    }
}

/// Reads committed rows without a position that can be numbered, in the order of their ids.
async fn unnumbered(connection: &mut Connection, limit: usize) -> Result<Vec<Row>, Error> {
    let mut sql = Statement::new(
        "SELECT id, events, LENGTH(payload), created_at FROM event_log WHERE position IS NULL ORDER BY id LIMIT ?",
    );
    sql.bind(limit as i64);
    let found = sql.fetch(connection).await?;
    let read = |row| {
        Ok::<_, Error>(Row {
            id: rows::number(row, 0)?,
            events: rows::number(row, 1)?,
            bytes: rows::number(row, 2)?,
            created_at: rows::time(row, 3)?,
        })
    };
    // A row that cannot be read stays without a position, and does not stop the others.
    Ok(found.iter().filter_map(|row| read(row).ok()).collect())
}

/// Builds the statement that gives each id its position.
fn set_positions(rows: &[(i64, u64)]) -> Statement<'static> {
    let mut sql = Statement::new("UPDATE event_log SET position = CASE id");
    for (id, position) in rows {
        sql.push(" WHEN ? THEN ?").bind(*id).bind(i64::try_from(*position).unwrap_or(i64::MAX));
    }
    sql.push(" END WHERE id").push_in(rows.iter().map(|(id, _)| *id));
    sql
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_log::MAX_EVENTS_PER_ROW;

    #[test]
    fn limits_are_documented() {
        limits_page::row(
            "events in a row of the event log; rows numbered in a transaction",
            &format!("{MAX_EVENTS_PER_ROW}; {MAX_NUMBERED}"),
        );
    }
}
