//! The callers of a gateway: its settings, and the verdicts of API keys as problems.

use std::sync::Arc;

use domain::{ErrorCode, Shares};
use futures_util::future::BoxFuture;
use gateway_access::{AuthError, Authenticator, Key};
use gateway_http::auth::{Auth, Verdict, Verifier};
use gateway_http::problem::Problem;
use gateway_service::Error;
use gateway_store::Store;

/// The credentials that a gateway accepts, and the pages that need none.
#[derive(Debug, Clone)]
pub struct AccessConfig {
    /// Whether callers authenticate with API keys. Otherwise every caller may do everything.
    pub keys: bool,
    /// Whether the reference, GraphiQL, Playground and reflection are served, to every client.
    pub developer_tools: bool,
    /// The key of a processor in the same process.
    pub local_worker: Option<Key>,
}

impl Default for AccessConfig {
    fn default() -> Self {
        Self { keys: false, developer_tools: true, local_worker: None }
    }
}

/// Returns what authenticates requests, and the verifier of keys whose task writes their use.
///
/// `shares` is the number of gateways that share the limits of keys and tenants.
pub(crate) fn auth(config: &AccessConfig, store: &Store, shares: Shares) -> (Auth, Option<Authenticator>) {
    if !config.keys {
        return (Auth::off(), None);
    }
    let authenticator = Authenticator::new(store.clone(), config.local_worker.as_ref(), shares);
    (Auth::required(Arc::new(KeyVerifier(authenticator.clone()))), Some(authenticator))
}

struct KeyVerifier(Authenticator);

impl Verifier for KeyVerifier {
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
