//! Finds the client of a request for the handlers.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::RestState;
use gateway_http::streams::Client;

impl FromRequestParts<RestState> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &RestState) -> Result<Self, Infallible> {
        Ok(Self::of(parts, &state.context.limits))
    }
}
