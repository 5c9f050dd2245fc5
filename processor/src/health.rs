//! The state of a running processor, for its health port, and its registration at the queue.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use broker::Queue;
use tokio::sync::Notify;
use tokio::time::timeout;

/// The interval of the registrations of a connected processor: a third of [`broker::REGISTRATION_TTL`].
const REGISTRATION_INTERVAL: Duration = Duration::from_secs(5);
/// The maximum duration of the deregistration.
const DEREGISTRATION_TIMEOUT: Duration = Duration::from_secs(1);

/// The state of a running processor. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct ProcessorHealth(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    connected: AtomicBool,
    pull_failure: Mutex<Option<String>>,
    connection_changed: Notify,
}

impl ProcessorHealth {
    /// Returns whether there is a stream to a gateway, over which orders can be started.
    pub fn is_connected(&self) -> bool {
        self.0.connected.load(Ordering::Relaxed)
    }

    /// Returns the error of the last pull from the queue, if it failed.
    pub fn pull_failure(&self) -> Option<String> {
        self.0.pull_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_connected(&self, connected: bool) {
        self.0.connected.store(connected, Ordering::Relaxed);
        self.0.connection_changed.notify_one();
    }

    pub(crate) fn record_pull(&self, result: Result<(), &broker::Error>) {
        let failure = result.err().map(ToString::to_string);
        *self.0.pull_failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    /// Registers the worker at the queue while it is connected. Never returns.
    pub(crate) async fn keep_registered(&self, queue: &dyn Queue, worker: &str) {
        loop {
            let changed = self.0.connection_changed.notified();
            // A failure is ignored: registrations are for display only, and the next one follows soon.
            let _ = if self.is_connected() {
                queue.register_worker(worker).await
            } else {
                queue.deregister_worker(worker).await
            };
            let _ = timeout(REGISTRATION_INTERVAL, changed).await;
        }
    }

    pub(crate) async fn deregister(queue: &dyn Queue, worker: &str) {
        // If it fails, the registration expires after some seconds.
        let _ = timeout(DEREGISTRATION_TIMEOUT, queue.deregister_worker(worker)).await;
    }
}
