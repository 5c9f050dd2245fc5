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
    pub body_bytes: usize,
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

impl Config {
    /// Most open connections of one address.
    pub fn connections_per_address(&self) -> usize {
        self.connections_per_address.unwrap_or(self.connections.div_ceil(ONE_ADDRESS))
    }

    /// Most open streams of one client's address.
    pub fn streams_per_address(&self) -> usize {
        self.streams_per_address.unwrap_or(self.streams.div_ceil(ONE_ADDRESS))
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            body_bytes: 256 * 1024,
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
        }
    }
}
