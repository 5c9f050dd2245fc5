//! Accepts connections and speaks HTTP/1.1 and HTTP/2 (without TLS) on them, within limits.
//!
//! | what a client may do | what it gets |
//! |---|---|
//! | connect and send no complete request head | the connection is closed after the limit |
//! | send a head that is too large | 431 |
//! | open connections without end | the next ones wait in the kernel's queue |
//! | stop answering HTTP/2 pings | the connection is closed |
//!
//! At shutdown: nothing new is accepted, open requests are finished, and what is still open after
//! the grace is cut.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use self::counted::Counted;
use crate::config::HttpLimits;

mod counted;

/// Largest head of a request, in bytes.
const HEAD_BYTES: usize = 32 * 1024;
/// Most headers of a request.
const HEADERS: usize = 100;
/// Most requests at once on one HTTP/2 connection.
const STREAMS: u32 = 250;
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
        shutdown: shutdown.clone(),
        cut: CancellationToken::new(),
    });
    let slots = Arc::new(Semaphore::new(limits.connections));
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
                let server = server.clone();
                connections.spawn(async move { server.connection(Counted::new(stream, slot), peer).await });
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
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX))
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1);
    builder
}

/// What all connections share.
struct Server {
    http: Builder<TokioExecutor>,
    router: Router,
    first_request: Duration,
    shutdown: CancellationToken,
    /// The grace is over.
    cut: CancellationToken,
}

impl Server {
    async fn connection(self: Arc<Self>, stream: Counted<TcpStream>, peer: SocketAddr) {
        // Without it small answers wait for the client's acknowledgement of the one before.
        let _ = stream.get_ref().set_nodelay(true);
        let asked = Arc::new(AtomicBool::new(false));
        let service = service_fn(|request: Request<Incoming>| {
            asked.store(true, Ordering::Relaxed);
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            self.router.clone().oneshot(request)
        });
        let connection = self.http.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::pin!(connection);

        // hyper limits the wait for a head only once it knows the version of HTTP, for which a
        // client has to send something.
        let silent = async {
            tokio::time::sleep(self.first_request).await;
            if asked.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        tokio::pin!(silent);
        let mut ending = false;
        loop {
            tokio::select! {
                outcome = connection.as_mut() => {
                    if let Err(error) = outcome {
                        tracing::debug!(%peer, error, "connection failed");
                    }
                    return;
                }
                () = &mut silent => return,
                () = self.shutdown.cancelled(), if !ending => {
                    connection.as_mut().graceful_shutdown();
                    ending = true;
                }
                () = self.cut.cancelled() => return,
            }
        }
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
