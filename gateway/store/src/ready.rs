//! Claims ready orders for the queue. The loop around it is the gateway's dispatch.

use std::collections::HashSet;
use std::time::Duration;

use domain::priority::allocate;
use domain::{OrderId, Priority, Timestamp};
use rand::Rng;

use super::connection::Connection;
use super::isolate::update_orders;
use super::park::parked;
use super::pause;
use super::rows::DispatchState;
use super::statement::{Statement, padded_chunks};
use super::unreadable::Unreadable;
use super::{Dialect, Error, Store, rows};

/// An order that a worker can start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadyOrder {
    /// The order.
    pub order_id: OrderId,
    /// The number of its units, for workers that use it.
    pub quantity: u64,
}

/// The orders that one pass of dispatch has claimed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claimed {
    /// Orders of high priority, for the front of the queue.
    pub front: Vec<ReadyOrder>,
    /// The other orders, for the back of the queue.
    pub back: Vec<ReadyOrder>,
    /// Orders that are due and cannot be dispatched. This call has parked them.
    pub unreadable: Vec<Unreadable>,
    /// Whether more orders may be due.
    pub more: bool,
    /// The position at which the next pass may begin while there are more.
    pub cursor: DispatchCursor,
}

/// The position of dispatch along the due times of each priority.
///
/// A claimed order leaves an entry in the index until the database purges it, and a search from the beginning reads each
/// of them. A search that begins at the cursor does not. An order may still become due before the cursor, so a search has
/// to begin at the beginning from time to time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DispatchCursor([Timestamp; 3]);

/// The beginning.
impl Default for DispatchCursor {
    fn default() -> Self {
        Self([Timestamp::from_micros(i64::MIN); 3])
    }
}

impl Store {
    /// Claims up to `limit` waiting orders that are due.
    ///
    /// The queue holds them until `visibility_timeout` is over. The caller pushes them; [`Self::expired_claims`] finds an
    /// order whose job is lost. Orders that another gateway is claiming at the same time are skipped.
    ///
    /// Within a priority the oldest order comes first, and [`domain::priority::allocate`] divides the capacity among the
    /// priorities. The search begins at the cursor. Returns `None` while the queue is paused.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn claim_ready(
        &self,
        limit: u32,
        visibility_timeout: Duration,
        cursor: DispatchCursor,
    ) -> Result<Option<Claimed>, Error> {
        let now = self.now();
        let dialect = self.inner.dialect;
        let table = self.inner.dialect.orders_by_id();
        let claimed = self
            .write(|connection| {
                Box::pin(async move {
                    if let Some(pause) = pause::read(connection, "", now).await? {
                        return Ok(Err(pause));
                    }
                    let waiting = waiting(connection, cursor, now, dialect.by_due()).await?;
                    let places = allocate(limit, waiting, rand::rng().random());
                    let mut claimed = Claimed { cursor, ..Claimed::default() };
                    for (n, (priority, places)) in Priority::ALL.into_iter().zip(places).enumerate() {
                        if places == 0 {
                            continue;
                        }
                        let range = (cursor.0[n], now);
                        let Waiting { jobs, unreadable, rows, reached } =
                            take(connection, priority, places, range, dialect).await?;
                        claimed.cursor.0[n] = reached;
                        claimed.unreadable.extend(unreadable);
                        // A priority with fewer orders than its share leaves capacity for another pass.
                        claimed.more |= rows == places as usize;
                        match priority {
                            Priority::High => claimed.front.extend(jobs),
                            Priority::Normal | Priority::Low => claimed.back.extend(jobs),
                        }
                    }
                    hold(connection, &mut claimed, now + visibility_timeout, table).await?;
                    park(connection, &claimed.unreadable, now, table).await?;
                    Ok(Ok(claimed))
                })
            })
            .await?;
        self.note_pause(claimed.as_ref().err().cloned());
        let claimed = claimed.ok();
        if let Some(claimed) = &claimed {
            self.tell(&claimed.unreadable);
        }
        Ok(claimed)
    }
}

/// Returns which priorities have due orders, in the order of [`Priority::ALL`].
async fn waiting(
    connection: &mut Connection,
    cursor: DispatchCursor,
    now: Timestamp,
    by_due: &str,
) -> Result<[bool; 3], Error> {
    let mut sql = Statement::new("SELECT ");
    for (n, priority) in Priority::ALL.into_iter().enumerate() {
        sql.push(if n == 0 { "" } else { ", " });
        sql.push("EXISTS(SELECT 1 FROM orders")
            .push(by_due)
            .push(" WHERE stage = 'waiting' AND priority = ? AND due_at >= ? AND due_at <= ?)");
        sql.bind(priority.as_str()).bind(cursor.0[n].as_micros()).bind(now.as_micros());
    }
    let found = sql.fetch(connection).await?;
    let row = found.first().ok_or_else(|| Error::Row("EXISTS without an answer".into()))?;
    let mut waiting = [false; 3];
    for (n, waiting) in waiting.iter_mut().enumerate() {
        *waiting = rows::number::<u32>(row, n)? != 0;
    }
    Ok(waiting)
}

/// Locks the orders of one priority with the earliest due times in a range.
async fn take(
    connection: &mut Connection,
    priority: Priority,
    limit: u32,
    (from, to): (Timestamp, Timestamp),
    dialect: Dialect,
) -> Result<Waiting, Error> {
    let mut sql = Statement::new("SELECT id, quantity, due_at FROM orders");
    sql.push(dialect.by_due()).push(
        " WHERE stage = 'waiting' AND priority = ? AND due_at >= ? AND due_at <= ? ORDER BY due_at LIMIT ?",
    );
    sql.push(dialect.for_update_skip_locked())
        .bind(priority.as_str())
        .bind(from.as_micros())
        .bind(to.as_micros());
    sql.bind(i64::from(limit));
    let mut waiting = Waiting { jobs: Vec::new(), unreadable: Vec::new(), rows: 0, reached: from };
    for row in sql.fetch(connection).await? {
        waiting.rows += 1;
        let Ok(order_id) = rows::id(&row, 0) else { continue };
        match rows::number(&row, 1).and_then(|quantity| Ok((quantity, rows::time(&row, 2)?))) {
            Ok((quantity, due_at)) => {
                waiting.jobs.push(ReadyOrder { order_id, quantity });
                waiting.reached = due_at;
            }
            Err(error) => waiting.unreadable.push(Unreadable::new(order_id, &error)),
        }
    }
    Ok(waiting)
}

/// Due orders of one priority, which are locked.
struct Waiting {
    jobs: Vec<ReadyOrder>,
    unreadable: Vec<Unreadable>,
    /// The number of rows, readable or not.
    rows: usize,
    /// The due time of the last one.
    reached: Timestamp,
}

/// Marks the claimed orders as held by the queue until `held_until`.
///
/// The rows are locked where the database can skip locked rows. The condition repeats that the orders wait, because some
/// databases accept `SKIP LOCKED` and lock nothing. An order that another transaction has changed, or that the database
/// refuses to change, leaves the result.
async fn hold(
    connection: &mut Connection,
    claimed: &mut Claimed,
    held_until: Timestamp,
    table: &str,
) -> Result<(), Error> {
    let ids: Vec<OrderId> = claimed.front.iter().chain(&claimed.back).map(|job| job.order_id).collect();
    let stage = DispatchState::held(held_until);
    let statement = |piece: &[OrderId]| {
        let mut sql = Statement::new("UPDATE ");
        sql.push(table).push(" SET stage = ?, due_at = ?, held_until = ? WHERE stage = 'waiting' AND id");
        sql.bind(stage.name).bind(stage.due_at).bind(stage.held_until);
        sql.push_in_padded(piece.iter().copied());
        sql
    };
    let (changed, refused) = update_orders(connection, &ids, statement).await?;
    claimed.unreadable.extend(refused);
    if changed == ids.len() as u64 {
        return Ok(());
    }
    let mut held = HashSet::new();
    for piece in padded_chunks(&ids) {
        let mut sql = Statement::new("SELECT id FROM orders WHERE stage = 'held' AND held_until = ? AND id");
        sql.bind(stage.held_until).push_in(piece.iter().copied());
        for row in sql.fetch(connection).await? {
            held.insert(rows::id(&row, 0)?);
        }
    }
    claimed.front.retain(|job| held.contains(&job.order_id));
    claimed.back.retain(|job| held.contains(&job.order_id));
    Ok(())
}

/// Parks orders in the transaction.
pub(super) async fn park(
    connection: &mut Connection,
    orders: &[Unreadable],
    now: Timestamp,
    table: &str,
) -> Result<(), Error> {
    let ids: Vec<OrderId> = orders.iter().map(|order| order.order_id).collect();
    let statement = |piece: &[OrderId]| parked(piece, now.as_micros(), table);
    update_orders(connection, &ids, statement).await.map(drop)
}

#[cfg(test)]
mod tests {
    use domain::transition::Command;

    use super::super::Options;
    use super::super::tests::{orders, sqlite};
    use super::*;

    /// A database that accepts `SKIP LOCKED` and locks nothing permits a change of an order between the SELECT of
    /// dispatch and its UPDATE.
    #[tokio::test]
    async fn claim_skips_orders_that_changed_after_the_select() {
        let folder = tempfile::tempdir().unwrap();
        let store = sqlite(&folder, &Options::default()).await;
        let creations = orders(store.now(), 3);
        let ids: Vec<OrderId> = creations.iter().map(|creation| creation.id()).collect();
        store.insert(creations).await.unwrap();
        let cancel = Command::Cancel { reason: None, requester: None };
        store.apply([(ids[1], cancel)].into(), Default::default()).await.unwrap();
        let held_until = store.now() + Duration::from_secs(60);
        let claimed = store
            .write(|connection| {
                let jobs = ids.iter().map(|id| ReadyOrder { order_id: *id, quantity: 1 }).collect();
                let mut claimed = Claimed { back: jobs, ..Claimed::default() };
                Box::pin(async move {
                    hold(connection, &mut claimed, held_until, "orders").await?;
                    Ok(claimed)
                })
            })
            .await
            .unwrap();
        let pushed: Vec<OrderId> = claimed.back.iter().map(|job| job.order_id).collect();
        assert_eq!(pushed, [ids[0], ids[2]]);
        assert_eq!(store.inspect(Duration::ZERO).await.unwrap().issues, []);
    }
}
