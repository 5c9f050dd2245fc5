//! The settings of a gateway, which combine those of its parts.
//!
//! Limits that operators cannot set are constants in the modules that enforce them; docs/reference/limits.md lists
//! both.

use std::sync::Arc;
use std::time::Duration;

use tls::ServerTls;

use crate::{AccessConfig, graphql, grpc};
use gateway_service as service;

/// All settings of one gateway; [`Config::default`] has the defaults of the product.
#[derive(Debug, Clone)]
pub struct Config {
    /// The use cases and the background tasks.
    pub service: service::Config,
    /// The HTTP server, which also serves gRPC.
    pub http: gateway_http::Config,
    /// The REST API.
    pub rest: gateway_rest::Config,
    /// The GraphQL API.
    pub graphql: graphql::Config,
    /// Code of the embedding program that the GraphQL API calls.
    pub graphql_hooks: graphql::Hooks,
    /// The gRPC API.
    pub grpc: grpc::Config,
    /// The certificates of the ports.
    pub tls: PortCertificates,
    /// Webhook endpoints and the deliveries to them.
    pub webhooks: gateway_webhooks::Config,
    /// The access control of the gateway.
    pub access: AccessConfig,
    /// Time for which the gateway still serves requests at shutdown after readiness has turned off.
    pub shutdown_delay: Duration,
    /// Maximum time for open requests, streams and sockets to end after the shutdown delay.
    pub shutdown_timeout: Duration,
}

/// The certificates of the ports; a port without one has no TLS.
#[derive(Debug, Clone, Default)]
pub struct PortCertificates {
    /// The certificate of the HTTP port.
    pub http: Option<Arc<ServerTls>>,
    /// The certificate of the gRPC port.
    pub grpc: Option<Arc<ServerTls>>,
}

impl Config {
    /// Returns the maximum time from the head of a REST request to its response head.
    pub(crate) fn response_timeout(&self) -> Duration {
        self.http.request_read_timeout + self.service.request_timeout
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            service: service::Config::default(),
            http: gateway_http::Config::default(),
            rest: gateway_rest::Config::default(),
            graphql: graphql::Config::default(),
            graphql_hooks: graphql::Hooks::default(),
            grpc: grpc::Config::default(),
            tls: PortCertificates::default(),
            webhooks: gateway_webhooks::Config::default(),
            access: AccessConfig::default(),
            shutdown_delay: Duration::ZERO,
            shutdown_timeout: Duration::from_secs(10),
        }
    }
}
