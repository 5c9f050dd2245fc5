//! Removes orders that have been final for long enough, with their events and keys.
//!
//! The orders of one status are read along the index `orders_by_stage`: tenant by tenant, each oldest first, in pages,
//! so permanently kept orders are not read again and again. A page is read without locks. Orders to be removed are then
//! locked by their ids, checked once more, and removed with their events and idempotency keys in one short transaction.
//! Rows that another transaction has locked are left for another pass, so neither several gateways nor other requests
//! wait for each other.

use std::sync::Arc;
use std::time::Duration;

use domain::{OrderId, Status, Timestamp};

use super::connection::Connection;
use super::idempotency::delete_keys;
use super::row::Row;
use super::statement::{Statement, bucketed_chunks};
use super::{Dialect, Error, Shard, references, rows};

/// Maximum number of orders that one transaction removes.
pub const PRUNE_BATCH: usize = 128;

/// How long orders are kept after their last change; `None` keeps them permanently.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Completed and cancelled orders.
    pub finished: Option<Duration>,
    /// Dead letters, which can still be redriven.
    pub failed: Option<Duration>,
}

impl Retention {
    /// Returns how long orders of this status are kept. An order that is not final is never removed.
    pub fn of(self, status: Status) -> Option<Duration> {
        match status {
            Status::Pending | Status::Processing => None,
            Status::Completed | Status::Cancelled => self.finished,
            Status::Failed => self.failed,
        }
    }
}

/// The result of one page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruned {
    /// The number of removed orders, at most [`PRUNE_BATCH`].
    pub orders: u64,
    /// The position of the next page; `None` after the last tenant.
    pub next: Option<PrunePosition>,
}

/// A position in the orders of one status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrunePosition {
    /// The tenant as stored, because a row of an invalid one must not end the pass.
    tenant: String,
    /// The last order of the previous page; the lowest id at the beginning of a tenant.
    after: OrderId,
}

impl Shard {
    /// Removes old orders among the [`PRUNE_BATCH`] oldest ones of a tenant and status at a position.
    ///
    /// Without a position the pass begins. An order is old when its last change is longer ago than orders of the status
    /// are kept.
    ///
    /// # Errors
    /// [`Error`]; nothing was removed, unless it is [`Error::CommitUnknown`].
    pub async fn prune_orders(
        &self,
        status: Status,
        retention: Retention,
        position: Option<PrunePosition>,
    ) -> Result<Pruned, Error> {
        let Some(keep) = retention.of(status) else { return Ok(Pruned { orders: 0, next: None }) };
        let cut = self.steady_now().await? - keep;
        let position = match position {
            Some(position) => Some(position),
            None => self.next_tenant(status, String::new()).await?,
        };
        let Some(position) = position else { return Ok(Pruned { orders: 0, next: None }) };
        let sql = page(self.inner.dialect, status, &position);
        let page: Vec<StoredOrder> = self
            .read(move |connection| {
                Box::pin(async move {
                    Ok(sql.fetch(connection).await?.iter().filter_map(StoredOrder::new).collect())
                })
            })
            .await?;
        // An order with unreadable times stays, and does not end the pass.
        let is_old = |time: Option<Timestamp>| time.is_none_or(|time| time < cut);
        let last = page.last().filter(|last| page.len() == PRUNE_BATCH && is_old(last.created_at));
        let next = match last {
            Some(last) => Some(PrunePosition { after: last.id, ..position }),
            None => self.next_tenant(status, position.tenant).await?,
        };
        let old = page.iter().filter(|seen| seen.updated_at.is_some_and(|time| time < cut));
        let mut pieces: Vec<Vec<OrderId>> = vec![old.map(|seen| seen.id).collect()];
        let mut orders = 0;
        while let Some(mut piece) = pieces.pop() {
            match self.remove(&piece, status, cut).await {
                Ok(removed) => orders += removed,
                Err(error) if error.cause().is_none() => return Err(error),
                // The database refuses to remove it, for example because of a foreign key of another table.
                Err(error) if piece.len() <= 1 => {
                    tracing::debug!(order_id = ?piece.first(), %error, "failed to remove old order");
                }
                Err(_) => {
                    let second = piece.split_off(piece.len() / 2);
                    pieces.extend([second, piece]);
                }
            }
        }
        Ok(Pruned { orders, next })
    }

    /// Returns the beginning of the tenant after another one, among those with orders of a status.
    async fn next_tenant(&self, status: Status, after: String) -> Result<Option<PrunePosition>, Error> {
        let mut sql = Statement::new("SELECT tenant_id FROM orders");
        // One entry of the index.
        sql.push(self.inner.dialect.by_stage())
            .push(" WHERE stage = ? AND tenant_id > ? ORDER BY tenant_id LIMIT 1");
        sql.bind(status.as_str()).bind(after);
        let rows = self.read(move |connection| Box::pin(sql.fetch(connection))).await?;
        let begin =
            |row: &Row| Ok(PrunePosition { tenant: row.get(0)?, after: OrderId::from_bytes([0; 16]) });
        rows.first().map(begin).transpose()
    }

    /// Removes those of the orders that are still old, in one transaction. Returns their number.
    async fn remove(&self, old: &[OrderId], status: Status, cut: Timestamp) -> Result<u64, Error> {
        if old.is_empty() {
            return Ok(0);
        }
        let old: Arc<[OrderId]> = old.into();
        let skip_locked = self.inner.dialect.for_update_skip_locked();
        let removed = self.write(|connection| {
            let old = old.clone();
            Box::pin(async move {
                let gone = lock(connection, &old, status, cut, skip_locked).await?;
                delete_keys(connection, &gone).await?;
                references::delete(connection, &gone).await?;
                for (table, column) in [
                    ("order_events", "order_id"),
                    ("order_notes", "order_id"),
                    ("order_outputs", "order_id"),
                    ("orders", "id"),
                ] {
                    for piece in bucketed_chunks(&gone) {
                        let mut sql = Statement::new(format!("DELETE FROM {table} WHERE {column}"));
                        sql.push_in(piece.iter().copied());
                        sql.execute(connection).await?;
                    }
                }
                Ok(gone)
            })
        });
        let removed = removed.await?;
        self.forget_references(&removed).await;
        Ok(removed.len() as u64)
    }
}

/// An order of a page.
struct StoredOrder {
    id: OrderId,
    /// `None` when it cannot be read.
    created_at: Option<Timestamp>,
    updated_at: Option<Timestamp>,
}

impl StoredOrder {
    fn new(row: &Row) -> Option<Self> {
        let time = |column| row.get(column).ok().map(Timestamp::from_micros);
        Some(Self { id: rows::id(row, 0).ok()?, created_at: time(1), updated_at: time(2) })
    }
}

/// Builds the SELECT of a page.
///
/// The index alone finds the ids, and only then are their orders read. Without this, MySQL reads the primary key when
/// most orders have this status: past each kept dead letter, in each pass.
fn page(dialect: Dialect, status: Status, position: &PrunePosition) -> Statement<'static> {
    let mut sql =
        Statement::new("SELECT orders.id, created_at, updated_at FROM orders JOIN (SELECT id FROM orders");
    sql.push(dialect.by_stage()).push(
        " WHERE stage = ? AND tenant_id = ? AND id > ? ORDER BY id LIMIT ?) page ON page.id = orders.id \
         ORDER BY orders.id",
    );
    sql.bind(status.as_str()).bind(position.tenant.clone()).bind(position.after).bind(PRUNE_BATCH as i64);
    sql
}

/// Locks those of the orders that no other transaction has locked and that are still old: a dead letter may have been
/// redriven meanwhile.
async fn lock(
    connection: &mut Connection,
    old: &[OrderId],
    status: Status,
    cut: Timestamp,
    skip_locked: &str,
) -> Result<Vec<OrderId>, Error> {
    let mut gone = Vec::with_capacity(old.len());
    for piece in bucketed_chunks(old) {
        let mut sql = Statement::new("SELECT id, status, updated_at FROM orders WHERE id");
        sql.push_in(piece.iter().copied()).push(skip_locked);
        for row in sql.fetch(connection).await? {
            let (now, updated_at): (String, i64) = (row.get(1)?, row.get(2)?);
            if now == status.as_str() && updated_at < cut.as_micros() {
                gone.push(rows::id(&row, 0)?);
            }
        }
    }
    Ok(gone)
}
