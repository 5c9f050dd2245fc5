//! The settings that differ between the ports: protocol, limits and format of errors.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::HeaderMap;

use crate::problem::Problem;

/// The settings that differ between the ports of a process.
#[derive(Debug, Clone, Copy)]
pub struct Port {
    /// Whether the port accepts only HTTP/2.
    pub only_http2: bool,
    /// Maximum number of concurrent requests on one HTTP/2 connection.
    pub max_concurrent_requests: u32,
    /// Interval of the pings on an HTTP/2 connection.
    pub ping_interval: Duration,
    /// Maximum wait for the acknowledgement of a ping.
    pub ping_timeout: Duration,
    /// The responses of the server itself.
    pub responder: Responder,
}

impl Port {
    /// The port for browsers and other HTTP clients.
    pub const HTTP: Self = Self {
        only_http2: false,
        max_concurrent_requests: 100,
        ping_interval: Duration::from_secs(20),
        ping_timeout: Duration::from_secs(10),
        responder: Responder::PROBLEMS,
    };
}

/// Builds the responses of the server itself, in the error format of the protocol.
#[derive(Debug, Clone, Copy)]
pub struct Responder {
    /// Returns the response with this problem. The headers are those of the request, or of the response that it
    /// replaces.
    pub refuse: fn(&HeaderMap, Problem) -> Response,
    /// Returns the trailers for a response that exceeds the memory for responses.
    ///
    /// The headers are those of the response. Without trailers, the response is aborted.
    pub overloaded_trailers: fn(&HeaderMap) -> Option<OverloadedTrailers>,
}

/// Builds the trailers that end a response when its body exceeds the memory for responses.
pub type OverloadedTrailers = fn() -> Option<HeaderMap>;

impl Responder {
    /// Errors as `application/problem+json`.
    pub const PROBLEMS: Self =
        Self { refuse: |_, problem| problem.into_response(), overloaded_trailers: |_| None };
}
