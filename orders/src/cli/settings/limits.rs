//! The limits of a gateway for one client and for all clients together.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use gateway::graphql::{self, TrustedDocuments};
use gateway_http::Config as HttpConfig;
use gateway_http::{Hosts, Origins};

use crate::error::Error;
use crate::values::{self, IpNets};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

/// Limits of a gateway for one client and for all clients together.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// Maximum number of open connections on all ports; at the limit, the connections that were idle longest are
    /// closed: 1 to 1000000
    #[arg(
        long,
        env = "ORDERS_MAX_CONNECTIONS",
        hide_env_values = true,
        value_name = "COUNT",
        value_parser = values::number::<usize>(1..=1_000_000),
        default_value = "20000"
    )]
    pub(crate) max_connections: usize,
    /// Maximum number of open connections from one client address; trusted proxies are exempt, and in `orders dev`
    /// clients on this machine: 1 to 1000000 [default: a tenth of --max-connections]
    #[arg(
        long,
        env = "ORDERS_MAX_CONNECTIONS_PER_ADDRESS",
        hide_env_values = true,
        value_name = "COUNT",
        value_parser = values::number::<usize>(1..=1_000_000)
    )]
    pub(crate) max_connections_per_address: Option<usize>,
    /// Maximum number of open websockets, event streams, long polls and gRPC streams together: 1 to 1000000
    #[arg(
        long,
        env = "ORDERS_MAX_STREAMS",
        hide_env_values = true,
        value_name = "COUNT",
        value_parser = values::number::<usize>(1..=1_000_000),
        default_value = "15000"
    )]
    pub(crate) max_streams: usize,
    /// Maximum number of open streams from one client address; in `orders dev` clients on this machine are exempt:
    /// 1 to 1000000 [default: a tenth of --max-streams]
    #[arg(
        long,
        env = "ORDERS_MAX_STREAMS_PER_ADDRESS",
        hide_env_values = true,
        value_name = "COUNT",
        value_parser = values::number::<usize>(1..=1_000_000)
    )]
    pub(crate) max_streams_per_address: Option<usize>,
    /// Memory for request bodies, over all clients: 1MiB to 1TiB
    #[arg(
        long,
        env = "ORDERS_REQUEST_BUFFER_LIMIT",
        hide_env_values = true,
        value_name = "SIZE",
        value_parser = values::size(MIB, TIB),
        default_value = "256MiB"
    )]
    pub(crate) request_buffer_limit: usize,
    /// Memory for responses, over all clients: 1MiB to 1TiB
    #[arg(
        long,
        env = "ORDERS_RESPONSE_BUFFER_LIMIT",
        hide_env_values = true,
        value_name = "SIZE",
        value_parser = values::size(MIB, TIB),
        default_value = "256MiB"
    )]
    pub(crate) response_buffer_limit: usize,
    /// Reverse proxies whose X-Forwarded-For is trusted, as addresses or networks such as 10.0.0.0/8; separate several
    /// with commas [default: none]
    #[arg(
        long,
        env = "ORDERS_TRUSTED_PROXIES",
        hide_env_values = true,
        value_name = "NETWORKS",
        value_parser = values::ip_nets
    )]
    pub(crate) trusted_proxies: Option<IpNets>,
    /// Host names that the gateway serves in addition to loopback names, such as shop.example; separate several with
    /// commas, * serves every host [default: every host, on a loopback address only loopback names]
    #[arg(
        long,
        env = "ORDERS_ALLOWED_HOSTS",
        hide_env_values = true,
        value_name = "HOSTS",
        value_parser = values::hosts
    )]
    pub(crate) allowed_hosts: Option<Hosts>,
    /// Origins whose pages may use REST and GraphQL, such as https://shop.example; separate several with commas, *
    /// allows reads without cookies from every origin [default: none]
    #[arg(
        long,
        env = "ORDERS_CORS_ORIGINS",
        hide_env_values = true,
        value_name = "ORIGINS",
        value_parser = values::origins
    )]
    pub(crate) cors_origins: Option<Origins>,
    /// Timeout for reading the head of a request, and again for each 64 KiB of its body: 100ms to 10m
    #[arg(
        long,
        env = "ORDERS_REQUEST_READ_TIMEOUT",
        hide_env_values = true,
        value_name = "DURATION",
        value_parser = values::duration(Duration::from_millis(100), Duration::from_secs(600)),
        default_value = "10s"
    )]
    pub(crate) request_read_timeout: Duration,
    /// Maximum size of a request body, except of a bulk create: 1KiB to 64MiB
    #[arg(
        long,
        env = "ORDERS_MAX_BODY_SIZE",
        hide_env_values = true,
        value_name = "SIZE",
        value_parser = values::size(KIB, 64 * MIB),
        default_value = "256KiB"
    )]
    pub(crate) max_body_size: usize,
    /// Maximum size of the body of a bulk create: 1KiB to 64MiB
    #[arg(
        long,
        env = "ORDERS_MAX_BULK_BODY_SIZE",
        hide_env_values = true,
        value_name = "SIZE",
        value_parser = values::size(KIB, 64 * MIB),
        default_value = "4MiB"
    )]
    pub(crate) max_bulk_body_size: usize,
    /// Maximum size of the response to one request, on every API: 256KiB to 1GiB
    #[arg(
        long,
        env = "ORDERS_MAX_RESPONSE_SIZE",
        hide_env_values = true,
        value_name = "SIZE",
        value_parser = values::size(256 * KIB, 1024 * MIB),
        default_value = "8MiB"
    )]
    pub(crate) max_response_size: usize,
    /// Maximum depth of a GraphQL document: 1 to 32
    #[arg(
        long,
        env = "ORDERS_GRAPHQL_MAX_DEPTH",
        hide_env_values = true,
        value_name = "COUNT",
        value_parser = values::number::<usize>(1..=32),
        default_value = "12"
    )]
    pub(crate) graphql_max_depth: usize,
    /// Maximum complexity of a GraphQL request, fields times page sizes: 1 to 1000000
    #[arg(
        long,
        env = "ORDERS_GRAPHQL_MAX_COMPLEXITY",
        hide_env_values = true,
        value_name = "COUNT",
        value_parser = values::number::<usize>(1..=1_000_000),
        default_value = "3000"
    )]
    pub(crate) graphql_max_complexity: usize,
    /// Maximum size of a GraphQL document: 64 to 1MiB
    #[arg(
        long,
        env = "ORDERS_GRAPHQL_MAX_DOCUMENT_SIZE",
        hide_env_values = true,
        value_name = "SIZE",
        value_parser = values::size(64, MIB),
        default_value = "16KiB"
    )]
    pub(crate) graphql_max_document_size: usize,
    /// Maximum number of tokens in a GraphQL document: 1 to 1000000
    #[arg(
        long,
        env = "ORDERS_GRAPHQL_MAX_TOKENS",
        hide_env_values = true,
        value_name = "COUNT",
        value_parser = values::number::<usize>(1..=1_000_000),
        default_value = "4000"
    )]
    pub(crate) graphql_max_tokens: usize,
    /// Maximum number of aliases in a GraphQL document: 0 to 10000
    #[arg(
        long,
        env = "ORDERS_GRAPHQL_MAX_ALIASES",
        hide_env_values = true,
        value_name = "COUNT",
        value_parser = values::number::<usize>(0..=10_000),
        default_value = "30"
    )]
    pub(crate) graphql_max_aliases: usize,
    /// Allow introspection of the GraphQL schema: on or off [default: as --developer-tools]
    #[arg(
        long,
        env = "ORDERS_GRAPHQL_INTROSPECTION",
        hide_env_values = true,
        value_name = "SWITCH",
        value_parser = values::switch()
    )]
    pub(crate) graphql_introspection: Option<bool>,
    /// Maximum number of GraphQL operations in one request; 0 and 1 disable batching: 0 to 1000
    #[arg(
        long,
        env = "ORDERS_GRAPHQL_MAX_BATCH_SIZE",
        hide_env_values = true,
        value_name = "COUNT",
        value_parser = values::number::<usize>(0..=1_000),
        default_value = "0"
    )]
    pub(crate) graphql_max_batch_size: usize,
    /// Maximum number of automatic persisted queries in the cache; 0 disables them: 0 to 100000
    #[arg(
        long,
        env = "ORDERS_GRAPHQL_MAX_PERSISTED_QUERIES",
        hide_env_values = true,
        value_name = "COUNT",
        value_parser = values::number::<usize>(0..=100_000),
        default_value = "1000"
    )]
    pub(crate) graphql_max_persisted_queries: usize,
    /// JSON file of names and documents; only these documents run over GraphQL [default: all documents run]
    #[arg(long, env = "ORDERS_GRAPHQL_TRUSTED_DOCUMENTS", hide_env_values = true, value_name = "FILE")]
    pub(crate) graphql_trusted_documents: Option<PathBuf>,
}

impl LimitArgs {
    /// Applies the settings to the configuration of a gateway. Reads the file of trusted documents, if it is set.
    pub(super) fn apply_to(&self, config: &mut gateway::Config) -> Result<(), Error> {
        config.http = HttpConfig {
            max_body_size: self.max_body_size,
            max_response_size: self.max_response_size,
            request_read_timeout: self.request_read_timeout,
            max_connections: self.max_connections,
            max_connections_per_address: self.max_connections_per_address,
            max_streams: self.max_streams,
            max_streams_per_address: self.max_streams_per_address,
            request_buffer_limit: self.request_buffer_limit,
            response_buffer_limit: self.response_buffer_limit,
            trusted_proxies: self.trusted_proxies.clone().map(|nets| nets.0).unwrap_or_default(),
            allowed_hosts: self.allowed_hosts.clone().unwrap_or_default(),
            cors_origins: self.cors_origins.clone().unwrap_or_default(),
            ..config.http.clone()
        };
        config.rest.max_bulk_body_size = self.max_bulk_body_size;
        config.graphql = graphql::Config {
            max_document_size: self.graphql_max_document_size,
            max_tokens: self.graphql_max_tokens,
            max_depth: self.graphql_max_depth,
            max_aliases: self.graphql_max_aliases,
            max_complexity: self.graphql_max_complexity,
            max_batch_size: self.graphql_max_batch_size,
            max_persisted_queries: self.graphql_max_persisted_queries,
            ..config.graphql.clone()
        };
        if let Some(file) = &self.graphql_trusted_documents {
            let trusted = read_trusted_documents(file, &config.graphql)?;
            config.graphql_hooks.trusted_documents = Some(Arc::new(trusted));
        }
        Ok(())
    }
}

fn read_trusted_documents(file: &Path, limits: &graphql::Config) -> Result<TrustedDocuments, Error> {
    let setting = "--graphql-trusted-documents (ORDERS_GRAPHQL_TRUSTED_DOCUMENTS)";
    let invalid = |problem: String| {
        Error::usage(format!("{setting} is {:?}: {problem}", file.display().to_string()))
            .hint("give a JSON file of names and documents, as GraphQL Code Generator writes it")
    };
    let json =
        std::fs::read_to_string(file).map_err(|error| invalid(format!("it cannot be read: {error}")))?;
    TrustedDocuments::read(&json, limits).map_err(invalid)
}
