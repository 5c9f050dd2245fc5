//! Tracking links: each lets a customer follow one order, until the end of the link.
//!
//! A token has the form `v1.<end>.<signature>`: the end in seconds since 1970, and 128 bits of an HMAC over the order, its
//! tenant, the end and the version of the tenant's links. No link is stored. An increase of the version revokes all links
//! of the tenant. The secret belongs to the installation, so that each gateway accepts the links of the others.
//!
//! A token is no credential of [`crate::Authenticator`]: only the routes that call [`TrackingLinks::verify`] accept it.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use domain::{MissingScope, OrderId, Principal, Quotas, Scope, Scopes, TenantId, Timestamp};
use gateway_store::{Error as StoreError, Store, TrackedTenant};
use hmac::{Hmac, Mac};
use quick_cache::sync::Cache;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use crate::manage;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Lifetime of a link without one in its request.
pub const LINK_TTL: Duration = DAY.saturating_mul(30);
/// Maximum lifetime of a link.
pub const MAX_LINK_TTL: Duration = DAY.saturating_mul(400);
/// Time between two checks of the link of an open stream.
const RECHECK: Duration = Duration::from_secs(1);
/// Time for which the streams of a tenant share what was read of it.
const FRESH: Duration = Duration::from_millis(500);
/// Maximum number of tenants that are remembered for [`FRESH`].
const TENANTS: usize = 1_000;
/// Maximum length of a token, in bytes: the version, an end of 20 digits and the signature.
const MAX_TOKEN: usize = 48;
/// Length of a signature, in bytes.
const SIGNATURE_LEN: usize = 16;
const VERSION: &str = "v1";

/// A new link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackingLink {
    /// The order.
    pub order: OrderId,
    /// The token.
    pub token: String,
    /// The end of the link.
    pub expires_at: Timestamp,
}

impl TrackingLink {
    /// Returns the path of the tracking page with the token in the fragment, which browsers do not send.
    pub fn url(&self) -> String {
        format!("/track/{}#t={}", self.order, self.token)
    }
}

/// The reason for which a link is not created or links are not revoked.
#[derive(Debug, thiserror::Error)]
pub enum TrackingError {
    /// The caller lacks the scope.
    #[error(transparent)]
    Forbidden(#[from] MissingScope),
    /// The lifetime is zero or too long.
    #[error("a tracking link is valid for 1s to 400d")]
    Ttl,
    /// The order does not exist, or is not the caller's.
    #[error("order {0} not found")]
    NotFound(OrderId),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The reason for which a token is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum InvalidLink {
    /// It is malformed, forged, expired, revoked, or of another order. The caller does not learn which.
    #[error(
        "the tracking link is not valid: it has expired, was revoked or is incomplete; ask for a new one"
    )]
    Refused,
    /// The database does not say whether it is valid.
    #[error("the tracking link cannot be verified at present")]
    Unavailable(#[from] StoreError),
}

/// An accepted link.
#[derive(Debug, Clone)]
pub struct Visit {
    /// Reads the orders of the tenant. The caller of [`TrackingLinks::verify`] reads the order of the link only.
    pub principal: Arc<Principal>,
    version: u32,
    end: Timestamp,
}

/// Creates and verifies tracking links. Cheap to clone.
#[derive(Clone)]
pub struct TrackingLinks(Arc<Inner>);

struct Inner {
    store: Store,
    key: Hmac<Sha256>,
    tenants: Cache<TenantId, (Option<TrackedTenant>, Instant)>,
}

impl TrackingLinks {
    /// Creates the links of an installation from a secret of its gateways.
    pub fn new(store: Store, secret: &[u8; 32]) -> Self {
        let key = Hmac::new_from_slice(secret).expect("HMAC takes keys of every length");
        Self(Arc::new(Inner { store, key, tenants: Cache::new(TENANTS) }))
    }

    /// Creates a link to an order.
    ///
    /// # Errors
    /// [`TrackingError`].
    pub async fn create(
        &self,
        caller: &Principal,
        order: OrderId,
        ttl: Duration,
    ) -> Result<TrackingLink, TrackingError> {
        caller.require(Scope::OrdersWrite)?;
        if ttl < Duration::from_secs(1) || ttl > MAX_LINK_TTL {
            return Err(TrackingError::Ttl);
        }
        let tenant = self.0.store.tracked_tenant_of_order(order).await?;
        let tenant = tenant.filter(|tenant| caller.covers(&tenant.id));
        let tenant = tenant.ok_or(TrackingError::NotFound(order))?;
        let end = seconds(self.0.store.now() + ttl);
        let token = sign(&self.0.key, order, tenant.id.as_str(), tenant.version, end);
        Ok(TrackingLink { order, token, expires_at: time(end) })
    }

    /// Verifies the token of a link to an order.
    ///
    /// The work does not depend on whether the order exists.
    ///
    /// # Errors
    /// [`InvalidLink`].
    pub async fn verify(&self, order: OrderId, token: &[u8]) -> Result<Visit, InvalidLink> {
        let end = end(token).filter(|end| time(*end) > self.0.store.now()).ok_or(InvalidLink::Refused)?;
        let found = self.0.store.tracked_tenant_of_order(order).await?;
        let (tenant, version) = match &found {
            Some(tenant) => (tenant.id.as_str(), tenant.version),
            None => ("", 0),
        };
        let expected = sign(&self.0.key, order, tenant, version, end);
        let is_signed = bool::from(expected.as_bytes().ct_eq(token));
        let tenant = found.filter(|tenant| is_signed && !tenant.is_suspended).ok_or(InvalidLink::Refused)?;
        let principal = Principal {
            name: Arc::from("tracking-link"),
            tenant: tenant.id,
            all_tenants: false,
            scopes: Scopes::of(&[Scope::OrdersRead]),
            expires_at: Some(time(end)),
            // Customers do not use up the limits of their shop. Those of addresses and of the gateway apply.
            quotas: Quotas::default(),
        };
        Ok(Visit { principal: Arc::new(principal), version: tenant.version, end: time(end) })
    }

    /// Waits until an accepted link has expired or was revoked. While the database is not available, it stays valid.
    pub async fn until_ended(self, visit: Visit) {
        loop {
            let rest = visit.end.since(self.0.store.now());
            if rest.is_zero() {
                return;
            }
            tokio::time::sleep(rest.min(RECHECK)).await;
            match self.tenant(&visit.principal.tenant).await {
                Ok(Some(tenant)) if tenant.version == visit.version && !tenant.is_suspended => {}
                Ok(_) => return,
                Err(error) => tracing::debug!(%error, "failed to check a tracking link, retrying"),
            }
        }
    }

    /// Revokes all links of the tenant of a caller, and returns the tenant.
    ///
    /// # Errors
    /// [`TrackingError`].
    pub async fn revoke(
        &self,
        caller: &Principal,
        request_id: Option<String>,
    ) -> Result<TenantId, TrackingError> {
        caller.require(Scope::OrdersManage)?;
        // The tenant of a caller exists.
        self.0.store.revoke_tracking_links(&caller.tenant, &manage::actor(caller, request_id)).await?;
        Ok(caller.tenant.clone())
    }

    /// Returns a tenant, which one of the concurrent streams reads for all.
    async fn tenant(&self, id: &TenantId) -> Result<Option<TrackedTenant>, StoreError> {
        self.0.tenants.remove_if(id, |(_, until)| *until <= Instant::now());
        match self.0.tenants.get_value_or_guard_async(id).await {
            Ok((tenant, _)) => Ok(tenant),
            Err(guard) => {
                let tenant = self.0.store.tracked_tenant(id).await?;
                // An entry that was removed meanwhile stays removed.
                let _ = guard.insert((tenant.clone(), Instant::now() + FRESH));
                Ok(tenant)
            }
        }
    }
}

/// Returns the token of a link.
fn sign(key: &Hmac<Sha256>, order: OrderId, tenant: &str, version: u32, end: i64) -> String {
    let mut mac = key.clone();
    // Every part but the last has a fixed length.
    for part in [VERSION.as_bytes(), order.as_bytes(), &end.to_be_bytes(), &version.to_be_bytes()] {
        mac.update(part);
    }
    mac.update(tenant.as_bytes());
    let signature = BASE64_URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..SIGNATURE_LEN]);
    format!("{VERSION}.{end}.{signature}")
}

/// Returns the end that a token claims.
fn end(token: &[u8]) -> Option<i64> {
    let token = std::str::from_utf8(token).ok().filter(|token| token.len() <= MAX_TOKEN)?;
    let (version, rest) = token.split_once('.')?;
    let (end, _) = rest.split_once('.')?;
    // The whole token is compared, so other spellings of the number are refused.
    end.parse().ok().filter(|_| version == VERSION)
}

fn seconds(time: Timestamp) -> i64 {
    time.as_micros() / 1_000_000
}

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds.saturating_mul(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(tenant: &str, order: u8, version: u32, end: i64) -> String {
        let key = Hmac::new_from_slice(&[7; 32]).unwrap();
        sign(&key, OrderId::from_bytes([order; 16]), tenant, version, end)
    }

    #[test]
    fn a_token_depends_on_every_part() {
        let first = token("shop", 1, 1, 2_000_000_000);
        assert_eq!(first.len(), "v1.2000000000.".len() + 22);
        assert_eq!(end(first.as_bytes()), Some(2_000_000_000));
        let signature = |token: &str| token.rsplit('.').next().unwrap().to_owned();
        for other in [
            token("shoe", 1, 1, 2_000_000_000),
            token("shop", 2, 1, 2_000_000_000),
            token("shop", 1, 2, 2_000_000_000),
            token("shop", 1, 1, 2_000_000_001),
        ] {
            assert_ne!(signature(&first), signature(&other));
        }
    }

    #[test]
    fn malformed_tokens_have_no_end() {
        let long = format!("v1.{}.x", "1".repeat(MAX_TOKEN));
        for wrong in ["", "v1", "v1.5", "v2.5.x", "v1.x.y", "v1..x", "v1.99999999999999999999.x", &long] {
            assert_eq!(end(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(end(b"v1.5.\xff"), None);
        assert!(token("shop", 1, u32::MAX, i64::MAX).len() <= MAX_TOKEN);
        assert_eq!(time(i64::MAX), Timestamp::from_micros(i64::MAX), "an end of any size is a time");
    }

    #[test]
    fn the_limits_are_documented() {
        let days = |ttl: Duration| format!("{} d", ttl.as_secs() / DAY.as_secs());
        limits_page::row(
            "lifetime of a tracking link",
            &format!("{}, at most {}", days(LINK_TTL), days(MAX_LINK_TTL)),
        );
        limits_page::row(
            "time until the end of a tracking link ends its open streams",
            &format!("{} ms", (RECHECK + FRESH).as_millis()),
        );
        limits_page::row("token of a tracking link", &limits_page::bytes(MAX_TOKEN));
        limits_page::row("cached states of tenants for tracking links", &limits_page::count(TENANTS));
    }
}
