//! The limits of a caller, and what it has used of them.
//!
//! A key and a tenant each have a [`Quota`]. All callers with the same key or tenant share it, so a request needs no
//! look-up. Gateways share a limit by their number: each applies its part.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::rate::{Cost, MAX_SHARES, Rate, RateLimiter, RateState};

/// Maximum value of a limit of open streams.
pub const MAX_STREAM_LIMIT: u32 = 1_000_000;

/// The limits of a key or of a tenant. `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Requests per second.
    pub rate_per_s: Option<u32>,
    /// Requests that may arrive at once; the rate without a value.
    pub burst: Option<u32>,
    /// Open streams.
    pub max_streams: Option<u32>,
    /// Orders that are not final, of a tenant.
    pub max_open: Option<u32>,
}

impl Limits {
    /// Returns whether nothing is limited.
    pub fn is_none(&self) -> bool {
        self.rate_per_s.is_none() && self.max_streams.is_none() && self.max_open.is_none()
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_none() {
            return f.write_str("no limits");
        }
        let rate = self.rate_per_s.map(|rate| format!("{rate}/s, burst {}", self.burst.unwrap_or(rate)));
        let streams = self.max_streams.map(|most| format!("streams {most}"));
        let open = self.max_open.map(|most| format!("open orders {most}"));
        f.write_str(&[rate, streams, open].into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

/// The number of gateways that share the limits: at least 1. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shares(Arc<AtomicU32>);

impl Default for Shares {
    fn default() -> Self {
        Self(Arc::new(AtomicU32::new(1)))
    }
}

impl Shares {
    /// Returns the number.
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets the number, within 1 and [`MAX_SHARES`].
    pub fn set(&self, gateways: usize) {
        let gateways = u32::try_from(gateways).unwrap_or(MAX_SHARES).clamp(1, MAX_SHARES);
        self.0.store(gateways, Ordering::Relaxed);
    }
}

/// The limits of a key or a tenant, and their use on this gateway.
#[derive(Debug)]
pub struct Quota {
    /// 0 is no limit.
    rate_per_s: AtomicU32,
    burst: AtomicU32,
    /// `u32::MAX` is no limit.
    max_streams: AtomicU32,
    /// `u32::MAX` is no limit.
    max_open: AtomicU32,
    limiter: RateLimiter,
    streams: AtomicU32,
    shares: Shares,
}

impl Quota {
    /// Creates the quota of a key or a tenant that has used nothing.
    pub fn new(limits: &Limits, shares: Shares, now: Instant) -> Self {
        let quota = Self {
            rate_per_s: AtomicU32::new(0),
            burst: AtomicU32::new(1),
            max_streams: AtomicU32::new(u32::MAX),
            max_open: AtomicU32::new(u32::MAX),
            limiter: RateLimiter::new(now),
            streams: AtomicU32::new(0),
            shares,
        };
        quota.set(limits);
        quota
    }

    /// Changes the limits and keeps their use.
    pub fn set(&self, limits: &Limits) {
        let rate = limits.rate_per_s.unwrap_or(0);
        self.rate_per_s.store(rate, Ordering::Relaxed);
        self.burst.store(limits.burst.unwrap_or(rate), Ordering::Relaxed);
        self.max_streams.store(limits.max_streams.unwrap_or(u32::MAX), Ordering::Relaxed);
        self.max_open.store(limits.max_open.unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Returns whether the quota is equal to a new one.
    pub fn is_unused(&self, now: Instant) -> bool {
        self.streams.load(Ordering::Relaxed) == 0 && self.limiter.is_complete(now)
    }

    fn rate(&self) -> Option<Rate> {
        match self.rate_per_s.load(Ordering::Relaxed) {
            0 => None,
            per_second => Some(Rate::new(per_second, self.burst.load(Ordering::Relaxed))),
        }
    }

    /// Returns the maximum number of streams on this gateway, if there is one.
    fn max_streams(&self) -> Option<u32> {
        let most = self.max_streams.load(Ordering::Relaxed);
        (most < u32::MAX).then(|| most.div_ceil(self.shares.get()))
    }

    fn check(&self, cost: Cost, now: Instant) -> Result<(), Duration> {
        self.rate().map_or(Ok(()), |rate| self.limiter.check(rate, cost, self.shares.get(), now))
    }

    fn charge(&self, cost: Cost, now: Instant) -> Result<(), Duration> {
        self.rate().map_or(Ok(()), |rate| self.limiter.charge(rate, cost, self.shares.get(), now))
    }

    /// Counts a stream until the drop of the result.
    fn open_stream(self: &Arc<Self>) -> Result<StreamPermit, u32> {
        let most = self.max_streams();
        let next = |open: u32| most.is_none_or(|most| open < most).then_some(open.saturating_add(1));
        match self.streams.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(_) => Ok(StreamPermit(self.clone())),
            Err(_) => Err(most.unwrap_or(u32::MAX)),
        }
    }
}

/// An open stream of a quota; the drop ends it.
#[derive(Debug)]
pub struct StreamPermit(Arc<Quota>);

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The owner of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitOwner {
    /// The API key of the caller.
    Key,
    /// The tenant of the caller.
    Tenant,
}

impl LimitOwner {
    /// Returns the name in headers and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Tenant => "tenant",
        }
    }
}

/// The rate of a key or a tenant is exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateExceeded {
    /// The owner of the rate.
    pub owner: LimitOwner,
    /// The time after which the request is admitted.
    pub wait: Duration,
}

/// A key or a tenant has its maximum number of open streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamsExceeded {
    /// The owner of the limit.
    pub owner: LimitOwner,
    /// The maximum on this gateway.
    pub max: u32,
}

/// The quotas of a caller. Cheap to clone; without limits every call returns at once.
#[derive(Debug, Clone, Default)]
pub struct Quotas {
    /// The quota of its key.
    pub key: Option<Arc<Quota>>,
    /// The quota of its tenant.
    pub tenant: Option<Arc<Quota>>,
}

/// Quotas are equal if they are shared.
impl PartialEq for Quotas {
    fn eq(&self, other: &Self) -> bool {
        let pointers =
            |quotas: &Self| [&quotas.key, &quotas.tenant].map(|quota| quota.as_ref().map(Arc::as_ptr));
        pointers(self) == pointers(other)
    }
}

impl Eq for Quotas {}

impl Quotas {
    fn owned(&self) -> impl Iterator<Item = (LimitOwner, &Arc<Quota>)> {
        let (key, tenant) = (self.key.as_ref(), self.tenant.as_ref());
        let key = key.map(|quota| (LimitOwner::Key, quota));
        key.into_iter().chain(tenant.map(|quota| (LimitOwner::Tenant, quota)))
    }

    /// Returns whether there is no limit.
    pub fn is_none(&self) -> bool {
        self.key.is_none() && self.tenant.is_none()
    }

    /// Admits a request of this cost to the rates of the key and of the tenant.
    ///
    /// # Errors
    /// [`RateExceeded`]. A refused request costs nothing, unless another request of the tenant is admitted at the same
    /// time.
    pub fn charge(&self, cost: impl Into<Cost>, now: Instant) -> Result<(), RateExceeded> {
        let cost = cost.into();
        let exceeded = |owner| move |wait| RateExceeded { owner, wait };
        for (owner, quota) in self.owned() {
            quota.check(cost, now).map_err(exceeded(owner))?;
        }
        self.owned().try_for_each(|(owner, quota)| quota.charge(cost, now).map_err(exceeded(owner)))
    }

    /// Returns the states of the rates.
    pub fn rates(&self, now: Instant) -> impl Iterator<Item = (LimitOwner, RateState)> {
        self.owned().filter_map(move |(owner, quota)| {
            quota.rate().map(|rate| (owner, quota.limiter.state(rate, quota.shares.get(), now)))
        })
    }

    /// Counts a stream of the key and of the tenant, until the drop of the permits.
    ///
    /// # Errors
    /// [`StreamsExceeded`].
    pub fn open_stream(&self) -> Result<Vec<StreamPermit>, StreamsExceeded> {
        let open = |(owner, quota): (_, &Arc<Quota>)| {
            quota.open_stream().map_err(|max| StreamsExceeded { owner, max })
        };
        self.owned().map(open).collect()
    }

    /// Returns the maximum number of orders of the tenant that are not final.
    pub fn max_open(&self) -> Option<u32> {
        let most = self.tenant.as_ref()?.max_open.load(Ordering::Relaxed);
        (most < u32::MAX).then_some(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(limits: Limits, shares: &Shares, now: Instant) -> Option<Arc<Quota>> {
        Some(Arc::new(Quota::new(&limits, shares.clone(), now)))
    }

    #[test]
    fn two_keys_share_the_rate_of_their_tenant() {
        let (now, shares) = (Instant::now(), Shares::default());
        let limited = |rate| Limits { rate_per_s: Some(rate), ..Limits::default() };
        let tenant = quota(limited(3), &shares, now);
        let [first, second] =
            [2, 2].map(|rate| Quotas { key: quota(limited(rate), &shares, now), tenant: tenant.clone() });
        assert_ne!(first, second);
        let owner = |quotas: &Quotas| quotas.charge(1, now).map_err(|exceeded| exceeded.owner);
        assert_eq!([owner(&first), owner(&first)], [Ok(()); 2]);
        assert_eq!(owner(&first), Err(LimitOwner::Key));
        assert_eq!(owner(&second), Ok(()));
        assert_eq!(owner(&second), Err(LimitOwner::Tenant));
        // The refusals cost the second key nothing.
        let remaining = |quotas: &Quotas| -> Vec<_> {
            quotas.rates(now).map(|(owner, state)| (owner, state.remaining)).collect()
        };
        assert_eq!(remaining(&second), [(LimitOwner::Key, 1), (LimitOwner::Tenant, 0)]);
        assert_eq!(Quotas::default().charge(u32::MAX, now), Ok(()));
    }

    #[test]
    fn changed_limits_keep_their_use() {
        let (now, shares) = (Instant::now(), Shares::default());
        let key = quota(Limits { rate_per_s: Some(2), ..Limits::default() }, &shares, now);
        let quotas = Quotas { key: key.clone(), tenant: None };
        quotas.charge(2, now).unwrap();
        assert!(quotas.charge(1, now).is_err());
        key.as_ref().unwrap().set(&Limits { rate_per_s: Some(2), burst: Some(3), ..Limits::default() });
        quotas.charge(1, now).unwrap();
        assert!(quotas.charge(1, now).is_err());
        key.unwrap().set(&Limits::default());
        quotas.charge(u32::MAX, now).unwrap();
        assert_eq!(quotas.rates(now).count(), 0);
    }

    #[test]
    fn streams_are_divided_among_gateways() {
        let (now, shares) = (Instant::now(), Shares::default());
        let limited = |most| Limits { max_streams: Some(most), ..Limits::default() };
        let quotas = Quotas { key: quota(limited(5), &shares, now), tenant: quota(limited(4), &shares, now) };
        shares.set(2);
        let open: Vec<_> = (0..2).map(|_| quotas.open_stream().unwrap()).collect();
        let exceeded = quotas.open_stream().unwrap_err();
        assert_eq!(exceeded, StreamsExceeded { owner: LimitOwner::Tenant, max: 2 });
        shares.set(1);
        // The refused stream did not stay counted for the key.
        let more: Vec<_> = (0..2).map(|_| quotas.open_stream().unwrap()).collect();
        assert!(quotas.open_stream().is_err() && !quotas.key.as_ref().unwrap().is_unused(now));
        drop((open, more));
        assert!(quotas.key.as_ref().unwrap().is_unused(now));
        assert_eq!(quotas.max_open(), None);
    }

    #[test]
    fn limits_are_shown_in_words() {
        let rate = Limits { rate_per_s: Some(5), ..Limits::default() };
        let all = Limits { burst: Some(9), max_streams: Some(2), max_open: Some(3), ..rate };
        let open = Limits { max_open: Some(1), ..Limits::default() };
        for (limits, shown) in [
            (Limits::default(), "no limits"),
            (rate, "5/s, burst 5"),
            (open, "open orders 1"),
            (all, "5/s, burst 9, streams 2, open orders 3"),
        ] {
            assert_eq!(limits.to_string(), shown);
        }
    }

    #[test]
    fn number_of_gateways_has_a_range() {
        let shares = Shares::default();
        for (gateways, expected) in [(0, 1), (3, 3), (usize::MAX, MAX_SHARES)] {
            shares.set(gateways);
            assert_eq!(shares.get(), expected);
        }
    }
}
