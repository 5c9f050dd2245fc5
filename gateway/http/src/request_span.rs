//! The span of a request whose trace is recorded, and the ids in the log lines of requests.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use domain::{Principal, TraceContext};
use http::{HeaderMap, HeaderName};
use telemetry::trace::{self, Span};

use super::auth::Gate;

/// The header that identifies a request in responses and logs.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The header with the caller's span, of W3C Trace Context.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// A route that is called often and tells nothing.
const NOT_TRACED: &str = "/metrics";

/// What log lines state about a request that was admitted.
#[derive(Clone, Default)]
pub(crate) struct RequestIds {
    principal: Option<Arc<Principal>>,
    trace: Option<TraceContext>,
}

impl RequestIds {
    pub(crate) fn new(request: &Request, span: Option<&Span>) -> Self {
        let principal = request.extensions().get::<Arc<Principal>>().cloned();
        Self { principal, trace: span.and_then(Span::context) }
    }

    pub(crate) fn tenant(&self) -> Option<&str> {
        self.principal.as_ref().map(|principal| principal.tenant.as_str())
    }

    pub(crate) fn trace(&self) -> Option<TraceContext> {
        self.trace
    }

    pub(crate) fn trace_id(&self) -> Option<String> {
        self.trace.map(|trace| trace.trace_id_text())
    }
}

/// Begins the span of a request that was admitted. Requests without a principal belong to no trace, so that strangers
/// cannot fill the export.
pub(crate) fn begin(gate: Gate, request: &Request) -> Option<Span> {
    if gate == Gate::Open || !trace::is_enabled() {
        return None;
    }
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str);
    if route == NOT_TRACED {
        return None;
    }
    let method = request.method();
    let mut span = trace::request(|| format!("{method} {route}").into(), caller(request.headers()))?;
    span.set("http.request.method", method.as_str().to_owned());
    span.set("http.route", route.to_owned());
    span.set("url.path", request.uri().path().to_owned());
    if let Some(principal) = request.extensions().get::<Arc<Principal>>() {
        span.set("orders.tenant", principal.tenant.to_string());
    }
    if let Some(id) = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()) {
        span.set("orders.request_id", id.to_owned());
    }
    Some(span)
}

/// Ends the span of a request.
pub(crate) fn end(mut span: Span, response: &Response) {
    let status = response.status();
    span.set("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.set("error.type", status.as_u16().to_string());
        span.fail("the request failed");
    }
}

/// Returns the span of the caller. An invalid header counts as none, as the standard requires.
fn caller(headers: &HeaderMap) -> Option<TraceContext> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    value.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn caller_has_one_valid_traceparent() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut headers = HeaderMap::new();
        assert_eq!(caller(&headers), None);
        headers.insert(TRACEPARENT, HeaderValue::from_static("00-1-2-01"));
        assert_eq!(caller(&headers), None);
        headers.insert(TRACEPARENT, HeaderValue::from_static(text));
        assert_eq!(caller(&headers), text.parse().ok());
        headers.append(TRACEPARENT, HeaderValue::from_static(text));
        assert_eq!(caller(&headers), None, "two contradict each other");
    }
}
