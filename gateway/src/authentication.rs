//! The callers of a gateway: its settings, and the verdicts of credentials as problems.

use std::sync::Arc;
use std::time::Duration;

use domain::{ErrorCode, Shares};
use futures_util::future::BoxFuture;
use gateway_access::{AuthError, Authenticator, Credentials, JwtConfig, Key};
use gateway_http::auth::{Auth, Sessions, Verdict, Verifier};
use gateway_http::problem::Problem;
use gateway_service::{Error, InstallationKeys};
use gateway_store::Store;

/// Time after which a client tries again while the keys of the token issuer cannot be read.
const ISSUER_RETRY: Duration = Duration::from_secs(5);

/// The credentials that a gateway accepts, and the pages that need none.
#[derive(Debug, Clone)]
pub struct AccessConfig {
    /// Whether API keys are accepted. Without keys and tokens every caller may do everything.
    pub keys: bool,
    /// The accepted tokens. `None` for none.
    pub jwt: Option<JwtConfig>,
    /// Whether the reference, GraphiQL, Playground and reflection are served, to every client.
    pub developer_tools: bool,
    /// The key of a processor and a subscriber in the same process.
    pub local_worker: Option<Key>,
}

impl Default for AccessConfig {
    fn default() -> Self {
        Self { keys: false, jwt: None, developer_tools: true, local_worker: None }
    }
}

impl AccessConfig {
    /// Returns whether callers have to authenticate.
    pub fn is_required(&self) -> bool {
        self.keys || self.jwt.is_some()
    }
}

/// Returns what authenticates requests, and the authenticator whose task runs beside it.
///
/// `shares` is the number of gateways that share the limits of keys and tenants.
pub(crate) fn auth(
    config: &AccessConfig,
    store: &Store,
    shares: Shares,
    keys: &InstallationKeys,
) -> (Auth, Option<Authenticator>) {
    if !config.is_required() {
        return (Auth::off(), None);
    }
    let accepted = Credentials {
        keys: config.keys,
        jwt: config.jwt.as_ref(),
        local_worker: config.local_worker.as_ref(),
    };
    let authenticator = Authenticator::new(store.clone(), accepted, shares);
    let verifier = Arc::new(CredentialVerifier(authenticator.clone()));
    (Auth::required(verifier, Sessions::new(&keys.derive("session"))), Some(authenticator))
}

struct CredentialVerifier(Authenticator);

impl Verifier for CredentialVerifier {
    fn cached(&self, authorization: Option<&[u8]>) -> Option<Verdict> {
        self.0.cached(authorization).map(|verdict| verdict.map_err(problem))
    }

    fn verify<'a>(&'a self, authorization: Option<&'a [u8]>) -> BoxFuture<'a, Verdict> {
        Box::pin(async move { self.0.authenticate(authorization).await.map_err(problem) })
    }
}

fn problem(error: AuthError) -> Problem {
    match error {
        AuthError::Unauthenticated(_) => Problem::new(ErrorCode::Unauthenticated, error.to_string()),
        AuthError::Expired => Problem::new(ErrorCode::TokenExpired, error.to_string()),
        AuthError::IssuerUnavailable => {
            Problem::new(ErrorCode::TokenIssuerUnavailable, error.to_string()).retry_after(ISSUER_RETRY)
        }
        AuthError::Unavailable(cause) => {
            let error = Error::from(cause);
            let problem = Problem::new(error.code(), format!("the credential cannot be verified: {error}"));
            match error.retry_after() {
                Some(wait) => problem.retry_after(wait),
                None => problem,
            }
        }
    }
}
