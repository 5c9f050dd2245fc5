//! Finding the orders that need attention. The loop around it is the dispatch of the gateway.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use domain::priority::allocate;
use domain::transition::Command;
use domain::{DEFAULT_TENANT, OrderId, Priority, Status, Timestamp};
use rand::Rng;

use super::connection::Connection;
use super::isolate::{Unreadable, update_orders};
use super::later_clock::ClaimLimits;
use super::park::{is_parked, parked, parked_end};
use super::pause;
use super::row::Row;
use super::rows::{DUE_AGAIN, DispatchState};
use super::statement::{Statement, padded_chunks};
use super::{Dialect, Error, Store, rows};

/// Waiting orders that dispatch never finds and that one look does.
const MAX_UNREACHABLE: i64 = 100;

/// An order that can be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadyOrder {
    /// The order.
    pub order_id: OrderId,
    /// Its number of units, for workers that care.
    pub quantity: u64,
}

/// What a round of dispatch has claimed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claimed {
    /// For the front of the queue: orders of high priority.
    pub front: Vec<ReadyOrder>,
    /// For the end of the queue.
    pub back: Vec<ReadyOrder>,
    /// Orders that are due and cannot be dispatched. They are parked already.
    pub unreadable: Vec<Unreadable>,
    /// Whether there may be more that is due.
    pub more: bool,
    /// Where the next round may begin while there is more.
    pub cursor: DispatchCursor,
}

/// How far dispatch has come along the due times of each priority. What was claimed leaves entries in the
/// index that are passed one by one until the database has purged them; a search that begins behind them
/// does not meet them. An order may become due before the mark all the same, so every now and then a
/// search has to begin at the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DispatchCursor([Timestamp; 3]);

/// The beginning.
impl Default for DispatchCursor {
    fn default() -> Self {
        Self([Timestamp::from_micros(i64::MIN); 3])
    }
}

/// Orders that have been held for too long.
#[derive(Debug, Clone, Default)]
pub struct ExpiredClaims {
    /// In the queue: nobody has started them, so their jobs are claimed for lost.
    pub unstarted: Vec<OrderId>,
    /// By a worker: commands for [`Store::apply`], which checks each again under its lock.
    pub leases: Vec<(OrderId, Command)>,
    /// By a worker, for far longer than a lease lasts, for [`Store::shorten_leases`].
    pub overlong: Vec<OrderId>,
    /// Parked, for [`Store::recheck`].
    pub parked: Vec<OrderId>,
    /// To be parked: rows that cannot be read, and waiting orders that dispatch never finds.
    pub unreadable: Vec<Unreadable>,
}

impl Store {
    /// Takes up to `limit` waiting orders that are due. The queue holds them until `visibility_timeout` is over: the
    /// caller pushes them, and should that hint get lost, [`Self::overdue`] finds them. Orders that another
    /// gateway has just claimed are left out.
    ///
    /// Within a priority the oldest go first. Among the priorities the places are divided by
    /// [`domain::priority::allocate`]. The search begins at the cursor. `None` when nothing is claimed because the queue is paused.
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
        let skip_locked = self.inner.dialect.for_update_skip_locked();
        let table = self.inner.dialect.orders_by_id();
        let claimed = self
            .write(|connection| {
                Box::pin(async move {
                    if let Some(pause) = pause::read(connection, "", now).await? {
                        return Ok(Err(pause));
                    }
                    let waiting = waiting(connection, cursor, now).await?;
                    let places = allocate(limit, waiting, rand::rng().random());
                    let mut claimed = Claimed { cursor, ..Claimed::default() };
                    for (n, (priority, places)) in Priority::ALL.into_iter().zip(places).enumerate() {
                        if places == 0 {
                            continue;
                        }
                        let range = (cursor.0[n], now);
                        let Waiting { jobs, unreadable, rows, reached } =
                            take(connection, priority, places, range, skip_locked).await?;
                        claimed.cursor.0[n] = reached;
                        claimed.unreadable.extend(unreadable);
                        // Priorities that wait for less than their share leave places for another round.
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

    /// Lets those of the orders wait again that are only held by their job in the queue: that job is lost,
    /// or it is claimed for lost. Orders that somebody else has locked are left out.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn release_unstarted(&self, ids: Vec<OrderId>) -> Result<(), Error> {
        let ids: Arc<[OrderId]> = ids.into();
        let skip_locked = self.inner.dialect.for_update_skip_locked();
        let table = self.inner.dialect.orders_by_id();
        let now = self.now();
        let refused = self
            .write(|connection| {
                let ids = ids.clone();
                Box::pin(async move {
                    let mut refused = Vec::new();
                    for piece in padded_chunks(&ids) {
                        let mut sql = Statement::new(
                            "SELECT id FROM orders WHERE status = 'pending' AND stage = 'held' AND id",
                        );
                        sql.push_in(piece.iter().copied()).push(skip_locked);
                        let mut locked = Vec::new();
                        for row in sql.fetch(connection).await? {
                            locked.push(rows::id(&row, 0)?);
                        }
                        let waits = |piece: &[OrderId]| {
                            let mut sql = Statement::new("UPDATE ");
                            sql.push(table).push(" SET stage = 'waiting', due_at = ").push(DUE_AGAIN);
                            sql.bind(now.as_micros())
                                .bind(now.as_micros())
                                .push(", held_until = 0 WHERE status = 'pending' AND stage = 'held' AND id");
                            sql.push_in_padded(piece.iter().copied());
                            sql
                        };
                        let (_, unreadable) = update_orders(connection, &locked, waits).await?;
                        park(connection, &unreadable, now, table).await?;
                        refused.extend(unreadable);
                    }
                    Ok(refused)
                })
            })
            .await?;
        self.tell(&refused);
        Ok(())
    }

    /// Lets every order wait again that is only held by its job in the queue. For a start with an empty
    /// queue in memory: there are no such jobs.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn release_all_unstarted(&self) -> Result<(), Error> {
        let now = self.now().as_micros();
        let table = format!("orders{}", self.inner.dialect.by_stage());
        self.write(|connection| {
            let table = table.clone();
            Box::pin(async move {
                let mut sql = Statement::new(format!(
                    "UPDATE {table} SET stage = 'waiting', due_at = {DUE_AGAIN}, held_until = 0 \
                     WHERE tenant_id = ? AND stage = 'held' AND status = 'pending' AND due_at = ?"
                ));
                sql.bind(now).bind(now).bind(DEFAULT_TENANT).bind(rows::NEVER);
                sql.execute(connection).await.map(drop)
            })
        })
        .await
    }

    /// Up to `limit` orders that have been held for too long, or are held until later than `limits` allows, by a
    /// clock that was set back. Reads all held orders, of which there are no
    /// more than the queue takes and the workers work on.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn expired_claims(&self, limit: u32, limits: ClaimLimits) -> Result<ExpiredClaims, Error> {
        let now = self.now();
        let (visibility_end, lease_end) = (limits.visibility_end(now), limits.lease_end(now));
        let dialect = self.inner.dialect;
        let by_stage = dialect.by_stage();
        self.read(move |connection| {
            Box::pin(async move {
                let mut sql = Statement::new("SELECT id, status, due_at, held_until FROM orders");
                sql.push(by_stage).push(
                    " WHERE tenant_id = ? AND stage = 'held' AND (held_until <= ? OR held_until > ? OR \
                     (due_at = ? AND held_until > CASE status WHEN 'pending' THEN ? ELSE ? END)) LIMIT ?",
                );
                sql.bind(DEFAULT_TENANT).bind(now.as_micros()).bind(parked_end(now)).bind(rows::NEVER);
                sql.bind(visibility_end.as_micros()).bind(lease_end.as_micros()).bind(i64::from(limit));
                let mut expired = ExpiredClaims::default();
                for row in sql.fetch(connection).await? {
                    // Without an id there is nothing that a statement could name: `inspect` reports it.
                    let Ok(id) = rows::id(&row, 0) else { continue };
                    expired.add(id, &row, now);
                }
                expired.unreadable.extend(unreachable_orders(connection, dialect).await?);
                Ok(expired)
            })
        })
        .await
    }

    /// How long the order that could be started and has waited limits has been waiting, whether its
    /// job is in the queue or not. Orders that wait for a retry do not count. Looks at the held orders and
    /// at the first in line of each priority, not at the whole backlog.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn oldest_claimable(&self) -> Result<Option<Duration>, Error> {
        let now = self.now();
        let by_stage = self.inner.dialect.by_stage();
        self.read(move |connection| {
            Box::pin(async move {
                let mut sql = Statement::new("SELECT MIN(not_before) FROM orders");
                // Parked orders cannot be started.
                sql.push(by_stage);
                sql.push(" WHERE tenant_id = ? AND stage = 'held' AND status = 'pending' AND due_at = ?");
                sql.bind(DEFAULT_TENANT).bind(rows::NEVER);
                for priority in Priority::ALL {
                    sql.push(
                        " UNION ALL SELECT MIN(due_at) FROM orders WHERE stage = 'waiting' AND priority = ?",
                    );
                    sql.bind(priority.as_str());
                }
                let mut oldest = now;
                for row in sql.fetch(connection).await? {
                    // What is not a time belongs to an order that cannot be read.
                    if let Ok(Some(at)) = row.get::<Option<i64>>(0) {
                        oldest = oldest.min(Timestamp::from_micros(at));
                    }
                }
                Ok((oldest < now).then(|| now.since(oldest)))
            })
        })
        .await
    }
}

/// For which priorities, in the order of [`Priority::ALL`], orders are due.
async fn waiting(
    connection: &mut Connection,
    cursor: DispatchCursor,
    now: Timestamp,
) -> Result<[bool; 3], Error> {
    let mut sql = Statement::new("SELECT ");
    for (n, priority) in Priority::ALL.into_iter().enumerate() {
        sql.push(if n == 0 { "" } else { ", " });
        sql.push(
            "EXISTS(SELECT 1 FROM orders WHERE stage = 'waiting' AND priority = ? AND due_at >= ? AND due_at <= ?)",
        );
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

/// Locks the orders of one priority that have been due for limits, within a range of times.
async fn take(
    connection: &mut Connection,
    priority: Priority,
    limit: u32,
    (from, to): (Timestamp, Timestamp),
    skip_locked: &str,
) -> Result<Waiting, Error> {
    let mut sql = Statement::new(
        "SELECT id, quantity, due_at FROM orders WHERE stage = 'waiting' AND priority = ? AND due_at >= ? \
         AND due_at <= ? ORDER BY due_at LIMIT ?",
    );
    sql.push(skip_locked).bind(priority.as_str()).bind(from.as_micros()).bind(to.as_micros());
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

/// Orders of one priority that are due and locked.
struct Waiting {
    jobs: Vec<ReadyOrder>,
    unreadable: Vec<Unreadable>,
    /// How many rows there were, whatever they hold.
    rows: usize,
    /// When the last of them was due.
    reached: Timestamp,
}

/// Lets the queue hold what was claimed until `held_until`. The orders are locked where the database has row locks that
/// can be skipped; the condition repeats that they wait, for databases that accept `SKIP LOCKED` and lock
/// nothing. What somebody else has changed meanwhile, or the database refuses to change, is claimed out.
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

/// Parks orders within the transaction.
async fn park(
    connection: &mut Connection,
    orders: &[Unreadable],
    now: Timestamp,
    table: &str,
) -> Result<(), Error> {
    let ids: Vec<OrderId> = orders.iter().map(|order| order.order_id).collect();
    let statement = |piece: &[OrderId]| parked(piece, now.as_micros(), table);
    update_orders(connection, &ids, statement).await.map(drop)
}

/// Waiting orders that dispatch does not find, because it looks for one priority after the other.
async fn unreachable_orders(connection: &mut Connection, dialect: Dialect) -> Result<Vec<Unreadable>, Error> {
    let mut sql = Statement::new("SELECT id FROM orders WHERE stage = 'waiting' AND ");
    sql.push(dialect.stray()).push(" LIMIT ?").bind(MAX_UNREACHABLE);
    let rows = sql.fetch(connection).await?;
    let ids = rows.iter().filter_map(|row| rows::id(row, 0).ok());
    let error = Error::Row("waits, but with an unknown priority or a due time that never comes".to_owned());
    Ok(ids.map(|id| Unreadable::new(id, &error)).collect())
}

impl ExpiredClaims {
    /// Sorts a held order in whose time is over.
    fn add(&mut self, id: OrderId, row: &Row, now: Timestamp) {
        let ahead = rows::time(row, 3).is_ok_and(|held_until| held_until > now);
        if row.get(2).is_ok_and(is_parked) {
            self.parked.push(id);
            return;
        }
        match row.get::<String>(1).and_then(|status| rows::status(&status)) {
            Ok(Status::Pending) => self.unstarted.push(id),
            Ok(Status::Processing) if ahead => self.overlong.push(id),
            Ok(Status::Processing) => self.leases.push((id, Command::Expire)),
            Ok(Status::Completed | Status::Failed | Status::Cancelled) => {}
            Err(error) => self.unreadable.push(Unreadable::new(id, &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::tests::{orders, sqlite};
    use super::*;

    /// A database that accepts `SKIP LOCKED` and locks nothing lets somebody else change an order between the
    /// SELECT of dispatch and its UPDATE.
    #[tokio::test]
    async fn only_what_still_waits_is_held_and_pushed() {
        let folder = tempfile::tempdir().unwrap();
        let store = sqlite(&folder, &Options::default()).await;
        let creations = orders(store.now(), 3);
        let ids: Vec<OrderId> = creations.iter().map(|creation| creation.id()).collect();
        store.insert(creations).await.unwrap();
        let cancel = Command::Cancel { reason: None };
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
