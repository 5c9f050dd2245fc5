//! Accepts connections and serves HTTP/1.1 and HTTP/2 on them, with or without TLS, within limits.
//!
//! All ports of the program are served here: HTTP, gRPC and the health port of the processor.
//!
//! | client behaviour | response of the server |
//! |---|---|
//! | does not complete the TLS handshake | the connection is closed after the handshake timeout |
//! | sends HTTP without TLS to a port with TLS | 400 as a problem or a gRPC status |
//! | sends no complete request head | the connection is closed after the read timeout |
//! | sends a head that is too large, or is not HTTP | 431, 414 or 400 as a problem |
//! | exceeds the connection limit of its address | 429 as a problem or a gRPC status, or a close if many are rejected |
//! | opens all connections of the process | those idle longest are closed; if none is, new ones wait in the kernel |
//! | keeps an HTTP/2 connection open without a request | the connection is closed after the idle timeout |
//! | does not read its response | the connection is closed after the write timeout |
//! | has a client certificate that expires | GOAWAY, and the connection is closed |
//! | sends and resets HTTP/2 requests repeatedly (rapid reset) | GOAWAY, and the connection is closed |
//! | does not acknowledge HTTP/2 pings | the connection is closed |
//!
//! At shutdown, the server accepts no new connections and finishes open requests. Connections that are still open after
//! the shutdown timeout are closed.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::{Method, Request, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use metrics::counter;
use tls::{ClientIdentity, ServerTls};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

pub use self::connections::Connections;
use self::connections::{Activity, Connection};
use self::handshake::Accepted;
use self::http1_stream::Http1Stream;
use self::http2_watch::{Http2Watch, RequestGuard};
pub use self::listener::Listener;
pub use self::port::{OverloadedTrailers, Port, Responder};
use self::reject::{REJECTION_TIMEOUT, reject, tls_required, too_many_connections};
use self::slow_client::SlowClientLimits;
pub use self::socket::LATE;
use self::socket::Socket;
use crate::auth::certificate::until_end;
use crate::problem::Problem;

mod connections;
mod frames;
mod handshake;
mod handshake_limits;
mod http1_stream;
mod http2_watch;
mod listener;
mod port;
mod reject;
mod slow_client;
mod socket;

/// Maximum size of the read buffer of a connection, in bytes.
///
/// It also limits the head of a request. [`super::header_limits`] has a lower limit, so this one applies only to heads
/// that hyper rejects itself. While a body arrives, the buffer can grow to this size too. hyper rejects a target of
/// more than 64 KiB as too long.
const READ_BYTES: usize = 72 * 1024;
/// Maximum number of HTTP/2 streams that the client reset before the server accepted them.
const RESETS: usize = 20;
/// Maximum number of resets that a client of HTTP/2 can cause the server to send.
const LOCAL_RESETS: usize = 100;
/// Size of the send buffer of one HTTP/2 stream, in bytes.
const SEND_BYTES: usize = 64 * 1024;
/// HTTP/2 flow-control windows for received data, in bytes: of a stream, and of the connection.
const RECEIVE_BYTES: (u32, u32) = (256 * 1024, 512 * 1024);
/// Maximum number of concurrent responses to rejected connections; further connections are closed at once.
const MAX_REJECTIONS: usize = 64;
/// Maximum time to close an idle connection whose slot another client needs.
const CLOSE_GRACE: Duration = Duration::from_millis(100);
/// Maximum time for the streams of a connection to end after its client certificate has expired.
const EXPIRY_GRACE: Duration = Duration::from_secs(2);
/// Delay after a failed accept. The usual cause is that no file descriptors are left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Minimum interval between log lines about failed accepts.
const LOG_PAUSE: Duration = Duration::from_secs(10);

/// Serves until `shutdown`, then finishes open requests for at most `grace`.
///
/// The server does not wait for connections that were upgraded to websockets: their handlers close them.
pub async fn serve(
    listener: impl Into<Listener>,
    router: Router,
    port: Port,
    connections: Arc<Connections>,
    shutdown: CancellationToken,
    grace: Duration,
) {
    let Listener { tcp: listener, tls } = listener.into();
    let server = Arc::new(Server {
        http: builder(port, connections.limits.request_read_timeout),
        responder: port.responder,
        router,
        connections,
        tls,
        rejections: Arc::new(Semaphore::new(MAX_REJECTIONS)),
        shutdown: shutdown.clone(),
        cut: CancellationToken::new(),
    });
    let open = TaskTracker::new();
    let mut accepting = Accepting::default();

    loop {
        // A connection is accepted before a slot is reserved, so that idle connections are closed only if a client
        // waits.
        let accept = async {
            let accepted = listener.accept().await?;
            Ok((accepted, server.connections.slot().await))
        };
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = accept => accepted,
        };
        match accepted {
            Ok(((stream, peer), slot)) => {
                // Without this option, a small response waits until the client has acknowledged the previous one.
                // Setting it on a connection that has just ended fails, which has no effect.
                let _ = stream.set_nodelay(true);
                let server = server.clone();
                match server.connections.acquire(peer.ip(), slot) {
                    Some(connection) => {
                        open.spawn(server.accepted(stream, connection, peer));
                    }
                    None => {
                        counter!("orders_http_rejections_total", "reason" => "connections_per_address")
                            .increment(1);
                        if let Ok(permit) = server.rejections.clone().try_acquire_owned() {
                            open.spawn(async move {
                                server.reject_address(stream, peer.ip()).await;
                                drop(permit);
                            });
                        }
                    }
                }
            }
            Err(error) => accepting.failed(&error).await,
        }
    }

    drop(listener);
    open.close();
    if tokio::time::timeout(grace, open.wait()).await.is_err() {
        tracing::warn!(open = open.len(), "closing connections that exceeded the shutdown timeout");
        server.cut.cancel();
        open.wait().await;
    }
}

fn builder(port: Port, request_read_timeout: Duration) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    if port.only_http2 {
        builder = builder.http2_only();
    }
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(request_read_timeout)
        // No `max_headers`: hyper's default equals the limit of `header_limits`, and an explicit limit costs each
        // request two allocations of its size.
        .max_buf_size(READ_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(port.max_concurrent_requests)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(LOCAL_RESETS)
        .max_send_buf_size(SEND_BYTES)
        .initial_stream_window_size(RECEIVE_BYTES.0)
        .initial_connection_window_size(RECEIVE_BYTES.1)
        .max_header_list_size(u32::try_from(READ_BYTES).unwrap_or(u32::MAX))
        .keep_alive_interval(port.ping_interval)
        .keep_alive_timeout(port.ping_timeout);
    builder
}

/// The state that all connections of one port share.
struct Server {
    http: Builder<TokioExecutor>,
    responder: Responder,
    router: Router,
    connections: Arc<Connections>,
    /// The certificate of the port.
    tls: Option<Arc<ServerTls>>,
    /// Permits of responses to rejected connections.
    rejections: Arc<Semaphore>,
    shutdown: CancellationToken,
    /// Cancelled when the shutdown timeout has elapsed.
    cut: CancellationToken,
}

impl Server {
    /// Serves a connection, after the handshake if the port has a certificate.
    async fn accepted(self: Arc<Self>, stream: TcpStream, connection: Connection, peer: SocketAddr) {
        let Some(tls) = self.tls.clone() else {
            return self.connection(stream, connection, peer, None).await;
        };
        // Boxed: a connection without TLS does not pay for the memory of one with it.
        let with_tls = async move {
            let accepted = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return,
                () = connection.activity.make_room.notified() => return,
                accepted = self.handshake(stream, &tls, peer.ip()) => accepted,
            };
            match accepted {
                Some(Accepted::Tls(stream, identity)) => {
                    self.connection(*stream, connection, peer, identity).await;
                }
                Some(Accepted::WithoutTls(stream)) => {
                    if let Ok(_permit) = self.rejections.clone().try_acquire_owned() {
                        self.reject(stream, tls_required()).await;
                    }
                }
                None => {}
            }
        };
        Box::pin(with_tls).await;
    }

    /// Rejects a connection whose address has too many.
    async fn reject_address(&self, stream: TcpStream, peer: IpAddr) {
        let Some(tls) = &self.tls else { return self.reject(stream, too_many_connections()).await };
        let handshake = self.handshake(stream, tls, peer);
        match tokio::time::timeout(REJECTION_TIMEOUT, Box::pin(handshake)).await {
            Ok(Some(Accepted::Tls(stream, _))) => self.reject(*stream, too_many_connections()).await,
            Ok(Some(Accepted::WithoutTls(stream))) => self.reject(stream, tls_required()).await,
            Ok(None) | Err(_) => {}
        }
    }

    async fn reject<T>(&self, stream: T, problem: Problem)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        reject(&self.http, self.responder, &self.connections.limits, stream, problem).await;
    }

    async fn handshake(&self, stream: TcpStream, tls: &ServerTls, peer: IpAddr) -> Option<Accepted> {
        let connections = &self.connections;
        let (address, timeout) = (connections.limited_address(peer), connections.limits.request_read_timeout);
        connections.handshakes.accept(stream, tls, address, timeout).await
    }

    async fn connection<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        self: Arc<Self>,
        stream: T,
        connection: Connection,
        peer: SocketAddr,
        identity: Option<ClientIdentity>,
    ) {
        let activity = connection.activity.clone();
        let slow_client = SlowClientLimits::from(&self.connections.limits);
        let stream = Socket::new(stream, slow_client, Some(connection));
        let linger = stream.linger();
        let asked = AtomicBool::new(false);
        let watch = Arc::new(Http2Watch::new(slow_client));
        let service = service_fn(|mut request: Request<Incoming>| {
            asked.store(true, Ordering::Relaxed);
            // Over HTTP/1, the socket alone shows whether the client reads its response.
            let guard = (request.version() == Version::HTTP_2).then(|| watch.asked(&activity));
            if guard.is_none() {
                activity.begin();
            }
            let (linger, empty) = (linger.clone(), request.body().is_end_stream());
            request.extensions_mut().insert(ConnectInfo(peer));
            if let Some(identity) = &identity {
                request.extensions_mut().insert(identity.clone());
            }
            // No handler reads the body of a GET or HEAD request. Unread, it would occupy the window of the connection.
            let unread = matches!(*request.method(), Method::GET | Method::HEAD) && guard.is_some() && !empty;
            let request = request.map(|body| if unread { Body::empty() } else { Body::new(body) });
            // A router is always ready, so `poll_ready` is not called.
            let answer = self.router.clone().call(request);
            let (activity, responder) = (activity.clone(), self.responder);
            async move {
                let answer = answer.await?;
                // The rest of the request body can still arrive, and no handler reads it.
                if !empty && !answer.status().is_success() {
                    linger.store(true, Ordering::Relaxed);
                }
                Ok::<_, Infallible>(match guard {
                    Some(guard) => over_http2(answer, guard, responder),
                    None => over_http1(answer, &activity, responder),
                })
            }
        });
        let connection = self.http.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::pin!(connection);

        // A separate set is polled only when it is woken, and not with every request.
        let mut events = FuturesUnordered::from_iter([self.event(&asked, &activity, &watch, false)]);
        let mut expired = pin!(until_expired(identity.as_ref()));
        loop {
            tokio::select! {
                outcome = connection.as_mut() => {
                    if let Err(error) = outcome {
                        if error.downcast_ref().is_some_and(hyper::Error::is_timeout) {
                            counter!("orders_http_rejections_total", "reason" => "head_timeout").increment(1);
                        }
                        tracing::debug!(%peer, error, "connection failed");
                    }
                    return;
                }
                () = &mut expired => {
                    counter!("orders_http_rejections_total", "reason" => "certificate_expired").increment(1);
                    connection.as_mut().graceful_shutdown();
                    let _ = tokio::time::timeout(EXPIRY_GRACE, connection).await;
                    return;
                }
                Some(event) = events.next() => match event {
                    Event::Silent => {
                        counter!("orders_http_rejections_total", "reason" => "head_timeout").increment(1);
                        return;
                    }
                    Event::Exceeded(limit, farewell) => {
                        if let Some(limit) = limit {
                            counter!("orders_http_rejections_total", "reason" => limit).increment(1);
                        }
                        connection.as_mut().graceful_shutdown();
                        // Gives the client time to receive the GOAWAY or the end of the connection.
                        let _ = tokio::time::timeout(farewell, connection).await;
                        return;
                    }
                    Event::Ending => {
                        connection.as_mut().graceful_shutdown();
                        events.push(self.event(&asked, &activity, &watch, true));
                    }
                    Event::Cut => return,
                }
            }
        }
    }

    /// Waits for the next event that ends a connection.
    ///
    /// `ending` means that the connection has already started its graceful shutdown.
    async fn event(
        &self,
        asked: &AtomicBool,
        activity: &Activity,
        watch: &Http2Watch,
        ending: bool,
    ) -> Event {
        let limits = &self.connections.limits;
        // hyper starts the timeout for a head only when it knows the HTTP version, for which the client must send
        // bytes.
        let silent = async {
            tokio::time::sleep(limits.request_read_timeout).await;
            if asked.load(Ordering::Relaxed) || activity.has_greeted() {
                idle(activity, limits.idle_timeout).await;
                return Event::Exceeded(Some("idle"), REJECTION_TIMEOUT);
            }
            Event::Silent
        };
        tokio::select! {
            event = silent => event,
            limit = watch.exceeded() => Event::Exceeded(Some(limit), REJECTION_TIMEOUT),
            // `close_idle` counts these.
            () = activity.make_room.notified() => Event::Exceeded(None, CLOSE_GRACE),
            () = self.shutdown.cancelled(), if !ending => Event::Ending,
            () = self.cut.cancelled() => Event::Cut,
        }
    }
}

/// Waits until the end of the client certificate.
async fn until_expired(identity: Option<&ClientIdentity>) {
    match identity {
        Some(identity) => until_end(identity).await,
        None => std::future::pending().await,
    }
}

/// Returns when the connection has been idle for the duration `longest`.
///
/// Each such duration costs one timer.
async fn idle(activity: &Activity, longest: Duration) {
    loop {
        let idle = activity.idle_for().unwrap_or_default();
        match longest.checked_sub(idle) {
            Some(rest) if !rest.is_zero() => tokio::time::sleep(rest).await,
            _ => return,
        }
    }
}

/// Reserves the memory of an HTTP/1 response and tracks when it is complete.
///
/// A response of known length is in hyper's buffer at once, and the flush of the socket completes it. A streamed
/// response is wrapped in [`Http1Stream`].
fn over_http1(answer: Response, activity: &Arc<Activity>, responder: Responder) -> Response {
    // A websocket stays open until its connection is closed.
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        activity.upgrade();
        return answer;
    }
    let Some(bytes) = answer.body().size_hint().exact() else {
        return answer.map(|body| Body::new(Http1Stream::new(body, activity)));
    };
    activity.answered();
    match activity.hold(usize::try_from(bytes).unwrap_or(usize::MAX)) {
        true => answer,
        false => overloaded(&answer, responder),
    }
}

fn over_http2(answer: Response, guard: RequestGuard, responder: Responder) -> Response {
    let trailers = (responder.overloaded_trailers)(answer.headers());
    let (head, body) = answer.into_parts();
    match guard.answered(body, trailers) {
        Some(body) => Response::from_parts(head, body),
        None => overloaded(&Response::from_parts(head, Body::empty()), responder),
    }
}

/// Returns the response that replaces one that exceeds the memory for responses.
///
/// The effects of the request remain.
fn overloaded(answer: &Response, responder: Responder) -> Response {
    match answer.extensions().get::<Overloaded>() {
        Some(Overloaded(instead)) => instead(),
        None => (responder.refuse)(answer.headers(), Problem::overloaded()),
    }
}

/// Response extension of a transport whose clients do not understand a problem: builds the replacement.
#[derive(Clone, Copy)]
pub struct Overloaded(pub fn() -> Response);

/// Events that end a connection.
enum Event {
    /// The client sent no request before the read timeout.
    Silent,
    /// The connection exceeds this limit, or another client needs its slot.
    ///
    /// The duration is the maximum time of the close.
    Exceeded(Option<&'static str>, Duration),
    /// The server shuts down, so the connection accepts no more requests.
    Ending,
    /// The shutdown timeout has elapsed.
    Cut,
}

/// Handles failed accepts.
#[derive(Default)]
struct Accepting {
    logged: Option<Instant>,
}

impl Accepting {
    async fn failed(&mut self, error: &io::Error) {
        // These errors concern one client that disconnected before it was accepted.
        if matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
        ) {
            return;
        }
        if self.logged.is_none_or(|last| last.elapsed() >= LOG_PAUSE) {
            self.logged = Some(Instant::now());
            tracing::error!(%error, "failed to accept a connection; retrying");
        }
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

#[cfg(test)]
mod tests;
