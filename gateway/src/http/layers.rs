//! What happens to every request, whatever it asks for: an id, measuring, a last line of defence
//! against panics, and headers that tell browsers to be careful.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tracing::Instrument;
use uuid::Uuid;

use super::problem::Problem;
use crate::log_gate::LogGate;

/// Names a request in answers and logs.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id that is taken over from a client or a proxy.
const MAX_REQUEST_ID: usize = 64;

/// Gives the request an id, counts it, and logs it when it went wrong on our side. Refusals because of
/// a part that is away come by the thousand and share a line.
///
/// The labels of the metrics are bounded: routes are patterns such as `/orders/{id}`, and methods
/// that nobody knows are one.
pub(super) async fn observe(State(outage): State<Arc<LogGate>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers());
    let method = method_label(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let span = tracing::debug_span!(
        "request",
        id = id.to_str().unwrap_or_default(),
        method,
        path = request.uri().path()
    );

    let mut response = next.run(request).instrument(span).await;

    let status = response.status();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str).to_owned();
    if status.is_server_error() {
        let request_id = id.to_str().unwrap_or_default();
        let ms = started.elapsed().as_millis();
        let more = if status == StatusCode::SERVICE_UNAVAILABLE { outage.opens() } else { Some(0) };
        if let Some(more) = more {
            tracing::warn!(request_id, method, route, status = status.as_u16(), ms, more, "request failed");
        }
    }
    let labels = [("method", method.to_owned()), ("route", route), ("status", status.as_str().to_owned())];
    metrics::counter!("http_requests_total", &labels).increment(1);
    metrics::histogram!("http_request_seconds", &labels[..2]).record(started.elapsed());
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// A sane id that came with the request, or a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let sane = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=MAX_REQUEST_ID).contains(&bytes.len())
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
    };
    headers.get(REQUEST_ID).filter(sane).cloned().unwrap_or_else(|| {
        let id = Uuid::new_v4().to_string();
        HeaderValue::from_str(&id).expect("a UUID is a header value")
    })
}

fn method_label(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("OTHER")
}

/// Answers for a handler that takes longer than it may. Only the wait for the head of the answer
/// counts: streams go on.
pub(super) async fn deadline(State(longest): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(longest, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = format!("there was no answer within {} s", longest.as_secs_f32());
            Problem::new("request_timeout", detail).retry_after(Duration::from_secs(1)).into_response()
        }
    }
}

/// The answer when a handler panicked. The request is lost, the gateway goes on.
pub(super) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("(no text)");
    tracing::error!(panic = text, "a request handler panicked");
    Problem::from(crate::Error::Internal).into_response()
}

/// Headers for browsers. Pages add their own content security policy.
pub(super) async fn security_headers(request: Request, next: Next) -> Response {
    const HEADERS: [(&str, &str); 4] = [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
    ];
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// No route has this path.
pub(super) async fn not_found(request: Request) -> Problem {
    let path: String = request.uri().path().chars().take(200).collect();
    Problem::new("not_found", format!("there is nothing at {path}"))
}

/// The path has routes, but not for this method. The router adds `Allow`.
pub(super) async fn method_not_allowed(request: Request) -> Problem {
    let method: String = request.method().as_str().chars().take(20).collect();
    Problem::new("method_not_allowed", format!("{method} is not possible here"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_kept_when_it_is_sane() {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_static("abc-1.2_3"));
        assert_eq!(request_id(&headers), "abc-1.2_3");
        for bad in ["", "a b", "<x>", &"x".repeat(65)] {
            headers.insert(REQUEST_ID, HeaderValue::from_str(bad).unwrap());
            assert_eq!(request_id(&headers).len(), 36, "{bad}");
        }
    }

    #[test]
    fn unknown_methods_share_a_label() {
        assert_eq!(method_label(&Method::POST), "POST");
        assert_eq!(method_label(&Method::from_bytes(b"BREW").unwrap()), "OTHER");
    }
}
