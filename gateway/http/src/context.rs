//! The state that the APIs of a process share.
//!
//! It consists of the limits, the memory budgets, the open streams and the state of the shutdown.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::auth::Auth;
use super::buffer_limits::BufferLimits;
use super::streams::Streams;
use crate::Config;

/// The parts of the server that every API uses. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The limits of the server.
    pub limits: Arc<Config>,
    /// The bytes that requests and responses hold.
    pub buffers: BufferLimits,
    /// The open streams.
    pub streams: Arc<Streams>,
    /// Authenticates the callers of requests.
    pub auth: Auth,
    /// Cancelled when the gateway receives the shutdown signal.
    ///
    /// Readiness turns off, and requests are served as before for the shutdown delay.
    pub departing: CancellationToken,
    /// Cancelled after the shutdown delay: streams end, spread over the shutdown timeout.
    pub draining: CancellationToken,
    /// Tracks tasks that outlive their request (websockets, streams), so that shutdown can wait for them.
    pub tasks: TaskTracker,
    shutdown_timeout: Duration,
}

impl Context {
    /// Creates the state of a process with these limits.
    pub fn new(limits: &Config, auth: Auth, shutdown_timeout: Duration) -> Self {
        Self {
            limits: Arc::new(limits.clone()),
            buffers: BufferLimits::new(limits),
            streams: Arc::new(Streams::new(limits)),
            auth,
            departing: CancellationToken::new(),
            draining: CancellationToken::new(),
            tasks: TaskTracker::new(),
            shutdown_timeout,
        }
    }

    /// Completes at a random time in the first half of the shutdown timeout.
    ///
    /// Clients therefore do not all reconnect to the next gateway at once. The second half is for closing handshakes.
    pub fn drain_signal(&self) -> impl Future<Output = ()> + Send + 'static {
        let (draining, window) = (self.draining.clone(), self.shutdown_timeout / 2);
        async move {
            draining.cancelled().await;
            tokio::time::sleep(window.mul_f64(rand::random())).await;
        }
    }
}
