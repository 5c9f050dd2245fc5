//! Finds the client of a request for the handlers.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::App;
use gateway_http::streams::Client;

impl FromRequestParts<App> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        Ok(Self::of(parts, &app.config.http))
    }
}
