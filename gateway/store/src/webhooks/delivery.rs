//! What the gateway that delivers to an endpoint reads and writes.
//!
//! A gateway holds an endpoint for a time, as a lease. Its number is in the row, and every write of progress requires it: a
//! gateway that has lost the lease changes nothing. One renewal serves all endpoints of a gateway.

use std::time::Duration;

use domain::{DisabledReason, EndpointId, EndpointState, Timestamp};

use super::attempts::{self, WebhookAttempt};
use super::messages::{self, MessageState, WebhookMessage, WebhookNotice};
use super::{WebhookEndpoint, endpoint_id, number, parsed, read_one};
use crate::connection::Connection;
use crate::row::Row;
use crate::statement::{Statement, bucketed_chunks};
use crate::{Error, Shard};

/// What the holder of an endpoint begins with.
#[derive(Debug, Clone)]
pub struct DeliveryState {
    /// The endpoint.
    pub endpoint: WebhookEndpoint,
    /// The encoded positions after the endpoint's position that were delivered.
    pub acked: Vec<u8>,
    /// The same of the second reader.
    pub replay_acked: Vec<u8>,
    /// The messages that wait.
    pub waiting: Vec<WebhookMessage>,
}

/// The lease of an endpoint, held or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebhookLease {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Its end; 0 if it was given back.
    pub until: Timestamp,
}

/// The health of an endpoint as its holder sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookHealth {
    /// Whether it receives messages.
    pub state: EndpointState,
    /// Why it is disabled.
    pub disabled_reason: Option<DisabledReason>,
    /// The first failure since the last success.
    pub failing_since: Option<Timestamp>,
    /// Probes since it is failing.
    pub failures: u32,
    /// Warnings that were sent since it is failing.
    pub warnings: u32,
    /// The latest failure.
    pub last_error: Option<String>,
    /// The next probe.
    pub due_at: Timestamp,
}

/// The progress of the second reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookReplayProgress {
    /// The reader that was held.
    pub started_at: Timestamp,
    /// Its position; `None` at its end.
    pub position: Option<u64>,
    /// The encoded positions after it that were delivered.
    pub acked: Vec<u8>,
}

/// What was delivered since the last save.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookProgress {
    /// The endpoint.
    pub id: EndpointId,
    /// The version of the endpoint that the holder has read.
    pub version: i64,
    /// The position up to which everything was delivered.
    pub position: u64,
    /// The encoded positions after it that were delivered.
    pub acked: Vec<u8>,
    /// The progress of the second reader.
    pub replay: Option<WebhookReplayProgress>,
    /// The health, which is written unless a user has changed the endpoint.
    pub health: WebhookHealth,
    /// New and changed messages.
    pub messages: Vec<WebhookMessage>,
    /// Messages that were delivered.
    pub delivered: Vec<String>,
    /// Requests.
    pub attempts: Vec<WebhookAttempt>,
    /// A notice about this endpoint.
    pub notice: Option<WebhookNotice>,
}

/// The outcome of a save.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SavedProgress {
    /// It is written.
    Done,
    /// It is written without the health, because a user has changed the endpoint: read it again.
    Changed,
    /// Nothing is written: another gateway holds the endpoint, or it was removed.
    Lost,
}

impl Shard {
    /// Returns up to `limit` endpoints whose lease ends before `soon` or after `latest`, the earliest first.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn ending_webhook_leases(
        &self,
        soon: Timestamp,
        latest: Timestamp,
        limit: u32,
    ) -> Result<Vec<WebhookLease>, Error> {
        self.read(move |connection| {
            Box::pin(async move {
                let mut sql = Statement::new(
                    "SELECT endpoint_id, held_until FROM webhook_endpoints \
                     WHERE (held_until < ? OR held_until > ?) AND state <> 'disabled' ORDER BY held_until LIMIT ?",
                );
                sql.bind(soon.as_micros()).bind(latest.as_micros()).bind(i64::from(limit));
                let rows = sql.fetch(connection).await?;
                let lease = |row: &Row| {
                    let until = Timestamp::from_micros(row.get(1)?);
                    Ok(WebhookLease { endpoint: endpoint_id(row, 0)?, until })
                };
                rows.iter().map(lease).collect()
            })
        })
        .await
    }

    /// Takes the endpoints whose lease is still as given, for `duration`. Returns those that were taken.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn take_webhook_leases(
        &self,
        holder: i64,
        leases: &[WebhookLease],
        duration: Duration,
    ) -> Result<Vec<EndpointId>, Error> {
        let until = self.now() + duration;
        self.write(|connection| {
            let leases = leases.to_vec();
            Box::pin(async move {
                let mut taken = Vec::with_capacity(leases.len());
                for lease in leases {
                    let mut sql = Statement::new(
                        "UPDATE webhook_endpoints SET holder = ?, held_until = ? \
                         WHERE endpoint_id = ? AND held_until = ? AND state <> 'disabled'",
                    );
                    sql.bind(holder).bind(until.as_micros()).bind(lease.endpoint.as_bytes().to_vec());
                    sql.bind(lease.until.as_micros());
                    if sql.execute(connection).await? == 1 {
                        taken.push(lease.endpoint);
                    }
                }
                Ok(taken)
            })
        })
        .await
    }

    /// Renews the lease of these endpoints. Returns those that the holder still has.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn renew_webhook_endpoints(
        &self,
        holder: i64,
        ids: &[EndpointId],
        lease: Duration,
    ) -> Result<Vec<EndpointId>, Error> {
        self.set_lease(holder, ids, self.now() + lease).await
    }

    /// Gives endpoints back, so that another gateway takes them at once.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn release_webhook_endpoints(&self, holder: i64, ids: &[EndpointId]) -> Result<(), Error> {
        self.set_lease(holder, ids, Timestamp::from_micros(0)).await.map(drop)
    }

    /// Ends the leases of all endpoints, for the only process that uses the database.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn end_webhook_leases(&self) -> Result<(), Error> {
        self.write(|connection| {
            Box::pin(async move {
                let sql = Statement::new("UPDATE webhook_endpoints SET held_until = 0 WHERE held_until > 0");
                sql.execute(connection).await.map(drop)
            })
        })
        .await
    }

    /// Replaces the encrypted secrets of an endpoint by the same secrets under another key.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn reencrypt_webhook_secrets(
        &self,
        id: EndpointId,
        before: &[u8],
        after: &[u8],
    ) -> Result<(), Error> {
        self.write(|connection| {
            let (before, after) = (before.to_vec(), after.to_vec());
            Box::pin(async move {
                let mut sql = Statement::new(
                    "UPDATE webhook_endpoints SET secrets = ? WHERE endpoint_id = ? AND secrets = ?",
                );
                sql.bind(after).bind(id.as_bytes().to_vec()).bind(before);
                sql.execute(connection).await.map(drop)
            })
        })
        .await
    }

    async fn set_lease(
        &self,
        holder: i64,
        ids: &[EndpointId],
        until: Timestamp,
    ) -> Result<Vec<EndpointId>, Error> {
        self.write(|connection| {
            let ids = ids.to_vec();
            Box::pin(async move {
                let mut held = Vec::new();
                for piece in bucketed_chunks(&ids) {
                    let of_piece = |sql: &mut Statement<'_>| {
                        sql.push_in(piece.iter().map(|id| id.as_bytes().to_vec()));
                    };
                    let mut sql = Statement::new(
                        "UPDATE webhook_endpoints SET held_until = ? WHERE holder = ? AND endpoint_id",
                    );
                    sql.bind(until.as_micros()).bind(holder);
                    of_piece(&mut sql);
                    if sql.execute(connection).await? == piece.len() as u64 {
                        held.extend_from_slice(piece);
                        continue;
                    }
                    let mut sql = Statement::new(
                        "SELECT endpoint_id FROM webhook_endpoints WHERE holder = ? AND endpoint_id",
                    );
                    sql.bind(holder);
                    of_piece(&mut sql);
                    for row in &sql.fetch(connection).await? {
                        held.push(endpoint_id(row, 0)?);
                    }
                }
                Ok(held)
            })
        })
        .await
    }

    /// Returns the endpoints that users have changed since a time.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn webhook_endpoints_changed_since(&self, since: Timestamp) -> Result<Vec<EndpointId>, Error> {
        self.read(move |connection| {
            Box::pin(async move {
                let mut sql =
                    Statement::new("SELECT endpoint_id FROM webhook_endpoints WHERE changed_at >= ? LIMIT ?");
                sql.bind(since.as_micros()).bind(super::MAX_ENDPOINTS as i64);
                sql.fetch(connection).await?.iter().map(|row| endpoint_id(row, 0)).collect()
            })
        })
        .await
    }

    /// Reads what the holder of an endpoint needs, with up to `limit` messages that wait. `None` if another gateway holds it.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn webhook_delivery(
        &self,
        holder: i64,
        id: EndpointId,
        limit: u32,
    ) -> Result<Option<DeliveryState>, Error> {
        // In the pool of writers: a replica may be behind.
        self.write(|connection| {
            Box::pin(async move {
                let mut sql = Statement::new(
                    "SELECT acked, replay_acked FROM webhook_endpoints WHERE endpoint_id = ? AND holder = ?",
                );
                sql.bind(id.as_bytes().to_vec()).bind(holder);
                let found = sql.fetch(connection).await?;
                let Some(row) = found.first() else { return Ok(None) };
                let acked = row.get::<&[u8]>(0)?.to_vec();
                let replay_acked = row.get::<Option<&[u8]>>(1)?.unwrap_or_default().to_vec();
                let Some(endpoint) = read_one(connection, id, "").await? else { return Ok(None) };
                let waiting = messages::in_state(connection, id, MessageState::Waiting, limit).await?;
                Ok(Some(DeliveryState { endpoint, acked, replay_acked, waiting }))
            })
        })
        .await
    }

    /// Writes what was delivered.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn save_webhook_progress(
        &self,
        holder: i64,
        progress: &WebhookProgress,
    ) -> Result<SavedProgress, Error> {
        let (now, lock) = (self.now(), self.inner.dialect.for_update());
        self.write(|connection| {
            let progress = progress.clone();
            Box::pin(async move { save(connection, holder, &progress, now, lock).await })
        })
        .await
    }
}

/// Selects endpoints without a holder.
async fn save(
    connection: &mut Connection,
    holder: i64,
    progress: &WebhookProgress,
    now: Timestamp,
    lock: &str,
) -> Result<SavedProgress, Error> {
    let id = progress.id.as_bytes().to_vec();
    let mut sql =
        Statement::new("SELECT version, holder, state FROM webhook_endpoints WHERE endpoint_id = ?");
    sql.bind(id.clone()).push(lock);
    let found = sql.fetch(connection).await?;
    let Some(row) = found.first() else { return Ok(SavedProgress::Lost) };
    if row.get::<i64>(1)? != holder {
        return Ok(SavedProgress::Lost);
    }
    let is_changed = row.get::<i64>(0)? != progress.version;
    let state: EndpointState = parsed("state", &row.get::<String>(2)?)?;
    let mut sql = Statement::new("UPDATE webhook_endpoints SET position = ?, acked = ?");
    sql.bind(number(progress.position)).bind(progress.acked.clone());
    if !is_changed && state != EndpointState::Disabled {
        let health = &progress.health;
        sql.push(
            ", state = ?, disabled_reason = ?, failing_since = ?, failures = ?, warnings = ?, last_error = ?, due_at = ?",
        );
        sql.bind(health.state.as_str())
            .bind(health.disabled_reason.map(DisabledReason::as_str))
            .bind(health.failing_since.map(|time| time.as_micros()))
            .bind(i64::from(health.failures))
            .bind(i64::from(health.warnings))
            .bind(health.last_error.clone())
            .bind(health.due_at.as_micros());
    }
    sql.push(" WHERE endpoint_id = ?").bind(id.clone());
    sql.execute(connection).await?;
    if let Some(replay) = &progress.replay {
        let mut sql = match replay.position {
            Some(position) => {
                let mut sql =
                    Statement::new("UPDATE webhook_endpoints SET replay_position = ?, replay_acked = ?");
                sql.bind(number(position)).bind(replay.acked.clone());
                sql
            }
            None => Statement::new(
                "UPDATE webhook_endpoints SET replay_first = NULL, replay_position = NULL, replay_last = NULL, \
                 replay_acked = NULL, replay_started_at = NULL",
            ),
        };
        // Not one that a user has started since.
        sql.push(" WHERE endpoint_id = ? AND replay_started_at = ?");
        sql.bind(id).bind(replay.started_at.as_micros());
        sql.execute(connection).await?;
    }
    messages::put(connection, progress.id, &progress.messages).await?;
    messages::remove(connection, progress.id, &progress.delivered).await?;
    attempts::record(connection, progress.id, &progress.attempts).await?;
    if let Some(notice) = &progress.notice {
        messages::notify(connection, notice, now).await?;
    }
    Ok(if is_changed { SavedProgress::Changed } else { SavedProgress::Done })
}
