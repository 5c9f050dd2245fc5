//! Pausing the queue: orders are accepted and none is started.
//!
//! Who starts orders reads the queue's row in share mode, in the transaction that starts them. A pause
//! therefore waits for the starts that are under way, and once it is committed there are no others.

use domain::Timestamp;
use sqlx::AnyConnection;

use super::sql::Sql;
use super::{Error, Store, rows};

/// The only queue there is.
const QUEUE: &str = "orders";

/// A queue that is paused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Since when.
    pub at: Timestamp,
    /// When it goes on by itself; `None` when somebody has to resume it.
    pub until: Option<Timestamp>,
    /// Who asked for it, if they said.
    pub by: Option<String>,
}

impl Store {
    /// Pauses the queue, or changes until when it is paused. Nothing is started after this has
    /// returned. `at` stays what it was when the queue is paused already.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn pause(&self, until: Option<Timestamp>, by: Option<String>) -> Result<Pause, Error> {
        let now = self.now();
        let for_update = self.inner.dialect.for_update();
        self.write(|connection| {
            let by = by.clone();
            Box::pin(async move {
                let before = read(connection, for_update, now).await?;
                let pause = Pause { at: before.map_or(now, |pause| pause.at), until, by };
                write(connection, Some(&pause)).await?;
                Ok(pause)
            })
        })
        .await
    }

    /// Lets the queue go on. Says whether it was paused.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn resume(&self) -> Result<bool, Error> {
        let now = self.now();
        let for_update = self.inner.dialect.for_update();
        self.write(|connection| {
            Box::pin(async move {
                let before = read(connection, for_update, now).await?;
                write(connection, None).await?;
                Ok(before.is_some())
            })
        })
        .await
    }

    /// Whether the queue is paused now, and how.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn paused(&self) -> Result<Option<Pause>, Error> {
        let now = self.now();
        self.read(move |connection| Box::pin(async move { read(connection, "", now).await })).await
    }
}

/// Whether the queue is paused, in a transaction that acts on the answer.
pub(super) async fn paused(
    connection: &mut AnyConnection,
    lock: &str,
    now: Timestamp,
) -> Result<bool, Error> {
    Ok(read(connection, lock, now).await?.is_some())
}

async fn read(connection: &mut AnyConnection, lock: &str, now: Timestamp) -> Result<Option<Pause>, Error> {
    let mut sql = Sql::new("SELECT paused_at, paused_until, paused_by FROM queues WHERE name = ?");
    sql.push(lock).bind(QUEUE);
    let found = sql.fetch(connection).await?;
    let Some(row) = found.first() else { return Ok(None) };
    let time =
        |column: usize| Ok::<_, Error>(rows::get::<Option<i64>, _>(row, column)?.map(Timestamp::from_micros));
    let Some(at) = time(0)? else { return Ok(None) };
    let until = time(1)?;
    let over = until.is_some_and(|until| until <= now);
    Ok((!over).then_some(Pause { at, until, by: rows::get(row, 2)? }))
}

async fn write(connection: &mut AnyConnection, pause: Option<&Pause>) -> Result<(), Error> {
    let mut sql = Sql::new("UPDATE queues SET paused_at = ?, paused_until = ?, paused_by = ? WHERE name = ?");
    sql.bind(pause.map(|pause| pause.at.as_micros()))
        .bind(pause.and_then(|pause| pause.until).map(Timestamp::as_micros))
        .bind(pause.and_then(|pause| pause.by.clone()))
        .bind(QUEUE);
    sql.execute(connection).await.map(drop)
}
