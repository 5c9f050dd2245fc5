//! Finding the orders that need attention. See [`crate::dispatch`] for the loop around it.

use std::time::Duration;

use broker::Job;
use domain::transition::Command;
use domain::{OrderId, Timestamp};

use super::sql::{Sql, pieces};
use super::{Error, Store, rows};

/// No guard is longer than this; a pushed order is due within it.
const LONGEST_GUARD: Duration = Duration::from_secs(3_600);
/// Orders that are looked at for the oldest one: twice as many as the queue holds by default.
const FIRST_IN_LINE: i64 = 2_000;

impl Store {
    /// Takes up to `limit` pending orders that are due, oldest first, and makes them due again only
    /// after `guard`: the caller pushes them to the queue, and should that hint get lost, they turn
    /// up again. Orders that another gateway has just taken are left out.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn take_due(&self, limit: u32, guard: Duration) -> Result<Vec<Job>, Error> {
        let now = self.now();
        let until = now + guard;
        let skip_locked = self.inner.dialect.for_update_skip_locked();
        self.write(|connection| {
            Box::pin(async move {
                let mut sql = Sql::new(
                    "SELECT id, quantity FROM orders WHERE status = 'pending' AND due_at <= ? \
                     ORDER BY due_at LIMIT ?",
                );
                sql.push(skip_locked).bind(now.as_micros()).bind(i64::from(limit));
                let mut jobs = Vec::new();
                for row in sql.fetch(connection).await? {
                    jobs.push(Job { order_id: rows::id(&row, 0)?, quantity: rows::number(&row, 1)? });
                }
                for piece in pieces(&jobs) {
                    let mut sql = Sql::new("UPDATE orders SET due_at = ? WHERE id");
                    sql.bind(until.as_micros());
                    sql.within(piece.iter().map(|job| job.order_id.as_bytes().to_vec()));
                    sql.execute(connection).await?;
                }
                Ok(jobs)
            })
        })
        .await
    }

    /// Makes every pending order due that waits for nothing but its guard. For a start with an empty
    /// queue in memory: there are no jobs that the guards could belong to.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn drop_guards(&self) -> Result<(), Error> {
        let now = self.now().as_micros();
        self.write(|connection| {
            Box::pin(async move {
                let mut sql = Sql::new(
                    "UPDATE orders SET due_at = not_before WHERE status = 'pending' AND due_at > ? AND not_before <= ?",
                );
                sql.bind(now).bind(now);
                sql.execute(connection).await.map(drop)
            })
        })
        .await
    }

    /// Up to `limit` orders whose lease ran out, as commands for [`Store::apply`], which checks each
    /// again under its lock.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn expired_leases(&self, limit: u32) -> Result<Vec<(OrderId, Command)>, Error> {
        let now = self.now();
        self.read(move |connection| {
            Box::pin(async move {
                let mut sql = Sql::new(
                    "SELECT id FROM orders WHERE status = 'processing' AND due_at <= ? ORDER BY due_at LIMIT ?",
                );
                sql.bind(now.as_micros()).bind(i64::from(limit));
                let found = sql.fetch(connection).await?;
                found.iter().map(|row| Ok((rows::id(row, 0)?, Command::Expire))).collect()
            })
        })
        .await
    }

    /// How long the order that could be started and has waited longest has been waiting, whether its
    /// job is in the queue or not. Orders that wait for a retry do not count. Looks at those that
    /// need attention first, not at the whole backlog.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn oldest_claimable(&self) -> Result<Option<Duration>, Error> {
        let now = self.now();
        self.read(move |connection| {
            Box::pin(async move {
                let mut sql = Sql::new(
                    "SELECT not_before FROM orders WHERE status = 'pending' AND due_at <= ? ORDER BY due_at LIMIT ?",
                );
                sql.bind((now + LONGEST_GUARD).as_micros()).bind(FIRST_IN_LINE);
                let found = sql.fetch(connection).await?;
                let times = found.iter().map(|row| rows::get::<i64, _>(row, 0)).collect::<Result<Vec<_>, _>>()?;
                let oldest = times.into_iter().map(Timestamp::from_micros).min().filter(|at| *at <= now);
                Ok(oldest.map(|at| now.since(at)))
            })
        })
        .await
    }
}
