//! The limits of every gRPC call, and the conversion of a panic into the error of its call.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::Route;
use bytes::Bytes;
use domain::{Principal, Scope};
use futures_util::FutureExt;
use futures_util::future::Either;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use hyper::body::{Frame, SizeHint};
use telemetry::panics;
use tower::layer::layer_fn;
use tower::{Service, service_fn};

use crate::message_body::{HeldBytes, MessageBody, MessageLimits};
use crate::status::{from_problem, refusal, to_status};
use gateway_http::auth::{self, Credential, Verdict};
use gateway_http::context::Context as Server;
use gateway_http::header_limits;
use gateway_http::problem::Problem;
use gateway_http::quota;
use gateway_http::streams::{Client, OpenStream, StreamKind};

/// Maximum length of a message of a worker's stream.
///
/// A full batch of reports with long reasons has about 700 KB.
pub(crate) const MAX_WORKER_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// Maximum length of a message of every other call. It contains a result.
const MAX_UNARY_MESSAGE_BYTES: usize = 128 * 1024;

/// The stream of a worker.
const WORK: StreamKind = StreamKind::new("work");
/// The events of an order.
const WATCH_ORDER: StreamKind = StreamKind::new("watch_order");
/// Health and reflection.
const SERVICE: StreamKind = StreamKind::new("service");

/// A unary call that may wait: it then counts as a stream, and ends with its credential.
const READ_EVENTS: &str = "/orders.v1.Events/Read";

/// Applies the limits to the routes.
pub(super) fn limited(routes: Router, server: &Server) -> Router {
    let server = server.clone();
    routes.layer(layer_fn(move |mut route: Route| {
        let server = server.clone();
        service_fn(move |request: Request| {
            call_with_limits(&server, &mut route, request).map(Ok::<_, Infallible>)
        })
    }))
}

/// Returns the kind of the stream of a call, or `None` for a unary call.
fn stream_kind(path: &str) -> Option<StreamKind> {
    match path {
        "/orders.v1.OrderService/Work" | "/orders.v1.WorkerService/Claim" => Some(WORK),
        "/orders.v1.OrderService/WatchOrder" => Some(WATCH_ORDER),
        _ if path.ends_with("/Watch") || path.ends_with("/ServerReflectionInfo") => Some(SERVICE),
        _ => None,
    }
}

/// Returns the maximum length, the number and the timeout of the messages of a call.
fn message_limits(kind: Option<StreamKind>, server: &Server) -> MessageLimits {
    let step = server.limits.request_read_timeout;
    let (message_bytes, unary) = match kind {
        Some(WORK) => (MAX_WORKER_MESSAGE_BYTES, false),
        // Reflection sends its requests on a stream.
        Some(SERVICE) => (MAX_UNARY_MESSAGE_BYTES, false),
        _ => (MAX_UNARY_MESSAGE_BYTES, true),
    };
    MessageLimits { message_bytes, unary, step }
}

fn call_with_limits(
    server: &Server,
    route: &mut Route,
    mut request: Request,
) -> impl Future<Output = Response> + Send + use<> {
    let Client(client) = Client::from(request.extensions(), request.headers(), &server.limits);
    let authorization = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes());
    let verdict = match call_access(request.uri().path()) {
        CallAccess::Public => None,
        access @ (CallAccess::Principal | CallAccess::Scope(_)) => {
            let certificate = server.auth.of_certificate(request.headers(), request.extensions(), client);
            Some((access, certificate.or_else(|| server.auth.cached(authorization, client))))
        }
    };
    match verdict {
        None => Either::Left(run_call(server, route, request)),
        Some((access, Some(verdict))) => match enter(access, verdict, &mut request) {
            Ok(()) => Either::Left(run_call(server, route, request)),
            Err(problem) => Either::Right(std::future::ready(refusal(&problem)).boxed()),
        },
        Some((access, None)) => {
            let (server, mut route) = (server.clone(), route.clone());
            let authorization = authorization.map(<[u8]>::to_vec);
            let verified = async move {
                let verdict = server.auth.verify(authorization.as_deref(), client).await;
                match enter(access, verdict, &mut request) {
                    Ok(()) => run_call(&server, &mut route, request).await,
                    Err(problem) => refusal(&problem),
                }
            };
            Either::Right(verified.boxed())
        }
    }
}

/// Adds the caller to the request if it has the scope of the call, and charges the call.
///
/// The messages of a stream cost nothing.
fn enter(access: CallAccess, verdict: Verdict, request: &mut Request) -> Result<(), Problem> {
    let principal = verdict?;
    if let CallAccess::Scope(scope) = access {
        auth::require(&principal, scope)?;
    }
    quota::charge(&principal)?;
    request.extensions_mut().insert(principal);
    Ok(())
}

/// The condition that the callers of a gRPC call have to meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CallAccess {
    /// All clients.
    Public,
    /// Callers with a credential; the use case checks their scopes.
    Principal,
    /// Callers with this scope.
    Scope(Scope),
}

/// Returns which callers may use a call. Reflection is served only if the operator enables it.
fn call_access(path: &str) -> CallAccess {
    match path {
        "/orders.v1.OrderService/Work"
        | "/orders.v1.OrderService/UpdateStatus"
        | "/orders.v1.WorkerService/Claim" => CallAccess::Scope(Scope::Work),
        _ if path.starts_with("/orders.v1.Events/") => CallAccess::Scope(Scope::EventsRead),
        _ if path.starts_with("/grpc.health.v1.") || path.starts_with("/grpc.reflection.") => {
            CallAccess::Public
        }
        _ => CallAccess::Principal,
    }
}

fn run_call(
    server: &Server,
    route: &mut Route,
    mut request: Request,
) -> impl Future<Output = Response> + Send + use<> {
    let kind = stream_kind(request.uri().path());
    let stream = match admit(server, &request, kind) {
        Ok(stream) => stream,
        Err(problem) => return Either::Left(std::future::ready(refusal(&problem))),
    };
    // A public call has no principal. The credential of a unary call that does not wait is not needed again, and the
    // stream of a worker ends itself.
    let is_bound =
        kind != Some(WORK) && stream.is_some() && request.extensions().get::<Arc<Principal>>().is_some();
    let credential = || Credential::of(request.headers(), request.extensions());
    let bound = is_bound.then(|| (server.auth.clone(), credential()));
    let may_wait = request.uri().path() == READ_EVENTS;
    if kind == Some(WORK) || may_wait {
        let credential = credential();
        request.extensions_mut().insert(credential);
    }
    if may_wait {
        let client = Client::from(request.extensions(), request.headers(), &server.limits);
        request.extensions_mut().insert(client);
    }
    let held = HeldBytes::new(&server.buffers.bodies);
    request.extensions_mut().insert(held.clone());
    let limits = message_limits(kind, server);
    let request = request.map(|body| Body::new(MessageBody::new(body, limits, &held)));
    let call = panics::catch_async("grpc", route.call(request));
    Either::Right(call.map(move |outcome| {
        // The call has read its messages.
        drop(held);
        match outcome {
            Ok(Ok(response)) => match stream {
                Some(stream) => {
                    let response = response.map(|body| Body::new(CountedBody { body, _stream: stream }));
                    match bound {
                        Some((auth, credential)) => auth.bind_stream(response, credential, last_frame),
                        None => response,
                    }
                }
                None => response,
            },
            Err(panicked) => to_status(panicked.into()).into_http(),
        }
    }))
}

/// Returns the trailers with the problem that ends a stream.
fn last_frame(problem: &Problem) -> Frame<Bytes> {
    let mut trailers = HeaderMap::new();
    // A status of a code and a sentence is a valid header. Without one, clients report an unknown error.
    let _ = from_problem(problem).add_header(&mut trailers);
    Frame::trailers(trailers)
}

/// Checks the head of a request, and counts the stream that it opens.
fn admit(
    server: &Server,
    request: &Request,
    kind: Option<StreamKind>,
) -> Result<Option<OpenStream>, Problem> {
    let limits = &server.limits;
    header_limits::check(request, limits.max_head_size, limits.max_target_size)?;
    let Some(kind) = kind else { return Ok(None) };
    let Client(client) = Client::from(request.extensions(), request.headers(), limits);
    let caller = request.extensions().get::<Arc<Principal>>();
    server.streams.open(kind, client, caller.map(|caller| &**caller)).map(Some)
}

/// The body of a stream. The stream counts as open until the body is dropped.
struct CountedBody {
    body: Body,
    _stream: OpenStream,
}

impl hyper::body::Body for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A method of a service that is added later needs a principal, and a decision here if it needs a scope.
    #[test]
    fn every_call_needs_its_scope() {
        for (method, access) in [
            ("orders.v1.OrderService/Work", CallAccess::Scope(Scope::Work)),
            ("orders.v1.OrderService/UpdateStatus", CallAccess::Scope(Scope::Work)),
            ("orders.v1.OrderService/GetOrder", CallAccess::Principal),
            ("orders.v1.OrderService/WatchOrder", CallAccess::Principal),
            ("orders.v1.Events/Read", CallAccess::Scope(Scope::EventsRead)),
            ("orders.v1.OrderService/Later", CallAccess::Principal),
            ("grpc.health.v1.Health/Check", CallAccess::Public),
        ] {
            assert_eq!(call_access(&format!("/{method}")), access, "{method}");
        }
    }

    #[test]
    fn the_limits_are_documented() {
        let worker = limits_page::bytes(MAX_WORKER_MESSAGE_BYTES);
        let unary = limits_page::bytes(MAX_UNARY_MESSAGE_BYTES);
        limits_page::row("gRPC message; message of a worker's stream", &format!("{unary}; {worker}"));
    }
}
