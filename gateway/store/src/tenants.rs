//! Tenants: the owners of orders and of API keys.

use domain::{OrderId, TenantId, Timestamp};

use super::api_keys::KeyActor;
use super::audit::{self, AuditEntry};
use super::statement::Statement;
use super::{Error, Store, rows};

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

impl Store {
    /// Stores a new tenant and its entry in the audit log.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn create_tenant(
        &self,
        id: &TenantId,
        name: &str,
        actor: &KeyActor,
    ) -> Result<TenantCreation, Error> {
        let now = self.now();
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
                let mut sql = Statement::new("INSERT INTO tenants (tenant_id, name, created_at) VALUES ");
                sql.rows(1, "(?,?,?)").bind(id.as_str().to_owned()).bind(name.clone()).bind(now.as_micros());
                sql.execute(connection).await?;
                audit::record(connection, &entry(&id, actor, "tenant.create", Some(name), now)).await?;
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
                let mut sql = Statement::new("UPDATE tenants SET suspended_at = ? WHERE tenant_id = ?");
                sql.bind(suspended_at).bind(id.as_str().to_owned());
                sql.execute(connection).await?;
                audit::record(connection, &entry(&id, actor, action, None, now)).await?;
                Ok(true)
            })
        })
        .await
    }

    /// Returns all tenants by their ids.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn tenants(&self) -> Result<Vec<Tenant>, Error> {
        self.read(move |connection| {
            Box::pin(async move {
                let mut sql = Statement::new(
                    "SELECT tenant_id, name, created_at, suspended_at FROM tenants ORDER BY tenant_id LIMIT ?",
                );
                sql.bind(i64::from(MAX_TENANTS));
                let tenant = |row: &super::row::Row| {
                    let id: String = row.get(0)?;
                    Ok(Tenant {
                        id: id.parse().map_err(|error| Error::Row(format!("tenant_id: {error}")))?,
                        name: row.get(1)?,
                        created_at: rows::time(row, 2)?,
                        suspended_at: row.get::<Option<i64>>(3)?.map(Timestamp::from_micros),
                    })
                };
                sql.fetch(connection).await?.iter().map(tenant).collect()
            })
        })
        .await
    }
}

fn entry(id: &TenantId, actor: KeyActor, action: &str, detail: Option<String>, at: Timestamp) -> AuditEntry {
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
    fn the_limits_are_documented() {
        limits_page::row("tenants", &limits_page::count(MAX_TENANTS as usize));
        limits_page::row("active API keys", &limits_page::count(crate::MAX_API_KEYS as usize));
        limits_page::row(
            "entries in a page of the audit log",
            &limits_page::count(crate::MAX_AUDIT_PAGE as usize),
        );
    }
}
