//! Messages that are sent besides the reader of their endpoint.

use domain::{EndpointId, OrderId, TenantId, Timestamp};

use super::endpoint_id;
use crate::connection::Connection;
use crate::row::Row;
use crate::statement::{Statement, bucketed_chunks};
use crate::{Error, Shard, rows};

/// Maximum number of messages of a page.
pub const MAX_MESSAGE_PAGE: u32 = 500;
/// Maximum number of messages that one statement removes.
const REMOVED_AT_ONCE: usize = 1_000;

/// Whether a message is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageState {
    /// It is, when it is due.
    Waiting,
    /// It is not: its attempts have failed.
    Failed,
}

impl MessageState {
    /// Returns the word in every interface.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Failed => "failed",
        }
    }
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookMessage {
    /// The id of the event or of the notice.
    pub id: String,
    /// The order, the sequence and the log position of an event; `None` for a notice.
    pub event: Option<(OrderId, u32, u64)>,
    /// Whether it is sent again.
    pub state: MessageState,
    /// The attempts that were made.
    pub attempts: u32,
    /// The next attempt.
    pub due_at: Timestamp,
    /// The time since which it is here.
    pub created_at: Timestamp,
    /// The latest failure.
    pub last_error: Option<String>,
    /// The body of a notice.
    pub body: Option<String>,
}

/// A notice to the endpoints of a tenant that receive notices, except one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookNotice {
    /// The id, the same for all receivers.
    pub id: String,
    /// The tenant.
    pub tenant: TenantId,
    /// The endpoint that the notice is about, which does not receive it.
    pub about: EndpointId,
    /// The body.
    pub body: String,
}

/// The messages of an endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MessageCounts {
    /// Those that are sent again.
    pub waiting: u64,
    /// Those that have failed.
    pub failed: u64,
}

const COLUMNS: &str =
    "message_id, order_id, sequence, position, state, attempts, due_at, created_at, last_error, body";

impl WebhookMessage {
    fn read(row: &Row) -> Result<Self, Error> {
        let event = match rows::optional_number::<u32>(row, 2)? {
            None => None,
            Some(sequence) => Some((rows::id(row, 1)?, sequence, rows::number(row, 3)?)),
        };
        Ok(Self {
            id: row.get(0)?,
            event,
            state: match row.get::<String>(4)?.as_str() {
                "waiting" => MessageState::Waiting,
                _ => MessageState::Failed,
            },
            attempts: rows::number(row, 5)?,
            due_at: rows::time(row, 6)?,
            created_at: rows::time(row, 7)?,
            last_error: row.get(8)?,
            body: row.get(9)?,
        })
    }
}

/// Writes messages in a transaction, in place of those with the same id.
pub(super) async fn put(
    connection: &mut Connection,
    endpoint: EndpointId,
    messages: &[WebhookMessage],
) -> Result<(), Error> {
    for piece in bucketed_chunks(messages) {
        let mut sql =
            Statement::new(format!("REPLACE INTO webhook_messages (endpoint_id, {COLUMNS}) VALUES "));
        sql.rows(piece.len(), "(?,?,?,?,?,?,?,?,?,?,?)");
        for message in piece {
            let (order, sequence, position) = match message.event {
                Some((order, sequence, position)) => (Some(order), Some(sequence), Some(position)),
                None => (None, None, None),
            };
            sql.bind(endpoint.as_bytes().to_vec())
                .bind(message.id.clone())
                .bind(order)
                .bind(sequence.map(i64::from))
                .bind(position.map(super::number))
                .bind(message.state.as_str())
                .bind(i64::from(message.attempts))
                .bind(message.due_at.as_micros())
                .bind(message.created_at.as_micros())
                .bind(message.last_error.clone())
                .bind(message.body.clone());
        }
        sql.execute(connection).await?;
    }
    Ok(())
}

/// Removes messages in a transaction.
pub(super) async fn remove(
    connection: &mut Connection,
    endpoint: EndpointId,
    ids: &[String],
) -> Result<(), Error> {
    for piece in bucketed_chunks(ids) {
        let mut sql = Statement::new("DELETE FROM webhook_messages WHERE endpoint_id = ? AND message_id");
        sql.bind(endpoint.as_bytes().to_vec()).push_in(piece.iter().cloned());
        sql.execute(connection).await?;
    }
    Ok(())
}

/// Writes a notice for each endpoint of the tenant that receives notices, and makes their gateways read it.
pub(super) async fn notify(
    connection: &mut Connection,
    notice: &WebhookNotice,
    now: Timestamp,
) -> Result<(), Error> {
    let mut sql = Statement::new(
        "SELECT endpoint_id FROM webhook_endpoints WHERE tenant_id = ? AND types LIKE '%webhook.*%' AND endpoint_id <> ? \
         AND state <> 'disabled'",
    );
    sql.bind(notice.tenant.as_str().to_owned()).bind(notice.about.as_bytes().to_vec());
    let receivers = sql.fetch(connection).await?;
    for row in &receivers {
        let id = endpoint_id(row, 0)?;
        let message = WebhookMessage {
            id: notice.id.clone(),
            event: None,
            state: MessageState::Waiting,
            attempts: 0,
            due_at: now,
            created_at: now,
            last_error: None,
            body: Some(notice.body.clone()),
        };
        put(connection, id, &[message]).await?;
        let mut sql = Statement::new(
            "UPDATE webhook_endpoints SET version = version + 1, changed_at = ? WHERE endpoint_id = ?",
        );
        sql.bind(now.as_micros()).bind(id.as_bytes().to_vec());
        sql.execute(connection).await?;
    }
    Ok(())
}

/// Reads up to `limit` messages of an endpoint in a state, by their ids.
pub(super) async fn in_state(
    connection: &mut Connection,
    endpoint: EndpointId,
    state: MessageState,
    limit: u32,
) -> Result<Vec<WebhookMessage>, Error> {
    let mut sql = Statement::new(format!(
        "SELECT {COLUMNS} FROM webhook_messages WHERE endpoint_id = ? AND state = ? ORDER BY message_id LIMIT ?"
    ));
    sql.bind(endpoint.as_bytes().to_vec()).bind(state.as_str()).bind(i64::from(limit));
    sql.fetch(connection).await?.iter().map(WebhookMessage::read).collect()
}

impl Shard {
    /// Reads up to `limit` messages of an endpoint after one, by their ids.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn webhook_messages(
        &self,
        endpoint: EndpointId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<WebhookMessage>, Error> {
        let after = after.unwrap_or_default().to_owned();
        self.read(move |connection| {
            Box::pin(async move {
                let mut sql = Statement::new(format!(
                    "SELECT {COLUMNS} FROM webhook_messages WHERE endpoint_id = ? AND message_id > ? \
                     ORDER BY message_id LIMIT ?"
                ));
                sql.bind(endpoint.as_bytes().to_vec()).bind(after);
                sql.bind(i64::from(limit.min(MAX_MESSAGE_PAGE)));
                sql.fetch(connection).await?.iter().map(WebhookMessage::read).collect()
            })
        })
        .await
    }

    /// Counts the messages of an endpoint, or of all endpoints.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn webhook_message_counts(&self, endpoint: Option<EndpointId>) -> Result<MessageCounts, Error> {
        self.read(move |connection| {
            Box::pin(async move {
                let mut sql = Statement::new("SELECT state, COUNT(*) FROM webhook_messages");
                if let Some(endpoint) = endpoint {
                    sql.push(" WHERE endpoint_id = ?").bind(endpoint.as_bytes().to_vec());
                }
                sql.push(" GROUP BY state");
                let mut counts = MessageCounts::default();
                for row in &sql.fetch(connection).await? {
                    let state: String = row.get(0)?;
                    let count = rows::number(row, 1)?;
                    if state == MessageState::Waiting.as_str() {
                        counts.waiting = count;
                    } else {
                        counts.failed += count;
                    }
                }
                Ok(counts)
            })
        })
        .await
    }

    /// Removes some failed messages before a time. Returns whether there may be more.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn prune_webhook_messages(&self, before: Timestamp) -> Result<bool, Error> {
        self.write(|connection| {
            Box::pin(async move {
                let mut sql = Statement::new(
                    "SELECT endpoint_id, message_id FROM webhook_messages WHERE state = 'failed' AND created_at < ? LIMIT ?",
                );
                sql.bind(before.as_micros()).bind(REMOVED_AT_ONCE as i64);
                let found = sql.fetch(connection).await?;
                for row in &found {
                    remove(connection, endpoint_id(row, 0)?, &[row.get(1)?]).await?;
                }
                Ok(found.len() >= REMOVED_AT_ONCE)
            })
        })
        .await
    }
}
