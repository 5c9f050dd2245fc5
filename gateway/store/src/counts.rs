//! Counts orders by status.

use domain::{Principal, Priority, Status, TenantId, Timestamp};

use super::rows::Segment;
use super::statement::{Statement, bucketed_chunks};
use super::{Error, Shard, rows};

/// Limit of the count of one status. Counting ten million takes seconds, and the last digit has no use; reading this
/// number of index entries takes some milliseconds.
pub const COUNT_LIMIT: u32 = 100_000;

/// How many orders there are in each status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// The time of the count, by the database's clock.
    pub at: Timestamp,
    counts: [u32; Status::ALL.len()],
    /// Pending orders that can be started now: they wait for a free worker or the end of a pause. [`COUNT_LIMIT`] means
    /// this number or more.
    pub ready: u32,
}

impl Counts {
    /// Adds the orders of another shard.
    pub(super) fn and(mut self, other: Self) -> Self {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count = COUNT_LIMIT.min(*count + more);
        }
        Self { at: self.at.min(other.at), ready: COUNT_LIMIT.min(self.ready + other.ready), ..self }
    }

    /// Returns the number of orders with this status; [`COUNT_LIMIT`] means this number or more.
    pub fn of(&self, status: Status) -> u32 {
        let index = Status::ALL.iter().position(|each| *each == status);
        index.and_then(|index| self.counts.get(index)).copied().unwrap_or_default()
    }
}

impl Shard {
    /// Counts the orders of the caller's tenant in each status, up to [`COUNT_LIMIT`], in one statement. A replica may
    /// be read.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn counts(&self, principal: &Principal) -> Result<Counts, Error> {
        let by_due = self.dialect().by_due();
        let (at, tenant, kinds) = (self.now(), principal.tenant.clone(), self.stored_kinds().await?);
        self.read_older(move |connection| {
            Box::pin(async move {
                let found = count(by_due, &tenant, &kinds, COUNT_LIMIT, at).fetch(connection).await?;
                let mut counts = [0; Status::ALL.len()];
                let mut ready = 0;
                if let Some(row) = found.first() {
                    for (column, (status, part)) in parts().enumerate() {
                        let counted: u32 = rows::number(row, column)?;
                        counts[status] = COUNT_LIMIT.min(counts[status] + counted);
                        if part.stage == rows::HELD && Status::ALL[status] == Status::Pending {
                            ready += counted;
                        }
                    }
                    let due = Priority::ALL.len() * kinds.len();
                    for column in parts().count()..parts().count() + due {
                        ready = COUNT_LIMIT.min(ready + rows::number::<u32>(row, column)?);
                    }
                }
                Ok(Counts { at, counts, ready: ready.min(COUNT_LIMIT) })
            })
        })
        .await
    }
}

impl Shard {
    /// Counts the orders of the caller's tenant that are not final, up to `limit`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn open_orders(&self, principal: &Principal, limit: u32) -> Result<u32, Error> {
        let tenant = principal.tenant.clone();
        self.read(move |connection| {
            Box::pin(async move {
                let mut sql = Statement::new("SELECT 0");
                for segment in Segment::of(&[Status::Pending, Status::Processing]) {
                    sql.push(" + (SELECT COUNT(*) FROM (SELECT 1 FROM orders WHERE ");
                    segment.condition(&mut sql, Some(&tenant));
                    sql.push(" LIMIT ?) few)").bind(i64::from(limit));
                }
                let found = sql.fetch(connection).await?;
                let open: u32 = found.first().map_or(Ok(0), |row| rows::number(row, 0))?;
                Ok(open.min(limit))
            })
        })
        .await
    }

    /// Returns the number of orders of all tenants that can be started now, as in [`Counts::ready`].
    ///
    /// # Errors
    /// [`Error`].
    pub async fn ready(&self) -> Result<u32, Error> {
        let now = self.now();
        let held = self.read(|connection| {
            Box::pin(async move {
                let mut sql = Statement::new("SELECT COUNT(*) FROM (SELECT 1 FROM orders WHERE ");
                Segment { stage: rows::HELD, status: Some(Status::Pending) }.condition(&mut sql, None);
                sql.push(" LIMIT ?) held").bind(i64::from(COUNT_LIMIT));
                let found = sql.fetch(connection).await?;
                found.first().map_or(Ok(0), |row| rows::number::<u32>(row, 0))
            })
        });
        let mut ready = held.await?;
        let mut due = Vec::new();
        self.each_waiting_tenant(|kind, tenant| {
            due.extend(
                tenant.due_priorities(now).map(|(tenant, priority)| (kind.to_owned(), tenant, priority)),
            );
        })
        .await?;
        for piece in bucketed_chunks(&due) {
            let (piece, by_due) = (piece.to_vec(), self.dialect().by_due());
            let counted = self.read(move |connection| {
                Box::pin(async move {
                    let mut sql = Statement::default();
                    for (n, (kind, tenant, priority)) in piece.into_iter().enumerate() {
                        sql.push(if n == 0 { "SELECT " } else { " UNION ALL SELECT " });
                        count_due(&mut sql, by_due, (&kind, &tenant, priority), COUNT_LIMIT, now);
                    }
                    sql.fetch(connection).await?.iter().map(|row| rows::number::<u32>(row, 0)).sum()
                })
            });
            let counted: u32 = counted.await?;
            ready = COUNT_LIMIT.min(ready.saturating_add(counted));
            if ready == COUNT_LIMIT {
                break;
            }
        }
        Ok(ready)
    }
}

/// The segments that are counted, with the position of their status in [`Status::ALL`].
fn parts() -> impl Iterator<Item = (usize, Segment)> {
    let statuses = Status::ALL.into_iter().enumerate();
    statuses.flat_map(|(n, status)| Segment::of(&[status]).into_iter().map(move |part| (n, part)))
}

/// Builds a SELECT of one row: one column for each segment, then one for the due orders of each kind and priority. The inner
/// `LIMIT` keeps it cheap: the read of the index `orders_by_stage` stops after this number of entries.
fn count(
    by_due: &str,
    tenant: &TenantId,
    kinds: &[String],
    limit: u32,
    now: Timestamp,
) -> Statement<'static> {
    let mut sql = Statement::new("SELECT ");
    for (n, (_, part)) in parts().enumerate() {
        sql.push(if n == 0 { "" } else { ", " });
        sql.push("(SELECT COUNT(*) FROM (SELECT 1 FROM orders WHERE ");
        part.condition(&mut sql, Some(tenant));
        sql.push(" LIMIT ?) ").push(&format!("part_{n})")).bind(i64::from(limit));
    }
    for kind in kinds {
        for priority in Priority::ALL {
            sql.push(", ");
            count_due(&mut sql, by_due, (kind, tenant.as_str(), priority), limit, now);
        }
    }
    sql
}

/// Adds the number of due orders of a kind, a tenant and a priority.
fn count_due(
    sql: &mut Statement<'_>,
    by_due: &str,
    (kind, tenant, priority): (&str, &str, Priority),
    limit: u32,
    now: Timestamp,
) {
    sql.push("(SELECT COUNT(*) FROM (SELECT 1 FROM orders").push(by_due);
    sql.push(" WHERE stage = 'waiting' AND kind = ? AND priority = ? AND tenant_id = ? AND due_at <= ? LIMIT ?) due)");
    sql.bind(kind.to_owned())
        .bind(priority.as_str())
        .bind(tenant.to_owned())
        .bind(now.as_micros())
        .bind(i64::from(limit));
}
