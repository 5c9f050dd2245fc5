//! The HTTP side: one router for REST, GraphQL, the pages and the operational endpoints.

pub mod health;
pub mod pages;
pub mod problem;
pub mod rest;
pub mod server;

use axum::Router;

use crate::App;

/// Everything on the HTTP port.
pub fn router(app: App) -> Router {
    Router::new()
        .merge(rest::routes())
        .merge(crate::graphql::routes(&app))
        .merge(pages::routes())
        .merge(health::routes())
        .with_state(app)
}
