//! Parks orders that cannot be processed.
//!
//! Dispatch and the workers ignore a parked order for a time, which doubles with each parking, so it costs the other
//! orders almost nothing.
//!
//! A parked order is held until a time, like one in the queue or with a worker. Its `due_at` states how often it was
//! parked in succession: [`NEVER`] minus that number. The backoff is therefore stored with the order, is the same for
//! every gateway and survives a restart. The statements here read no other column, because another column may be the
//! defect. When the time is over the order is checked again (`Store::recheck_parked`): a repaired one is released,
//! and the others stay parked.

use std::time::Duration;

use domain::transition::CLOCK_STEP;
use domain::{OrderId, OrderMap, Timestamp};
use telemetry::LogThrottle;

use super::isolate::update_orders;
use super::rows::{DUE_AGAIN, NEVER};
use super::statement::Statement;
use super::unreadable::{Cause, Unreadable};
use super::{Error, Shard, rows};

/// Duration of the first parking; each further one is twice as long ...
const PARKED_FIRST: Duration = Duration::from_secs(30);
/// ... up to this number of doublings.
const DOUBLINGS: i64 = 7;
/// The `due_at` of an order that has reached the longest parking.
const LOWEST: i64 = NEVER - 1 - DOUBLINGS;
/// Maximum duration of a parking.
const PARKED_LONGEST: Duration = Duration::from_secs(PARKED_FIRST.as_secs() << DOUBLINGS);

/// Returns whether a held order with this `due_at` is parked.
pub(super) fn is_parked(due_at: i64) -> bool {
    (LOWEST..NEVER).contains(&due_at)
}

/// Returns the latest time at which a parking of the present can end.
pub(super) fn parked_end(now: Timestamp) -> i64 {
    (now + PARKED_LONGEST + CLOCK_STEP).as_micros()
}

impl Shard {
    /// Parks those of the orders that are not final.
    ///
    /// An order that cannot be parked, because the database refuses every change of its row, is only logged.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn park(&self, orders: &[Unreadable]) -> Result<(), Error> {
        if orders.is_empty() {
            return Ok(());
        }
        self.tell(orders);
        let ids: Vec<OrderId> = orders.iter().map(|order| order.order_id).collect();
        let until = self.now();
        let table = self.inner.dialect.orders_by_id();
        let refused = self
            .write(|connection| {
                let ids = ids.clone();
                Box::pin(async move {
                    let statement = |piece: &[OrderId]| parked(piece, until.as_micros(), table);
                    Ok(update_orders(connection, &ids, statement).await?.1)
                })
            })
            .await?;
        for order in refused {
            tracing::debug!(order_id = %order.order_id, detail = order.detail, "failed to park order");
        }
        Ok(())
    }

    /// Logs and counts orders that were parked.
    pub(super) fn tell(&self, orders: &[Unreadable]) {
        for Unreadable { order_id, cause, detail } in orders {
            metrics::counter!("orders_parked_total", "reason" => cause.as_str()).increment(1);
            let gate = Cause::ALL.iter().position(|each| each == cause).map(|n| &self.inner.parking.0[n]);
            if let Some(more) = gate.and_then(LogThrottle::allow) {
                tracing::error!(
                    %order_id,
                    reason = cause.as_str(),
                    detail,
                    more,
                    "an order cannot be processed and is parked; `orders doctor` lists all of them, \
                     `orders repair` repairs one or marks it as failed"
                );
            }
        }
    }

    /// Checks parked orders whose time is over: releases the readable ones and parks the others again.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn recheck_parked(&self, ids: &[OrderId]) -> Result<(), Error> {
        if ids.is_empty() {
            return Ok(());
        }
        let unusable = self.unusable(ids).await?;
        let sound: Vec<OrderId> = {
            let unusable: OrderMap<()> = unusable.iter().map(|order| (order.order_id, ())).collect();
            ids.iter().copied().filter(|id| !unusable.contains_key(id)).collect()
        };
        self.park(&unusable).await?;
        let now = self.now().as_micros();
        let table = self.inner.dialect.orders_by_id();
        let released = self
            .write(|connection| {
                let sound = sound.clone();
                Box::pin(async move {
                    let statement = |piece: &[OrderId]| released(piece, now, table);
                    Ok(update_orders(connection, &sound, statement).await?.0)
                })
            })
            .await?;
        if released > 0 {
            tracing::info!(orders = released, "parked orders released");
        }
        Ok(())
    }

    /// Returns the number of parked orders.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn parked(&self) -> Result<u64, Error> {
        let by_stage = self.inner.dialect.by_stage();
        self.read(move |connection| {
            Box::pin(async move {
                let mut sql = Statement::new("SELECT COUNT(*) FROM orders");
                sql.push(by_stage).push(" WHERE stage = 'held' AND due_at >= ? AND due_at < ?");
                sql.bind(LOWEST).bind(NEVER);
                let found = sql.fetch(connection).await?;
                found.first().map_or(Ok(0), |row| rows::number(row, 0))
            })
        })
        .await
    }
}

/// Builds the UPDATE that parks orders.
///
/// MySQL assigns from left to right, so `held_until` is computed from the previous `due_at`.
pub(super) fn parked(ids: &[OrderId], now: i64, table: &str) -> Statement<'static> {
    let first = i64::try_from(PARKED_FIRST.as_micros()).unwrap_or(i64::MAX);
    let mut sql = Statement::new("UPDATE ");
    sql.push(table).push(" SET held_until = CASE");
    for doublings in 1..=DOUBLINGS {
        let until = now.saturating_add(first << doublings);
        sql.push(" WHEN stage = 'held' AND due_at = ? THEN ?").bind(NEVER - doublings).bind(until);
    }
    // The lowest value stays.
    let longest = now.saturating_add(first << DOUBLINGS);
    sql.push(" WHEN stage = 'held' AND due_at = ? THEN ? ELSE ? END").bind(LOWEST).bind(longest);
    sql.bind(now.saturating_add(first));
    sql.push(", due_at = CASE WHEN stage = 'held' AND due_at > ? AND due_at < ? THEN due_at - 1");
    sql.bind(LOWEST).bind(NEVER);
    sql.push(" WHEN stage = 'held' AND due_at = ? THEN due_at ELSE ? END").bind(LOWEST).bind(NEVER - 1);
    sql.push(", stage = 'held' WHERE status NOT IN ('completed', 'failed', 'cancelled') AND id");
    sql.push_in_padded(ids.iter().copied());
    sql
}

/// Builds the UPDATE that releases orders.
///
/// A pending order waits again. A processing one stays held until now, so that its lease expires.
fn released(ids: &[OrderId], now: i64, table: &str) -> Statement<'static> {
    let mut sql = Statement::new("UPDATE ");
    sql.push(table).push(
        " SET held_until = CASE WHEN status = 'pending' THEN 0 ELSE ? END, due_at = CASE WHEN status = 'pending' THEN ",
    );
    sql.bind(now).push(DUE_AGAIN).bind(now).bind(now);
    sql.push(
        " ELSE ? END, stage = CASE WHEN status = 'pending' THEN 'waiting' ELSE 'held' END \
         WHERE stage = 'held' AND due_at >= ? AND due_at < ? AND (held_until <= ? OR held_until > ?) AND id",
    );
    sql.bind(NEVER).bind(LOWEST).bind(NEVER).bind(now);
    sql.bind(parked_end(Timestamp::from_micros(now)));
    sql.push_in_padded(ids.iter().copied());
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backoff_is_documented() {
        limits_page::row(
            "parking time of an order that cannot be processed",
            &format!("{} s, doubled up to {} min", PARKED_FIRST.as_secs(), PARKED_LONGEST.as_secs() / 60),
        );
    }
}
