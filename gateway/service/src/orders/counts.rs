use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::{Principal, TenantId};
use tokio::time::Instant;

use crate::error::Error;
use gateway_store::{Counts, Store};

/// Minimum interval between two counts of the orders.
pub const COUNTS_FRESH: Duration = Duration::from_secs(1);

/// Multiple of the duration of a count for which the count is kept.
///
/// Counting therefore uses at most a twentieth of the database's time.
pub(super) const KEEP_FOR_DURATIONS: u32 = 20;

/// Maximum number of tenants whose counts are kept. At the limit, those without waiting callers are dropped.
const MAX_TENANTS: usize = 1_000;

/// The last count of each tenant.
#[derive(Default)]
pub(super) struct Cache(Mutex<HashMap<TenantId, Arc<LastCount>>>);

/// The last count and the end of its validity. Concurrent callers wait for the lock and share the result, including an
/// error: while the database hangs, they wait once and not one after the other.
#[derive(Default)]
struct LastCount(tokio::sync::Mutex<Option<(Instant, Result<Counts, Error>)>>);

impl Cache {
    pub(super) async fn get(&self, store: &Store, principal: &Principal) -> Result<Counts, Error> {
        self.of(&principal.tenant).get(store, principal).await
    }

    fn of(&self, tenant: &TenantId) -> Arc<LastCount> {
        let mut tenants = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tenants.len() >= MAX_TENANTS && !tenants.contains_key(tenant) {
            tenants.retain(|_, last| Arc::strong_count(last) > 1);
        }
        tenants.entry(tenant.clone()).or_default().clone()
    }
}

impl LastCount {
    async fn get(&self, store: &Store, principal: &Principal) -> Result<Counts, Error> {
        let mut last = self.0.lock().await;
        if let Some((until, counts)) = &*last
            && Instant::now() < *until
        {
            return counts.clone();
        }
        let begin = Instant::now();
        let counts = store.counts(principal).await.map_err(Error::from);
        let end = Instant::now();
        let kept = if counts.is_ok() { (end - begin) * KEEP_FOR_DURATIONS } else { Duration::ZERO };
        *last = Some((end + kept.max(COUNTS_FRESH), counts.clone()));
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_tenants_is_limited() {
        let cache = Cache::default();
        let waiting = cache.of(&TenantId::default());
        for n in 0..2 * MAX_TENANTS {
            cache.of(&format!("t{n}").parse().unwrap());
        }
        assert!(cache.0.lock().unwrap().len() <= MAX_TENANTS);
        assert!(Arc::ptr_eq(&cache.of(&TenantId::default()), &waiting));
        limits_page::row("tenants whose counts are kept", &limits_page::count(MAX_TENANTS));
    }
}
