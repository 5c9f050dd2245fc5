//! The HTTP side: one router for REST, GraphQL, the pages and the operational endpoints.
//!
//! `rest` is where orders come in; [`server`] accepts the connections; [`problem`] is the one
//! table of errors; what happens to every request is in `layers`. Nothing here decides about
//! orders: that is [`crate::orders`]. Pages of other sites are kept out unless `origins` lets
//! them in.

pub mod pages;
pub mod problem;
pub mod server;

pub(crate) mod addresses;
pub(crate) mod origins;

mod body;
mod heads;
mod health;
mod json;
mod layers;
mod openapi;
mod query;
mod rest;

use std::sync::Arc;

use axum::routing::get;
use axum::{Router, middleware};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::RequestBodyTimeoutLayer;

pub use self::openapi::openapi;
pub use self::origins::Origins;
use crate::App;
use crate::log_gate::LogGate;

/// Everything on the HTTP port.
pub fn router(app: App) -> Router {
    let (documented, document) = openapi::documented(&app.config).split_for_parts();
    let routes = Router::new()
        .merge(documented)
        .merge(openapi::routes(document))
        .route("/problems", get(problem::page))
        .merge(crate::graphql::routes(&app))
        .merge(pages::routes())
        .fallback(layers::not_found)
        .method_not_allowed_fallback(layers::method_not_allowed);
    dress(routes, &app.config.http).with_state(app)
}

/// Puts what happens to every request around the routes; the first one here is the outermost.
fn dress<S: Clone + Send + Sync + 'static>(
    routes: Router<S>,
    limits: &crate::config::HttpLimits,
) -> Router<S> {
    let cors = origins::cors(&limits.cors_origins);
    routes.layer(
        ServiceBuilder::new()
            .layer(middleware::from_fn_with_state(Arc::<LogGate>::default(), layers::observe))
            .layer(middleware::from_fn(layers::security_headers))
            .layer(middleware::from_fn_with_state((limits.head_bytes, limits.target_bytes), heads::check))
            .layer(middleware::from_fn_with_state((limits.cors_origins.clone(), cors), origins::guard))
            .layer(CatchPanicLayer::custom(layers::panicked))
            .layer(RequestBodyTimeoutLayer::new(limits.header_read_timeout)),
    )
}
