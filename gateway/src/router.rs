//! The routers of the HTTP ports: REST, GraphQL, the pages and the operational endpoints; and those of operators alone.
//!
//! Each route is in one of two groups. The public ones need no credential; a new route belongs to the others.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use gateway_http::auth::{Auth, Gate};
use gateway_http::fallback;
use gateway_http::hosts::Hosts;
use gateway_http::middleware::Middleware;
use gateway_rest::RestState;
use tls::ServerTls;

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
    let Documented { rest, tracking, probes, metrics, sessions, document } = openapi::documented(config);
    let middleware = Middleware::new(&config.http, health_state.context.auth.clone());
    let mut public = Router::new()
        .merge(probes.with_state(health_state.clone()))
        .merge(sessions.with_state(health_state.clone()))
        .merge(tracking.with_state(rest_state.clone()))
        .merge(error_page::route(config.access.developer_tools))
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

/// Returns the hosts of the admin server. Probes and Prometheus name it by the address of a container, which no setting can
/// list; on an address that other machines can reach, metrics need a key instead.
pub(crate) fn admin_hosts(hosts: Hosts, listener: SocketAddr) -> Hosts {
    if listener.ip().to_canonical().is_loopback() { hosts.on(listener) } else { Hosts::Any }
}

/// Returns the certificate of the admin server. Monitoring on the same machine needs no encryption.
pub(crate) fn admin_tls(tls: Option<Arc<ServerTls>>, listener: SocketAddr) -> Option<Arc<ServerTls>> {
    tls.filter(|_| !listener.ip().to_canonical().is_loopback())
}

/// Returns the endpoints of operators: probes and metrics.
///
/// A listener on a loopback address needs no credential and has no TLS. Another one has the rules of the public port.
pub(crate) fn admin(
    config: &Config,
    hosts: Hosts,
    listener: SocketAddr,
    mut health_state: HealthState,
) -> Router {
    let mut limits = gateway_http::Config { allowed_hosts: hosts, ..config.http.clone() };
    if listener.ip().to_canonical().is_loopback() {
        health_state.context.auth = Auth::off();
        limits.strict_transport_security = false;
    }
    let Documented { probes, metrics, .. } = openapi::documented(config);
    let middleware = Middleware::new(&limits, health_state.context.auth.clone());
    let probes = probes.with_state(health_state.clone()).fallback(fallback::not_found);
    let metrics = metrics.with_state(health_state);
    middleware.around(probes.method_not_allowed_fallback(fallback::method_not_allowed), Gate::Open).merge(
        middleware.around(metrics.method_not_allowed_fallback(fallback::method_not_allowed), Gate::Principal),
    )
}
