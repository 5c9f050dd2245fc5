//! One minute of one gateway: six intervals of ten seconds for each tenant.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::{OrderEvent, Principal, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use super::interval::Interval;

/// The number of minutes that are kept.
pub(super) const KEPT_MINUTES: i64 = 6 * 60;
/// Length of an interval in seconds.
pub(super) const INTERVAL_S: i64 = 10;
/// The number of intervals of a minute.
const INTERVALS: usize = 6;
/// Maximum number of tenants of a minute that are separate. Callers for all tenants see the others as well.
pub(super) const MAX_TENANTS: usize = 200;
/// In place of the tenant, for all tenants beyond the maximum. It is no id of a tenant.
const OTHERS: &str = "*";

type Intervals = [Interval; INTERVALS];

/// What happened in a minute.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Minute {
    #[serde(rename = "t")]
    tenants: BTreeMap<String, Intervals>,
    /// The number of orders that could be started, as it was measured last in each interval.
    #[serde(rename = "r", default)]
    ready: [Option<u32>; INTERVALS],
}

/// The number of an interval since 1970.
pub(super) fn interval_of(at: Timestamp) -> i64 {
    at.as_micros() / (INTERVAL_S * 1_000_000)
}

/// Returns the minute of an interval, and its place in it.
pub(super) fn place_of(interval: i64) -> (i64, usize) {
    (interval.div_euclid(INTERVALS as i64), interval.rem_euclid(INTERVALS as i64) as usize)
}

impl Minute {
    /// Records an event in an interval.
    pub(super) fn record(&mut self, place: usize, event: &OrderEvent, elapsed: Option<Duration>) {
        let tenant = event.tenant_id.as_str();
        if !self.tenants.contains_key(tenant) {
            let name = if self.tenants.len() < MAX_TENANTS { tenant } else { OTHERS };
            self.tenants.entry(name.to_owned()).or_default();
        }
        let found = match self.tenants.get_mut(tenant) {
            Some(intervals) => Some(intervals),
            None => self.tenants.get_mut(OTHERS),
        };
        if let Some(interval) = found.and_then(|intervals| intervals.get_mut(place)) {
            interval.record(event, elapsed);
        }
    }

    /// Records the number of orders that can be started.
    pub(super) fn record_ready(&mut self, place: usize, ready: u32) {
        if let Some(interval) = self.ready.get_mut(place) {
            *interval = Some(ready);
        }
    }

    /// Adds what a caller may see of an interval to a sum.
    pub(super) fn add_to(&self, sum: &mut Interval, place: usize, principal: &Principal) {
        for (name, intervals) in &self.tenants {
            let is_seen = principal.all_tenants || *name == principal.tenant.as_str();
            if let Some(interval) = intervals.get(place).filter(|_| is_seen) {
                sum.merge(interval);
            }
        }
    }

    /// Returns whether events of a tenant may be among those of other tenants.
    pub(super) fn may_hide(&self, tenant: &TenantId) -> bool {
        self.tenants.contains_key(OTHERS) && !self.tenants.contains_key(tenant.as_str())
    }

    /// Returns the number of orders that could be started.
    pub(super) fn ready(&self, place: usize) -> Option<u32> {
        *self.ready.get(place)?
    }
}

#[cfg(test)]
mod tests {
    use domain::{OrderId, Status};

    use super::*;

    fn created(tenant: &str) -> OrderEvent {
        OrderEvent {
            order_id: OrderId::from_bytes([1; 16]),
            tenant_id: tenant.parse().unwrap(),
            sequence: 1,
            status: Status::Pending,
            previous_status: None,
            attempt: 0,
            reason: None,
            error_class: None,
            worker: None,
            occurred_at: Timestamp::from_micros(0),
        }
    }

    #[test]
    fn a_caller_sees_its_tenant() {
        let mut minute = Minute::default();
        minute.record(2, &created("shop"), None);
        minute.record(2, &created("other"), None);
        minute.record_ready(2, 7);
        let seen = |all_tenants| {
            let principal =
                Principal { tenant: "shop".parse().unwrap(), all_tenants, ..Principal::anonymous() };
            let mut sum = Interval::default();
            minute.add_to(&mut sum, 2, &principal);
            sum.accepted
        };
        assert_eq!((seen(false), seen(true)), (1, 2));
        assert_eq!((minute.ready(2), minute.ready(1)), (Some(7), None));
        let text = serde_json::to_string(&minute).unwrap();
        assert_eq!(serde_json::from_str::<Minute>(&text).unwrap(), minute);
    }

    #[test]
    fn tenants_are_limited() {
        let mut minute = Minute::default();
        for n in 0..MAX_TENANTS + 5 {
            minute.record(0, &created(&format!("shop-{n}")), None);
        }
        let mut sum = Interval::default();
        minute.add_to(&mut sum, 0, &Principal::anonymous());
        assert_eq!((sum.accepted, minute.tenants.len()), (MAX_TENANTS as u64 + 5, MAX_TENANTS + 1));
        assert!(minute.may_hide(&"shop-204".parse().unwrap()));
        assert!(!minute.may_hide(&"shop-1".parse().unwrap()));
        assert!(OTHERS.parse::<TenantId>().is_err());
        limits_page::row("tenants that the statistics of a minute separate", &MAX_TENANTS.to_string());
    }

    #[test]
    fn intervals_are_counted_from_1970() {
        let at = |seconds: i64| place_of(interval_of(Timestamp::from_micros(seconds * 1_000_000)));
        assert_eq!((at(0), at(59), at(60), at(75)), ((0, 0), (0, 5), (1, 0), (1, 1)));
    }
}
