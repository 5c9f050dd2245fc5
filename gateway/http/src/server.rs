//! Accepts connections and speaks HTTP/1.1 and HTTP/2 (without TLS) on them, within limits. Every port of the
//! program is served here: HTTP, gRPC and the processor's health.
//!
//! | what a client may do | what it gets |
//! |---|---|
//! | connect and send no complete request head | the connection is closed after the limit |
//! | send a head that is too large, or is not HTTP | 431, 414 or 400 as a problem |
//! | open more connections than an address may | 429 as a problem or a gRPC status, or closed when many do at once |
//! | open connections without end | those that were idle longest are closed; when none is, the next ones wait in the kernel's queue |
//! | keep an HTTP/2 connection open without a request | the connection is closed after the limit |
//! | take nothing of what waits for it | the connection is closed after the limit |
//! | ask over HTTP/2 and take back, again and again | GOAWAY, and the connection is closed |
//! | stop answering HTTP/2 pings | the connection is closed |
//!
//! At shutdown: nothing new is accepted, open requests are finished, and what is still open after
//! the grace is cut.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use domain::ErrorCode;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::header::{CONNECTION, HeaderValue};
use http::{Method, Request, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use metrics::counter;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

pub use self::connections::Connections;
use self::connections::{Activity, Connection};
use self::http1_stream::Http1Stream;
use self::http2_watch::{Http2Watch, RequestGuard};
pub use self::port::{OverloadedTrailers, Port, Responder};
use self::slow_client::SlowClientLimits;
pub use self::socket::LATE;
use self::socket::Socket;
use crate::problem::Problem;

mod connections;
mod frames;
mod http1_stream;
mod http2_watch;
mod port;
mod slow_client;
mod socket;

/// The last line before [`super::header_limits`], which refuses sooner: what is read of a head at most. A connection's buffer
/// grows up to this as well while a body arrives. hyper calls a target too long beyond 64 KiB.
const READ_BYTES: usize = 72 * 1024;
/// Most streams of HTTP/2 that were reset and that we have not looked at yet.
const RESETS: usize = 20;
/// Most resets of our own that a client of HTTP/2 may make us send.
const LOCAL_RESETS: usize = 100;
/// What is kept for one stream of HTTP/2 whose client takes nothing, in bytes.
const SEND_BYTES: usize = 64 * 1024;
/// What a client may send over HTTP/2 before it is read, in bytes: for one stream, and for the connection.
const RECEIVE_BYTES: (u32, u32) = (256 * 1024, 512 * 1024);
/// Maximum number of rejected connections that are answered at the same time; further ones are closed at once.
const MAX_REJECTIONS: usize = 64;
/// Maximum time of the response to a rejected connection, or of closing an idle one.
const REJECTION_TIMEOUT: Duration = Duration::from_secs(2);
/// When to come back then.
const COME_BACK: Duration = Duration::from_secs(5);
/// How long a connection that makes room for another one may take to say goodbye.
const FAREWELL: Duration = Duration::from_millis(100);
/// How long to wait after a failed accept: no file descriptors left, usually.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often failed accepts are logged at most.
const LOG_PAUSE: Duration = Duration::from_secs(10);

/// Serves until `shutdown`, then finishes open requests for up to `grace`. Connections that were
/// upgraded to websockets are not waited for: their handlers end them.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    port: Port,
    connections: Arc<Connections>,
    shutdown: CancellationToken,
    grace: Duration,
) {
    let server = Arc::new(Server {
        http: builder(port, connections.limits.request_read_timeout),
        responder: port.responder,
        router,
        connections,
        shutdown: shutdown.clone(),
        cut: CancellationToken::new(),
    });
    let rejections = Arc::new(Semaphore::new(MAX_REJECTIONS));
    let open = TaskTracker::new();
    let mut accepting = Accepting::default();

    loop {
        // One client is accepted before there is a slot, so that it is known that one is needed.
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
                // Without it a small answer waits until the client has acknowledged the one before. A connection
                // that has just ended has no options.
                let _ = stream.set_nodelay(true);
                let server = server.clone();
                match server.connections.acquire(peer.ip(), slot) {
                    Some(connection) => {
                        open.spawn(async move { server.connection(stream, connection, peer).await });
                    }
                    None => {
                        counter!("orders_http_rejections_total", "reason" => "connections_per_address")
                            .increment(1);
                        if let Ok(permit) = rejections.clone().try_acquire_owned() {
                            let slow_client = SlowClientLimits {
                                stall: REJECTION_TIMEOUT,
                                ..(&server.connections.limits).into()
                            };
                            let stream = Socket::new(stream, slow_client, None);
                            stream.linger().store(true, Ordering::Relaxed);
                            open.spawn(async move {
                                server.reject_connection(stream).await;
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
        // No `max_headers`: hyper's own limit is that of `header_limits`, and one that is set costs each request two
        // allocations of its size.
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

/// What all connections of one port share.
struct Server {
    http: Builder<TokioExecutor>,
    responder: Responder,
    router: Router,
    connections: Arc<Connections>,
    shutdown: CancellationToken,
    /// The grace is over.
    cut: CancellationToken,
}

impl Server {
    async fn connection(self: Arc<Self>, stream: TcpStream, connection: Connection, peer: SocketAddr) {
        let activity = connection.activity.clone();
        let slow_client = SlowClientLimits::from(&self.connections.limits);
        let stream = Socket::new(stream, slow_client, Some(connection));
        let linger = stream.linger();
        let asked = AtomicBool::new(false);
        let watch = Arc::new(Http2Watch::new(slow_client));
        let service = service_fn(|mut request: Request<Incoming>| {
            asked.store(true, Ordering::Relaxed);
            // Over HTTP/1 the socket alone shows whether the client takes what it asked for.
            let guard = (request.version() == Version::HTTP_2).then(|| watch.asked(&activity));
            if guard.is_none() {
                activity.begin();
            }
            let (linger, empty) = (linger.clone(), request.body().is_end_stream());
            request.extensions_mut().insert(ConnectInfo(peer));
            // No handler reads such a body, and unread it would stay in the connection's window.
            let unread = matches!(*request.method(), Method::GET | Method::HEAD) && guard.is_some() && !empty;
            let request = request.map(|body| if unread { Body::empty() } else { Body::new(body) });
            // A router is always ready.
            let answer = self.router.clone().call(request);
            let (activity, responder) = (activity.clone(), self.responder);
            async move {
                let answer = answer.await?;
                // The rest of the body may still arrive, and no handler reads it.
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

        // A separate set, which is polled only when it is woken, not with every request.
        let mut events = FuturesUnordered::from_iter([self.event(&asked, &activity, &watch, false)]);
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
                        // Long enough for the word that it is over.
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

    /// What ends a connection next. `ending` says that it knows of the shutdown.
    async fn event(
        &self,
        asked: &AtomicBool,
        activity: &Activity,
        watch: &Http2Watch,
        ending: bool,
    ) -> Event {
        let limits = &self.connections.limits;
        // hyper limits the wait for a head only once it knows the version of HTTP, for which a
        // client has to send something.
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
            // Counted where it was decided.
            () = activity.make_room.notified() => Event::Exceeded(None, FAREWELL),
            () = self.shutdown.cancelled(), if !ending => Event::Ending,
            () = self.cut.cancelled() => Event::Cut,
        }
    }
}

/// Returns when nothing was open for this long. Costs a timer for each of these spans.
async fn idle(activity: &Activity, longest: Duration) {
    loop {
        let idle = activity.idle_for().unwrap_or_default();
        match longest.checked_sub(idle) {
            Some(rest) if !rest.is_zero() => tokio::time::sleep(rest).await,
            _ => return,
        }
    }
}

/// Reserves the answer, and notes when it is complete. The usual one is in hyper's buffer at once and has left with
/// it; one that comes bit by bit is watched.
fn over_http1(answer: Response, activity: &Arc<Activity>, responder: Responder) -> Response {
    // A websocket is open until its connection is closed.
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

/// In place of an answer that does not fit beside those of all others. What was done stays done.
fn overloaded(answer: &Response, responder: Responder) -> Response {
    match answer.extensions().get::<Overloaded>() {
        Some(Overloaded(instead)) => instead(),
        None => (responder.refuse)(answer.headers(), Problem::overloaded()),
    }
}

/// What a transport answers instead, where a problem is not understood.
#[derive(Clone, Copy)]
pub struct Overloaded(pub fn() -> Response);

/// What may happen to a connection besides requests.
enum Event {
    /// Nothing was asked in time.
    Silent,
    /// It is over this limit, or in the way of another one, and may take this long to say goodbye.
    Exceeded(Option<&'static str>, Duration),
    /// Nothing more is to be asked: the server is shut down.
    Ending,
    /// The grace is over.
    Cut,
}

impl Server {
    /// Answers the first request of a connection that is one too many, whatever it asks for.
    async fn reject_connection(self: Arc<Self>, stream: Socket<TcpStream>) {
        let responder = self.responder;
        let service = service_fn(move |request: Request<Incoming>| async move {
            let problem = Problem::new(
                ErrorCode::TooManyConnections,
                "this address has too many open connections: close some, or use one for several requests",
            );
            let problem = problem.retry_after(COME_BACK);
            let mut answer = (responder.refuse)(request.headers(), problem);
            if request.version() != Version::HTTP_2 {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        });
        let connection = self.http.serve_connection(TokioIo::new(stream), service);
        let _ = tokio::time::timeout(REJECTION_TIMEOUT, connection).await;
    }
}

/// What to do when the kernel hands out no connection.
#[derive(Default)]
struct Accepting {
    logged: Option<Instant>,
}

impl Accepting {
    async fn failed(&mut self, error: &io::Error) {
        // These are about one client that left before it was accepted.
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
