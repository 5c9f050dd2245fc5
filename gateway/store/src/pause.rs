//! Pauses the queue: orders are accepted and none is started.
//!
//! A transaction that starts orders reads the queue's row in share mode. A pause therefore waits for starts that are in
//! progress, and once it is committed no other one begins.

use std::sync::PoisonError;

use domain::waiting::QueueSnapshot;
use domain::{Requester, Timestamp};

use super::audit;
use super::connection::Connection;
use super::pause_state::Pause;
use super::statement::Statement;
use super::{Error, Shard};

/// The name of the only queue.
const QUEUE: &str = "orders";

impl Shard {
    /// Returns what pending orders wait for, without a statement: dispatch reads the pause twice a second.
    pub fn queue_snapshot(&self) -> QueueSnapshot {
        let now = self.now();
        let seen = self.inner.pause_seen.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = seen.as_ref().filter(|pause| pause.until.is_none_or(|until| until > now));
        QueueSnapshot {
            now,
            paused_at: pause.map(|pause| pause.at),
            paused_until: pause.and_then(|pause| pause.until),
        }
    }

    /// Stores the pause for [`Self::queue_snapshot`].
    pub(super) fn note_pause(&self, pause: Option<Pause>) {
        self.inner.pause_seen.note(pause);
    }

    /// Pauses the queue, or changes the end of a pause. No order is started after this call has returned.
    ///
    /// `at` keeps its value when the queue is already paused.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn pause(
        &self,
        until: Option<Timestamp>,
        by: Option<String>,
        requester: &Requester,
    ) -> Result<Pause, Error> {
        let now = self.now();
        let for_update = self.inner.dialect.for_update();
        let pause = self.write(|connection| {
            let (by, requester) = (by.clone(), requester.clone());
            Box::pin(async move {
                let before = read(connection, for_update, now).await?;
                let pause = Pause { at: before.map_or(now, |pause| pause.at), until, by };
                write(connection, Some(&pause)).await?;
                let detail = pause.until.map(|until| format!("until {until}"));
                audit::record(connection, &audit::of_queue(&requester, "queue.pause", detail, now)).await?;
                Ok(pause)
            })
        });
        let pause = pause.await?;
        self.note_pause(Some(pause.clone()));
        Ok(pause)
    }

    /// Resumes the queue. Returns whether it was paused.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn resume(&self, requester: &Requester) -> Result<bool, Error> {
        let now = self.now();
        let for_update = self.inner.dialect.for_update();
        let resumed = self.write(|connection| {
            let requester = requester.clone();
            Box::pin(async move {
                let before = read(connection, for_update, now).await?;
                write(connection, None).await?;
                if before.is_some() {
                    audit::record(connection, &audit::of_queue(&requester, "queue.resume", None, now))
                        .await?;
                }
                Ok(before.is_some())
            })
        });
        let resumed = resumed.await?;
        self.note_pause(None);
        Ok(resumed)
    }

    /// Writes the pause of the first shard to this one.
    pub(super) async fn copy_pause(&self, pause: Option<&Pause>) -> Result<(), Error> {
        self.write(|connection| {
            let pause = pause.cloned();
            Box::pin(async move {
                // A shard of a later division has no row yet.
                let mut sql = Statement::new("INSERT IGNORE INTO queues (name) VALUES (?)");
                sql.bind(QUEUE);
                sql.execute(connection).await?;
                write(connection, pause.as_ref()).await
            })
        })
        .await?;
        self.note_pause(pause.cloned());
        Ok(())
    }

    /// Returns the present pause, if there is one.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn paused(&self) -> Result<Option<Pause>, Error> {
        let now = self.now();
        let pause =
            self.read(move |connection| Box::pin(async move { read(connection, "", now).await })).await?;
        self.note_pause(pause.clone());
        Ok(pause)
    }
}

/// Reads the pause in a transaction that acts on it.
pub(super) async fn paused(connection: &mut Connection, lock: &str, now: Timestamp) -> Result<bool, Error> {
    Ok(read(connection, lock, now).await?.is_some())
}

/// Adds the condition that the queue is not paused, and keeps that so until the end of the transaction.
///
/// Only MySQL and MariaDB have this lock within a statement.
pub(super) fn push_unless_paused(sql: &mut Statement<'_>, now: Timestamp) {
    sql.push(
        " AND (SELECT paused_at IS NULL OR paused_until <= ? FROM queues WHERE name = ? LOCK IN SHARE MODE)",
    )
    .bind(now.as_micros())
    .bind(QUEUE);
}

pub(super) async fn read(
    connection: &mut Connection,
    lock: &str,
    now: Timestamp,
) -> Result<Option<Pause>, Error> {
    let mut sql = Statement::new("SELECT paused_at, paused_until, paused_by FROM queues WHERE name = ?");
    sql.push(lock).bind(QUEUE);
    let found = sql.fetch(connection).await?;
    let Some(row) = found.first() else { return Ok(None) };
    let time = |column: usize| Ok::<_, Error>(row.get::<Option<i64>>(column)?.map(Timestamp::from_micros));
    let Some(at) = time(0)? else { return Ok(None) };
    let until = time(1)?;
    let over = until.is_some_and(|until| until <= now);
    Ok((!over).then_some(Pause { at, until, by: row.get(2)? }))
}

async fn write(connection: &mut Connection, pause: Option<&Pause>) -> Result<(), Error> {
    let mut sql =
        Statement::new("UPDATE queues SET paused_at = ?, paused_until = ?, paused_by = ? WHERE name = ?");
    sql.bind(pause.map(|pause| pause.at.as_micros()))
        .bind(pause.and_then(|pause| pause.until).map(Timestamp::as_micros))
        .bind(pause.and_then(|pause| pause.by.clone()))
        .bind(QUEUE);
    sql.execute(connection).await.map(drop)
}
