//! The router of the HTTP port: REST, GraphQL, the pages and the operational endpoints.
//!
//! Each route is in one of two groups. The public ones need no credential; a new route belongs to the others.

use axum::Router;
use axum::routing::get;
use gateway_http::auth::Gate;
use gateway_http::fallback;
use gateway_http::middleware::Middleware;
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
    let Documented { rest, probes, metrics, sessions, document } = openapi::documented(config);
    let middleware = Middleware::new(&config.http, health_state.context.auth.clone());
    let mut public = Router::new()
        .merge(probes.with_state(health_state.clone()))
        .merge(sessions.with_state(health_state.clone()))
        .route("/problems", get(error_page::page))
        .merge(pages::routes(config.access.developer_tools));
    if config.access.developer_tools {
        public = public.merge(openapi::routes(document));
    }
    let public =
        public.fallback(fallback::not_found).method_not_allowed_fallback(fallback::method_not_allowed);
    let protected = Router::new()
        .merge(rest.with_state(rest_state))
        .merge(metrics.with_state(health_state))
        .method_not_allowed_fallback(fallback::method_not_allowed);
    let graphql = graphql::routes(graphql_state).method_not_allowed_fallback(fallback::method_not_allowed);
    middleware
        .around(public, Gate::Open)
        .merge(middleware.around(protected, Gate::Principal))
        .merge(middleware.around(graphql, Gate::PrincipalOrSocket))
}
