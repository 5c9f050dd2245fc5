//! What differs between the ports of a process: the protocol, its limits, and the form of an error.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::HeaderMap;

use crate::problem::Problem;

/// What differs between the ports of a process.
#[derive(Debug, Clone, Copy)]
pub struct Port {
    /// HTTP/2 without HTTP/1.
    pub only_http2: bool,
    /// Maximum number of concurrent requests on one HTTP/2 connection.
    pub max_concurrent_requests: u32,
    /// Interval of the pings on an HTTP/2 connection.
    pub ping_interval: Duration,
    /// Maximum wait for the answer to a ping.
    pub ping_timeout: Duration,
    /// How the server itself refuses a request.
    pub responder: Responder,
}

impl Port {
    /// Browsers and other clients of HTTP.
    pub const HTTP: Self = Self {
        only_http2: false,
        max_concurrent_requests: 100,
        ping_interval: Duration::from_secs(20),
        ping_timeout: Duration::from_secs(10),
        responder: Responder::PROBLEMS,
    };
}

/// How the server itself refuses a request: each protocol has its own form of an error.
#[derive(Debug, Clone, Copy)]
pub struct Responder {
    /// Returns the response with this problem. The headers are those of the request, or of the response that it
    /// replaces.
    pub refuse: fn(&HeaderMap, Problem) -> Response,
    /// Returns the trailers that end a response with these headers when its body exceeds the memory for responses.
    /// Without trailers the response is broken off.
    pub overloaded_trailers: fn(&HeaderMap) -> Option<OverloadedTrailers>,
}

/// Builds the trailers that end a response when its body exceeds the memory for responses.
pub type OverloadedTrailers = fn() -> Option<HeaderMap>;

impl Responder {
    /// Errors as `application/problem+json`.
    pub const PROBLEMS: Self =
        Self { refuse: |_, problem| problem.into_response(), overloaded_trailers: |_| None };
}
