//! Limits the orders of a tenant that are not final.
//!
//! The number is counted in the database at most once a second, and the orders that this gateway has created since are
//! added. So this gateway does not exceed the maximum. Several gateways exceed it by the orders that the other ones
//! create between two counts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{Principal, TenantId};
use gateway_store::Store;
use tokio::time::Instant;

use super::counts::{COUNTS_FRESH, KEEP_FOR_DURATIONS};
use crate::error::Error;

/// Maximum number of tenants whose numbers are kept. At the limit, those without a running create are dropped.
const MAX_TENANTS: usize = 1_000;

/// The open orders of each tenant that has a maximum.
#[derive(Default)]
pub(super) struct OpenOrders(Mutex<HashMap<TenantId, Arc<OfTenant>>>);

/// The open orders of a tenant. Creates wait for the lock while one of them counts.
#[derive(Default)]
struct OfTenant {
    last: tokio::sync::Mutex<Option<LastCount>>,
    /// The orders of the creates that are running.
    running: Mutex<u32>,
}

struct LastCount {
    until: Instant,
    counted: u32,
    /// The orders that were created since the count, or were being created when it began.
    created: u32,
}

/// A create of a tenant with a maximum, until its end.
pub(super) struct RunningCreate {
    tenant: Arc<OfTenant>,
    orders: u32,
}

impl Drop for RunningCreate {
    fn drop(&mut self) {
        *self.tenant.running() -= self.orders;
    }
}

impl OpenOrders {
    /// Admits a create or a redrive of this number of orders. `None` if the tenant has no maximum.
    ///
    /// # Errors
    /// [`Error::TooManyOpen`], or the error of the count.
    pub(super) async fn admit(
        &self,
        store: &Store,
        principal: &Principal,
        orders: usize,
    ) -> Result<Option<RunningCreate>, Error> {
        let Some(max) = principal.quotas.max_open() else { return Ok(None) };
        let orders = u32::try_from(orders).unwrap_or(u32::MAX);
        let tenant = self.of(&principal.tenant);
        let mut last = tenant.last.lock().await;
        let now = Instant::now();
        let known = match last.take().filter(|last| now < last.until) {
            Some(known) => known,
            None => {
                let created = *tenant.running();
                let counted = store.open_orders(principal, max).await?;
                let end = Instant::now();
                let kept = ((end - now) * KEEP_FOR_DURATIONS).max(COUNTS_FRESH);
                LastCount { until: end + kept, counted, created }
            }
        };
        let known = last.insert(known);
        let open = known.counted.saturating_add(known.created);
        if open.saturating_add(orders) > max {
            metrics::counter!("orders_quota_rejections_total", "limit" => "tenant_open_orders").increment(1);
            let wait = known.until.saturating_duration_since(now).max(COUNTS_FRESH);
            return Err(Error::TooManyOpen { max, orders, wait });
        }
        known.created += orders;
        *tenant.running() += orders;
        Ok(Some(RunningCreate { tenant: tenant.clone(), orders }))
    }

    fn of(&self, tenant: &TenantId) -> Arc<OfTenant> {
        let mut tenants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tenants.len() >= MAX_TENANTS && !tenants.contains_key(tenant) {
            tenants.retain(|_, kept| Arc::strong_count(kept) > 1);
        }
        tenants.entry(tenant.clone()).or_default().clone()
    }
}

impl OfTenant {
    fn running(&self) -> MutexGuard<'_, u32> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_tenants_is_limited() {
        let open = OpenOrders::default();
        let running = open.of(&TenantId::default());
        for n in 0..2 * MAX_TENANTS {
            open.of(&format!("t{n}").parse().unwrap());
        }
        assert!(open.0.lock().unwrap().len() <= MAX_TENANTS);
        assert!(Arc::ptr_eq(&open.of(&TenantId::default()), &running));
        limits_page::row("tenants whose open orders are counted", &limits_page::count(MAX_TENANTS));
    }
}
