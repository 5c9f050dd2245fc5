//! How many orders there are in each status.

use domain::{Status, Timestamp};

use super::rows::Part;
use super::sql::Sql;
use super::{Error, Store, rows};

/// Orders of one status are counted up to here. Counting ten million takes seconds, and nobody reads the
/// last digit; so many entries of an index take some milliseconds.
pub const COUNT_LIMIT: u32 = 100_000;

/// How many orders there are in each status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// When they were counted, by the database's clock.
    pub at: Timestamp,
    counts: [u32; Status::ALL.len()],
}

impl Counts {
    /// How many orders have this status; [`COUNT_LIMIT`] means that many or more.
    pub fn of(&self, status: Status) -> u32 {
        let index = Status::ALL.iter().position(|each| *each == status);
        index.and_then(|index| self.counts.get(index)).copied().unwrap_or_default()
    }
}

impl Store {
    /// Counts the orders in each status, up to [`COUNT_LIMIT`] each, in one statement over one index.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn counts(&self) -> Result<Counts, Error> {
        let at = self.now();
        self.read(move |connection| {
            Box::pin(async move {
                let found = count(COUNT_LIMIT).fetch(connection).await?;
                let mut counts = [0; Status::ALL.len()];
                if let Some(row) = found.first() {
                    for (column, (status, _)) in parts().enumerate() {
                        let counted: u32 = rows::number(row, column)?;
                        counts[status] = COUNT_LIMIT.min(counts[status] + counted);
                    }
                }
                Ok(Counts { at, counts })
            })
        })
        .await
    }
}

/// The parts that are counted, with the place of their status in [`Status::ALL`].
fn parts() -> impl Iterator<Item = (usize, Part)> {
    let statuses = Status::ALL.into_iter().enumerate();
    statuses.flat_map(|(n, status)| Part::of(&[status]).into_iter().map(move |part| (n, part)))
}

/// One row, one column for each part. `LIMIT` inside is what makes it cheap: the index `orders_by_stage` is
/// left as soon as so many entries were seen.
fn count(limit: u32) -> Sql {
    let mut sql = Sql::new("SELECT ");
    for (n, (_, part)) in parts().enumerate() {
        sql.push(if n == 0 { "" } else { ", " });
        sql.push("(SELECT COUNT(*) FROM (SELECT 1 FROM orders WHERE ");
        part.condition(&mut sql);
        sql.push(" LIMIT ?) ").push(&format!("part_{n})")).bind(i64::from(limit));
    }
    sql
}
