//! Authenticates the credential of a request.

use std::sync::Arc;

use domain::{MissingScope, Principal, TenantId, Timestamp};
use gateway_store::{Error as StoreError, Store};
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;

use crate::key::Key;
use crate::key_cache::{KeyCache, Verified};
use crate::key_use::KeyUse;

/// Which credentials a gateway accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuthMode {
    /// None: every caller may do everything.
    #[default]
    Off,
    /// API keys.
    Keys,
}

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// There is no credential, or it is not valid.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The credential was valid until its end.
    #[error("the credential has expired")]
    Expired,
    /// The credential does not permit the request.
    #[error("{0}")]
    Forbidden(#[from] MissingScope),
    /// The database does not say whether the credential is valid.
    #[error("the credential cannot be verified at present")]
    Unavailable(#[from] StoreError),
}

const NO_CREDENTIAL: &str = "the request has no credential: send the header Authorization: Bearer <API key>";
const NOT_BEARER: &str = "the header Authorization is not Bearer <API key>";
const NOT_VALID: &str = "the API key is not valid";

/// Verifies credentials. Cheap to clone.
#[derive(Clone)]
pub struct Authenticator(Arc<Inner>);

struct Inner {
    mode: AuthMode,
    store: Store,
    keys: KeyCache,
    used: KeyUse,
    anonymous: Arc<Principal>,
}

impl Authenticator {
    /// Creates the authenticator of a gateway.
    pub fn new(mode: AuthMode, store: Store) -> Self {
        let used = KeyUse::new(store.clone());
        let anonymous = Arc::new(Principal::anonymous());
        Self(Arc::new(Inner { mode, store, keys: KeyCache::default(), used, anonymous }))
    }

    /// Returns whether callers have to authenticate.
    pub fn is_required(&self) -> bool {
        self.0.mode != AuthMode::Off
    }

    /// Authenticates a request by the value of its `Authorization` header.
    ///
    /// # Errors
    /// [`AuthError`].
    pub async fn authenticate(&self, authorization: Option<&[u8]>) -> Result<Arc<Principal>, AuthError> {
        if !self.is_required() {
            return Ok(self.0.anonymous.clone());
        }
        let value = authorization.ok_or(AuthError::Unauthenticated(NO_CREDENTIAL))?;
        self.bearer(bearer(value).ok_or(AuthError::Unauthenticated(NOT_BEARER))?).await
    }

    /// Authenticates a token without the name of its scheme.
    ///
    /// # Errors
    /// [`AuthError`].
    pub async fn bearer(&self, token: &str) -> Result<Arc<Principal>, AuthError> {
        let key = Key::parse(token).map_err(|_| AuthError::Unauthenticated(NOT_VALID))?;
        let hash = key.hash();
        let verified = match self.0.keys.get(&hash) {
            Some(verified) => verified,
            None => self.0.keys.get_or(&hash, self.verify(&key, &hash)).await?,
        };
        match verified {
            Verified::Unknown => Err(AuthError::Unauthenticated(NOT_VALID)),
            Verified::Principal(principal) if principal.is_expired(self.0.store.now()) => {
                Err(AuthError::Expired)
            }
            Verified::Principal(principal) => {
                self.0.used.note(key.id());
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
        let stored = self.0.store.api_key(key.id()).await?;
        Ok(match stored {
            Some(stored) if bool::from(stored.hash.ct_eq(hash)) && stored.revoked_at.is_none() => {
                Verified::Principal(Arc::new(Principal {
                    name: Arc::from(format!("key:{}", stored.id)),
                    all_tenants: stored.tenant.is_none(),
                    tenant: stored.tenant.unwrap_or_else(TenantId::default),
                    scopes: stored.scopes,
                    expires_at: Some(stored.expires_at).filter(|end| *end < Timestamp::from_micros(i64::MAX)),
                }))
            }
            _ => Verified::Unknown,
        })
    }
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
