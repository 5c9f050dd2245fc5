//! The settings of the HTTP server.

use std::time::Duration;

use ipnet::IpNet;

use crate::{Hosts, Origins};

/// Reciprocal of the default share of one address in a total limit.
const ONE_ADDRESS: usize = 10;

/// Limits of the HTTP server.
#[derive(Debug, Clone)]
pub struct Config {
    /// Maximum size of a request body, in bytes.
    pub max_body_size: usize,
    /// Maximum size of the response to one request on any transport, in bytes. It is counted while the response is
    /// built.
    pub max_response_size: usize,
    /// Maximum time to receive the head of a request.
    ///
    /// It is also the duration of a step of [`ReadDeadline`](crate::buffer_limits::ReadDeadline).
    pub request_read_timeout: Duration,
    /// Maximum size of the head of a request, in bytes.
    pub max_head_size: usize,
    /// Maximum length of a path with its query string, in bytes.
    pub max_target_size: usize,
    /// Maximum number of open connections, over all ports of the process.
    pub max_connections: usize,
    /// Maximum number of open connections of one address; `None` is a tenth of the total. Trusted proxies are exempt.
    pub max_connections_per_address: Option<usize>,
    /// Whether clients on a loopback address are exempt from the limits for one address.
    pub exempt_loopback: bool,
    /// Maximum time for which an HTTP/2 connection stays open without a request.
    pub idle_timeout: Duration,
    /// Maximum time for which a client reads nothing while bytes wait for it.
    pub write_timeout: Duration,
    /// Time after which a client with pending bytes must read at `min_read_rate` on average.
    pub slow_client_grace: Duration,
    /// Minimum rate at which a client must read a response, in bytes per second.
    pub min_read_rate: usize,
    /// Memory for request bodies over all clients, in bytes.
    pub request_buffer_limit: usize,
    /// Memory for responses over all clients, in bytes.
    pub response_buffer_limit: usize,
    /// Maximum number of open streams: websockets, event streams, long polls and gRPC streams.
    pub max_streams: usize,
    /// Maximum number of open streams of a client address; `None` is a tenth of the total.
    pub max_streams_per_address: Option<usize>,
    /// The proxies whose `X-Forwarded-For` is used.
    pub trusted_proxies: Vec<IpNet>,
    /// The hosts for which the gateway accepts requests.
    pub allowed_hosts: Hosts,
    /// The other sites whose pages can use the interface.
    pub cors_origins: Origins,
    /// Whether responses tell browsers to use HTTPS only. Set by the port if it has a certificate.
    pub strict_transport_security: bool,
}

impl Config {
    /// Returns the maximum number of open connections of one address.
    pub fn max_connections_per_address(&self) -> usize {
        self.max_connections_per_address.unwrap_or(self.max_connections.div_ceil(ONE_ADDRESS))
    }

    /// Returns the maximum number of open streams of the address of one client.
    pub fn max_streams_per_address(&self) -> usize {
        self.max_streams_per_address.unwrap_or(self.max_streams.div_ceil(ONE_ADDRESS))
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_body_size: 256 * 1024,
            max_response_size: 8 * 1024 * 1024,
            request_read_timeout: Duration::from_secs(10),
            max_head_size: 32 * 1024,
            max_target_size: 16 * 1024,
            max_connections: 20_000,
            max_connections_per_address: None,
            exempt_loopback: false,
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(20),
            slow_client_grace: Duration::from_secs(30),
            min_read_rate: 64 * 1024,
            request_buffer_limit: 256 * 1024 * 1024,
            response_buffer_limit: 256 * 1024 * 1024,
            max_streams: 15_000,
            max_streams_per_address: None,
            trusted_proxies: Vec::new(),
            allowed_hosts: Hosts::default(),
            cors_origins: Origins::default(),
            strict_transport_security: false,
        }
    }
}
