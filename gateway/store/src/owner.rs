//! Restricts statements that find orders by their ids to the orders that the caller may see.

use domain::{Principal, TenantId};

use super::statement::Statement;

/// The owner of the orders that a statement may find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    /// Every tenant, for background loops and callers of all tenants.
    Any,
    /// One tenant. An order of another one is not found, as an unknown id is not.
    Only(TenantId),
}

impl Owner {
    /// Returns the owner of the orders that a caller may read by id.
    pub(super) fn visible_to(principal: &Principal) -> Self {
        if principal.all_tenants { Self::Any } else { Self::Only(principal.tenant.clone()) }
    }

    /// Adds the condition to a statement that finds orders by id.
    ///
    /// The plus sign keeps SQLite from an index that begins with the tenant; the other databases ignore it.
    pub(super) fn push(&self, sql: &mut Statement<'_>) {
        if let Self::Only(tenant) = self {
            sql.push(" AND +tenant_id = ?").bind(tenant.as_str().to_owned());
        }
    }
}
