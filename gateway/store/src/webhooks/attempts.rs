//! The requests that were made to webhook endpoints.

use std::time::Duration;

use domain::{EndpointId, OrderId, Timestamp};

use super::{MAX_ENDPOINTS, endpoint_id};
use crate::connection::Connection;
use crate::row::Row;
use crate::statement::{Statement, bucketed_chunks};
use crate::{Error, Shard, rows};

/// Maximum number of attempts of a page.
pub const MAX_ATTEMPT_PAGE: u32 = 500;
/// Maximum number of attempts that one statement removes.
const REMOVED_AT_ONCE: usize = 1_000;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookAttempt {
    /// The id, which sorts by time.
    pub id: OrderId,
    /// The message.
    pub message_id: String,
    /// The type of the message.
    pub kind: String,
    /// The number of the attempt of this message, from 1.
    pub attempt: u32,
    /// Whether the endpoint accepted it.
    pub succeeded: bool,
    /// The kind of the outcome.
    pub outcome: String,
    /// The HTTP status; `None` without a response.
    pub status: Option<u16>,
    /// The time from the request to the response.
    pub duration: Duration,
    /// The reason without a response.
    pub error: Option<String>,
    /// The start of the body of the response.
    pub response: Vec<u8>,
}

impl WebhookAttempt {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            id: rows::id(row, 0)?,
            message_id: row.get(1)?,
            kind: row.get(2)?,
            attempt: rows::number(row, 3)?,
            succeeded: rows::number::<u8>(row, 4)? == 1,
            outcome: row.get(5)?,
            status: rows::optional_number(row, 6)?,
            duration: Duration::from_micros(rows::number(row, 7)?),
            error: row.get(8)?,
            response: row.get::<&[u8]>(9)?.to_vec(),
        })
    }
}

/// Writes attempts in a transaction.
pub(super) async fn record(
    connection: &mut Connection,
    endpoint: EndpointId,
    attempts: &[WebhookAttempt],
) -> Result<(), Error> {
    for piece in bucketed_chunks(attempts) {
        let mut sql = Statement::new(
            "REPLACE INTO webhook_attempts (endpoint_id, attempt_id, message_id, type, attempt, succeeded, outcome, status, \
             duration_us, error, response) VALUES ",
        );
        sql.rows(piece.len(), "(?,?,?,?,?,?,?,?,?,?,?)");
        for attempt in piece {
            sql.bind(endpoint.as_bytes().to_vec())
                .bind(attempt.id)
                .bind(attempt.message_id.clone())
                .bind(attempt.kind.clone())
                .bind(i64::from(attempt.attempt))
                .bind(i64::from(attempt.succeeded))
                .bind(attempt.outcome.clone())
                .bind(attempt.status.map(i64::from))
                .bind(i64::try_from(attempt.duration.as_micros()).unwrap_or(i64::MAX))
                .bind(attempt.error.clone())
                .bind(attempt.response.clone());
        }
        sql.execute(connection).await?;
    }
    Ok(())
}

impl Shard {
    /// Records one attempt.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn record_webhook_attempt(
        &self,
        endpoint: EndpointId,
        attempt: &WebhookAttempt,
    ) -> Result<(), Error> {
        self.write(|connection| {
            let attempt = attempt.clone();
            Box::pin(async move { record(connection, endpoint, &[attempt]).await })
        })
        .await
    }

    /// Reads up to `limit` attempts of an endpoint before one, newest first: all, or those that succeeded or failed.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn webhook_attempts(
        &self,
        endpoint: EndpointId,
        succeeded: Option<bool>,
        before: Option<OrderId>,
        limit: u32,
    ) -> Result<Vec<WebhookAttempt>, Error> {
        self.read(move |connection| {
            Box::pin(async move {
                let mut sql = Statement::new(
                    "SELECT attempt_id, message_id, type, attempt, succeeded, outcome, status, duration_us, error, response \
                     FROM webhook_attempts WHERE endpoint_id = ?",
                );
                sql.bind(endpoint.as_bytes().to_vec());
                if let Some(succeeded) = succeeded {
                    sql.push(" AND succeeded = ?").bind(i64::from(succeeded));
                }
                if let Some(before) = before {
                    sql.push(" AND attempt_id < ?").bind(before);
                }
                sql.push(" ORDER BY attempt_id DESC LIMIT ?").bind(i64::from(limit.min(MAX_ATTEMPT_PAGE)));
                sql.fetch(connection).await?.iter().map(WebhookAttempt::read).collect()
            })
        })
        .await
    }

    /// Removes some attempts before a time. Returns whether there may be more.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn prune_webhook_attempts(&self, before: Timestamp) -> Result<bool, Error> {
        self.write(|connection| {
            Box::pin(async move {
                let mut sql = Statement::new(
                    "SELECT endpoint_id, attempt_id FROM webhook_attempts WHERE attempt_id < ? ORDER BY attempt_id LIMIT ?",
                );
                sql.bind(OrderId::first_at(before)).bind(REMOVED_AT_ONCE as i64);
                let found = sql.fetch(connection).await?;
                for row in &found {
                    let mut sql =
                        Statement::new("DELETE FROM webhook_attempts WHERE endpoint_id = ? AND attempt_id = ?");
                    sql.bind(endpoint_id(row, 0)?.as_bytes().to_vec()).bind(rows::id(row, 1)?);
                    sql.execute(connection).await?;
                }
                Ok(found.len() >= REMOVED_AT_ONCE)
            })
        })
        .await
    }

    /// Removes the attempts of an endpoint beyond the newest `kept` that succeeded or failed. Returns whether there may be
    /// more.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn trim_webhook_attempts(
        &self,
        endpoint: EndpointId,
        succeeded: bool,
        kept: u32,
    ) -> Result<bool, Error> {
        self.write(|connection| {
            Box::pin(async move {
                let of_endpoint = |sql: &mut Statement<'_>| {
                    sql.bind(endpoint.as_bytes().to_vec()).bind(i64::from(succeeded));
                };
                let mut sql = Statement::new(
                    "SELECT attempt_id FROM webhook_attempts WHERE endpoint_id = ? AND succeeded = ? \
                     ORDER BY attempt_id DESC LIMIT 1 OFFSET ?",
                );
                of_endpoint(&mut sql);
                sql.bind(i64::from(kept));
                let Some(newest) = sql.fetch(connection).await?.first().map(|row| rows::id(row, 0)).transpose()? else {
                    return Ok(false);
                };
                let mut sql = Statement::new(
                    "SELECT attempt_id FROM webhook_attempts WHERE endpoint_id = ? AND succeeded = ? AND attempt_id <= ? \
                     ORDER BY attempt_id LIMIT ?",
                );
                of_endpoint(&mut sql);
                sql.bind(newest).bind(REMOVED_AT_ONCE as i64);
                let found = sql.fetch(connection).await?;
                let ids = found.iter().map(|row| rows::id(row, 0)).collect::<Result<Vec<_>, _>>()?;
                for piece in bucketed_chunks(&ids) {
                    let mut sql =
                        Statement::new("DELETE FROM webhook_attempts WHERE endpoint_id = ? AND attempt_id");
                    sql.bind(endpoint.as_bytes().to_vec()).push_in(piece.iter().copied());
                    sql.execute(connection).await?;
                }
                Ok(ids.len() >= REMOVED_AT_ONCE)
            })
        })
        .await
    }

    /// Returns the ids of all endpoints.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn webhook_endpoint_ids(&self) -> Result<Vec<EndpointId>, Error> {
        self.read(move |connection| {
            Box::pin(async move {
                let mut sql = Statement::new("SELECT endpoint_id FROM webhook_endpoints LIMIT ?");
                sql.bind(MAX_ENDPOINTS as i64);
                sql.fetch(connection).await?.iter().map(|row| endpoint_id(row, 0)).collect()
            })
        })
        .await
    }
}
