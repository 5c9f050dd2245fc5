use std::sync::Arc;

use crate::quota::Quotas;
use crate::scope::{Scope, Scopes};
use crate::tenant::TenantId;
use crate::timestamp::Timestamp;

/// The caller of a request: its tenant, its scopes, its limits and the end of its credential.
///
/// An authenticated edge creates it; every use case requires it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The name for timelines and the audit log, such as `key:k3J9x2Qa`.
    pub name: Arc<str>,
    /// The tenant whose orders are created and listed.
    pub tenant: TenantId,
    /// Whether orders of every other tenant may be read and changed by their ids as well.
    pub all_tenants: bool,
    /// The permitted actions.
    pub scopes: Scopes,
    /// The end of the credential. `None` without one.
    pub expires_at: Option<Timestamp>,
    /// The limits of the key and of the tenant.
    pub quotas: Quotas,
}

/// The name of callers of a gateway without authentication.
const ANONYMOUS: &str = "anonymous";

/// The caller lacks a scope.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[error("the credential has no scope {}", .0.as_str())]
pub struct MissingScope(pub Scope);

impl Principal {
    /// Returns the caller of a gateway without authentication: everything is permitted.
    pub fn anonymous() -> Self {
        Self {
            name: Arc::from(ANONYMOUS),
            tenant: TenantId::default(),
            all_tenants: true,
            scopes: Scopes::ALL,
            expires_at: None,
            quotas: Quotas::default(),
        }
    }

    /// Returns a subscriber of the gateway, which reads the events of one tenant.
    pub fn subscriber(name: impl Into<Arc<str>>, tenant: TenantId) -> Self {
        let scopes = Scopes::of(&[Scope::EventsRead]);
        Self { name: name.into(), tenant, all_tenants: false, scopes, ..Self::anonymous() }
    }

    /// Returns a background task of the gateway, which reads the orders of all tenants.
    pub fn system(task: &str) -> Self {
        Self { name: Arc::from(format!("system:{task}")), ..Self::anonymous() }
    }

    /// Returns whether the gateway does not know the caller.
    pub fn is_anonymous(&self) -> bool {
        &*self.name == ANONYMOUS
    }

    /// Checks that the caller has a scope.
    ///
    /// # Errors
    /// [`MissingScope`].
    pub fn require(&self, scope: Scope) -> Result<(), MissingScope> {
        if self.scopes.contains(scope) { Ok(()) } else { Err(MissingScope(scope)) }
    }

    /// Returns whether the caller may see orders of a tenant.
    pub fn covers(&self, tenant: &TenantId) -> bool {
        self.all_tenants || self.tenant == *tenant
    }

    /// Returns whether the credential has expired.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_bound_to_tenant_scopes_and_time() {
        let (shop, other): (TenantId, TenantId) = ("shop".parse().unwrap(), "other".parse().unwrap());
        let end = Timestamp::from_micros(5);
        let caller = Principal {
            name: Arc::from("key:x"),
            tenant: shop.clone(),
            all_tenants: false,
            scopes: Scopes::of(&[Scope::OrdersRead]),
            expires_at: Some(end),
            ..Principal::anonymous()
        };
        assert!(caller.covers(&shop) && !caller.covers(&other));
        assert_eq!(caller.require(Scope::OrdersRead), Ok(()));
        let refusal = caller.require(Scope::Work).unwrap_err();
        assert_eq!(refusal.to_string(), "the credential has no scope work");
        assert!(!caller.is_expired(Timestamp::from_micros(4)) && caller.is_expired(end));
        assert!(Principal::anonymous().covers(&other));
    }
}
