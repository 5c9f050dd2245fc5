//! Moves events of another shard to the first one, which has the numbered log.
//!
//! A transaction concerns one shard, so a move is two: the rows are inserted there, then removed here. The first shard records
//! which rows of each shard its latest move had. The next move removes those before it reads further ones, so no row is moved
//! twice, whenever a gateway ends. Moves of several gateways at once exclude each other by the number of the record.

use super::ends;
use crate::connection::Connection;
use crate::rows;
use crate::statement::{Statement, bucketed_chunks};
use crate::{Error, Shard};

/// Maximum number of rows of one move.
const MAX_TAKEN: usize = 256;
/// Bytes of the payloads after which a move has no further row.
const MAX_BYTES: usize = 1024 * 1024;
/// The bytes of a row's id in the record.
const ID_BYTES: usize = 8;

/// The latest move of the rows of a shard.
#[derive(Default)]
struct Record {
    /// The number of moves.
    moves: i64,
    /// The rows of the latest one.
    ids: Vec<i64>,
}

/// The oldest rows of a shard.
struct Next {
    rows: Vec<Taken>,
    /// Whether there may be further ones.
    more: bool,
}

/// A row that is moved.
#[derive(Clone)]
struct Taken {
    id: i64,
    events: i64,
    created_at: i64,
    payload: Vec<u8>,
}

impl Shard {
    /// Moves rows of another shard to this one, up to [`MAX_TAKEN`]. Returns whether there may be more.
    ///
    /// # Errors
    /// [`Error`] of either shard; no row is lost or repeated.
    pub(crate) async fn take_events(&self, from: &Self) -> Result<bool, Error> {
        let Some(place) = from.inner.place else { return Ok(false) };
        let number = place.range.number();
        // The record comes first: what is moved after it changes it.
        let before = self.read(move |connection| Box::pin(record(connection, number))).await?;
        let mut next = from.next_events().await?;
        // Rows of the latest move are the oldest ones, so they are among these unless there are further ones.
        let are_left = next.rows.iter().any(|row| before.ids.contains(&row.id));
        if are_left || (next.more && !before.ids.is_empty()) {
            from.remove_events(&before.ids).await?;
            next = from.next_events().await?;
        }
        let Next { rows: taken, more } = next;
        if taken.is_empty() {
            return Ok(false);
        }
        let ids: Vec<i64> = taken.iter().map(|row| row.id).collect();
        let lock = self.inner.dialect.for_update();
        let moved = self.write_on(self.numbering_connections(), |connection| {
            let (taken, ids, moves) = (taken.clone(), ids.clone(), before.moves);
            Box::pin(async move {
                ends(connection, lock).await?;
                if record(connection, number).await?.moves != moves {
                    return Ok(false);
                }
                insert(connection, &taken).await?;
                set_record(connection, number, &Record { moves: moves + 1, ids }).await?;
                Ok(true)
            })
        });
        if moved.await? {
            from.remove_events(&ids).await?;
        }
        Ok(more)
    }

    /// Reads the oldest rows of this shard.
    async fn next_events(&self) -> Result<Next, Error> {
        self.read(|connection| {
            Box::pin(async move {
                let mut sql = Statement::new(
                    "SELECT id, events, created_at, payload FROM event_log WHERE position IS NULL ORDER BY id LIMIT ?",
                );
                sql.bind(MAX_TAKEN as i64);
                let mut bytes = 0;
                let mut taken = Vec::new();
                let found = sql.fetch(connection).await?;
                for row in &found {
                    let payload: Vec<u8> = row.get(3)?;
                    bytes += payload.len();
                    taken.push(Taken { id: row.get(0)?, events: rows::number(row, 1)?, created_at: row.get(2)?, payload });
                    if bytes >= MAX_BYTES {
                        break;
                    }
                }
                let more = found.len() == MAX_TAKEN || taken.len() < found.len();
                Ok(Next { rows: taken, more })
            })
        })
        .await
    }

    async fn remove_events(&self, ids: &[i64]) -> Result<(), Error> {
        let ids = ids.to_vec();
        self.write_on(self.numbering_connections(), |connection| {
            let ids = ids.clone();
            Box::pin(async move {
                for piece in bucketed_chunks(&ids) {
                    let mut sql = Statement::new("DELETE FROM event_log WHERE position IS NULL AND id");
                    sql.push_in(piece.iter().copied());
                    sql.execute(connection).await?;
                }
                Ok(())
            })
        })
        .await
    }
}

async fn record(connection: &mut Connection, shard: i64) -> Result<Record, Error> {
    let mut sql = Statement::new("SELECT moves, row_ids FROM event_log_sources WHERE shard = ?");
    sql.bind(shard);
    let found = sql.fetch(connection).await?;
    let Some(row) = found.first() else { return Ok(Record::default()) };
    let ids: Vec<u8> = row.get(1)?;
    let ids = ids.chunks_exact(ID_BYTES).filter_map(<[u8]>::first_chunk).map(|id| i64::from_be_bytes(*id));
    Ok(Record { moves: row.get(0)?, ids: ids.collect() })
}

async fn set_record(connection: &mut Connection, shard: i64, record: &Record) -> Result<(), Error> {
    let ids: Vec<u8> = record.ids.iter().flat_map(|id| id.to_be_bytes()).collect();
    let mut sql = Statement::new("REPLACE INTO event_log_sources (shard, moves, row_ids) VALUES (?, ?, ?)");
    sql.bind(shard).bind(record.moves).bind(ids);
    sql.execute(connection).await.map(drop)
}

async fn insert(connection: &mut Connection, rows: &[Taken]) -> Result<(), Error> {
    for piece in bucketed_chunks(rows) {
        let mut sql = Statement::new("INSERT INTO event_log (events, created_at, payload) VALUES ");
        sql.rows(piece.len(), "(?,?,?)");
        for row in piece {
            sql.bind(row.events).bind(row.created_at).bind(row.payload.clone());
        }
        sql.execute(connection).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_documented() {
        use limits_page::{bytes, row};
        let limits = format!("{MAX_TAKEN}; {}", bytes(MAX_BYTES));
        row("rows of the event log that are moved to the first shard at once; bytes", &limits);
    }
}
