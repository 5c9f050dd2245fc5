//! The settings of the HTTP server.

use std::time::Duration;

use ipnet::IpNet;

use crate::{Hosts, Origins};

/// One address gets at most this part of what there is for all, unless configured.
const ONE_ADDRESS: usize = 10;

/// Limits of the HTTP server.
#[derive(Debug, Clone)]
pub struct Config {
    /// Longest request body, in bytes.
    pub max_body_size: usize,
    /// Longest response of one request on any transport, in bytes. The bytes are counted while the
    /// response is built.
    pub max_response_size: usize,
    /// Longest wait for the complete head of a request.
    pub request_read_timeout: Duration,
    /// Largest head of a request, in bytes.
    pub max_head_size: usize,
    /// Longest path with its query string, in bytes.
    pub max_target_size: usize,
    /// Most open connections, over all ports of the process.
    pub max_connections: usize,
    /// Most open connections of one address; `None` is a tenth of all. Trusted proxies are exempt.
    pub max_connections_per_address: Option<usize>,
    /// Whether clients on this machine are exempt from the limits for one address.
    pub exempt_loopback: bool,
    /// How long an HTTP/2 connection may stay open without a request.
    pub idle_timeout: Duration,
    /// How long a client may take nothing of what waits for it.
    pub write_timeout: Duration,
    /// A client that has had bytes waiting for this long has to take them at the rate below, on average.
    pub slow_client_grace: Duration,
    /// Slowest rate at which a client may take a response, in bytes per second.
    pub min_read_rate: usize,
    /// Most bytes of request bodies that are held at once.
    pub request_buffer_limit: usize,
    /// Most bytes of responses that are held at once.
    pub response_buffer_limit: usize,
    /// Most open max_streams: websockets, event streams, long polls, and streams of gRPC.
    pub max_streams: usize,
    /// Most open streams of one client's address; `None` is a tenth of all.
    pub max_streams_per_address: Option<usize>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The hosts that the gateway answers for.
    pub allowed_hosts: Hosts,
    /// Other sites whose pages may use the interface.
    pub cors_origins: Origins,
}

impl Config {
    /// Most open connections of one address.
    pub fn max_connections_per_address(&self) -> usize {
        self.max_connections_per_address.unwrap_or(self.max_connections.div_ceil(ONE_ADDRESS))
    }

    /// Most open streams of one client's address.
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
        }
    }
}
