//! Verifies the tokens of an issuer: JWTs (RFC 7519, RFC 8725, RFC 9068).
//!
//! What needs no cryptography is checked first: the size, the header, who issued the token, for whom and until when. A
//! wrong token therefore costs little, and only tokens for this gateway lead to a read of the issuer's keys. The
//! signature is verified with a key of the issuer that is of the token's algorithm. Nothing in a token selects where
//! keys come from.
//!
//! It is written by hand over ring. `jsonwebtoken` needs a second cryptography library or a provider for the whole
//! process. It compares times with the local clock, not with that of the database.

mod algorithm;
mod claims;
mod error;
mod issuer_keys;
mod key_set;
mod key_source;
#[cfg(test)]
mod tests;
mod token;

use std::path::Path;
use std::sync::Arc;

use domain::{Principal, Timestamp};
use tls::ClientTls;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use self::algorithm::{Algorithm, InvalidAlgorithm};
use self::claims::Rules;
pub use self::claims::{Claim, InvalidClaim};
pub(crate) use self::error::TokenError;
use self::issuer_keys::{IssuerKeys, NoKey};
use self::key_set::KeySet;
use self::key_source::{FileSource, HttpLocation, HttpSource, KeySource};
pub use self::key_source::{InvalidUrl, KeyLocation, check_url};
use self::token::Token;
pub(crate) use self::token::is_token;

/// The tokens that a gateway accepts.
#[derive(Debug, Clone)]
pub struct JwtConfig {
    /// The claim `iss`.
    pub issuer: String,
    /// The accepted values of the claim `aud`.
    pub audiences: Vec<String>,
    /// The accepted algorithms.
    pub algorithms: Vec<Algorithm>,
    /// The claim with the tenant.
    pub tenant_claim: Claim,
    /// The claim with the scopes.
    pub scope_claim: Claim,
    /// Whether the tenant `*` is that of a caller for all tenants.
    pub all_tenants: bool,
    /// The location of the keys of the issuer.
    pub keys: KeyLocation,
    /// The trusted authorities of an https URL.
    pub tls: Option<Arc<ClientTls>>,
    /// Requests to read the keys again.
    pub reload: watch::Receiver<()>,
}

/// Verifies the tokens of an issuer.
pub(crate) struct TokenVerifier {
    rules: Rules,
    algorithms: Vec<Algorithm>,
    keys: IssuerKeys,
    reload: watch::Receiver<()>,
}

impl TokenVerifier {
    pub(crate) fn new(config: &JwtConfig) -> Self {
        let http =
            |location| -> Box<dyn KeySource> { Box::new(HttpSource { location, tls: config.tls.clone() }) };
        let source = match &config.keys {
            KeyLocation::File(file) => Box::new(FileSource(file.clone())),
            KeyLocation::Url(url) => http(HttpLocation::Keys(url.clone())),
            KeyLocation::Discovery { issuer, metadata } => {
                http(HttpLocation::Metadata { issuer: issuer.clone(), url: metadata.clone() })
            }
        };
        Self::with_source(config, source)
    }

    fn with_source(config: &JwtConfig, source: Box<dyn KeySource>) -> Self {
        Self {
            rules: Rules {
                issuer: config.issuer.clone(),
                audiences: config.audiences.clone(),
                tenant_claim: config.tenant_claim.clone(),
                scope_claim: config.scope_claim.clone(),
                all_tenants: config.all_tenants,
            },
            algorithms: config.algorithms.clone(),
            keys: IssuerKeys::new(source, config.algorithms.clone()),
            reload: config.reload.clone(),
        }
    }

    /// Keeps the keys of the issuer current until `stop`.
    pub(crate) async fn run(&self, stop: &CancellationToken) {
        self.keys.run(self.reload.clone(), stop).await;
    }

    /// Verifies a token, and returns its caller. The tenant may not exist.
    ///
    /// # Errors
    /// [`TokenError`].
    pub(crate) async fn verify(&self, token: &str, now: Timestamp) -> Result<Principal, TokenError> {
        let token = Token::read(token)?;
        let algorithm = self.algorithms.iter().copied().find(|accepted| accepted.as_str() == token.algorithm);
        let algorithm = algorithm.ok_or_else(|| self.wrong_algorithm())?;
        let end = self.rules.check(&token.claims, now)?;
        let key = self.keys.find(token.key_id.as_deref(), algorithm).await.map_err(|missing| match missing {
            NoKey::Unavailable => TokenError::IssuerUnavailable,
            NoKey::Unknown if token.key_id.is_none() => TokenError::UnknownKey(
                "the token names no key (kid), and the issuer does not have exactly one key of its algorithm",
            ),
            NoKey::Unknown => TokenError::UnknownKey("the issuer has no key with the id (kid) and the algorithm of the token"),
        })?;
        if !key.verify(token.signed, &token.signature) {
            return Err(TokenError::refused("the signature of the token is not valid"));
        }
        self.rules.principal(&token.claims, end)
    }

    fn wrong_algorithm(&self) -> TokenError {
        let accepted: Vec<&str> = self.algorithms.iter().map(|algorithm| algorithm.as_str()).collect();
        TokenError::refused(format!("the algorithm of the token (alg) is not one of {}", accepted.join(", ")))
    }
}

/// Checks a file of keys, before a gateway starts with it.
///
/// # Errors
/// The problem, as the end of a sentence about the file.
pub fn check_key_file(file: &Path, algorithms: &[Algorithm]) -> Result<(), String> {
    let content = key_source::read_file(file).map_err(|error| error.to_string())?;
    let keys = KeySet::parse(&content, algorithms).map_err(|error| error.to_string())?;
    if keys.len() == 0 {
        return Err("it has no key that can verify an accepted algorithm".to_owned());
    }
    Ok(())
}
