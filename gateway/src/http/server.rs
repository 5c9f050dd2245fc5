//! Accepts connections and speaks HTTP/1.1 and HTTP/2 (without TLS) on them, within limits.
//!
//! | what a client may do | what it gets |
//! |---|---|
//! | connect and send no complete request head | the connection is closed after the limit |
//! | send a head that is too large, or is not HTTP | 431, 414 or 400 as a problem |
//! | open more connections than an address may | 429 as a problem, or closed when many do at once |
//! | open connections without end | the next ones wait in the kernel's queue |
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
use axum::response::IntoResponse;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Version};
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

use self::pace::Pace;
use self::stream::Stream;
use crate::config::HttpLimits;
use crate::http::addresses::{Addresses, is_trusted};
use crate::http::problem::Problem;

mod pace;
mod stream;

/// The last line before [`super::heads`], which refuses sooner: what is read of a head at most.
const READ_BYTES: usize = 128 * 1024;
/// Most requests at once on one HTTP/2 connection.
const STREAMS: u32 = 100;
/// Most streams of HTTP/2 that were reset and that we have not looked at yet.
const RESETS: usize = 20;
/// Most resets of our own that a client of HTTP/2 may make us send.
const LOCAL_RESETS: usize = 100;
/// What is kept for one stream of HTTP/2 whose client takes nothing, in bytes.
const SEND_BYTES: usize = 64 * 1024;
/// Most connections at once that are told that their address has too many, and how long that may take.
const TURNED_AWAY: (usize, Duration) = (64, Duration::from_secs(2));
/// When to come back then.
const COME_BACK: Duration = Duration::from_secs(5);
/// How often an HTTP/2 connection is pinged, and how long it may take to answer.
const PING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));
/// How long to wait after a failed accept: no file descriptors left, usually.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often failed accepts are logged at most.
const LOG_PAUSE: Duration = Duration::from_secs(10);

/// Serves until `shutdown`, then finishes open requests for up to `grace`. Connections that were
/// upgraded to websockets are not waited for: whoever upgraded them ends them.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: &HttpLimits,
    shutdown: CancellationToken,
    grace: Duration,
) {
    let server = Arc::new(Server {
        http: builder(limits),
        router,
        first_request: limits.header_read_timeout,
        stall: limits.write_stall,
        shutdown: shutdown.clone(),
        cut: CancellationToken::new(),
    });
    let slots = Arc::new(Semaphore::new(limits.connections));
    let addresses = Addresses::new(usize::MAX, limits.connections_per_address);
    let turned_away = Arc::new(Semaphore::new(TURNED_AWAY.0));
    let connections = TaskTracker::new();
    let mut accepting = Accepting::default();

    loop {
        let accept = async {
            let slot = slots.clone().acquire_owned().await.expect("the semaphore is never closed");
            (slot, listener.accept().await)
        };
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = accept => accepted,
        };
        match accepted {
            (slot, Ok((stream, peer))) => {
                // Without it a small answer waits until the client has acknowledged the one before. A connection
                // that has just ended has no options.
                let _ = stream.set_nodelay(true);
                let server = server.clone();
                // A proxy speaks for many.
                let address = Some(peer.ip()).filter(|ip| !is_trusted(*ip, &limits.trusted_proxies));
                match addresses.enter(address) {
                    Ok(place) => {
                        let stream = Stream::new(stream, limits.write_stall, slot, Some(place));
                        connections.spawn(async move { server.connection(stream, peer).await });
                    }
                    Err(_) => {
                        drop(slot);
                        counter!("http_refusals_total", "limit" => "connections_per_address").increment(1);
                        if let Ok(slot) = turned_away.clone().try_acquire_owned() {
                            let stream = Stream::new(stream, TURNED_AWAY.1, slot, None);
                            stream.linger().store(true, Ordering::Relaxed);
                            connections.spawn(async move { server.turn_away(stream).await });
                        }
                    }
                }
            }
            (_, Err(error)) => accepting.failed(&error).await,
        }
    }

    drop(listener);
    connections.close();
    if tokio::time::timeout(grace, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "cutting connections that are still open after the grace");
        server.cut.cancel();
        connections.wait().await;
    }
}

fn builder(limits: &HttpLimits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read_timeout)
        // No `max_headers`: hyper's own limit is that of `heads`, and one that is set costs each request two
        // allocations of its size.
        .max_buf_size(READ_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(LOCAL_RESETS)
        .max_send_buf_size(SEND_BYTES)
        .max_header_list_size(u32::try_from(READ_BYTES).unwrap_or(u32::MAX))
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1);
    builder
}

/// What all connections share.
struct Server {
    http: Builder<TokioExecutor>,
    router: Router,
    first_request: Duration,
    stall: Duration,
    shutdown: CancellationToken,
    /// The grace is over.
    cut: CancellationToken,
}

impl Server {
    async fn connection(self: Arc<Self>, stream: Stream<TcpStream>, peer: SocketAddr) {
        let linger = stream.linger();
        let asked = AtomicBool::new(false);
        let pace = Arc::new(Pace::default());
        let service = service_fn(|request: Request<Incoming>| {
            asked.store(true, Ordering::Relaxed);
            // Over HTTP/1 the socket alone shows whether the client takes what it asked for.
            let paced = (request.version() == Version::HTTP_2).then(|| pace.asked());
            let (linger, empty) = (linger.clone(), request.body().is_end_stream());
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            // A router is always ready.
            let answer = self.router.clone().call(request);
            async move {
                let answer = answer.await?;
                // Its body may be on its way still, and nobody is going to read it.
                if !empty && !answer.status().is_success() {
                    linger.store(true, Ordering::Relaxed);
                }
                Ok::<_, Infallible>(match paced {
                    Some(paced) => answer.map(|body| paced.answered(body)),
                    None => answer,
                })
            }
        });
        let connection = self.http.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::pin!(connection);

        // In a set of its own, because that looks at it only when there is something, and not with every request.
        let mut events = FuturesUnordered::from_iter([self.event(&asked, &pace, false)]);
        loop {
            tokio::select! {
                outcome = connection.as_mut() => {
                    if let Err(error) = outcome {
                        if error.downcast_ref().is_some_and(hyper::Error::is_timeout) {
                            counter!("http_refusals_total", "limit" => "head_timeout").increment(1);
                        }
                        tracing::debug!(%peer, error, "connection failed");
                    }
                    return;
                }
                Some(event) = events.next() => match event {
                    Event::Silent => {
                        counter!("http_refusals_total", "limit" => "head_timeout").increment(1);
                        return;
                    }
                    Event::Exceeded(limit) => {
                        counter!("http_refusals_total", "limit" => limit).increment(1);
                        connection.as_mut().graceful_shutdown();
                        // Long enough for the word that it is over.
                        let _ = tokio::time::timeout(TURNED_AWAY.1, connection).await;
                        return;
                    }
                    Event::Ending => {
                        connection.as_mut().graceful_shutdown();
                        events.push(self.event(&asked, &pace, true));
                    }
                    Event::Cut => return,
                }
            }
        }
    }

    /// What ends a connection next. `ending` says that it knows of the shutdown.
    async fn event(&self, asked: &AtomicBool, pace: &Pace, ending: bool) -> Event {
        // hyper limits the wait for a head only once it knows the version of HTTP, for which a
        // client has to send something.
        let silent = async {
            tokio::time::sleep(self.first_request).await;
            if asked.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = silent => Event::Silent,
            limit = pace.exceeded(self.stall) => Event::Exceeded(limit),
            () = self.shutdown.cancelled(), if !ending => Event::Ending,
            () = self.cut.cancelled() => Event::Cut,
        }
    }
}

/// What may happen to a connection besides requests.
enum Event {
    /// Nothing was asked in time.
    Silent,
    /// The client goes beyond this limit.
    Exceeded(&'static str),
    /// Nothing more is to be asked: the server is shut down.
    Ending,
    /// The grace is over.
    Cut,
}

impl Server {
    /// Answers the first request of a connection that is one too many, whatever it asks for.
    async fn turn_away(self: Arc<Self>, stream: Stream<TcpStream>) {
        let service = service_fn(|request: Request<Incoming>| async move {
            let problem = Problem::new(
                "too_many_connections",
                "this address has too many open connections: close some, or use one for several requests",
            );
            let mut answer = problem.retry_after(COME_BACK).into_response();
            if request.version() != Version::HTTP_2 {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        });
        let connection = self.http.serve_connection(TokioIo::new(stream), service);
        let _ = tokio::time::timeout(TURNED_AWAY.1, connection).await;
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
            tracing::error!(%error, "cannot accept connections; trying on");
        }
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

#[cfg(test)]
mod tests;
