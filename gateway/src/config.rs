//! The settings of a gateway. Limits that operators do not set are constants in the modules that enforce them;
//! docs/limits.md lists both.

use std::sync::Arc;
use std::time::Duration;

use domain::Currency;
use domain::transition::Rules;
use ipnet::IpNet;

use crate::graphql::{InitCheck, TrustedDocuments};
use crate::http::{Hosts, Origins};

use crate::store::Retention;

/// One address gets at most this part of what there is for all, unless configured.
const ONE_ADDRESS: usize = 10;

/// All settings of one gateway; [`Config::default`] is what the product ships with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Currency of orders that name none.
    pub default_currency: Currency,
    /// Lease and retry rules.
    pub rules: Rules,
    /// How long a pushed job may wait in the queue before its order is pushed again.
    pub redelivery_guard: Duration,
    /// Dispatch keeps at most so many jobs in the queue; the backlog waits in the database.
    pub queue_window: u32,
    /// Most rows in one transaction.
    pub batch_size: usize,
    /// Most requests that wait for a transaction before new ones are refused as overloaded.
    pub batch_backlog: usize,
    /// Transactions of one kind that run side by side.
    pub writers: usize,
    /// How long an idempotency key is remembered.
    pub idempotency_ttl: Duration,
    /// How long final orders are kept. Never shorter than [`Self::idempotency_ttl`].
    pub retention: Retention,
    /// How long a request may wait for the database.
    pub request_timeout: Duration,
    /// How long a gateway serves on at shutdown while its readiness says that it is going away.
    pub shutdown_delay: Duration,
    /// How long open requests, streams and sockets get to end at shutdown, after that.
    pub drain: Duration,
    /// Whether a report over `UpdateStatus` may come without a lease token, which then counts for whichever
    /// attempt is running. When it is not said: only if the gRPC listener has a loopback address.
    pub tokenless_reports: Option<bool>,
    /// Limits of the HTTP server.
    pub http: HttpLimits,
    /// Limits of the GraphQL server.
    pub graphql: GraphqlLimits,
}

/// Limits of the HTTP server.
#[derive(Debug, Clone)]
pub struct HttpLimits {
    /// Longest request body, in bytes.
    pub body_bytes: usize,
    /// Longest body of a bulk create, in bytes.
    pub bulk_body_bytes: usize,
    /// Longest response of one request on any transport, in bytes. The bytes are counted while the
    /// response is built.
    pub response_bytes: usize,
    /// Longest wait for the complete head of a request.
    pub header_read_timeout: Duration,
    /// Largest head of a request, in bytes.
    pub head_bytes: usize,
    /// Longest path with its query string, in bytes.
    pub target_bytes: usize,
    /// Most open connections, over all ports of the process.
    pub connections: usize,
    /// Most open connections of one address; `None` is a tenth of all. Trusted proxies are exempt.
    pub connections_per_address: Option<usize>,
    /// Whether clients on this machine are exempt from the limits for one address.
    pub exempt_loopback: bool,
    /// How long an HTTP/2 connection may stay open without a request.
    pub idle_timeout: Duration,
    /// How long a client may take nothing of what waits for it.
    pub write_stall: Duration,
    /// A client that has had bytes waiting for this long has to take them at the rate below, on average.
    pub slow_after: Duration,
    /// Slowest rate at which a client may take a response, in bytes per second.
    pub slowest_rate: usize,
    /// Most bytes of request bodies that are held at once.
    pub inflight_body_bytes: usize,
    /// Most bytes of responses that are held at once.
    pub inflight_response_bytes: usize,
    /// Most open streams: websockets, event streams, long polls, and streams of gRPC.
    pub streams: usize,
    /// Most open streams of one client's address; `None` is a tenth of all.
    pub streams_per_address: Option<usize>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The hosts that the gateway answers for.
    pub hosts: Hosts,
    /// Other sites whose pages may use the interface.
    pub cors_origins: Origins,
}

impl HttpLimits {
    /// Most open connections of one address.
    pub fn connections_per_address(&self) -> usize {
        self.connections_per_address.unwrap_or(self.connections.div_ceil(ONE_ADDRESS))
    }

    /// Most open streams of one client's address.
    pub fn streams_per_address(&self) -> usize {
        self.streams_per_address.unwrap_or(self.streams.div_ceil(ONE_ADDRESS))
    }
}

/// Limits of the GraphQL server. Every one is checked before a resolver runs.
#[derive(Debug, Clone)]
pub struct GraphqlLimits {
    /// Longest document, in bytes.
    pub document_bytes: usize,
    /// Most tokens in a document.
    pub tokens: usize,
    /// Most selections after every fragment is expanded.
    pub selections: usize,
    /// Deepest nesting of selections; introspection fields are exempt.
    pub depth: usize,
    /// Most aliases in a document.
    pub aliases: usize,
    /// Most fields at the root.
    pub root_fields: usize,
    /// Most directives in a document.
    pub directives: usize,
    /// Most complexity: one for each field, times the page size under a connection.
    pub complexity: usize,
    /// Whether the schema may be asked for.
    pub introspection: bool,
    /// Most operations in one request; 0 and 1 mean that there are no batches.
    pub batch: usize,
    /// Most automatic persisted queries that are remembered; 0 turns them off.
    pub persisted_queries: usize,
    /// Most bytes of their documents.
    pub persisted_bytes: usize,
    /// The only documents that run; `None` means that all do.
    pub trusted_documents: Option<Arc<TrustedDocuments>>,
    /// Who may open a websocket, by the payload of `connection_init`.
    pub init_check: InitCheck,
    /// Longest run of a query or mutation, or of a whole batch.
    pub execution_timeout: Duration,
    /// How long a websocket may stay without `connection_init`.
    pub init_timeout: Duration,
    /// How often a websocket is pinged.
    pub ping_interval: Duration,
    /// How long a websocket may be silent after a ping, and how long one send may take.
    pub dead_after: Duration,
    /// Most operations at once on one websocket.
    pub operations_per_socket: usize,
    /// Longest websocket message, in bytes.
    pub message_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            default_currency: Currency::USD,
            rules: Rules::default(),
            redelivery_guard: Duration::from_secs(10),
            queue_window: 1_000,
            batch_size: 256,
            batch_backlog: 4_096,
            writers: 2,
            idempotency_ttl: Duration::from_secs(24 * 60 * 60),
            retention: Retention::default(),
            request_timeout: Duration::from_secs(5),
            shutdown_delay: Duration::ZERO,
            drain: Duration::from_secs(10),
            tokenless_reports: None,
            http: HttpLimits {
                body_bytes: 256 * 1024,
                bulk_body_bytes: 4 * 1024 * 1024,
                response_bytes: 8 * 1024 * 1024,
                header_read_timeout: Duration::from_secs(10),
                head_bytes: 32 * 1024,
                target_bytes: 16 * 1024,
                connections: 20_000,
                connections_per_address: None,
                exempt_loopback: false,
                idle_timeout: Duration::from_secs(60),
                write_stall: Duration::from_secs(20),
                slow_after: Duration::from_secs(30),
                slowest_rate: 64 * 1024,
                inflight_body_bytes: 256 * 1024 * 1024,
                inflight_response_bytes: 256 * 1024 * 1024,
                streams: 15_000,
                streams_per_address: None,
                trusted_proxies: Vec::new(),
                hosts: Hosts::default(),
                cors_origins: Origins::default(),
            },
            graphql: GraphqlLimits {
                document_bytes: 16 * 1024,
                tokens: 4_000,
                selections: 1_000,
                depth: 12,
                aliases: 30,
                root_fields: 20,
                directives: 50,
                complexity: 3_000,
                introspection: true,
                batch: 0,
                persisted_queries: 1_000,
                persisted_bytes: 4 * 1024 * 1024,
                trusted_documents: None,
                init_check: InitCheck::default(),
                execution_timeout: Duration::from_secs(10),
                init_timeout: Duration::from_secs(5),
                ping_interval: Duration::from_secs(12),
                dead_after: Duration::from_secs(10),
                operations_per_socket: 100,
                message_bytes: 64 * 1024,
            },
        }
    }
}
