//! Tenants: the owners of orders and of API keys.

use domain::{Limits, OrderId, TenantId, Timestamp};

use super::api_keys::KeyActor;
use super::audit::{self, AuditEntry};
use super::connection::Connection;
use super::row::Row;
use super::statement::Statement;
use super::{Error, Shard, rows};

/// Maximum number of tenants.
pub const MAX_TENANTS: u32 = 10_000;

/// A stored tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// The id, which orders and keys contain.
    pub id: TenantId,
    /// The name that its creator gave it.
    pub name: String,
    /// Time of creation.
    pub created_at: Timestamp,
    /// Start of the suspension. `None` if it is not suspended.
    pub suspended_at: Option<Timestamp>,
    /// The limits of all its keys together.
    pub limits: Limits,
    /// Whether external references are unique among its orders.
    pub unique_references: bool,
}

/// The columns of [`Tenant`], in the sequence of its fields.
const COLUMNS: &str = "tenant_id, name, created_at, suspended_at, rate_per_s, burst, max_streams, max_open, \
    unique_references";

impl Tenant {
    fn read(row: &Row) -> Result<Self, Error> {
        let id: String = row.get(0)?;
        let optional = |column| rows::optional_number(row, column);
        Ok(Self {
            id: id.parse().map_err(|error| Error::Row(format!("tenant_id: {error}")))?,
            name: row.get(1)?,
            created_at: rows::time(row, 2)?,
            suspended_at: row.get::<Option<i64>>(3)?.map(Timestamp::from_micros),
            limits: Limits {
                rate_per_s: optional(4)?,
                burst: optional(5)?,
                max_streams: optional(6)?,
                max_open: optional(7)?,
            },
            unique_references: rows::number::<u8>(row, 8)? > 0,
        })
    }
}

/// A change of limits: `None` keeps a limit, `Some(None)` removes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitChanges {
    /// Requests per second. Its removal removes the burst.
    pub rate_per_s: Option<Option<u32>>,
    /// Requests that may arrive at once.
    pub burst: Option<Option<u32>>,
    /// Open streams.
    pub max_streams: Option<Option<u32>>,
    /// Orders that are not final.
    pub max_open: Option<Option<u32>>,
}

impl LimitChanges {
    fn apply(&self, limits: &Limits) -> Limits {
        let rate_per_s = self.rate_per_s.unwrap_or(limits.rate_per_s);
        Limits {
            rate_per_s,
            burst: self.burst.unwrap_or(limits.burst).filter(|_| rate_per_s.is_some()),
            max_streams: self.max_streams.unwrap_or(limits.max_streams),
            max_open: self.max_open.unwrap_or(limits.max_open),
        }
    }
}

/// Whether the keys of a tenant are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantState {
    /// They are accepted.
    Active,
    /// They are refused.
    Suspended,
}

/// The outcome of the creation of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantCreation {
    /// The tenant is stored.
    Created,
    /// A tenant with this id exists.
    Exists,
    /// There are [`MAX_TENANTS`] tenants.
    LimitReached,
}

impl Shard {
    /// Stores a new tenant and its entry in the audit log.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn create_tenant(
        &self,
        id: &TenantId,
        name: &str,
        limits: &Limits,
        actor: &KeyActor,
    ) -> Result<TenantCreation, Error> {
        let (now, limits) = (self.now(), *limits);
        self.write(|connection| {
            let (id, name, actor) = (id.clone(), name.to_owned(), actor.clone());
            Box::pin(async move {
                let mut sql = Statement::new("SELECT tenant_id FROM tenants WHERE tenant_id = ?");
                sql.bind(id.as_str().to_owned());
                if !sql.fetch(connection).await?.is_empty() {
                    return Ok(TenantCreation::Exists);
                }
                let count = Statement::new("SELECT COUNT(*) FROM tenants").fetch(connection).await?;
                let count: u32 = count.first().map_or(Ok(0), |row| rows::number(row, 0))?;
                if count >= MAX_TENANTS {
                    return Ok(TenantCreation::LimitReached);
                }
                let mut sql =
                    Statement::new("INSERT INTO tenants (tenant_id, name, created_at, changed_at) VALUES ");
                sql.rows(1, "(?,?,?,?)")
                    .bind(id.as_str().to_owned())
                    .bind(name.clone())
                    .bind(now.as_micros())
                    .bind(now.as_micros());
                sql.execute(connection).await?;
                let detail = if limits.is_none() { name } else { format!("{name}; {limits}") };
                set_limits(connection, &id, &limits, now).await?;
                audit::record(connection, &entry(&id, actor, "tenant.create", Some(detail), now)).await?;
                Ok(TenantCreation::Created)
            })
        })
        .await
    }

    /// Suspends or resumes a tenant, with an entry in the audit log. Repeating it changes nothing.
    ///
    /// Returns whether the tenant exists.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn set_tenant_state(
        &self,
        id: &TenantId,
        state: TenantState,
        actor: &KeyActor,
    ) -> Result<bool, Error> {
        let now = self.now();
        let for_update = self.inner.dialect.for_update();
        let (action, suspended_at) = match state {
            TenantState::Active => ("tenant.resume", None),
            TenantState::Suspended => ("tenant.suspend", Some(now.as_micros())),
        };
        self.write(|connection| {
            let (id, actor) = (id.clone(), actor.clone());
            Box::pin(async move {
                let mut sql = Statement::new("SELECT suspended_at FROM tenants WHERE tenant_id = ?");
                sql.bind(id.as_str().to_owned()).push(for_update);
                let found = sql.fetch(connection).await?;
                let Some(row) = found.first() else { return Ok(false) };
                if row.get::<Option<i64>>(0)?.is_some() == suspended_at.is_some() {
                    return Ok(true);
                }
                let mut sql =
                    Statement::new("UPDATE tenants SET suspended_at = ?, changed_at = ? WHERE tenant_id = ?");
                sql.bind(suspended_at).bind(now.as_micros()).bind(id.as_str().to_owned());
                sql.execute(connection).await?;
                audit::record(connection, &entry(&id, actor, action, None, now)).await?;
                Ok(true)
            })
        })
        .await
    }

    /// Changes limits of a tenant, with an entry in the audit log.
    ///
    /// Returns its limits after the change, or `None` if the tenant does not exist.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn change_tenant_limits(
        &self,
        id: &TenantId,
        changes: &LimitChanges,
        actor: &KeyActor,
    ) -> Result<Option<Limits>, Error> {
        let (now, changes) = (self.now(), *changes);
        let for_update = self.inner.dialect.for_update();
        self.write(|connection| {
            let (id, actor) = (id.clone(), actor.clone());
            Box::pin(async move {
                let found = select(&id, for_update).fetch(connection).await?;
                let Some(tenant) = found.first().map(Tenant::read).transpose()? else { return Ok(None) };
                let limits = changes.apply(&tenant.limits);
                set_limits(connection, &id, &limits, now).await?;
                let detail = Some(limits.to_string());
                audit::record(connection, &entry(&id, actor, "tenant.update", detail, now)).await?;
                Ok(Some(limits))
            })
        })
        .await
    }

    /// Returns a tenant.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn tenant(&self, id: &TenantId) -> Result<Option<Tenant>, Error> {
        let sql = select(id, "");
        let found = self.read(move |connection| Box::pin(sql.fetch(connection))).await?;
        found.first().map(Tenant::read).transpose()
    }

    /// Returns the time of the latest change of a tenant.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn latest_tenant_change(&self) -> Result<Option<Timestamp>, Error> {
        self.read(move |connection| {
            Box::pin(async move {
                let found = Statement::new("SELECT MAX(changed_at) FROM tenants").fetch(connection).await?;
                let latest = found.first().map_or(Ok(None), |row| row.get::<Option<i64>>(0))?;
                Ok(latest.map(Timestamp::from_micros))
            })
        })
        .await
    }

    /// Returns all tenants by their ids.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn tenants(&self) -> Result<Vec<Tenant>, Error> {
        let mut sql = Statement::new(format!("SELECT {COLUMNS} FROM tenants ORDER BY tenant_id LIMIT ?"));
        sql.bind(i64::from(MAX_TENANTS));
        let found = self.read(move |connection| Box::pin(sql.fetch(connection))).await?;
        found.iter().map(Tenant::read).collect()
    }
}

fn select(id: &TenantId, lock: &str) -> Statement<'static> {
    let mut sql = Statement::new(format!("SELECT {COLUMNS} FROM tenants WHERE tenant_id = ?"));
    sql.bind(id.as_str().to_owned()).push(lock);
    sql
}

async fn set_limits(
    connection: &mut Connection,
    id: &TenantId,
    limits: &Limits,
    now: Timestamp,
) -> Result<(), Error> {
    let mut sql = Statement::new(
        "UPDATE tenants SET rate_per_s = ?, burst = ?, max_streams = ?, max_open = ?, changed_at = ? WHERE tenant_id = ?",
    );
    for limit in [limits.rate_per_s, limits.burst, limits.max_streams, limits.max_open] {
        sql.bind(limit.map(i64::from));
    }
    sql.bind(now.as_micros()).bind(id.as_str().to_owned());
    sql.execute(connection).await.map(drop)
}

/// Returns the entry of a change of a tenant.
pub(super) fn entry(
    id: &TenantId,
    actor: KeyActor,
    action: &str,
    detail: Option<String>,
    at: Timestamp,
) -> AuditEntry {
    AuditEntry {
        id: OrderId::new(at),
        tenant: id.clone(),
        at,
        actor: actor.name,
        action: action.to_owned(),
        target: id.to_string(),
        request_id: actor.request_id,
        detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_keeps_the_other_limits() {
        let limits = Limits { rate_per_s: Some(5), burst: Some(9), max_open: Some(3), ..Limits::default() };
        let change = LimitChanges { max_streams: Some(Some(2)), ..LimitChanges::default() };
        assert_eq!(change.apply(&limits), Limits { max_streams: Some(2), ..limits });
        let change = LimitChanges { rate_per_s: Some(None), ..LimitChanges::default() };
        assert_eq!(change.apply(&limits), Limits { max_open: Some(3), ..Limits::default() });
        let change = LimitChanges { burst: Some(None), ..LimitChanges::default() };
        assert_eq!(change.apply(&limits).to_string(), "5/s, burst 5, open orders 3");
    }

    #[test]
    fn the_limits_are_documented() {
        limits_page::row("tenants", &limits_page::count(MAX_TENANTS as usize));
        limits_page::row("active API keys", &limits_page::count(crate::MAX_API_KEYS as usize));
        limits_page::row("API keys in a page", &limits_page::count(crate::MAX_KEY_PAGE as usize));
        limits_page::row(
            "entries in a page of the audit log",
            &limits_page::count(crate::MAX_AUDIT_PAGE as usize),
        );
    }
}
