//! Finds orders that were held for longer than permitted, and returns them to dispatch.

use std::sync::Arc;
use std::time::Duration;

use domain::transition::Command;
use domain::{Kind, OrderId, Status, Timestamp};

use super::connection::Connection;
use super::isolate::update_orders;
use super::later_clock::ClaimLimits;
use super::park::{is_parked, parked_end};
use super::ready::park;
use super::row::Row;
use super::rows::DUE_AGAIN;
use super::statement::{Statement, padded_chunks};
use super::unreadable::Unreadable;
use super::{Dialect, Error, Shard, due_tenants, rows};

/// Maximum number of waiting orders that dispatch does not find, in one result.
const MAX_UNREACHABLE: i64 = 100;

/// Orders that were held for longer than permitted.
#[derive(Debug, Clone, Default)]
pub struct ExpiredClaims {
    /// Held by the queue: no worker has started them, so their jobs count as lost.
    pub unstarted: Vec<OrderId>,
    /// Held by a worker: commands for `Store::apply`, which checks each order again under its lock.
    pub leases: Vec<(OrderId, Command)>,
    /// Held by a worker until far later than a lease lasts, for `Store::shorten_leases`.
    pub overlong: Vec<OrderId>,
    /// Parked, for `Store::recheck_parked`.
    pub parked: Vec<OrderId>,
    /// To be parked: unreadable rows, and waiting orders that dispatch does not find.
    pub unreadable: Vec<Unreadable>,
}

impl Shard {
    /// Returns orders that only their job in the queue holds to dispatch, because the job is or counts as lost.
    ///
    /// Orders that another transaction has locked are skipped.
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

    /// Returns every order that only its job in the queue holds to dispatch, and ends the lease of the sweeper.
    ///
    /// For the start of the only gateway, with an empty queue in memory: no such job exists.
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
                     WHERE stage = 'held' AND status = 'pending' AND due_at = ?"
                ));
                sql.bind(now).bind(now).bind(rows::NEVER);
                sql.execute(connection).await?;
                let sql = Statement::new("UPDATE sweeper SET gateway = 0, held_until = 0");
                sql.execute(connection).await.map(drop)
            })
        })
        .await
    }

    /// Returns up to `limit` orders whose hold has ended, or ends later than `limits` permits.
    ///
    /// The second happens after a clock was set back. Reads all held orders; the depth of the queue and the capacity of
    /// the workers limit their number.
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
                    " WHERE stage = 'held' AND (held_until <= ? OR held_until > ? OR \
                     (due_at = ? AND held_until > CASE status WHEN 'pending' THEN ? ELSE ? END)) LIMIT ?",
                );
                sql.bind(now.as_micros()).bind(parked_end(now)).bind(rows::NEVER);
                sql.bind(visibility_end.as_micros()).bind(lease_end.as_micros()).bind(i64::from(limit));
                let mut expired = ExpiredClaims::default();
                for row in sql.fetch(connection).await? {
                    // A row without an id cannot be named in a statement; `inspect` reports it.
                    let Ok(id) = rows::id(&row, 0) else { continue };
                    expired.add(id, &row, now);
                }
                expired.unreadable.extend(unreachable_orders(connection, dialect).await?);
                Ok(expired)
            })
        })
        .await
    }

    /// Returns how long the oldest order that can be started has waited, with or without a job in the queue.
    ///
    /// Orders that wait for a retry do not count. Reads the held orders and the first of each tenant and priority, not the
    /// whole backlog.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn oldest_claimable(&self) -> Result<Option<Duration>, Error> {
        let now = self.now();
        let by_stage = self.inner.dialect.by_stage();
        let held = self.read(move |connection| {
            Box::pin(async move {
                let mut sql = Statement::new("SELECT MIN(not_before) FROM orders");
                // Parked orders cannot be started.
                sql.push(by_stage);
                sql.push(" WHERE stage = 'held' AND status = 'pending' AND due_at = ?");
                sql.bind(rows::NEVER);
                let found = sql.fetch(connection).await?;
                // A value that is not a time belongs to an unreadable order.
                Ok(found.first().and_then(|row| row.get::<Option<i64>>(0).ok().flatten()))
            })
        });
        let mut oldest = held.await?;
        self.each_waiting_tenant(|_, tenant| {
            oldest = oldest.into_iter().chain(tenant.due.into_iter().flatten()).min();
        })
        .await?;
        let oldest = oldest.map(Timestamp::from_micros).filter(|oldest| *oldest < now);
        Ok(oldest.map(|oldest| now.since(oldest)))
    }
}

/// Returns waiting orders that dispatch does not find, because it searches each valid kind and each known priority.
async fn unreachable_orders(connection: &mut Connection, dialect: Dialect) -> Result<Vec<Unreadable>, Error> {
    let mut found = Vec::new();
    for row in due_tenants::kinds(dialect).fetch(connection).await? {
        let Ok(kind) = row.get::<String>(0) else { continue };
        let (mut sql, problem) = match kind.parse::<Kind>() {
            Ok(_) => (
                Statement::new(dialect.stray()),
                "waits, but with an unknown priority or a due time that never comes".to_owned(),
            ),
            Err(error) => {
                let mut sql = Statement::new("SELECT id FROM orders");
                sql.push(dialect.by_due()).push(" WHERE kind = ? AND stage = 'waiting' LIMIT ?");
                (sql, format!("kind '{kind}' {error}"))
            }
        };
        sql.bind(kind).bind(MAX_UNREACHABLE);
        let rows = sql.fetch(connection).await?;
        let ids = rows.iter().filter_map(|row| rows::id(row, 0).ok());
        found.extend(ids.map(|id| Unreadable::new(id, &Error::Row(problem.clone()))));
    }
    Ok(found)
}

impl ExpiredClaims {
    /// Classifies a held order whose time is over.
    fn add(&mut self, id: OrderId, row: &Row, now: Timestamp) {
        let is_overlong = rows::time(row, 3).is_ok_and(|held_until| held_until > now);
        if row.get(2).is_ok_and(is_parked) {
            self.parked.push(id);
            return;
        }
        match row.get::<String>(1).and_then(|status| rows::status(&status)) {
            Ok(Status::Pending) => self.unstarted.push(id),
            Ok(Status::Processing) if is_overlong => self.overlong.push(id),
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

    #[tokio::test]
    async fn waiting_orders_that_dispatch_does_not_find_are_unreadable() {
        let folder = tempfile::tempdir().unwrap();
        let store = sqlite(&folder, &Options::default()).await;
        let creations = orders(store.now(), 6);
        let mut ids: Vec<OrderId> = creations.iter().map(|creation| creation.id()).collect();
        store.insert(creations).await.unwrap();
        let limits = ClaimLimits::default();
        assert_eq!(store.expired_claims(100, limits).await.unwrap().unreadable, []);
        ids.truncate(4);
        let damaged = ids.clone();
        store
            .write(|connection| {
                let damaged = damaged.clone();
                Box::pin(async move {
                    let defects = [
                        "priority = 'urgent'",
                        "due_at = 9223372036854775807",
                        "tenant_id = x'ff'",
                        "kind = 'A b'",
                    ];
                    for (id, defect) in damaged.into_iter().zip(defects) {
                        let mut sql = Statement::new(format!("UPDATE orders SET {defect} WHERE id = ?"));
                        sql.bind(id);
                        assert_eq!(sql.execute(connection).await?, 1);
                    }
                    Ok(())
                })
            })
            .await
            .unwrap();
        let found = store.expired_claims(100, limits).await.unwrap().unreadable;
        let mut found: Vec<OrderId> = found.iter().map(|order| order.order_id).collect();
        found.sort_unstable();
        ids.sort_unstable();
        assert_eq!(found, ids);
    }
}
