//! Webhook endpoints: what their users set, and what was delivered.
//!
//! A user changes an endpoint with a new `version`; the gateway that delivers to it then reads the row again. See `delivery`
//! for what that gateway writes.

mod attempts;
mod delivery;
mod messages;
mod update;

use domain::{
    Currency, DisabledReason, EndpointId, EndpointState, OrderId, TenantId, Timestamp, WebhookFormat,
    WebhookPayload, WebhookTypes,
};

pub use self::attempts::{MAX_ATTEMPT_PAGE, WebhookAttempt};
pub use self::delivery::{
    DeliveryState, SavedProgress, WebhookHealth, WebhookLease, WebhookProgress, WebhookReplayProgress,
};
pub use self::messages::{MAX_MESSAGE_PAGE, MessageCounts, MessageState, WebhookMessage, WebhookNotice};
pub use self::update::EndpointUpdate;
use super::api_keys::KeyActor;
use super::audit::{self, AuditEntry};
use super::connection::Connection;
use super::row::Row;
use super::statement::Statement;
use super::{Error, Shard, rows};

/// Maximum number of webhook endpoints of a tenant.
pub const MAX_TENANT_ENDPOINTS: usize = 20;
/// Maximum number of webhook endpoints of all tenants.
pub const MAX_ENDPOINTS: usize = 5_000;

/// What a user sets of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSettings {
    /// A note of its user.
    pub description: String,
    /// Where messages are sent.
    pub url: String,
    /// The types of messages.
    pub types: WebhookTypes,
    /// Only events of orders of this customer.
    pub customer: Option<String>,
    /// Only events of orders in this currency.
    pub currency: Option<Currency>,
    /// What a body contains.
    pub payload: WebhookPayload,
    /// The form of a body.
    pub format: WebhookFormat,
    /// Maximum number of requests in a second.
    pub rate_per_s: Option<u32>,
    /// Maximum number of requests at once.
    pub concurrency: u32,
}

/// A second reader of an endpoint, which delivers a range of the log again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebhookReplay {
    /// The position before its first event.
    pub first: u64,
    /// The position up to which events were delivered.
    pub position: u64,
    /// The position of its last event.
    pub last: u64,
    /// The time of the request, which identifies it.
    pub started_at: Timestamp,
}

/// A stored endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookEndpoint {
    /// The id.
    pub id: EndpointId,
    /// The tenant whose events it receives.
    pub tenant: TenantId,
    /// What its user sets.
    pub settings: EndpointSettings,
    /// The encrypted secrets.
    pub secrets: Vec<u8>,
    /// Time of creation.
    pub created_at: Timestamp,
    /// The name of the principal that created it.
    pub created_by: String,
    /// The number of the latest change by a user.
    pub version: i64,
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
    /// The next probe while it is failing.
    pub due_at: Timestamp,
    /// The log position up to which events were delivered.
    pub position: u64,
    /// The second reader.
    pub replay: Option<WebhookReplay>,
}

/// The columns of [`WebhookEndpoint`].
const COLUMNS: &str = "endpoint_id, tenant_id, description, url, types, customer, currency, payload, format, \
    rate_per_s, concurrency, secrets, created_at, created_by, version, state, disabled_reason, failing_since, failures, \
    warnings, last_error, due_at, position, replay_first, replay_position, replay_last, replay_started_at";

impl WebhookEndpoint {
    fn read(row: &Row) -> Result<Self, Error> {
        let optional_time =
            |column| Ok::<_, Error>(row.get::<Option<i64>>(column)?.map(Timestamp::from_micros));
        let optional_position = |column| rows::optional_number::<u64>(row, column);
        let replay = match optional_position(23)? {
            None => None,
            Some(first) => Some(WebhookReplay {
                first,
                position: rows::number(row, 24)?,
                last: rows::number(row, 25)?,
                started_at: rows::time(row, 26)?,
            }),
        };
        let currency: Option<String> = row.get(6)?;
        let reason: Option<String> = row.get(16)?;
        Ok(Self {
            id: endpoint_id(row, 0)?,
            tenant: parsed("tenant_id", &row.get::<String>(1)?)?,
            settings: EndpointSettings {
                description: row.get(2)?,
                url: row.get(3)?,
                types: parsed("types", &row.get::<String>(4)?)?,
                customer: row.get(5)?,
                currency: currency.map(|code| parsed("currency", &code)).transpose()?,
                payload: parsed("payload", &row.get::<String>(7)?)?,
                format: parsed("format", &row.get::<String>(8)?)?,
                rate_per_s: rows::optional_number(row, 9)?,
                concurrency: rows::number(row, 10)?,
            },
            secrets: row.get::<&[u8]>(11)?.to_vec(),
            created_at: rows::time(row, 12)?,
            created_by: row.get(13)?,
            version: row.get(14)?,
            state: parsed("state", &row.get::<String>(15)?)?,
            disabled_reason: reason.map(|reason| parsed("disabled_reason", &reason)).transpose()?,
            failing_since: optional_time(17)?,
            failures: rows::number(row, 18)?,
            warnings: rows::number(row, 19)?,
            last_error: row.get(20)?,
            due_at: rows::time(row, 21)?,
            position: rows::number(row, 22)?,
            replay,
        })
    }
}

/// The outcome of a change of endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointChange {
    /// The change is written.
    Done,
    /// The endpoint does not exist, or belongs to another tenant.
    NotFound,
    /// The tenant has [`MAX_TENANT_ENDPOINTS`] endpoints, or all have [`MAX_ENDPOINTS`].
    LimitReached,
    /// Another user has changed the endpoint since it was read.
    Changed,
}

impl Shard {
    /// Stores a new endpoint, with an entry in the audit log.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn create_webhook_endpoint(
        &self,
        endpoint: &WebhookEndpoint,
        actor: &KeyActor,
    ) -> Result<EndpointChange, Error> {
        let (now, lock) = (self.now(), self.inner.dialect.for_update());
        self.write(|connection| {
            let (endpoint, actor) = (endpoint.clone(), actor.clone());
            Box::pin(async move {
                // Excludes other transactions that add an endpoint of the tenant, so that its limit is exact.
                let mut sql = Statement::new("SELECT tenant_id FROM tenants WHERE tenant_id = ?");
                sql.bind(endpoint.tenant.as_str().to_owned()).push(lock);
                sql.fetch(connection).await?;
                let tenant = Some(endpoint.tenant.as_str().to_owned());
                if count(connection, tenant, MAX_TENANT_ENDPOINTS).await? >= MAX_TENANT_ENDPOINTS
                    || count(connection, None, MAX_ENDPOINTS).await? >= MAX_ENDPOINTS
                {
                    return Ok(EndpointChange::LimitReached);
                }
                insert(connection, &endpoint, now).await?;
                let detail = Some(host_of(&endpoint.settings.url));
                let entry = entry(endpoint.id, &endpoint.tenant, &actor, "webhook.create", detail, now);
                audit::record(connection, &entry).await?;
                Ok(EndpointChange::Done)
            })
        })
        .await
    }

    /// Returns an endpoint of a tenant, or of any.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn webhook_endpoint(
        &self,
        tenant: Option<&TenantId>,
        id: EndpointId,
    ) -> Result<Option<WebhookEndpoint>, Error> {
        let tenant = tenant.cloned();
        self.read(move |connection| {
            Box::pin(async move {
                let found = read_one(connection, id, "").await?;
                Ok(found.filter(|endpoint| tenant.is_none_or(|tenant| tenant == endpoint.tenant)))
            })
        })
        .await
    }

    /// Reads up to `limit` endpoints after one, by their ids; of one tenant or of all.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn webhook_endpoints(
        &self,
        tenant: Option<&TenantId>,
        after: Option<EndpointId>,
        limit: u32,
    ) -> Result<Vec<WebhookEndpoint>, Error> {
        let tenant = tenant.cloned();
        self.read(move |connection| {
            Box::pin(async move {
                let mut sql = Statement::new(format!("SELECT {COLUMNS} FROM webhook_endpoints WHERE 1 = 1"));
                if let Some(tenant) = &tenant {
                    sql.push(" AND tenant_id = ?").bind(tenant.as_str().to_owned());
                }
                if let Some(after) = after {
                    sql.push(" AND endpoint_id > ?").bind(after.as_bytes().to_vec());
                }
                sql.push(" ORDER BY endpoint_id LIMIT ?").bind(i64::from(limit));
                sql.fetch(connection).await?.iter().map(WebhookEndpoint::read).collect()
            })
        })
        .await
    }

    /// Changes an endpoint whose version is known, with an entry in the audit log.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn update_webhook_endpoint(
        &self,
        endpoint: &WebhookEndpoint,
        update: &EndpointUpdate,
        actor: &KeyActor,
    ) -> Result<EndpointChange, Error> {
        let now = self.now();
        let (id, version) = (endpoint.id, endpoint.version);
        self.write(|connection| {
            let (update, actor, tenant) = (update.clone(), actor.clone(), endpoint.tenant.clone());
            Box::pin(async move {
                let mut sql =
                    Statement::new("UPDATE webhook_endpoints SET version = version + 1, changed_at = ?");
                sql.bind(now.as_micros());
                update.set(&mut sql);
                sql.push(" WHERE endpoint_id = ? AND version = ?").bind(id.as_bytes().to_vec()).bind(version);
                if sql.execute(connection).await? == 0 {
                    let is_there = read_one(connection, id, "").await?.is_some();
                    return Ok(if is_there { EndpointChange::Changed } else { EndpointChange::NotFound });
                }
                let entry = entry(id, &tenant, &actor, update.action(), None, now);
                audit::record(connection, &entry).await?;
                Ok(EndpointChange::Done)
            })
        })
        .await
    }

    /// Removes an endpoint with its messages and attempts, with an entry in the audit log.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn delete_webhook_endpoint(
        &self,
        endpoint: &WebhookEndpoint,
        actor: &KeyActor,
    ) -> Result<EndpointChange, Error> {
        let (id, now) = (endpoint.id, self.now());
        self.write(|connection| {
            let (actor, tenant) = (actor.clone(), endpoint.tenant.clone());
            Box::pin(async move {
                let mut sql = Statement::new("DELETE FROM webhook_endpoints WHERE endpoint_id = ?");
                sql.bind(id.as_bytes().to_vec());
                if sql.execute(connection).await? == 0 {
                    return Ok(EndpointChange::NotFound);
                }
                for table in ["webhook_messages", "webhook_attempts"] {
                    let mut sql = Statement::new(format!("DELETE FROM {table} WHERE endpoint_id = ?"));
                    sql.bind(id.as_bytes().to_vec());
                    sql.execute(connection).await?;
                }
                audit::record(connection, &entry(id, &tenant, &actor, "webhook.delete", None, now)).await?;
                Ok(EndpointChange::Done)
            })
        })
        .await
    }

    /// Returns the lowest position of the endpoints that are not disabled. `None` without one.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn lowest_webhook_position(&self) -> Result<Option<u64>, Error> {
        self.read(move |connection| {
            Box::pin(async move {
                let sql =
                    Statement::new("SELECT MIN(position) FROM webhook_endpoints WHERE state <> 'disabled'");
                let found = sql.fetch(connection).await?;
                found.first().map_or(Ok(None), |row| rows::optional_number(row, 0))
            })
        })
        .await
    }

    /// Counts the endpoints in each state.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn webhook_endpoint_states(&self) -> Result<Vec<(EndpointState, u64)>, Error> {
        self.read(move |connection| {
            Box::pin(async move {
                let sql = Statement::new("SELECT state, COUNT(*) FROM webhook_endpoints GROUP BY state");
                let found = sql.fetch(connection).await?;
                let state = |row: &Row| Ok((parsed("state", &row.get::<String>(0)?)?, rows::number(row, 1)?));
                found.iter().map(state).collect()
            })
        })
        .await
    }
}

async fn read_one(
    connection: &mut Connection,
    id: EndpointId,
    lock: &str,
) -> Result<Option<WebhookEndpoint>, Error> {
    let mut sql = Statement::new(format!("SELECT {COLUMNS} FROM webhook_endpoints WHERE endpoint_id = ?"));
    sql.bind(id.as_bytes().to_vec()).push(lock);
    sql.fetch(connection).await?.first().map(WebhookEndpoint::read).transpose()
}

async fn insert(
    connection: &mut Connection,
    endpoint: &WebhookEndpoint,
    now: Timestamp,
) -> Result<(), Error> {
    let mut sql = Statement::new(
        "INSERT INTO webhook_endpoints (endpoint_id, tenant_id, description, url, types, customer, currency, payload, \
         format, rate_per_s, concurrency, secrets, created_at, created_by, version, changed_at, state, failures, \
         warnings, due_at, position, acked, holder, held_until) VALUES ",
    );
    sql.rows(1, "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,1,?,'active',0,0,0,?,?,0,0)");
    sql.bind(endpoint.id.as_bytes().to_vec()).bind(endpoint.tenant.as_str().to_owned());
    bind_settings(&mut sql, &endpoint.settings);
    sql.bind(endpoint.secrets.clone()).bind(endpoint.created_at.as_micros());
    sql.bind(endpoint.created_by.clone()).bind(now.as_micros());
    sql.bind(number(endpoint.position)).bind(Vec::new());
    sql.execute(connection).await.map(drop)
}

fn bind_settings(sql: &mut Statement<'_>, settings: &EndpointSettings) {
    sql.bind(settings.description.clone())
        .bind(settings.url.clone())
        .bind(settings.types.to_string())
        .bind(settings.customer.clone())
        .bind(settings.currency.map(|currency| currency.code().to_owned()))
        .bind(settings.payload.as_str())
        .bind(settings.format.as_str())
        .bind(settings.rate_per_s.map(i64::from))
        .bind(i64::from(settings.concurrency));
}

/// Counts endpoints, at most `limit` of them.
async fn count(connection: &mut Connection, tenant: Option<String>, limit: usize) -> Result<usize, Error> {
    let mut sql = Statement::new("SELECT endpoint_id FROM webhook_endpoints");
    if let Some(tenant) = tenant {
        sql.push(" WHERE tenant_id = ?").bind(tenant);
    }
    sql.push(" LIMIT ?").bind(i64::try_from(limit).unwrap_or(i64::MAX));
    Ok(sql.fetch(connection).await?.len())
}

fn entry(
    id: EndpointId,
    tenant: &TenantId,
    actor: &KeyActor,
    action: &str,
    detail: Option<String>,
    now: Timestamp,
) -> AuditEntry {
    AuditEntry {
        id: OrderId::new(now),
        tenant: tenant.clone(),
        at: now,
        actor: actor.name.clone(),
        action: action.to_owned(),
        target: id.to_string(),
        request_id: actor.request_id.clone(),
        detail,
    }
}

/// Returns the part of a URL that contains no secret.
fn host_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default().chars().take(253).collect()
}

fn endpoint_id(row: &Row, column: usize) -> Result<EndpointId, Error> {
    let bytes: &[u8] = row.get(column)?;
    let bytes = bytes.try_into().map_err(|_| Error::Row("endpoint_id has no 16 bytes".to_owned()))?;
    Ok(EndpointId::from_bytes(bytes))
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(column: &str, string: &str) -> Result<T, Error> {
    string.parse().map_err(|error| Error::Row(format!("{column}: {error}")))
}

fn number(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_documented() {
        let all = limits_page::count(MAX_ENDPOINTS);
        limits_page::row(
            "webhook endpoints of a tenant; of all tenants",
            &format!("{MAX_TENANT_ENDPOINTS}; {all}"),
        );
    }
}
