//! Processes every request before and after its handler.
//!
//! The layer assigns a request id, measures, limits the head, checks the host and the origin, catches panics and adds
//! security headers for browsers.
//!
//! It is one layer, because each layer of a router costs a request about as much as reading its body.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::Route;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either, ready};
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, Method, StatusCode};
use hyper::body::Frame;
use ipnet::IpNet;
use tower::layer::layer_fn;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_http::cors::CorsLayer;
use tracing::Instrument;
use uuid::Uuid;

use super::address_limiter::client;
use super::auth::{Admission, Auth, Credential, Gate, authorization, end_stream};
use super::hosts::{self, Hosts};
use super::origins::{self, Origins};
use super::problem::Problem;
use super::quota::LimitedCaller;
use super::request_metrics::RequestMetrics;
use super::request_span::{self, REQUEST_ID, RequestIds};
use super::{fallback, header_limits};
use crate::Config;
use telemetry::{LogThrottle, trace};

/// Maximum length of a request id of a client or a proxy, in characters.
const MAX_REQUEST_ID: usize = 64;
/// Time after which a request that changes something is logged as slow. Requests that read can wait on purpose.
const SLOW: Duration = Duration::from_secs(1);

/// Security headers for browsers. Pages add their own content security policy.
const HEADERS: [(HeaderName, HeaderValue); 6] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ),
];

/// The HSTS header of ports with TLS: browsers use only HTTPS for this host for a year.
const HTTPS_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Wraps public routes in the layer.
pub fn around<S: Clone + Send + Sync + 'static>(routes: Router<S>, limits: &Config) -> Router<S> {
    Middleware::new(limits, Auth::off()).around(routes, Gate::Open)
}

/// The request layer of a port, for several groups of routes.
pub struct Middleware(Arc<RequestLayer>);

impl Middleware {
    /// Creates the middleware of a port.
    pub fn new(limits: &Config, auth: Auth) -> Self {
        Self(Arc::new(RequestLayer::new(limits, auth)))
    }

    /// Wraps routes in the layer. `gate` states which of their requests need a principal.
    pub fn around<S: Clone + Send + Sync + 'static>(&self, routes: Router<S>, gate: Gate) -> Router<S> {
        let layer = self.0.clone();
        routes.layer(layer_fn(move |mut route| {
            let layer = layer.clone();
            service_fn(move |request: Request| layer.clone().handle(gate, &mut route, request))
        }))
    }
}

/// The state that all requests share.
struct RequestLayer {
    max_head_size: usize,
    max_target_size: usize,
    hosts: Hosts,
    origins: Origins,
    cors: Option<CorsLayer>,
    strict_transport_security: bool,
    auth: Auth,
    trusted_proxies: Vec<IpNet>,
    metrics: RequestMetrics,
    /// Combines the log lines of the many 503 responses during an outage.
    outage: LogThrottle,
    /// Combines the log lines of slow requests.
    slow: LogThrottle,
}

impl RequestLayer {
    fn new(limits: &Config, auth: Auth) -> Self {
        Self {
            max_head_size: limits.max_head_size,
            max_target_size: limits.max_target_size,
            hosts: limits.allowed_hosts.clone(),
            origins: limits.cors_origins.clone(),
            cors: origins::cors(&limits.cors_origins),
            strict_transport_security: limits.strict_transport_security,
            auth,
            trusted_proxies: limits.trusted_proxies.clone(),
            metrics: RequestMetrics::default(),
            outage: LogThrottle::default(),
            slow: LogThrottle::default(),
        }
    }

    /// Assigns a request id, counts the request, and logs server errors.
    fn handle(
        self: Arc<Self>,
        gate: Gate,
        route: &mut Route,
        mut request: Request,
    ) -> impl Future<Output = Result<Response, Infallible>> + Send + use<> {
        let started = Instant::now();
        let id = request_id(request.headers());
        // Handlers read the id here, also one that was assigned.
        request.headers_mut().insert(REQUEST_ID, id.clone());
        let method = method_label(request.method());
        let path = request.extensions().get::<MatchedPath>().cloned();
        let is_safe = request.method().is_safe();
        let span = tracing::debug_span!(
            "request",
            id = id.to_str().unwrap_or_default(),
            method,
            path = request.uri().path()
        );
        let work = self.work(gate, route, request).instrument(span);
        async move {
            let mut response = work.await;
            let route = path.as_ref().map_or("unmatched", MatchedPath::as_str);
            let status = response.status();
            let elapsed = started.elapsed();
            if status.is_server_error() || (!is_safe && elapsed > SLOW) {
                self.log(&id, method, route, &response, elapsed);
            }
            self.metrics.record(method, route, status, elapsed);
            let headers = response.headers_mut();
            headers.reserve(HEADERS.len() + 3);
            for (name, value) in HEADERS {
                headers.insert(name, value);
            }
            if self.strict_transport_security {
                headers.insert(STRICT_TRANSPORT_SECURITY, HTTPS_ONLY);
            }
            // Caches store only responses that allow it.
            headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
            headers.insert(REQUEST_ID, id);
            Ok(response)
        }
    }

    /// Rejects the request, or passes it to the route.
    fn work(
        self: &Arc<Self>,
        gate: Gate,
        route: &mut Route,
        mut request: Request,
    ) -> impl Future<Output = Response> + Send + use<> {
        let checked = header_limits::check(&request, self.max_head_size, self.max_target_size)
            .and_then(|()| hosts::check(&request, &self.hosts))
            .and_then(|()| origins::check(&mut request, &self.origins));
        if let Err(problem) = checked {
            return Either::Left(ready(problem.into_response()));
        }
        // Pages of other sites do not get the metrics.
        match self.cors.as_ref().filter(|_| request.uri().path() != "/metrics") {
            None => Either::Right(Either::Left(self.admitted(gate, route, request))),
            Some(cors) => {
                let (layer, mut route) = (self.clone(), route.clone());
                // The layer answers a preflight request itself: browsers send it without the credential.
                let inner = service_fn(move |request| {
                    layer.admitted(gate, &mut route, request).map(Ok::<_, Infallible>)
                });
                let answered = cors.layer(inner).oneshot(request).map(|Ok(response)| response);
                let answered: BoxFuture<'static, Response> = answered.boxed();
                Either::Right(Either::Right(answered))
            }
        }
    }

    /// Returns the answer of the route if the gate admits the request. Only a look-up of a credential allocates.
    fn admitted(
        &self,
        gate: Gate,
        route: &mut Route,
        mut request: Request,
    ) -> impl Future<Output = Response> + Send + use<> {
        self.auth.read_cookie(request.headers_mut());
        let needs_client = gate != Gate::Open && self.auth.is_required();
        let proxies = &self.trusted_proxies;
        let client = needs_client.then(|| client(request.extensions(), request.headers(), proxies)).flatten();
        let credential = needs_client.then(|| request.headers().get(AUTHORIZATION).cloned()).flatten();
        match gate.admit(&self.auth, &mut request, client) {
            Admission::Granted => {
                let caller = LimitedCaller::of(request.extensions());
                if let Err(problem) = caller.charge() {
                    return Either::Right(ready(caller.finish(problem.into_response())).boxed());
                }
                let bound = credential.map(|credential| (self.auth.clone(), credential));
                Either::Left(caught(gate, route, request).map(move |response| {
                    let response = caller.finish(response);
                    match bound {
                        Some((auth, credential)) => bind_event_stream(&auth, response, credential),
                        None => response,
                    }
                }))
            }
            Admission::Refused(problem) => Either::Right(ready(problem.into_response()).boxed()),
            Admission::Unknown => {
                let (auth, mut route) = (self.auth.clone(), route.clone());
                let authorization = authorization(&request).map(<[u8]>::to_vec);
                let verified = async move {
                    match auth.verify(authorization.as_deref(), client).await {
                        Ok(principal) => {
                            request.extensions_mut().insert(principal);
                            let caller = LimitedCaller::of(request.extensions());
                            if let Err(problem) = caller.charge() {
                                return caller.finish(problem.into_response());
                            }
                            let response = caller.finish(caught(gate, &mut route, request).await);
                            match credential {
                                Some(credential) => bind_event_stream(&auth, response, credential),
                                None => response,
                            }
                        }
                        Err(problem) => problem.into_response(),
                    }
                };
                Either::Right(verified.boxed())
            }
        }
    }

    /// Logs a request that failed or was slow.
    fn log(&self, id: &HeaderValue, method: &str, route: &str, response: &Response, elapsed: Duration) {
        let status = response.status();
        let (message, more) = match status {
            StatusCode::SERVICE_UNAVAILABLE => ("request failed", self.outage.allow()),
            status if status.is_server_error() => ("request failed", Some(0)),
            _ => ("slow request", self.slow.allow()),
        };
        let Some(more) = more else { return };
        let (request_id, ms) = (id.to_str().unwrap_or_default(), elapsed.as_millis());
        let ids = response.extensions().get::<RequestIds>().cloned().unwrap_or_default();
        let (tenant, trace_id, status) = (ids.tenant(), ids.trace_id(), status.as_u16());
        tracing::warn!(request_id, tenant, trace_id, method, route, status, ms, more, "{message}");
    }
}

/// Returns the response of the route, or that of [`fallback::panicked`].
fn caught(gate: Gate, route: &mut Route, request: Request) -> impl Future<Output = Response> + Send + use<> {
    let started = Instant::now();
    let span = request_span::begin(gate, &request);
    let ids = RequestIds::new(&request, span.as_ref());
    let request_id = ids.trace().and_then(|_| request.headers().get(REQUEST_ID).cloned());
    let answered = AssertUnwindSafe(route.call(request)).catch_unwind().map(|outcome| match outcome {
        Ok(Ok(response)) => response,
        Err(panic) => fallback::panicked(panic),
    });
    let answered = match ids.trace() {
        None => Either::Left(answered),
        Some(context) => {
            let (tenant, trace_id) = (ids.tenant(), context.trace_id_text());
            let request_id = request_id.as_ref().and_then(|id| id.to_str().ok());
            let lines = tracing::info_span!("traced", request_id, tenant, trace_id);
            Either::Right(trace::scope(context, answered.instrument(lines)).boxed())
        }
    };
    answered.map(move |mut response| {
        if let Some(span) = span {
            request_span::end(span, &response);
        }
        // Only these have log lines.
        if response.status().is_server_error() || started.elapsed() > SLOW {
            response.extensions_mut().insert(ids);
        }
        response
    })
}

/// Ends a stream of events with the credential of its request.
fn bind_event_stream(auth: &Auth, response: Response, credential: HeaderValue) -> Response {
    let media_type = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if media_type.is_some_and(|media_type| media_type.starts_with(b"text/event-stream")) {
        auth.bind_stream(response, Credential::Authorization(Some(credential)), last_event)
    } else {
        response
    }
}

/// Ends a stream of events with the event `error` when `refused` completes.
pub fn end_event_stream(
    response: Response,
    refused: impl Future<Output = Problem> + Send + 'static,
) -> Response {
    end_stream(response, refused, last_event)
}

/// Returns the event `error` with the problem that ends a stream.
fn last_event(problem: &Problem) -> Frame<Bytes> {
    Frame::data(Bytes::from([b"event: error\ndata: ", &problem.to_json()[..], b"\n\n"].concat()))
}

/// Returns the valid id of the request, or a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let sane = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=MAX_REQUEST_ID).contains(&bytes.len())
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
    };
    headers.get(REQUEST_ID).filter(sane).cloned().unwrap_or_else(|| {
        // The id need not be unguessable, so the fast random numbers of the process are sufficient.
        let id = uuid::Builder::from_random_bytes(rand::random::<u128>().to_ne_bytes()).into_uuid();
        let mut text = Uuid::encode_buffer();
        HeaderValue::from_str(id.hyphenated().encode_lower(&mut text)).expect("a UUID is a header value")
    })
}

fn method_label(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("OTHER")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_request_id_is_kept() {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_static("abc-1.2_3"));
        assert_eq!(request_id(&headers), "abc-1.2_3");
        for bad in ["", "a b", "<x>", &"x".repeat(65)] {
            headers.insert(REQUEST_ID, HeaderValue::from_str(bad).unwrap());
            assert_eq!(request_id(&headers).len(), 36, "{bad}");
        }
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }

    #[test]
    fn unknown_methods_share_a_label() {
        assert_eq!(method_label(&Method::POST), "POST");
        assert_eq!(method_label(&Method::from_bytes(b"BREW").unwrap()), "OTHER");
    }

    #[test]
    fn the_limits_are_documented() {
        limits_page::row("request id of the client", &format!("{MAX_REQUEST_ID} characters"));
    }
}
