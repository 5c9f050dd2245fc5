//! The signals of the last hours: what happened over each gateway, one row for each minute.

use domain::Timestamp;

use super::statement::Statement;
use super::{Error, Shard};

/// Maximum number of rows that one read returns, and that one write removes.
pub const MAX_SIGNAL_ROWS: u32 = 2_000;

/// One minute of one gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalRow {
    /// The number of the minute since 1970.
    pub minute: i64,
    /// The random number of the gateway's process.
    pub gateway: i64,
    /// The time of the write.
    pub changed_at: Timestamp,
    /// The intervals of the minute.
    pub payload: String,
}

impl Shard {
    /// Writes a minute, or replaces it, and removes minutes before another one.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn save_signals(&self, row: &SignalRow, oldest_minute: i64) -> Result<(), Error> {
        self.write(|connection| {
            let row = row.clone();
            Box::pin(async move {
                let mut sql = Statement::new(
                    "REPLACE INTO signals (minute, gateway, changed_at, payload) VALUES (?, ?, ?, ?)",
                );
                sql.bind(row.minute).bind(row.gateway).bind(row.changed_at.as_micros()).bind(row.payload);
                sql.execute(connection).await?;
                let mut sql = Statement::new("DELETE FROM signals WHERE minute < ?");
                sql.bind(oldest_minute);
                sql.execute(connection).await.map(drop)
            })
        })
        .await
    }

    /// Returns rows that were written at or after a time, in the order of the writes, and at most [`MAX_SIGNAL_ROWS`].
    ///
    /// # Errors
    /// [`Error`].
    pub async fn signals_since(&self, since: Timestamp) -> Result<Vec<SignalRow>, Error> {
        self.read(move |connection| {
            Box::pin(async move {
                let mut sql = Statement::new(
                    "SELECT minute, gateway, changed_at, payload FROM signals WHERE changed_at >= ? \
                     ORDER BY changed_at LIMIT ?",
                );
                sql.bind(since.as_micros()).bind(i64::from(MAX_SIGNAL_ROWS));
                let rows = sql.fetch(connection).await?;
                let row = |row: &super::row::Row| {
                    Ok(SignalRow {
                        minute: row.get(0)?,
                        gateway: row.get(1)?,
                        changed_at: Timestamp::from_micros(row.get(2)?),
                        payload: row.get::<&str>(3)?.to_owned(),
                    })
                };
                rows.iter().map(row).collect()
            })
        })
        .await
    }
}
