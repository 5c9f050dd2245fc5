//! The requests of a group of routes that need a principal.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::Request;
use domain::Principal;
use http::Method;
use http::header::{AUTHORIZATION, UPGRADE};

use super::{Auth, authorization};
use crate::problem::Problem;

/// The requests of a group of routes that need a principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// None: the routes are public.
    Open,
    /// All.
    Principal,
    /// All, except the upgrade to a websocket without a credential: a browser sends it in `connection_init`.
    PrincipalOrSocket,
}

/// Whether a request reaches its route.
pub(crate) enum Admission {
    /// It does; the principal is in its extensions if the gate requires one.
    Granted,
    /// It does not.
    Refused(Box<Problem>),
    /// The credential has to be looked up.
    Unknown,
}

impl Gate {
    /// Decides about a request without waiting.
    pub(crate) fn admit(self, auth: &Auth, request: &mut Request, client: Option<IpAddr>) -> Admission {
        if self == Self::Open
            || (self == Self::PrincipalOrSocket && auth.is_required() && may_send_later(request))
        {
            return Admission::Granted;
        }
        match auth.cached(authorization(request), client) {
            Some(Ok(principal)) => {
                request.extensions_mut().insert::<Arc<Principal>>(principal);
                Admission::Granted
            }
            Some(Err(problem)) => Admission::Refused(Box::new(problem)),
            None => Admission::Unknown,
        }
    }
}

/// Returns whether the client can send its credential on the websocket that the request opens.
fn may_send_later(request: &Request) -> bool {
    let is_websocket = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"websocket");
    request.method() == Method::GET
        && request.headers().get(UPGRADE).is_some_and(is_websocket)
        && !request.headers().contains_key(AUTHORIZATION)
}
