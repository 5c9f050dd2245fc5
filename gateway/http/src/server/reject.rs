//! Responses to connections that are not served.

use std::convert::Infallible;
use std::future::ready;
use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::ErrorCode;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};

use super::port::Responder;
use super::slow_client::SlowClientLimits;
use super::socket::Socket;
use crate::Config;
use crate::problem::Problem;

/// `Retry-After` of the response to a rejected connection.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Maximum time of the response to a rejected connection, or of closing an idle one.
pub(super) const REJECTION_TIMEOUT: Duration = Duration::from_secs(2);

/// Responds to the first request of a connection with a problem.
pub(super) async fn reject<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    http: &Builder<TokioExecutor>,
    responder: Responder,
    limits: &Config,
    stream: T,
    problem: Problem,
) {
    let slow_client = SlowClientLimits { stall: REJECTION_TIMEOUT, ..limits.into() };
    let stream = Socket::new(stream, slow_client, None);
    stream.linger().store(true, Ordering::Relaxed);
    let service = service_fn(move |request: Request<Incoming>| {
        let mut answer = (responder.refuse)(request.headers(), problem.clone());
        if request.version() != Version::HTTP_2 {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        ready(Ok::<_, Infallible>(answer))
    });
    let connection = http.serve_connection(TokioIo::new(stream), service);
    let _ = tokio::time::timeout(REJECTION_TIMEOUT, connection).await;
}

/// Builds the problem for an address with too many connections.
pub(super) fn too_many_connections() -> Problem {
    let detail = "this address has too many open connections: close some, or use one for several requests";
    Problem::new(ErrorCode::TooManyConnections, detail).retry_after(RETRY_AFTER)
}

/// Builds the problem for a client that sends HTTP without TLS to a port with TLS.
pub(super) fn tls_required() -> Problem {
    Problem::new(ErrorCode::MalformedRequest, "this port requires TLS: use https:// instead of http://")
}
