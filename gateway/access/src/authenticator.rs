//! Authenticates the credential of a request: an API key or a token.

use std::borrow::Cow;
use std::sync::Arc;

use domain::{Principal, Quotas, Role, Scope, Scopes, Shares, TenantId, Timestamp};
use gateway_store::{ApiKey, Error as StoreError, Store};
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;

use crate::credential_cache::{CredentialCache, FRESH, FRESH_TOKEN, Verified};
use crate::jwt::{JwtConfig, TokenError, TokenVerifier, is_token};
use crate::key::{self, Key};
use crate::key_changes;
use crate::key_use::KeyUse;
use crate::quotas::QuotaRegistry;

/// Maximum length of a credential in bytes.
const MAX_CREDENTIAL: usize = 8 * 1024;

/// The reason for which a request is refused.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// There is no credential, or it is not valid.
    #[error("{0}")]
    Unauthenticated(Cow<'static, str>),
    /// The credential was valid until its end.
    #[error("the credential has expired")]
    Expired,
    /// The keys of the token issuer could not be read.
    #[error("the keys of the token issuer cannot be read at present")]
    IssuerUnavailable,
    /// The database does not say whether the credential is valid.
    #[error("the credential cannot be verified at present")]
    Unavailable(#[from] StoreError),
}

impl AuthError {
    const fn refused(reason: &'static str) -> Self {
        Self::Unauthenticated(Cow::Borrowed(reason))
    }
}

const NO_CREDENTIAL: &str =
    "the request has no credential: send the header Authorization: Bearer <API key or token>";
const NOT_BEARER: &str = "the header Authorization is not Bearer <API key or token>";
const TOO_LARGE: &str = "the credential is longer than 8192 bytes";
const NOT_VALID: &str = "the API key is not valid";
const SUSPENDED: &str = "the tenant of the API key is suspended: ask the operator to resume it";
const TOKEN_SUSPENDED: &str = "the tenant of the token is suspended: ask the operator to resume it";
const NO_TENANT: &str = "the tenant of the token does not exist: ask the operator to create it";
const NOT_A_KEY: &str = "API keys are not accepted: send a token (JWT)";
const NEITHER: &str = "the credential is neither an API key nor a token (JWT)";

/// The accepted credentials.
#[derive(Debug, Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// API keys.
    pub keys: bool,
    /// Tokens.
    pub jwt: Option<&'a JwtConfig>,
    /// A key that only this process knows. It is not stored, and permits the work of a processor and of a subscriber in the
    /// same process.
    pub local_worker: Option<&'a Key>,
}

/// Verifies credentials. Cheap to clone.
#[derive(Clone)]
pub struct Authenticator(Arc<Inner>);

struct Inner {
    store: Store,
    keys: Option<CredentialCache>,
    tokens: Option<(TokenVerifier, CredentialCache)>,
    used: KeyUse,
    quotas: QuotaRegistry,
    /// The hash of a key of this process, and its principal.
    local: Option<([u8; 32], Arc<Principal>)>,
}

/// The kind of a credential, by its form.
enum Kind<'a> {
    Key(Key, &'a CredentialCache),
    Token(&'a TokenVerifier, &'a CredentialCache),
}

impl Authenticator {
    /// Creates the authenticator of a gateway.
    ///
    /// `shares` is the number of gateways that share the limits of keys and tenants.
    pub fn new(store: Store, accepted: Credentials<'_>, shares: Shares) -> Self {
        let used = KeyUse::new(store.clone());
        let worker = Principal {
            name: Arc::from("local-worker"),
            scopes: Role::Worker.scopes().union(Scopes::of(&[Scope::EventsRead])),
            ..Principal::anonymous()
        };
        let local = accepted.local_worker.map(|key| (key.hash(), Arc::new(worker)));
        let keys = accepted.keys.then(|| CredentialCache::new(FRESH));
        let tokens = accepted.jwt.map(|jwt| (TokenVerifier::new(jwt), CredentialCache::new(FRESH_TOKEN)));
        let quotas = QuotaRegistry::new(shares);
        Self(Arc::new(Inner { store, keys, tokens, used, quotas, local }))
    }

    /// Authenticates a request by the value of its `Authorization` header.
    ///
    /// # Errors
    /// [`AuthError`].
    pub async fn authenticate(&self, authorization: Option<&[u8]>) -> Result<Arc<Principal>, AuthError> {
        if let Some(known) = self.cached(authorization) {
            return known;
        }
        let credential = credential(authorization)?;
        let hash = key::hash(credential.as_bytes());
        let verified = match self.kind(credential)? {
            Kind::Key(key, cache) => cache.get_or(&hash, self.verify_key(&key, &hash)).await?,
            Kind::Token(verifier, cache) => {
                cache.get_or(&hash, self.verify_token(verifier, credential)).await?
            }
        };
        self.decide(verified, credential)
    }

    /// Returns what is known of a credential without I/O. `None` if it has to be looked up.
    pub fn cached(&self, authorization: Option<&[u8]>) -> Option<Result<Arc<Principal>, AuthError>> {
        let credential = match credential(authorization) {
            Ok(credential) => credential,
            Err(error) => return Some(Err(error)),
        };
        let hash = key::hash(credential.as_bytes());
        if let Some((local, principal)) = &self.0.local
            && bool::from(local.ct_eq(&hash))
        {
            return Some(Ok(principal.clone()));
        }
        let cache = if key::has_prefix(credential) {
            self.0.keys.as_ref()
        } else {
            self.0.tokens.as_ref().map(|(_, cache)| cache)
        };
        match cache.and_then(|cache| cache.get(&hash)) {
            Some(verified) => Some(self.decide(verified, credential)),
            None => self.kind(credential).err().map(Err),
        }
    }

    /// Returns the kind of a credential.
    ///
    /// # Errors
    /// If it has the form of none that is accepted.
    fn kind(&self, credential: &str) -> Result<Kind<'_>, AuthError> {
        let is_key = key::has_prefix(credential);
        match (&self.0.keys, &self.0.tokens) {
            (Some(cache), _) if is_key => {
                let key = Key::parse(credential).map_err(|_| AuthError::refused(NOT_VALID))?;
                Ok(Kind::Key(key, cache))
            }
            (None, _) if is_key => Err(AuthError::refused(NOT_A_KEY)),
            (_, Some((verifier, cache))) if is_token(credential) => Ok(Kind::Token(verifier, cache)),
            (_, Some(_)) => Err(AuthError::refused(NEITHER)),
            (_, None) => Err(AuthError::refused(NOT_VALID)),
        }
    }

    fn decide(&self, verified: Verified, credential: &str) -> Result<Arc<Principal>, AuthError> {
        match verified {
            Verified::Refused(reason) => Err(AuthError::Unauthenticated(reason)),
            Verified::Principal(principal) if principal.is_expired(self.0.store.now()) => {
                Err(AuthError::Expired)
            }
            Verified::Principal(principal) => {
                if key::has_prefix(credential) {
                    self.0.used.note(key::id(credential));
                }
                Ok(principal)
            }
        }
    }

    /// Writes the uses of keys, follows changes of keys and tenants, and keeps the keys of the token issuer current, until
    /// `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let Inner { store, keys, tokens, used, .. } = &*self.0;
        let issuer = async {
            if let Some((verifier, _)) = tokens {
                verifier.run(&stop).await;
            }
        };
        let tokens = tokens.as_ref().map(|(_, cache)| cache);
        tokio::join!(
            used.run(&stop),
            key_changes::follow_keys(store, keys.as_ref(), &stop),
            key_changes::follow_tenants(store, tokens, &stop),
            key_changes::delete_ended(store, &stop),
            issuer
        );
    }

    async fn verify_key(&self, key: &Key, hash: &[u8; 32]) -> Result<Verified, AuthError> {
        let is_valid = |stored: &ApiKey| bool::from(stored.hash.ct_eq(hash)) && stored.revoked_at.is_none();
        let Some(stored) = self.0.store.api_key(key.id()).await?.filter(is_valid) else {
            return Ok(Verified::Refused(NOT_VALID.into()));
        };
        let tenant = match &stored.tenant {
            Some(tenant) => self.0.store.tenant(tenant).await?,
            None => None,
        };
        if tenant.as_ref().is_some_and(|tenant| tenant.suspended_at.is_some()) {
            return Ok(Verified::Refused(SUSPENDED.into()));
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

    /// Verifies a token and looks its tenant up. What can change within the time of the cache is an error.
    async fn verify_token(&self, verifier: &TokenVerifier, token: &str) -> Result<Verified, AuthError> {
        let principal = match verifier.verify(token, self.0.store.now()).await {
            Ok(principal) => principal,
            Err(TokenError::Refused(reason)) => return Ok(Verified::Refused(reason)),
            Err(TokenError::UnknownKey(reason)) => return Err(AuthError::refused(reason)),
            Err(TokenError::Expired) => return Err(AuthError::Expired),
            Err(TokenError::IssuerUnavailable) => return Err(AuthError::IssuerUnavailable),
        };
        if principal.all_tenants {
            return Ok(Verified::Principal(Arc::new(principal)));
        }
        Ok(match self.0.store.tenant(&principal.tenant).await? {
            None => Verified::Refused(NO_TENANT.into()),
            Some(tenant) if tenant.suspended_at.is_some() => Verified::Refused(TOKEN_SUSPENDED.into()),
            Some(tenant) => {
                let quotas = Quotas { key: None, tenant: self.0.quotas.of_tenant(&tenant) };
                Verified::Principal(Arc::new(Principal { quotas, ..principal }))
            }
        })
    }
}

/// Returns the credential of a header.
fn credential(authorization: Option<&[u8]>) -> Result<&str, AuthError> {
    let value = authorization.ok_or(AuthError::refused(NO_CREDENTIAL))?;
    let credential = bearer(value).ok_or(AuthError::refused(NOT_BEARER))?;
    if credential.len() > MAX_CREDENTIAL { Err(AuthError::refused(TOO_LARGE)) } else { Ok(credential) }
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

    #[test]
    fn the_length_of_credentials_is_limited() {
        assert!(TOO_LARGE.contains(&MAX_CREDENTIAL.to_string()));
        limits_page::row("credential: an API key or a token", &limits_page::bytes(MAX_CREDENTIAL));
        let longest = format!("Bearer {}", "x".repeat(MAX_CREDENTIAL));
        assert!(credential(Some(longest.as_bytes())).is_ok());
        let longer = format!("{longest}x");
        assert!(
            matches!(credential(Some(longer.as_bytes())), Err(AuthError::Unauthenticated(reason)) if reason == TOO_LARGE)
        );
    }
}
