//! Finding the orders that need attention. See [`crate::dispatch`] for the loop around it.

use std::sync::Arc;
use std::time::Duration;

use broker::Job;
use domain::priority::divide;
use domain::transition::Command;
use domain::{OrderId, Priority, Timestamp};
use rand::Rng;
use sqlx::AnyConnection;

use super::pause::paused;
use super::sql::{LARGEST_PIECE, Sql, padded};
use super::{Error, Store, rows};

/// No guard is longer than this; a pushed order is due within it.
const LONGEST_GUARD: Duration = Duration::from_secs(3_600);
/// Orders that are looked at for the oldest one: twice as many as the queue holds by default.
const FIRST_IN_LINE: i64 = 2_000;

/// What a round of dispatch has taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// For the front of the queue: orders of high priority.
    pub ahead: Vec<Job>,
    /// For the end of the queue.
    pub behind: Vec<Job>,
    /// Whether there may be more that is due.
    pub more: bool,
    /// Where the next round may begin while there is more.
    pub marks: Marks,
}

/// How far dispatch has come along the due times of each priority. What was taken leaves entries in the
/// index that are passed one by one until the database has purged them; a search that begins behind them
/// does not meet them. An order may become due before the mark all the same, so every now and then a
/// search has to begin at the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks([Timestamp; 3]);

/// The beginning.
impl Default for Marks {
    fn default() -> Self {
        Self([Timestamp::from_micros(i64::MIN); 3])
    }
}

impl Store {
    /// Takes up to `limit` pending orders that are due, and makes them due again only after `guard`:
    /// the caller pushes them to the queue, and should that hint get lost, they turn up again. Orders
    /// that another gateway has just taken are left out.
    ///
    /// Within a priority the oldest go first. Among the priorities the places are divided by
    /// [`domain::priority::divide`]. The search begins at the marks. `None` when nothing is taken because the queue is paused.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn take_due(&self, limit: u32, guard: Duration, marks: Marks) -> Result<Option<Taken>, Error> {
        let now = self.now();
        let until = now + guard;
        let skip_locked = self.inner.dialect.for_update_skip_locked();
        let table = self.inner.dialect.orders_by_id();
        self.write(|connection| {
            Box::pin(async move {
                if paused(connection, "", now).await? {
                    return Ok(None);
                }
                let waiting = waiting(connection, marks, now).await?;
                let places = divide(limit, waiting, rand::rng().random());
                let mut taken = Taken { marks, ..Taken::default() };
                for (n, (priority, places)) in Priority::ALL.into_iter().zip(places).enumerate() {
                    if places == 0 {
                        continue;
                    }
                    let range = (marks.0[n], now);
                    let (jobs, reached) = take(connection, priority, places, range, skip_locked).await?;
                    taken.marks.0[n] = reached;
                    // Priorities that wait for less than their share leave places for another round.
                    taken.more |= jobs.len() == places as usize;
                    match priority {
                        Priority::High => taken.ahead.extend(jobs),
                        Priority::Normal | Priority::Low => taken.behind.extend(jobs),
                    }
                }
                let ids: Vec<OrderId> =
                    taken.ahead.iter().chain(&taken.behind).map(|job| job.order_id).collect();
                for piece in ids.chunks(LARGEST_PIECE) {
                    let mut sql = Sql::new(&format!("UPDATE {table} SET due_at = ? WHERE id"));
                    sql.bind(until.as_micros()).within_padded(piece.iter().map(|id| id.as_bytes().to_vec()));
                    sql.execute(connection).await?;
                }
                Ok(Some(taken))
            })
        })
        .await
    }

    /// Makes those of the orders due that have never been started and wait for nothing but their guard.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn drop_guards_of(&self, ids: Vec<OrderId>) -> Result<(), Error> {
        let ids: Arc<[OrderId]> = ids.into();
        self.write(|connection| {
            let ids = ids.clone();
            Box::pin(async move {
                for piece in padded(&ids) {
                    let mut sql = Sql::new(
                        "UPDATE orders SET due_at = not_before WHERE status = 'pending' AND version = 1 AND id",
                    );
                    sql.within(piece.iter().map(|id| id.as_bytes().to_vec()));
                    sql.execute(connection).await?;
                }
                Ok(())
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
                    "SELECT id FROM orders WHERE status = 'processing' AND priority IN ('high', 'normal', 'low') \
                     AND due_at <= ? LIMIT ?",
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
                let mut times = Vec::new();
                for priority in Priority::ALL {
                    let mut sql = Sql::new(
                        "SELECT not_before FROM orders WHERE status = 'pending' AND priority = ? AND due_at <= ? \
                         ORDER BY due_at LIMIT ?",
                    );
                    sql.bind(priority.as_str());
                    sql.bind((now + LONGEST_GUARD).as_micros()).bind(FIRST_IN_LINE);
                    for row in sql.fetch(connection).await? {
                        times.push(rows::get::<i64, _>(&row, 0)?);
                    }
                }
                let oldest = times.into_iter().map(Timestamp::from_micros).min().filter(|at| *at <= now);
                Ok(oldest.map(|at| now.since(at)))
            })
        })
        .await
    }
}

/// For which priorities, in the order of [`Priority::ALL`], orders are due.
async fn waiting(connection: &mut AnyConnection, marks: Marks, now: Timestamp) -> Result<[bool; 3], Error> {
    let mut sql = Sql::new("SELECT ");
    for (n, priority) in Priority::ALL.into_iter().enumerate() {
        sql.push(if n == 0 { "" } else { ", " });
        sql.push(
            "EXISTS(SELECT 1 FROM orders WHERE status = 'pending' AND priority = ? AND due_at >= ? AND due_at <= ?)",
        );
        sql.bind(priority.as_str()).bind(marks.0[n].as_micros()).bind(now.as_micros());
    }
    let found = sql.fetch(connection).await?;
    let row = found.first().ok_or_else(|| Error::Row("EXISTS without an answer".into()))?;
    let mut waiting = [false; 3];
    for (n, waiting) in waiting.iter_mut().enumerate() {
        *waiting = rows::number::<u32>(row, n)? != 0;
    }
    Ok(waiting)
}

/// Locks the orders of one priority that have been due for longest, within a range of times. Says when the
/// last of them was due.
async fn take(
    connection: &mut AnyConnection,
    priority: Priority,
    limit: u32,
    (from, to): (Timestamp, Timestamp),
    skip_locked: &str,
) -> Result<(Vec<Job>, Timestamp), Error> {
    let mut sql = Sql::new(
        "SELECT id, quantity, due_at FROM orders WHERE status = 'pending' AND priority = ? AND due_at >= ? \
         AND due_at <= ? ORDER BY due_at LIMIT ?",
    );
    sql.push(skip_locked).bind(priority.as_str()).bind(from.as_micros()).bind(to.as_micros());
    sql.bind(i64::from(limit));
    let mut jobs = Vec::new();
    let mut reached = from;
    for row in sql.fetch(connection).await? {
        jobs.push(Job { order_id: rows::id(&row, 0)?, quantity: rows::number(&row, 1)? });
        reached = rows::time(&row, 2)?;
    }
    Ok((jobs, reached))
}
