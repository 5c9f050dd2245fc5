//! Claims ready orders for the queue. The loop around it is the gateway's dispatch.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use domain::priority::allocate;
use domain::{Kind, OrderId, Priority, TenantId, Timestamp};
use rand::Rng;

use super::connection::Connection;
use super::isolate::update_orders;
use super::park::parked;
use super::pause;
use super::rows::DispatchState;
use super::statement::{Statement, padded_chunks};
use super::unreadable::Unreadable;
use super::{Dialect, Error, Shard, rows};

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
    /// The tenant of the orders, if it is known.
    pub tenant: Option<TenantId>,
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

/// The orders that a claim takes of one tenant.
#[derive(Clone)]
pub(super) struct Share {
    /// The kind of the orders.
    pub(super) kind: Kind,
    /// As it is stored, valid or not.
    pub(super) tenant: String,
    /// The maximum number of orders.
    pub(super) limit: u32,
    /// The priorities that have due orders, in the order of [`Priority::ALL`].
    pub(super) waiting: [bool; 3],
    pub(super) cursor: DispatchCursor,
}

/// The result of a claim.
pub(super) enum ShareClaim {
    /// The queue is paused.
    Paused,
    /// Orders of another tenant wait as well, and nothing was claimed.
    Others,
    /// What was claimed, an entry for each share.
    Claimed(Vec<(Claimed, [bool; 3])>),
}

impl Shard {
    /// Claims the due orders of one tenant, unless orders of another one wait. Searches which priorities have due orders.
    pub(super) async fn claim_alone(
        &self,
        share: Share,
        visibility_timeout: Duration,
    ) -> Result<ShareClaim, Error> {
        self.claim(vec![share], true, visibility_timeout).await
    }

    /// Claims due orders of some tenants.
    pub(super) async fn claim_shares(
        &self,
        shares: Vec<Share>,
        visibility_timeout: Duration,
    ) -> Result<ShareClaim, Error> {
        self.claim(shares, false, visibility_timeout).await
    }

    /// The queue holds the orders until `visibility_timeout` is over. The caller pushes them; [`Self::expired_claims`] finds
    /// an order whose job is lost. Orders that another gateway is claiming at the same time are skipped.
    async fn claim(
        &self,
        shares: Vec<Share>,
        is_alone: bool,
        visibility_timeout: Duration,
    ) -> Result<ShareClaim, Error> {
        let now = self.now();
        let dialect = self.inner.dialect;
        let table = self.inner.dialect.orders_by_id();
        let shares: Arc<[Share]> = shares.into();
        let claimed = self
            .write(|connection| {
                let shares = shares.clone();
                Box::pin(async move {
                    if let Some(pause) = pause::read(connection, "", now).await? {
                        return Ok(Err(pause));
                    }
                    let mut taken = Vec::with_capacity(shares.len());
                    for share in &*shares {
                        let waiting = if is_alone {
                            match waiting(connection, share, now, dialect).await? {
                                (_, true) => return Ok(Ok(ShareClaim::Others)),
                                (waiting, false) => waiting,
                            }
                        } else {
                            share.waiting
                        };
                        taken.push(take_share(connection, share, waiting, now, dialect).await?);
                    }
                    hold(connection, &mut taken, now + visibility_timeout, table).await?;
                    for (claimed, _) in &taken {
                        park(connection, &claimed.unreadable, now, table).await?;
                    }
                    Ok(Ok(ShareClaim::Claimed(taken)))
                })
            })
            .await?;
        self.note_pause(claimed.as_ref().err().cloned());
        let claimed = claimed.unwrap_or(ShareClaim::Paused);
        if let ShareClaim::Claimed(taken) = &claimed {
            taken.iter().for_each(|(claimed, _)| self.tell(&claimed.unreadable));
        }
        Ok(claimed)
    }
}

/// Returns which priorities of a tenant have due orders, in the order of [`Priority::ALL`], and whether orders of another
/// tenant wait, due or not.
async fn waiting(
    connection: &mut Connection,
    share: &Share,
    now: Timestamp,
    dialect: Dialect,
) -> Result<([bool; 3], bool), Error> {
    let mut sql = Statement::new("SELECT ");
    for (priority, from) in Priority::ALL.into_iter().zip(share.cursor.0) {
        sql.push("EXISTS(SELECT 1 FROM orders").push(dialect.by_due()).push(
            " WHERE stage = 'waiting' AND kind = ? AND priority = ? AND tenant_id = ? AND due_at >= ? AND due_at <= ?), ",
        );
        sql.bind(share.kind.to_string())
            .bind(priority.as_str())
            .bind(share.tenant.clone())
            .bind(from.as_micros())
            .bind(now.as_micros());
    }
    for sign in ["<", ">"] {
        sql.push(if sign == "<" { "" } else { ", " });
        sql.push("EXISTS(SELECT 1 FROM orders").push(dialect.by_stage());
        sql.push(" WHERE stage = 'waiting' AND tenant_id ").push(sign).push(" ?)").bind(share.tenant.clone());
    }
    let found = sql.fetch(connection).await?;
    let row = found.first().ok_or_else(|| Error::Row("EXISTS without an answer".into()))?;
    let is = |column| Ok::<_, Error>(rows::number::<u32>(row, column)? != 0);
    Ok(([is(0)?, is(1)?, is(2)?], is(3)? || is(4)?))
}

/// Locks due orders and divides the limit among their priorities.
///
/// Also returns which priorities may have more of them.
async fn take_share(
    connection: &mut Connection,
    share: &Share,
    mut waiting: [bool; 3],
    now: Timestamp,
    dialect: Dialect,
) -> Result<(Claimed, [bool; 3]), Error> {
    let places = allocate(share.limit, waiting, rand::rng().random());
    let mut claimed =
        Claimed { tenant: share.tenant.parse().ok(), cursor: share.cursor, ..Claimed::default() };
    for (n, (priority, places)) in Priority::ALL.into_iter().zip(places).enumerate() {
        if places == 0 {
            continue;
        }
        let range = (share.cursor.0[n], now);
        let sql = due_orders(&share.kind, priority, places, range, &share.tenant, dialect);
        let Waiting { jobs, unreadable, rows, reached } = take(connection, sql, share.cursor.0[n]).await?;
        claimed.cursor.0[n] = reached;
        claimed.unreadable.extend(unreadable);
        // A priority with fewer orders than its share leaves capacity for another pass.
        waiting[n] = rows == places as usize;
        claimed.more |= waiting[n];
        match priority {
            Priority::High => claimed.front.extend(jobs),
            Priority::Normal | Priority::Low => claimed.back.extend(jobs),
        }
    }
    Ok((claimed, waiting))
}

/// Builds the statement that locks the orders of a kind, a tenant and a priority with the earliest due times.
pub(super) fn due_orders(
    kind: &Kind,
    priority: Priority,
    limit: u32,
    (from, to): (Timestamp, Timestamp),
    tenant: &str,
    dialect: Dialect,
) -> Statement<'static> {
    let mut sql = Statement::new("SELECT id, quantity, due_at FROM orders");
    sql.push(dialect.by_due());
    sql.push(
        " WHERE stage = 'waiting' AND kind = ? AND priority = ? AND tenant_id = ? AND due_at >= ? AND due_at <= ? \
         ORDER BY due_at LIMIT ?",
    )
    .push(dialect.for_update_skip_locked());
    sql.bind(kind.to_string()).bind(priority.as_str()).bind(tenant.to_owned());
    sql.bind(from.as_micros()).bind(to.as_micros()).bind(i64::from(limit));
    sql
}

/// Locks the orders that a statement of [`due_orders`] selects, from a due time on.
async fn take(
    connection: &mut Connection,
    sql: Statement<'static>,
    from: Timestamp,
) -> Result<Waiting, Error> {
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
    taken: &mut [(Claimed, [bool; 3])],
    held_until: Timestamp,
    table: &str,
) -> Result<(), Error> {
    let jobs = taken.iter().flat_map(|(claimed, _)| claimed.front.iter().chain(&claimed.back));
    let ids: Vec<OrderId> = jobs.map(|job| job.order_id).collect();
    let stage = DispatchState::held(held_until);
    let statement = |piece: &[OrderId]| {
        let mut sql = Statement::new("UPDATE ");
        sql.push(table).push(" SET stage = ?, due_at = ?, held_until = ? WHERE stage = 'waiting' AND id");
        sql.bind(stage.name).bind(stage.due_at).bind(stage.held_until);
        sql.push_in_padded(piece.iter().copied());
        sql
    };
    let (changed, refused) = update_orders(connection, &ids, statement).await?;
    if let Some((claimed, _)) = taken.first_mut() {
        claimed.unreadable.extend(refused);
    }
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
    for (claimed, _) in taken {
        claimed.front.retain(|job| held.contains(&job.order_id));
        claimed.back.retain(|job| held.contains(&job.order_id));
    }
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
                let mut taken = [(Claimed { back: jobs, ..Claimed::default() }, [false; 3])];
                Box::pin(async move {
                    hold(connection, &mut taken, held_until, "orders").await?;
                    let [(claimed, _)] = taken;
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
