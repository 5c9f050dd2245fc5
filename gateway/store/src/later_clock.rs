//! Shortens waits that end too late because the clock was set back.
//!
//! All times in the rows are absolute. After the clock was set back by an hour, an order with a wait of one second
//! waits for an hour and a second. Three rules end that, without any memory of the step:
//!
//! - A hold of the queue, or a lease, that ends later than the longest possible one ends sooner:
//!   `Store::expired_claims` and `Store::shorten_leases`.
//! - An order that was last changed in the future waits from now on for its original wait
//!   ([`domain::transition::wait_after_clock_step`]): `Store::shorten_waits`.
//! - A schedule is a time that a client has chosen, and does not change.

use std::time::Duration;

use domain::transition::{scheduled_start, wait_after_clock_step};
use domain::{OrderId, Priority, Timestamp};

use super::columns::Column;
use super::isolate::update_orders;
use super::row::Row;
use super::rows::NEVER;
use super::statement::Statement;
use super::{Error, Shard, columns, rows};

/// Orders that one statement reads.
const PAGE: usize = 512;
/// A lease is shortened when it ends later than this from now, and later than four times the longest lease. Gateways
/// may have different settings for a time, and the lease of one with a longer setting must not be cut.
const LEASE_AHEAD: Duration = Duration::from_secs(20);

/// The longest possible claims.
#[derive(Debug, Clone, Copy)]
pub struct ClaimLimits {
    /// Of the queue.
    pub visibility_timeout: Duration,
    /// Of a worker.
    pub lease: Duration,
}

/// No claim is too long.
impl Default for ClaimLimits {
    fn default() -> Self {
        let long = Duration::from_secs(1 << 40);
        Self { visibility_timeout: long, lease: long }
    }
}

impl ClaimLimits {
    /// Returns the latest end of a hold of the queue by the present clock.
    pub(super) fn visibility_end(self, now: Timestamp) -> Timestamp {
        now + self.visibility_timeout.saturating_add(domain::transition::CLOCK_STEP)
    }

    /// The same for a lease.
    pub(super) fn lease_end(self, now: Timestamp) -> Timestamp {
        now + self.lease.saturating_mul(4).max(LEASE_AHEAD)
    }
}

impl Shard {
    /// Returns how far the newest order was created in the future: the clock was set back since.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn clock_behind(&self) -> Result<Option<Duration>, Error> {
        let now = self.now();
        self.read(move |connection| {
            Box::pin(async move {
                let found = Statement::new("SELECT id FROM orders ORDER BY id DESC LIMIT 1")
                    .fetch(connection)
                    .await?;
                let newest = found.first().and_then(|row| rows::id(row, 0).ok()).map(|id| id.time());
                Ok(newest.map(|at| at.since(now)).filter(|behind| *behind > domain::transition::CLOCK_STEP))
            })
        })
        .await
    }

    /// Ends leases after one more lease that end far later than any can. Returns their number.
    ///
    /// A worker that is alive renews its lease before that, and no lease expires here.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn shorten_leases(&self, ids: &[OrderId], limits: ClaimLimits) -> Result<u64, Error> {
        if ids.is_empty() {
            return Ok(0);
        }
        let (now, table) = (self.now(), self.inner.dialect.orders_by_id());
        let (until, ahead) = (now + limits.lease, limits.lease_end(now));
        let ids = ids.to_vec();
        let shortened = self
            .write(|connection| {
                let ids = ids.clone();
                Box::pin(async move {
                    let statement = |piece: &[OrderId]| {
                        let mut sql = Statement::new("UPDATE ");
                        sql.push(table).push(
                            " SET held_until = ? WHERE status = 'processing' AND stage = 'held' AND held_until > ? AND id",
                        );
                        sql.bind(until.as_micros()).bind(ahead.as_micros());
                        sql.push_in_padded(piece.iter().copied());
                        sql
                    };
                    Ok(update_orders(connection, &ids, statement).await?.0)
                })
            })
            .await?;
        if shortened > 0 {
            tracing::warn!(orders = shortened, "shortened leases that a clock step had extended");
        }
        Ok(shortened)
    }

    /// Restarts the wait of waiting orders that were last changed in the future, and the duration of such a pause.
    /// Returns the number of these orders.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn shorten_waits(&self) -> Result<u64, Error> {
        let mut brought_in = 0;
        let mut tenants = Vec::new();
        self.each_waiting_tenant(|kind, tenant| tenants.push((kind.to_owned(), tenant.name))).await?;
        for (kind, tenant) in &tenants {
            for priority in Priority::ALL {
                brought_in += self.shorten_waits_of(kind, tenant, priority).await?;
            }
        }
        self.bring_in_pause().await?;
        if brought_in > 0 {
            tracing::warn!(orders = brought_in, "rescheduled orders that a clock step had delayed");
        }
        Ok(brought_in)
    }

    async fn shorten_waits_of(&self, kind: &str, tenant: &str, priority: Priority) -> Result<u64, Error> {
        let mut brought_in = 0;
        let mut from = (self.now().as_micros(), OrderId::from_bytes([0xff; 16]));
        loop {
            let page = self.waiting_after(kind, tenant, priority, from).await?;
            brought_in += self.bring_in_page(&page).await?;
            match page.last() {
                Some(last) if page.len() == PAGE => from = (last.due_at, last.id),
                _ => return Ok(brought_in),
            }
        }
    }

    /// Returns waiting orders of a kind and a tenant that are due after a position, in their order.
    async fn waiting_after(
        &self,
        kind: &str,
        tenant: &str,
        priority: Priority,
        from: (i64, OrderId),
    ) -> Result<Vec<Waiting>, Error> {
        let (by_due, kind, tenant) = (self.dialect().by_due(), kind.to_owned(), tenant.to_owned());
        self.read(move |connection| {
            Box::pin(async move {
                let mut sql = Statement::new("SELECT ");
                columns::STATE.push(&mut sql);
                sql.push(" FROM orders").push(by_due).push(
                    " WHERE stage = 'waiting' AND kind = ? AND priority = ? AND tenant_id = ? AND due_at >= ? AND due_at < ? \
                     AND (due_at > ? OR id > ?) ORDER BY due_at, id LIMIT ?",
                );
                sql.bind(kind).bind(priority.as_str()).bind(tenant).bind(from.0).bind(NEVER).bind(from.0);
                sql.bind(from.1).bind(PAGE as i64);
                Ok(sql.fetch(connection).await?.iter().filter_map(Waiting::new).collect())
            })
        })
        .await
    }

    async fn bring_in_page(&self, page: &[Waiting]) -> Result<u64, Error> {
        let now = self.now();
        let table = self.inner.dialect.orders_by_id();
        let mut by_time: std::collections::BTreeMap<i64, Vec<OrderId>> = std::collections::BTreeMap::new();
        for waiting in page {
            if let Some(due) = waiting.due_by(now).filter(|due| *due < waiting.due_at) {
                by_time.entry(due).or_default().push(waiting.id);
            }
        }
        if by_time.is_empty() {
            return Ok(0);
        }
        self.write(|connection| {
            let by_time = by_time.clone();
            Box::pin(async move {
                let mut changed = 0;
                for (due, ids) in &by_time {
                    let statement = |piece: &[OrderId]| {
                        let mut sql = Statement::new("UPDATE ");
                        sql.push(table).push(" SET due_at = ? WHERE stage = 'waiting' AND due_at > ? AND id");
                        sql.bind(*due).bind(*due);
                        sql.push_in_padded(piece.iter().copied());
                        sql
                    };
                    changed += update_orders(connection, ids, statement).await?.0;
                }
                Ok(changed)
            })
        })
        .await
    }

    /// Restarts the duration of a pause that was made in the future.
    async fn bring_in_pause(&self) -> Result<(), Error> {
        let now = self.now();
        self.write(|connection| {
            Box::pin(async move {
                // MySQL assigns from left to right.
                let mut sql = Statement::new(
                    "UPDATE queues SET paused_until = ? + (paused_until - paused_at), paused_at = ? \
                     WHERE paused_until IS NOT NULL AND paused_at > ?",
                );
                sql.bind(now.as_micros()).bind(now.as_micros());
                sql.bind((now + domain::transition::CLOCK_STEP).as_micros());
                sql.execute(connection).await.map(drop)
            })
        })
        .await
    }
}

/// A waiting order.
struct Waiting {
    id: OrderId,
    due_at: i64,
    state: domain::transition::OrderState,
}

impl Waiting {
    fn new(row: &Row) -> Option<Self> {
        let row = columns::STATE.of(row);
        let locked = columns::state(&row).ok()?;
        Some(Self { id: locked.id, due_at: row.get(Column::DueAt).ok()?, state: locked.state })
    }

    /// Returns the latest due time, if the times of the order are those of a clock that was set back.
    fn due_by(&self, now: Timestamp) -> Option<i64> {
        if scheduled_start(&self.state).is_some_and(|at| at > now) {
            return None;
        }
        wait_after_clock_step(&self.state, now).map(|wait| (now + wait).as_micros())
    }
}
