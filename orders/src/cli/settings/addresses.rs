//! Addresses to listen on and to connect to.

use clap::Args;
use url::Url;

use crate::values::{self, ListenAddr, ServerUrl};

/// The address of a processor's health endpoint if none is set.
pub(crate) const DEFAULT_METRICS_ADDR: &str = "127.0.0.1:9090";

/// The address of the HTTP server.
#[derive(Debug, Args)]
#[command(next_help_heading = "Addresses")]
pub(crate) struct HttpArgs {
    /// Address of REST, GraphQL and the page: host:port; port 0 takes a free port
    #[arg(
        long,
        env = "ORDERS_HTTP_ADDR",
        hide_env_values = true,
        value_name = "ADDR",
        default_value = "127.0.0.1:3000"
    )]
    pub(crate) http_addr: ListenAddr,
}

/// The HTTP server for operators.
#[derive(Debug, Args)]
#[command(next_help_heading = "Addresses")]
pub(crate) struct AdminArgs {
    /// Address of another HTTP server with only /livez, /readyz and /metrics, for operators: host:port. On a loopback
    /// address it needs no credential and has no TLS [default: none]
    #[arg(long, env = "ORDERS_ADMIN_ADDR", hide_env_values = true, value_name = "ADDR")]
    pub(crate) admin_addr: Option<ListenAddr>,
}

/// The gRPC server.
#[derive(Debug, Args)]
#[command(next_help_heading = "Addresses")]
pub(crate) struct GrpcArgs {
    /// Address of the gRPC server for processors: host:port; port 0 takes a free port
    #[arg(
        long,
        env = "ORDERS_GRPC_ADDR",
        hide_env_values = true,
        value_name = "ADDR",
        default_value = "127.0.0.1:50051"
    )]
    pub(crate) grpc_addr: ListenAddr,
    /// Accept the reports completed, failed and pending without a lease token: on or off [default: on when
    /// --grpc-addr is a loopback address, otherwise off]
    #[arg(
        long,
        env = "ORDERS_ALLOW_TOKENLESS_REPORTS",
        hide_env_values = true,
        value_name = "SWITCH",
        value_parser = values::switch(),
        num_args = 0..=1,
        default_missing_value = "on"
    )]
    pub(crate) allow_tokenless_reports: Option<bool>,
}

impl GrpcArgs {
    /// Applies the settings to the configuration of a gateway.
    pub(super) fn apply_to(&self, config: &mut gateway::Config) {
        config.grpc.tokenless_reports = self.allow_tokenless_reports;
    }
}

/// The gateways of a processor.
#[derive(Debug, Args)]
#[command(next_help_heading = "Addresses")]
pub(crate) struct GatewayUrlArgs {
    /// gRPC address of a gateway, http:// or https://; repeat the flag or separate several with commas. The processor uses one of them
    /// and fails over to the next
    #[arg(
        long,
        env = "ORDERS_GATEWAY_URL",
        hide_env_values = true,
        value_name = "URL",
        value_delimiter = ',',
        value_parser = ServerUrl::gateway,
        default_value = "http://127.0.0.1:50051"
    )]
    pub(crate) gateway_url: Vec<ServerUrl>,
}

impl GatewayUrlArgs {
    /// Returns the addresses of the gateways.
    pub(crate) fn urls(&self) -> Vec<Url> {
        self.gateway_url.iter().map(|url| url.expose_secret().clone()).collect()
    }
}

/// The health server of a processor.
#[derive(Debug, Args)]
#[command(next_help_heading = "Addresses")]
pub(crate) struct MetricsArgs {
    /// Address of /livez, /readyz and /metrics of a processor: host:port [default: 127.0.0.1:9090, or a free port
    /// when that port is in use]
    #[arg(long, env = "ORDERS_METRICS_ADDR", hide_env_values = true, value_name = "ADDR")]
    pub(crate) metrics_addr: Option<ListenAddr>,
}
