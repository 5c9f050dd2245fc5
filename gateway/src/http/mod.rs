//! The HTTP side: one router for REST, GraphQL, the pages and the operational endpoints.
//!
//! `rest` is where orders come in; [`server`] accepts the connections; [`problem`] is the form
//! of errors; what happens to every request is in `dress`. Nothing here decides about
//! orders: that is [`crate::orders`]. Pages of other sites are kept out unless `origins` lets
//! them in.

pub mod hosts;
pub mod pages;
pub mod problem;
pub mod server;
mod starting;

pub(crate) mod addresses;
pub(crate) mod media;
pub(crate) mod origins;
pub(crate) mod resume;
pub(crate) mod streams;

pub(crate) mod body;
pub(crate) mod chunks;
pub(crate) mod context;
mod dress;
pub(crate) mod heads;
mod health;
pub(crate) mod inflight;
mod json;
mod layers;
mod meters;
mod openapi;
mod query;
mod rest;
mod schema;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use tower::layer::layer_fn;
use tower::service_fn;

use self::dress::Dress;
pub use self::hosts::Hosts;
pub use self::openapi::openapi;
pub use self::origins::Origins;
pub use self::starting::Starting;
use crate::{App, graphql};

/// Everything on the HTTP port.
pub(crate) fn router(app: App, graphql: graphql::State) -> Router {
    let (documented, document) = openapi::documented(&app.config).split_for_parts();
    let routes = Router::new()
        .merge(documented)
        .merge(openapi::routes(openapi::complete(document)))
        .route("/problems", get(problem::page))
        .merge(graphql::routes(graphql))
        .merge(pages::routes())
        .fallback(layers::not_found)
        .method_not_allowed_fallback(layers::method_not_allowed);
    dress(routes, &app.config.http).with_state(app)
}

/// Puts what happens to every request around the routes.
fn dress<S: Clone + Send + Sync + 'static>(
    routes: Router<S>,
    limits: &crate::config::HttpLimits,
) -> Router<S> {
    let dress = Arc::new(Dress::new(limits));
    routes.layer(layer_fn(move |mut route| {
        let dress = dress.clone();
        service_fn(move |request: Request| dress.clone().around(&mut route, request))
    }))
}
