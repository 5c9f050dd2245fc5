//! The quotas of the keys and tenants that have limits.
//!
//! A cached key ends after some seconds, and its quota must not: a new one would have a complete burst. So the quotas
//! are kept here, and every principal of a key or a tenant shares the same one.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use domain::{Limits, Quota, Shares, TenantId};
use gateway_store::{ApiKey, MAX_API_KEYS, MAX_TENANTS, Tenant};

/// The quotas of a gateway.
pub(crate) struct QuotaRegistry {
    shares: Shares,
    keys: Mutex<HashMap<String, Arc<Quota>>>,
    tenants: Mutex<HashMap<TenantId, Arc<Quota>>>,
}

impl QuotaRegistry {
    /// Creates the quotas of a gateway; `shares` is the number of gateways.
    pub(crate) fn new(shares: Shares) -> Self {
        Self { shares, keys: Mutex::default(), tenants: Mutex::default() }
    }

    /// Returns the quota of a key, with its present limits. `None` without limits.
    pub(crate) fn of_key(&self, key: &ApiKey) -> Option<Arc<Quota>> {
        self.shared(&self.keys, MAX_API_KEYS, &key.id, &key.limits)
    }

    /// Returns the quota of a tenant, with its present limits. `None` without limits.
    pub(crate) fn of_tenant(&self, tenant: &Tenant) -> Option<Arc<Quota>> {
        self.shared(&self.tenants, MAX_TENANTS, &tenant.id, &tenant.limits)
    }

    fn shared<K: Borrow<Q> + Eq + Hash, Q: Eq + Hash + ToOwned<Owned = K> + ?Sized>(
        &self,
        quotas: &Mutex<HashMap<K, Arc<Quota>>>,
        max: u32,
        owner: &Q,
        limits: &Limits,
    ) -> Option<Arc<Quota>> {
        let mut quotas = quotas.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(quota) = quotas.get(owner) {
            // Open streams have the quota, and follow the change as well.
            quota.set(limits);
            return if limits.is_none() { quotas.remove(owner).and(None) } else { Some(quota.clone()) };
        }
        if limits.is_none() {
            return None;
        }
        let now = Instant::now();
        let quota = Arc::new(Quota::new(limits, self.shares.clone(), now));
        if quotas.len() >= max as usize {
            // Those of former keys and tenants.
            quotas.retain(|_, quota| Arc::strong_count(quota) > 1 || !quota.is_unused(now));
        }
        if quotas.len() < max as usize {
            quotas.insert(owner.to_owned(), quota.clone());
        }
        Some(quota)
    }
}

#[cfg(test)]
mod tests {
    use domain::Quotas;

    use super::*;

    fn limits(rate: u32) -> Limits {
        Limits { rate_per_s: Some(rate), ..Limits::default() }
    }

    fn registry() -> QuotaRegistry {
        QuotaRegistry::new(Shares::default())
    }

    #[test]
    fn quotas_are_shared_and_follow_changes() {
        let registry = registry();
        let of = |limits: &Limits| registry.shared(&registry.keys, 9, "key", limits);
        let quota = of(&limits(1)).unwrap();
        let first = Quotas { key: Some(quota.clone()), tenant: None };
        first.charge(1, Instant::now()).unwrap();
        assert!(first.charge(1, Instant::now()).is_err());
        let raised = Limits { burst: Some(2), ..limits(1) };
        assert!(Arc::ptr_eq(&quota, &of(&raised).unwrap()));
        first.charge(1, Instant::now()).unwrap();
        assert!(of(&Limits::default()).is_none());
        first.charge(u32::MAX, Instant::now()).unwrap();
        assert!(!Arc::ptr_eq(&quota, &of(&limits(1)).unwrap()));
    }

    #[test]
    fn unused_quotas_are_dropped_at_the_limit() {
        let registry = registry();
        let of = |key: &str| registry.shared(&registry.keys, 2, key, &limits(1)).unwrap();
        let held = of("held");
        let busy = of("busy");
        Quotas { key: Some(busy), tenant: None }.charge(1, Instant::now()).unwrap();
        // Neither can be dropped, so the third key has a quota that is not kept.
        assert!(!Arc::ptr_eq(&of("other"), &of("other")));
        drop(held);
        assert!(Arc::ptr_eq(&of("other"), &of("other")));
        assert_eq!(registry.keys.lock().unwrap().len(), 2);
    }

    #[test]
    fn the_limits_are_documented() {
        let count = |max: u32| limits_page::count(max as usize);
        limits_page::row(
            "keys; tenants whose use of limits is kept",
            &format!("{}; {}", count(MAX_API_KEYS), count(MAX_TENANTS)),
        );
    }
}
