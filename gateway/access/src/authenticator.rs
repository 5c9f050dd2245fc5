//! Authenticates the credential of a request.

use std::sync::Arc;

use domain::{Principal, Quotas, Role, Shares, TenantId, Timestamp};
use gateway_store::{ApiKey, Error as StoreError, Store};
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;

use crate::key::{self, Key};
use crate::key_cache::{KeyCache, Verified};
use crate::key_use::KeyUse;
use crate::quotas::QuotaRegistry;

/// The reason for which a request is refused.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// There is no credential, or it is not valid.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The credential was valid until its end.
    #[error("the credential has expired")]
    Expired,
    /// The database does not say whether the credential is valid.
    #[error("the credential cannot be verified at present")]
    Unavailable(#[from] StoreError),
}

const NO_CREDENTIAL: &str = "the request has no credential: send the header Authorization: Bearer <API key>";
const NOT_BEARER: &str = "the header Authorization is not Bearer <API key>";
const NOT_VALID: &str = "the API key is not valid";
const SUSPENDED: &str = "the tenant of the API key is suspended: ask the operator to resume it";

/// Verifies credentials. Cheap to clone.
#[derive(Clone)]
pub struct Authenticator(Arc<Inner>);

struct Inner {
    store: Store,
    keys: KeyCache,
    used: KeyUse,
    quotas: QuotaRegistry,
    /// The hash of a key of this process, and its principal.
    local: Option<([u8; 32], Arc<Principal>)>,
}

impl Authenticator {
    /// Creates the authenticator of a gateway.
    ///
    /// `local_worker` is a key that only this process knows. It is not stored, and permits the work of a processor in the
    /// same process. `shares` is the number of gateways that share the limits of keys and tenants.
    pub fn new(store: Store, local_worker: Option<&Key>, shares: Shares) -> Self {
        let used = KeyUse::new(store.clone());
        let worker = Principal {
            name: Arc::from("local-worker"),
            scopes: Role::Worker.scopes(),
            ..Principal::anonymous()
        };
        let local = local_worker.map(|key| (key.hash(), Arc::new(worker)));
        let quotas = QuotaRegistry::new(shares);
        Self(Arc::new(Inner { store, keys: KeyCache::default(), used, quotas, local }))
    }

    /// Authenticates a request by the value of its `Authorization` header.
    ///
    /// # Errors
    /// [`AuthError`].
    pub async fn authenticate(&self, authorization: Option<&[u8]>) -> Result<Arc<Principal>, AuthError> {
        if let Some(known) = self.cached(authorization) {
            return known;
        }
        let token = token(authorization)?;
        let key = Key::parse(token).map_err(|_| AuthError::Unauthenticated(NOT_VALID))?;
        let hash = key.hash();
        let verified = self.0.keys.get_or(&hash, self.verify(&key, &hash)).await?;
        self.decide(verified, token)
    }

    /// Returns what is known of a credential without I/O and allocation. `None` if it has to be looked up.
    pub fn cached(&self, authorization: Option<&[u8]>) -> Option<Result<Arc<Principal>, AuthError>> {
        let token = match token(authorization) {
            Ok(token) => token,
            Err(error) => return Some(Err(error)),
        };
        let hash = key::hash(token.as_bytes());
        if let Some((local, principal)) = &self.0.local
            && bool::from(local.ct_eq(&hash))
        {
            return Some(Ok(principal.clone()));
        }
        match self.0.keys.get(&hash) {
            Some(verified) => Some(self.decide(verified, token)),
            None if Key::parse(token).is_err() => Some(Err(AuthError::Unauthenticated(NOT_VALID))),
            None => None,
        }
    }

    fn decide(&self, verified: Verified, token: &str) -> Result<Arc<Principal>, AuthError> {
        match verified {
            Verified::Unknown => Err(AuthError::Unauthenticated(NOT_VALID)),
            Verified::Suspended => Err(AuthError::Unauthenticated(SUSPENDED)),
            Verified::Principal(principal) if principal.is_expired(self.0.store.now()) => {
                Err(AuthError::Expired)
            }
            Verified::Principal(principal) => {
                self.0.used.note(key::id(token));
                Ok(principal)
            }
        }
    }

    /// Forgets what is known of a key, so that its revocation takes effect.
    pub fn forget(&self, hash: &[u8; 32]) {
        self.0.keys.forget(hash);
    }

    /// Writes the uses of keys until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        self.0.used.run(stop).await;
    }

    async fn verify(&self, key: &Key, hash: &[u8; 32]) -> Result<Verified, AuthError> {
        let is_valid = |stored: &ApiKey| bool::from(stored.hash.ct_eq(hash)) && stored.revoked_at.is_none();
        let Some(stored) = self.0.store.api_key(key.id()).await?.filter(is_valid) else {
            return Ok(Verified::Unknown);
        };
        let tenant = match &stored.tenant {
            Some(tenant) => self.0.store.tenant(tenant).await?,
            None => None,
        };
        if tenant.as_ref().is_some_and(|tenant| tenant.suspended_at.is_some()) {
            return Ok(Verified::Suspended);
        }
        Ok(Verified::Principal(Arc::new(Principal {
            name: Arc::from(format!("key:{}", stored.id)),
            quotas: Quotas {
                key: self.0.quotas.of_key(&stored),
                tenant: tenant.as_ref().and_then(|tenant| self.0.quotas.of_tenant(tenant)),
            },
            all_tenants: stored.tenant.is_none(),
            tenant: stored.tenant.unwrap_or_else(TenantId::default),
            scopes: stored.scopes,
            expires_at: Some(stored.expires_at).filter(|end| *end < Timestamp::from_micros(i64::MAX)),
        })))
    }
}

fn token(authorization: Option<&[u8]>) -> Result<&str, AuthError> {
    let value = authorization.ok_or(AuthError::Unauthenticated(NO_CREDENTIAL))?;
    bearer(value).ok_or(AuthError::Unauthenticated(NOT_BEARER))
}

/// Returns the token of `Bearer <token>`. The scheme is case-insensitive (RFC 9110).
fn bearer(value: &[u8]) -> Option<&str> {
    let value = std::str::from_utf8(value).ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_tokens_are_read_from_the_header() {
        assert_eq!(bearer(b"Bearer abc"), Some("abc"));
        assert_eq!(bearer(b"bearer  abc "), Some("abc"));
        for wrong in [&b"abc"[..], b"Basic abc", b"Bearer ", b"Bearer", b"Bearer \xff", b""] {
            assert_eq!(bearer(wrong), None);
        }
    }
}
