//! The router of the HTTP port: REST, GraphQL, the pages and the operational endpoints.

use axum::Router;
use axum::routing::get;
use gateway_http::{fallback, middleware};
use gateway_rest::RestState;

use crate::health::HealthState;
use crate::openapi::Documented;
use crate::{Config, error_page, graphql, openapi, pages};

/// Returns everything on the HTTP port.
pub(crate) fn router(
    config: &Config,
    rest_state: RestState,
    graphql_state: graphql::State,
    health_state: HealthState,
) -> Router {
    let Documented { rest, health, document } = openapi::documented(config);
    let routes = Router::new()
        .merge(rest.with_state(rest_state))
        .merge(health.with_state(health_state))
        .merge(graphql::routes(graphql_state))
        .merge(openapi::routes(document))
        .route("/problems", get(error_page::page))
        .merge(pages::routes())
        .fallback(fallback::not_found)
        .method_not_allowed_fallback(fallback::method_not_allowed);
    middleware::around(routes, &config.http)
}
