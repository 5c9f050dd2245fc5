//! The settings that keep abuse out.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use gateway::http::{Hosts, Origins};

use crate::values::{self, Networks};

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    /// It is on.
    #[value(aliases = ["true", "1"])]
    On,
    /// It is off.
    #[value(aliases = ["false", "0"])]
    Off,
}

/// What one client, and all of them together, may ask of a gateway.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// Most open connections on all ports; when all are taken, those that were idle longest are closed: 1 to
    /// 1000000
    #[arg(
        long,
        env = "ORDERS_HTTP_CONNECTIONS",
        hide_env_values = true,
        value_name = "COUNT",
        value_parser = values::number::<usize>(1, 1_000_000),
        default_value = "20000"
    )]
    pub(crate) http_connections: usize,
    /// Most open connections of one client's address; trusted proxies are exempt, and in `orders dev` clients on
    /// this machine: 1 to 1000000 [default: a tenth of --http-connections]
    #[arg(
        long,
        env = "ORDERS_HTTP_CONNECTIONS_PER_ADDRESS",
        hide_env_values = true,
        value_name = "COUNT",
        value_parser = values::number::<usize>(1, 1_000_000)
    )]
    pub(crate) http_connections_per_address: Option<usize>,
    /// Most open streams: websockets, event streams, long polls, and streams of gRPC: 1 to 1000000
    #[arg(
        long,
        env = "ORDERS_STREAMS",
        hide_env_values = true,
        value_name = "COUNT",
        value_parser = values::number::<usize>(1, 1_000_000),
        default_value = "15000"
    )]
    pub(crate) streams: usize,
    /// Most open streams of one client's address; in `orders dev` clients on this machine are exempt: 1 to 1000000
    /// [default: a tenth of --streams]
    #[arg(
        long,
        env = "ORDERS_STREAMS_PER_ADDRESS",
        hide_env_values = true,
        value_name = "COUNT",
        value_parser = values::number::<usize>(1, 1_000_000)
    )]
    pub(crate) streams_per_address: Option<usize>,
    /// Most bytes of request bodies that are held at once, over all clients: 1048576 to 1099511627776
    #[arg(
        long,
        env = "ORDERS_INFLIGHT_BODY_BYTES",
        hide_env_values = true,
        value_name = "BYTES",
        value_parser = values::number::<usize>(1_048_576, 1_099_511_627_776),
        default_value = "268435456"
    )]
    pub(crate) inflight_body_bytes: usize,
    /// Most bytes of responses that are held at once, over all clients: 1048576 to 1099511627776
    #[arg(
        long,
        env = "ORDERS_INFLIGHT_RESPONSE_BYTES",
        hide_env_values = true,
        value_name = "BYTES",
        value_parser = values::number::<usize>(1_048_576, 1_099_511_627_776),
        default_value = "268435456"
    )]
    pub(crate) inflight_response_bytes: usize,
    /// Reverse proxies whose X-Forwarded-For is believed, as addresses or networks such as 10.0.0.0/8;
    /// several with commas [default: none]
    #[arg(
        long,
        env = "ORDERS_TRUSTED_PROXIES",
        hide_env_values = true,
        value_name = "NETWORKS",
        value_parser = values::networks
    )]
    pub(crate) trusted_proxies: Option<Networks>,
    /// Hosts that the gateway answers for besides loopback names, such as shop.example; several with commas,
    /// or * for every host [default: every host, on a loopback address only loopback names]
    #[arg(
        long,
        env = "ORDERS_HTTP_HOSTS",
        hide_env_values = true,
        value_name = "HOSTS",
        value_parser = values::hosts
    )]
    pub(crate) http_hosts: Option<Hosts>,
    /// Other sites whose pages may use REST and GraphQL, such as https://shop.example; several with
    /// commas, or * for all, which allows reads only, without cookies [default: none]
    #[arg(
        long,
        env = "ORDERS_CORS_ORIGINS",
        hide_env_values = true,
        value_name = "ORIGINS",
        value_parser = values::origins
    )]
    pub(crate) cors_origins: Option<Origins>,
    /// A client gets so many milliseconds for the head of a request, and as many for its body: 100 to
    /// 600000
    #[arg(
        long,
        env = "ORDERS_HEADER_TIMEOUT_MS",
        hide_env_values = true,
        value_name = "MS",
        value_parser = values::number::<u64>(100, 600_000),
        default_value = "10000"
    )]
    pub(crate) header_timeout_ms: u64,
    /// Longest body of a request, except of a bulk create: 1024 to 67108864 bytes
    #[arg(
        long,
        env = "ORDERS_BODY_BYTES",
        hide_env_values = true,
        value_name = "BYTES",
        value_parser = values::number::<usize>(1_024, 67_108_864),
        default_value = "262144"
    )]
    pub(crate) body_bytes: usize,
    /// Longest body of a bulk create: 1024 to 67108864 bytes
    #[arg(
        long,
        env = "ORDERS_BULK_BODY_BYTES",
        hide_env_values = true,
        value_name = "BYTES",
        value_parser = values::number::<usize>(1_024, 67_108_864),
        default_value = "4194304"
    )]
    pub(crate) bulk_body_bytes: usize,
    /// Longest response to one request, on every transport: 262144 to 1073741824 bytes
    #[arg(
        long,
        env = "ORDERS_RESPONSE_BYTES",
        hide_env_values = true,
        value_name = "BYTES",
        value_parser = values::number::<usize>(262_144, 1_073_741_824),
        default_value = "8388608"
    )]
    pub(crate) response_bytes: usize,
    /// Deepest nesting of a GraphQL document: 1 to 32
    #[arg(
        long,
        env = "ORDERS_GRAPHQL_DEPTH",
        hide_env_values = true,
        value_name = "COUNT",
        value_parser = values::number::<usize>(1, 32),
        default_value = "12"
    )]
    pub(crate) graphql_depth: usize,
    /// Most complexity of a GraphQL request, fields times page sizes: 1 to 1000000
    #[arg(
        long,
        env = "ORDERS_GRAPHQL_COMPLEXITY",
        hide_env_values = true,
        value_name = "COUNT",
        value_parser = values::number::<usize>(1, 1_000_000),
        default_value = "3000"
    )]
    pub(crate) graphql_complexity: usize,
    /// Longest GraphQL document: 64 to 1048576 bytes
    #[arg(
        long,
        env = "ORDERS_GRAPHQL_DOCUMENT_BYTES",
        hide_env_values = true,
        value_name = "BYTES",
        value_parser = values::number::<usize>(64, 1_048_576),
        default_value = "16384"
    )]
    pub(crate) graphql_document_bytes: usize,
    /// Most tokens of a GraphQL document: 1 to 1000000
    #[arg(
        long,
        env = "ORDERS_GRAPHQL_TOKENS",
        hide_env_values = true,
        value_name = "COUNT",
        value_parser = values::number::<usize>(1, 1_000_000),
        default_value = "4000"
    )]
    pub(crate) graphql_tokens: usize,
    /// Most aliases in a GraphQL document: 0 to 10000
    #[arg(
        long,
        env = "ORDERS_GRAPHQL_ALIASES",
        hide_env_values = true,
        value_name = "COUNT",
        value_parser = values::number::<usize>(0, 10_000),
        default_value = "30"
    )]
    pub(crate) graphql_aliases: usize,
    /// Whether GraphQL clients may ask for the schema
    #[arg(
        long,
        env = "ORDERS_GRAPHQL_INTROSPECTION",
        hide_env_values = true,
        value_name = "SWITCH",
        default_value = "on"
    )]
    pub(crate) graphql_introspection: Switch,
    /// Most GraphQL operations in one request; 0 and 1 turn batches off: 0 to 1000
    #[arg(
        long,
        env = "ORDERS_GRAPHQL_BATCH_LIMIT",
        hide_env_values = true,
        value_name = "COUNT",
        value_parser = values::number::<usize>(0, 1_000),
        default_value = "0"
    )]
    pub(crate) graphql_batch_limit: usize,
    /// Most automatic persisted queries that are remembered; 0 turns them off: 0 to 100000
    #[arg(
        long,
        env = "ORDERS_GRAPHQL_PERSISTED_QUERIES",
        hide_env_values = true,
        value_name = "COUNT",
        value_parser = values::number::<usize>(0, 100_000),
        default_value = "1000"
    )]
    pub(crate) graphql_persisted_queries: usize,
    /// JSON file of names and documents; then only those run over GraphQL [default: all run]
    #[arg(long, env = "ORDERS_GRAPHQL_TRUSTED_DOCUMENTS", hide_env_values = true, value_name = "FILE")]
    pub(crate) graphql_trusted_documents: Option<PathBuf>,
}
