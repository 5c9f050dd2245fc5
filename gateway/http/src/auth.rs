//! Authenticates requests by their `Authorization` header, or by the cookie of a session.
//!
//! A credential that was verified lately costs no wait and no allocation besides the extension of the request. Any other
//! one is looked up. Failures are limited for each address, so that guessing does not reach the database.

pub(crate) mod certificate;
mod credential_body;
mod failures;
mod gate;
mod method;
mod session;

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use domain::{ErrorCode, Principal, Scope, Timestamp};
use futures_util::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::{Extensions, HeaderMap, HeaderValue};
use tls::ClientIdentity;

pub(crate) use self::credential_body::end_stream;
use self::failures::FailureLimiter;
pub(crate) use self::gate::Admission;
pub use self::gate::Gate;
pub use self::method::Method;
use self::method::OutcomesByMethod;
use self::session::InvalidSession;
pub use self::session::{MAX_SESSION_CREDENTIAL, SESSION_TTL, Sessions, clear_cookies};
use super::problem::Problem;

/// Verifies the values of `Authorization` headers.
pub trait Verifier: Send + Sync {
    /// Returns what is known of a credential without I/O. `None` if it has to be looked up.
    fn cached(&self, authorization: Option<&[u8]>) -> Option<Verdict>;

    /// Looks a credential up.
    fn verify<'a>(&'a self, authorization: Option<&'a [u8]>) -> BoxFuture<'a, Verdict>;
}

/// The time between two checks of the credential of an open stream.
const RECHECK: Duration = Duration::from_secs(1);

/// The caller, or the error of its request.
pub type Verdict = Result<Arc<Principal>, Problem>;

/// The credential of a request, which its open stream needs until its end.
#[derive(Debug, Clone)]
pub enum Credential {
    /// The value of the header, or none without authentication.
    Authorization(Option<HeaderValue>),
    /// The client certificate of the connection.
    Certificate(ClientIdentity),
}

impl Credential {
    /// Returns the credential of a request.
    pub fn of(headers: &HeaderMap, extensions: &Extensions) -> Self {
        match certificate::only_credential(headers, extensions) {
            Some(identity) => Self::Certificate(identity.clone()),
            None => Self::Authorization(headers.get(AUTHORIZATION).cloned()),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Credential {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers, &parts.extensions))
    }
}

/// Decides who makes a request. Cheap to clone.
#[derive(Clone)]
pub struct Auth(Arc<Inner>);

struct Inner {
    anonymous: Arc<Principal>,
    required: Option<Required>,
}

struct Required {
    verifier: Arc<dyn Verifier>,
    sessions: Sessions,
    failures: FailureLimiter,
    outcomes: OutcomesByMethod,
}

impl Auth {
    /// Accepts every request: the caller may do everything.
    pub fn off() -> Self {
        Self(Arc::new(Inner { anonymous: Arc::new(Principal::anonymous()), required: None }))
    }

    /// Requires a credential that `verifier` accepts, or a session with one.
    pub fn required(verifier: Arc<dyn Verifier>, sessions: Sessions) -> Self {
        Self(Arc::new(Inner {
            anonymous: Arc::new(Principal::anonymous()),
            required: Some(Required {
                verifier,
                sessions,
                failures: FailureLimiter::default(),
                outcomes: OutcomesByMethod::new(),
            }),
        }))
    }

    /// Returns whether callers have to authenticate.
    pub fn is_required(&self) -> bool {
        self.0.required.is_some()
    }

    /// Authenticates a credential.
    ///
    /// # Errors
    /// A problem with the code `unauthenticated`, `token_expired`, `rate_limited` or one of the database.
    pub async fn authenticate(&self, authorization: Option<&[u8]>, client: Option<IpAddr>) -> Verdict {
        match self.cached(authorization, client) {
            Some(verdict) => verdict,
            None => self.verify(authorization, client).await,
        }
    }

    /// Authenticates a request by its headers.
    ///
    /// # Errors
    /// As [`Self::authenticate`].
    pub async fn authenticate_headers(&self, headers: &HeaderMap, client: Option<IpAddr>) -> Verdict {
        self.authenticate(headers.get(AUTHORIZATION).map(|value| value.as_bytes()), client).await
    }

    /// Waits until the credential of a request is no longer valid, and returns the error for its open stream.
    ///
    /// As [`Self::until_refused`].
    pub async fn until_ended(self, credential: Credential) -> Problem {
        match credential {
            Credential::Authorization(value) => {
                self.until_refused(value.map(|value| value.as_bytes().to_vec())).await
            }
            Credential::Certificate(identity) if self.is_required() => {
                certificate::until_expired(identity).await
            }
            Credential::Certificate(_) => std::future::pending().await,
        }
    }

    /// Waits until a credential that was accepted is no longer valid, and returns the error for its open streams.
    ///
    /// A credential that cannot be verified at present stays valid. Without authentication the wait has no end.
    pub async fn until_refused(self, authorization: Option<Vec<u8>>) -> Problem {
        let Some(required) = &self.0.required else { return std::future::pending().await };
        loop {
            tokio::time::sleep(RECHECK).await;
            let verdict = match required.cached(authorization.as_deref()) {
                Some(verdict) => verdict,
                None => required.verify(authorization.as_deref()).await,
            };
            if let Err(problem) = verdict
                && is_failure(problem.code())
            {
                return Problem::new(ErrorCode::TokenExpired, "the credential has expired or was revoked");
            }
        }
    }

    /// Returns the verdict about a request whose only credential is a client certificate.
    ///
    /// `None` for other requests, and without authentication.
    pub fn of_certificate(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
        client: Option<IpAddr>,
    ) -> Option<Verdict> {
        let required = self.0.required.as_ref()?;
        let identity = certificate::only_credential(headers, extensions)?;
        Some(required.count(Method::Certificate, certificate::worker(identity), client))
    }

    /// Returns the verdict if it needs no look-up.
    pub fn cached(&self, authorization: Option<&[u8]>, client: Option<IpAddr>) -> Option<Verdict> {
        let Some(required) = &self.0.required else { return Some(Ok(self.0.anonymous.clone())) };
        let verdict = required.cached(authorization)?;
        Some(required.count(Method::of(authorization), verdict, client))
    }

    /// Looks a credential up, unless too many of this address failed.
    ///
    /// # Errors
    /// As [`Self::authenticate`].
    pub async fn verify(&self, authorization: Option<&[u8]>, client: Option<IpAddr>) -> Verdict {
        let Some(required) = &self.0.required else { return Ok(self.0.anonymous.clone()) };
        self.limited(Method::of(authorization), client, required.verify(authorization)).await
    }

    /// Limits and counts the failures of a credential of any kind that `verify` looks up.
    ///
    /// # Errors
    /// That of `verify`, or `rate_limited` if too many credentials of this address failed.
    pub async fn limited<T>(
        &self,
        method: Method,
        client: Option<IpAddr>,
        verify: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let Some(required) = &self.0.required else { return verify.await };
        if required.failures.is_exhausted(client) {
            required.outcomes.of(method).limited.increment(1);
            return Err(failures::rate_limited());
        }
        required.count(method, verify.await, client)
    }

    /// Returns the cookie of a new session with a credential, and the end of the session.
    ///
    /// `None` without authentication, and for a credential that is too long for a cookie.
    pub fn begin_session(&self, credential: &str, is_secure: bool) -> Option<(HeaderValue, Timestamp)> {
        let end = now() + SESSION_TTL;
        let value = self.0.required.as_ref()?.sessions.seal(credential, end)?;
        Some((session::set_cookie(&value, is_secure)?, end))
    }

    /// Returns the end of the session of a request.
    pub fn session_end(&self, headers: &HeaderMap) -> Option<Timestamp> {
        let value = session::of_header(headers.get(AUTHORIZATION)?.as_bytes())?;
        self.0.required.as_ref()?.sessions.open(value, now()).ok().map(|(_, end)| end)
    }

    /// Replaces a missing header `Authorization` by the session in the cookies.
    pub(crate) fn read_cookie(&self, headers: &mut HeaderMap) {
        if self.is_required()
            && !headers.contains_key(AUTHORIZATION)
            && let Some(session) = session::from_cookies(headers)
        {
            headers.insert(AUTHORIZATION, session);
        }
    }
}

/// Returns the time for the ends of sessions.
fn now() -> Timestamp {
    let micros = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros());
    Timestamp::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}

impl Required {
    fn cached(&self, authorization: Option<&[u8]>) -> Option<Verdict> {
        match self.without_session(authorization) {
            Ok(authorization) => self.verifier.cached(authorization.as_deref()),
            Err(problem) => Some(Err(problem)),
        }
    }

    async fn verify(&self, authorization: Option<&[u8]>) -> Verdict {
        let authorization = self.without_session(authorization)?;
        self.verifier.verify(authorization.as_deref()).await
    }

    /// Replaces a session by the header `Authorization` with its credential.
    fn without_session<'a>(&self, authorization: Option<&'a [u8]>) -> Result<Option<Cow<'a, [u8]>>, Problem> {
        let Some(session) = authorization.and_then(session::of_header) else {
            return Ok(authorization.map(Cow::Borrowed));
        };
        match self.sessions.open(session, now()) {
            Ok((authorization, _)) => Ok(Some(Cow::Owned(authorization))),
            Err(InvalidSession::Ended) => {
                Err(Problem::new(ErrorCode::TokenExpired, "the session has ended: sign in again"))
            }
            Err(InvalidSession::Malformed) => {
                Err(Problem::new(ErrorCode::Unauthenticated, "the session is not valid: sign in again"))
            }
        }
    }

    fn count<T>(
        &self,
        method: Method,
        verdict: Result<T, Problem>,
        client: Option<IpAddr>,
    ) -> Result<T, Problem> {
        let outcomes = self.outcomes.of(method);
        match &verdict {
            Ok(_) => outcomes.accepted.increment(1),
            Err(problem) if is_failure(problem.code()) => {
                outcomes.refused.increment(1);
                if !self.failures.count(client) {
                    outcomes.limited.increment(1);
                    return Err(failures::rate_limited());
                }
            }
            Err(_) => {}
        }
        verdict
    }
}

/// Returns whether the client sent a wrong credential, in contrast to a failure of the database.
fn is_failure(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::Unauthenticated | ErrorCode::TokenExpired)
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_required() { "Auth::required" } else { "Auth::off" })
    }
}

/// Returns the caller of a request that a [`Gate::Principal`] admitted.
///
/// # Errors
/// `unauthenticated`. A route without a gate refuses its requests.
pub fn principal(extensions: &Extensions) -> Verdict {
    extensions.get::<Arc<Principal>>().cloned().ok_or_else(missing)
}

/// The caller of a request, as an argument of a handler. A request without one is refused.
pub struct Caller(pub Arc<Principal>);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        principal(&parts.extensions).map(Self)
    }
}

/// Returns the error of a request without a credential.
pub fn missing() -> Problem {
    Problem::new(
        ErrorCode::Unauthenticated,
        "the request has no credential: send the header Authorization: Bearer <API key or token>",
    )
}

/// Checks the scope of a caller.
///
/// # Errors
/// `forbidden`, which names the scope.
pub fn require(principal: &Principal, scope: Scope) -> Result<(), Problem> {
    principal.require(scope).map_err(|missing| Problem::new(ErrorCode::Forbidden, missing.to_string()))
}

/// Returns the value of the header of a request.
pub(crate) fn authorization(request: &Request) -> Option<&[u8]> {
    request.headers().get(AUTHORIZATION).map(|value| value.as_bytes())
}
