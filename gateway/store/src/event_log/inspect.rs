//! Checks the event log, for `orders doctor`.

use super::{LogEnds, decoded};
use crate::connection::Connection;
use crate::statement::Statement;
use crate::{Error, Shard, rows};

/// Rows that one statement reads: a row has at most about 1 MiB.
const PAGE: i64 = 64;
/// Maximum number of rows without a position that are counted.
const MAX_COUNTED: u32 = 100_000;
/// Maximum number of damages in a report.
const MAX_DAMAGES: usize = 100;

/// The state of the event log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLogReport {
    /// Its ends.
    pub ends: LogEnds,
    /// Committed rows without a position, counted up to 100,000.
    pub unnumbered: u64,
    /// Rows that cannot be read, and gaps, up to 100 of them.
    pub damages: Vec<String>,
}

impl Shard {
    /// Reads the whole event log, and calls `progress` with the position after each page.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn inspect_event_log(&self, mut progress: impl FnMut(u64)) -> Result<EventLogReport, Error> {
        let ends = self.event_log_ends().await?;
        let unnumbered = self.count_unnumbered_events(MAX_COUNTED).await?;
        let mut report = EventLogReport { ends, unnumbered, damages: Vec::new() };
        let mut next = ends.first;
        while next < ends.next && report.damages.len() < MAX_DAMAGES {
            let page = self.read(move |connection| Box::pin(read_page(connection, next))).await?;
            let Some(last) = page.last() else {
                report.damages.push(format!("positions {next} to {} are missing", ends.next - 1));
                break;
            };
            let after = last.position + last.events;
            for row in &page {
                // A retention can remove rows meanwhile, from the first on.
                if row.position != next && next != ends.first {
                    report.damages.push(format!("positions {next} to {} are missing", row.position - 1));
                }
                report.damages.extend(row.damage.clone());
                next = row.position + row.events;
            }
            next = after;
            progress(next);
        }
        report.damages.truncate(MAX_DAMAGES);
        Ok(report)
    }
}

struct InspectedRow {
    position: u64,
    events: u64,
    damage: Option<String>,
}

async fn read_page(connection: &mut Connection, position: u64) -> Result<Vec<InspectedRow>, Error> {
    let mut sql = Statement::new(
        "SELECT position, events, payload FROM event_log WHERE position >= ? ORDER BY position LIMIT ?",
    );
    sql.bind(i64::try_from(position).unwrap_or(i64::MAX)).bind(PAGE);
    let found = sql.fetch(connection).await?;
    let inspect = |row| {
        let damage = decoded(row).err().map(|error| error.to_string());
        Ok(InspectedRow { position: rows::number(row, 0)?, events: rows::number(row, 1)?, damage })
    };
    found.iter().map(inspect).collect()
}
