//! What happens to every gRPC call, whatever it asks for: limits, and a last line of defence against panics.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::Route;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::Either;
use hyper::body::{Frame, SizeHint};
use telemetry::panics;
use tower::layer::layer_fn;
use tower::{Service, service_fn};

use crate::message_body::{HeldBytes, MessageBody, MessageLimits};
use crate::status::{refusal, to_status};
use gateway_http::context::Context as Server;
use gateway_http::header_limits;
use gateway_http::problem::Problem;
use gateway_http::streams::{Client, OpenStream, StreamKind};

/// Maximum length of a message of a worker's stream. A full batch of reports with long reasons has about 700 KB.
pub(crate) const MAX_WORKER_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// Maximum length of a message of all other calls.
const MAX_UNARY_MESSAGE_BYTES: usize = 64 * 1024;

/// The stream of a worker.
const WORK: StreamKind = StreamKind::new("work");
/// The events of an order.
const WATCH_ORDER: StreamKind = StreamKind::new("watch_order");
/// Health and reflection.
const SERVICE: StreamKind = StreamKind::new("service");

/// Puts the limits around the routes.
pub(super) fn limited(routes: Router, server: &Server) -> Router {
    let server = server.clone();
    routes.layer(layer_fn(move |mut route: Route| {
        let server = server.clone();
        service_fn(move |request: Request| around(&server, &mut route, request).map(Ok::<_, Infallible>))
    }))
}

/// What is open while a call is answered, when that is a stream.
fn kind(path: &str) -> Option<StreamKind> {
    match path {
        "/orders.v1.OrderService/Work" => Some(WORK),
        "/orders.v1.OrderService/WatchOrder" => Some(WATCH_ORDER),
        _ if path.ends_with("/Watch") || path.ends_with("/ServerReflectionInfo") => Some(SERVICE),
        _ => None,
    }
}

/// How long the messages of a call may be, and how many there are.
fn rule(kind: Option<StreamKind>, server: &Server) -> MessageLimits {
    let step = server.limits.request_read_timeout;
    let (message_bytes, unary) = match kind {
        Some(WORK) => (MAX_WORKER_MESSAGE_BYTES, false),
        // Reflection asks over a stream.
        Some(SERVICE) => (MAX_UNARY_MESSAGE_BYTES, false),
        _ => (MAX_UNARY_MESSAGE_BYTES, true),
    };
    MessageLimits { message_bytes, unary, step }
}

fn around(
    server: &Server,
    route: &mut Route,
    mut request: Request,
) -> impl Future<Output = Response> + Send + use<> {
    let kind = kind(request.uri().path());
    let stream = match admitted(server, &request, kind) {
        Ok(stream) => stream,
        Err(problem) => return Either::Left(std::future::ready(refusal(&problem))),
    };
    let held = HeldBytes::new(&server.inflight.bodies);
    request.extensions_mut().insert(held.clone());
    let rule = rule(kind, server);
    let request = request.map(|body| Body::new(MessageBody::new(body, rule, &held)));
    let call = panics::catch_async("grpc", route.call(request));
    Either::Right(call.map(move |outcome| {
        // The messages are done with.
        drop(held);
        match outcome {
            Ok(Ok(response)) => match stream {
                Some(stream) => response.map(|body| Body::new(Streamed { body, _stream: stream })),
                None => response,
            },
            Err(panicked) => to_status(panicked.into()).into_http(),
        }
    }))
}

fn admitted(
    server: &Server,
    request: &Request,
    kind: Option<StreamKind>,
) -> Result<Option<OpenStream>, Problem> {
    let limits = &server.limits;
    header_limits::check(request, limits.max_head_size, limits.max_target_size)?;
    let Some(kind) = kind else { return Ok(None) };
    let Client(client) = Client::from(request.extensions(), request.headers(), limits);
    server.streams.open(kind, client).map(Some)
}

/// The response of a stream, which counts as open until its end.
struct Streamed {
    body: Body,
    _stream: OpenStream,
}

impl hyper::body::Body for Streamed {
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

    #[test]
    fn the_limits_are_documented() {
        let worker = limits_page::bytes(MAX_WORKER_MESSAGE_BYTES);
        let unary = limits_page::bytes(MAX_UNARY_MESSAGE_BYTES);
        limits_page::row("gRPC message; message of a worker's stream", &format!("{unary}; {worker}"));
    }
}
