//! What the signature of a tracking link depends on, and the revocation of all links of a tenant.

use domain::{OrderId, TenantId};

use super::api_keys::KeyActor;
use super::audit;
use super::row::Row;
use super::statement::Statement;
use super::{Error, Shard, rows, tenants};

/// The state of a tenant on which its tracking links depend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackedTenant {
    /// The tenant.
    pub id: TenantId,
    /// The number that its links contain in their signature. A revocation increases it.
    pub version: u32,
    /// Whether the tenant is suspended, so that its links are refused.
    pub is_suspended: bool,
}

const COLUMNS: &str = "t.tenant_id, t.tracking_version, t.suspended_at";

impl TrackedTenant {
    fn read(row: &Row) -> Result<Self, Error> {
        let id: String = row.get(0)?;
        Ok(Self {
            id: id.parse().map_err(|error| Error::Row(format!("tenant_id: {error}")))?,
            version: rows::number(row, 1)?,
            is_suspended: row.get::<Option<i64>>(2)?.is_some(),
        })
    }
}

impl Shard {
    /// Returns the tenant of an order; `None` if the order does not exist.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn tracked_tenant_of_order(&self, order: OrderId) -> Result<Option<TrackedTenant>, Error> {
        self.read(move |connection| {
            Box::pin(async move {
                let mut sql = Statement::new(format!(
                    "SELECT {COLUMNS} FROM orders o JOIN tenants t ON t.tenant_id = o.tenant_id WHERE o.id = ?"
                ));
                sql.bind(order);
                sql.fetch(connection).await?.first().map(TrackedTenant::read).transpose()
            })
        })
        .await
    }

    /// Returns the tenant of an order; `None` if the order does not exist.
    pub(super) async fn tenant_of_order(&self, order: OrderId) -> Result<Option<TenantId>, Error> {
        self.read(move |connection| {
            Box::pin(async move {
                let mut sql = Statement::new("SELECT tenant_id FROM orders WHERE id = ?");
                sql.bind(order);
                let found = sql.fetch(connection).await?;
                let Some(row) = found.first() else { return Ok(None) };
                let id: String = row.get(0)?;
                id.parse().map(Some).map_err(|error| Error::Row(format!("tenant_id: {error}")))
            })
        })
        .await
    }

    /// Returns a tenant; `None` if it does not exist.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn tracked_tenant(&self, id: &TenantId) -> Result<Option<TrackedTenant>, Error> {
        let id = id.as_str().to_owned();
        self.read(move |connection| {
            Box::pin(async move {
                let mut sql =
                    Statement::new(format!("SELECT {COLUMNS} FROM tenants t WHERE t.tenant_id = ?"));
                sql.bind(id);
                sql.fetch(connection).await?.first().map(TrackedTenant::read).transpose()
            })
        })
        .await
    }

    /// Revokes all tracking links of a tenant, with an entry in the audit log.
    ///
    /// Returns whether the tenant exists.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn revoke_tracking_links(&self, id: &TenantId, actor: &KeyActor) -> Result<bool, Error> {
        let now = self.now();
        self.write(|connection| {
            let (id, actor) = (id.clone(), actor.clone());
            Box::pin(async move {
                let mut sql = Statement::new(
                    "UPDATE tenants SET tracking_version = tracking_version + 1 WHERE tenant_id = ?",
                );
                sql.bind(id.as_str().to_owned());
                if sql.execute(connection).await? == 0 {
                    return Ok(false);
                }
                let entry = tenants::entry(&id, actor, "tenant.revoke_links", None, now);
                audit::record(connection, &entry).await?;
                Ok(true)
            })
        })
        .await
    }
}
