//! The event log: every event of every order, in an order that all readers share.
//!
//! A transaction that writes events appends them to the log. A number that is assigned then, such as an automatic id, does
//! not order the commits: a reader that has seen 7 may never see 6, which is committed later. So rows are numbered after
//! their commit, under a lock (see `numbering`). Positions are 1, 2, 3 … without gaps, and a reader
//! that sees a position can read all positions before it.
//!
//! An event is appended after its order's row is locked, so the events of an order have ascending ids, and numbering, which
//! reads committed rows by their ids, keeps their order.

mod inspect;
mod numbering;
mod search;
mod taking;
mod trim;

use std::sync::Arc;

use domain::event_codec::{decode_events, encode_events};
use domain::{OrderEvent, Timestamp};
use futures_util::StreamExt;

pub use self::inspect::EventLogReport;
pub use self::numbering::Numbered;
pub use self::search::LogLag;
pub use self::trim::LogRetention;
use super::connection::Connection;
use super::row::Row;
use super::rows;
use super::statement::{Statement, bucketed_chunks};
use super::{Error, Shard, primary_check};

/// Maximum number of events in one row. More events of one transaction are several rows.
const MAX_EVENTS_PER_ROW: usize = 500;
/// Maximum number of rows that one read returns.
const MAX_ROWS_READ: i64 = 256;
/// Bytes of the payloads after which a read ends; a row has at most about 1 MiB.
const MAX_BYTES_READ: usize = 1024 * 1024;
/// The first byte of a payload.
const VERSION: u8 = 2;

/// The positions in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEnds {
    /// The position of the first event that is kept, or the next position if none is.
    pub first: u64,
    /// The position of the next event.
    pub next: u64,
    /// The bytes of all numbered events.
    pub bytes: u64,
}

/// An event in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedEvent {
    /// Its position.
    pub position: u64,
    /// The event.
    pub event: Arc<OrderEvent>,
}

/// What the log has after a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogPage {
    /// The events after the position, without gaps, oldest first; none at the end of the log.
    Events(Vec<LoggedEvent>),
    /// The log does not have the event after the position: it was removed, it cannot be read, or the position never existed.
    /// The log continues at this position.
    Expired(u64),
}

/// Appends events to the log, at the end of the transaction that writes them.
pub(super) async fn append(
    connection: &mut Connection,
    events: &[Arc<OrderEvent>],
    now: Timestamp,
) -> Result<(), Error> {
    let rows: Vec<&[Arc<OrderEvent>]> = events.chunks(MAX_EVENTS_PER_ROW).collect();
    for piece in bucketed_chunks(&rows) {
        // The column `shard` is 0 in the first shard.
        let shard = connection.place.map(|place| place.range.number()).filter(|number| *number > 0);
        let (columns, values) = match shard {
            None => ("(events, created_at, payload) ", "?,?,?"),
            Some(_) => ("(events, created_at, payload, shard) ", "?,?,?,?"),
        };
        let mut sql = Statement::new("INSERT INTO event_log ");
        sql.push(columns);
        if connection.has_condition() {
            // The event of the order whose change precedes it.
            sql.push("SELECT ").push(values).push(" FROM DUAL WHERE ROW_COUNT() = 1");
        } else {
            sql.push("VALUES ").rows(piece.len(), &format!("({values})"));
        }
        for events in piece {
            let mut payload = vec![VERSION];
            payload.extend(encode_events(events));
            sql.bind(events.len() as i64).bind(now.as_micros()).bind(payload);
            if let Some(shard) = shard {
                sql.bind(shard);
            }
        }
        sql.execute_last(connection).await?;
    }
    Ok(())
}

impl Shard {
    /// Returns whether events are written to the log.
    pub fn has_event_log(&self) -> bool {
        self.inner.options.event_log
    }

    /// Returns the ends of the log.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn event_log_ends(&self) -> Result<LogEnds, Error> {
        self.read(|connection| Box::pin(async move { ends(connection, "").await })).await
    }

    /// Reads events after a position: those of up to [`MAX_ROWS_READ`] rows, until they have [`MAX_BYTES_READ`] bytes.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn read_event_log(&self, after: u64) -> Result<LogPage, Error> {
        self.read(move |connection| {
            Box::pin(async move {
                let LogEnds { first, next, .. } = ends(connection, "").await?;
                let wanted = after.saturating_add(1);
                if wanted > next {
                    // A former primary does not have the latest positions.
                    primary_check::require_writable(connection).await?;
                }
                if wanted < first || wanted > next {
                    return Ok(LogPage::Expired(first));
                }
                let mut found = rows_from(wanted).stream(connection);
                let (mut events, mut expected, mut bytes) = (Vec::new(), None, 0);
                while let Some(row) = found.next().await {
                    let row = row?;
                    let Decoded { position, bytes: size, events: decoded } = match decoded(&row) {
                        Ok(decoded) => decoded,
                        // Its readers learn that these events are missing, and continue after them.
                        Err(error) if events.is_empty() => {
                            tracing::error!(%error, "events of the event log cannot be read and are missing for readers");
                            let (position, count) = (rows::number::<u64>(&row, 0)?, rows::number::<u64>(&row, 1)?);
                            return Ok(LogPage::Expired(position + count));
                        }
                        Err(_) => break,
                    };
                    // Old rows may have been removed since the ends were read.
                    if expected.is_none() && position > wanted {
                        return Ok(LogPage::Expired(position));
                    }
                    if expected.is_some_and(|expected| expected != position) {
                        return Err(Error::Row(format!(
                            "the event log has a gap before position {position}"
                        )));
                    }
                    expected = Some(position + decoded.len() as u64);
                    let numbered = (position..).zip(decoded.iter());
                    let numbered = numbered.filter(|(position, _)| *position >= wanted);
                    events.extend(
                        numbered.map(|(position, event)| LoggedEvent { position, event: event.clone() }),
                    );
                    bytes += size;
                    if bytes >= MAX_BYTES_READ {
                        break;
                    }
                }
                if events.is_empty() && wanted < next {
                    return Ok(LogPage::Expired(next));
                }
                Ok(LogPage::Events(events))
            })
        })
        .await
    }
}

/// Selects the row with a position, and the rows after it.
fn rows_from(position: u64) -> Statement<'static> {
    let mut sql = Statement::new(
        "SELECT position, events, payload FROM event_log WHERE position >= \
         COALESCE((SELECT MAX(position) FROM event_log WHERE position <= ?), ?) ORDER BY position LIMIT ?",
    );
    let position = i64::try_from(position).unwrap_or(i64::MAX);
    sql.bind(position).bind(position).bind(MAX_ROWS_READ);
    sql
}

/// A row of the log.
struct Decoded {
    /// The position of its first event.
    position: u64,
    /// The length of its payload.
    bytes: usize,
    events: Arc<[Arc<OrderEvent>]>,
}

fn decoded(row: &Row) -> Result<Decoded, Error> {
    let position: u64 = rows::number(row, 0)?;
    let payload: &[u8] = row.get(2)?;
    let invalid = |problem: String| Error::Row(format!("event log, position {position}: {problem}"));
    let encoded = match payload.split_first() {
        Some((&VERSION, encoded)) => encoded,
        Some((version, _)) => return Err(invalid(format!("unknown version {version}"))),
        None => return Err(invalid("no payload".to_owned())),
    };
    let events = decode_events(encoded).map_err(|error| invalid(error.to_string()))?;
    if rows::number::<usize>(row, 1)? != events.len() {
        return Err(invalid(format!("{} events in place of the stated number", events.len())));
    }
    Ok(Decoded { position, bytes: payload.len(), events })
}

/// Reads the ends of the log. `lock` locks them until the end of the transaction.
pub(super) async fn ends(connection: &mut Connection, lock: &str) -> Result<LogEnds, Error> {
    let mut sql =
        Statement::new("SELECT first_position, next_position, bytes FROM event_log_ends WHERE single = 1");
    sql.push(lock);
    let found = sql.fetch(connection).await?;
    let row = found.first().ok_or_else(|| Error::Row("event_log_ends has no row".to_owned()))?;
    Ok(LogEnds { first: rows::number(row, 0)?, next: rows::number(row, 1)?, bytes: rows::number(row, 2)? })
}

/// Writes the ends of the log, which the transaction has locked.
async fn set_ends(connection: &mut Connection, ends: LogEnds) -> Result<(), Error> {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let mut sql = Statement::new(
        "UPDATE event_log_ends SET first_position = ?, next_position = ?, bytes = ? WHERE single = 1",
    );
    sql.bind(number(ends.first)).bind(number(ends.next)).bind(number(ends.bytes));
    sql.execute(connection).await.map(drop)
}
