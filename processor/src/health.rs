//! What a running processor can tell about itself, for its health port.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use broker::Queue;
use tokio::sync::Notify;
use tokio::time::timeout;

/// How often a connected processor announces itself to the queue. A third of the time for which it counts.
const ANNOUNCE: Duration = Duration::from_secs(5);
/// How long the announcement that it ends may take.
const LEAVE: Duration = Duration::from_secs(1);

/// The state of a running processor. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct ProcessorHealth(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    connected: AtomicBool,
    pulls: Mutex<Option<String>>,
    changed: Notify,
}

impl ProcessorHealth {
    /// Whether there is a stream to a gateway, over which orders can be started.
    pub fn is_connected(&self) -> bool {
        self.0.connected.load(Ordering::Relaxed)
    }

    /// Why the last pull from the queue failed, if it did.
    pub fn pull_failure(&self) -> Option<String> {
        self.0.pulls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn connected(&self, connected: bool) {
        self.0.connected.store(connected, Ordering::Relaxed);
        self.0.changed.notify_one();
    }

    pub(crate) fn pulled(&self, outcome: Result<(), &broker::Error>) {
        let failure = outcome.err().map(ToString::to_string);
        *self.0.pulls.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    /// Announces the worker to the queue for as long as it is connected. Never returns.
    pub(crate) async fn keep_registered(&self, queue: &dyn Queue, worker: &str) {
        loop {
            let changed = self.0.changed.notified();
            // Nothing depends on it but what operators are shown, and the next one is soon.
            let _ = if self.is_connected() {
                queue.register_worker(worker).await
            } else {
                queue.deregister_worker(worker).await
            };
            let _ = timeout(ANNOUNCE, changed).await;
        }
    }

    pub(crate) async fn deregister(queue: &dyn Queue, worker: &str) {
        // Without it the worker counts for some seconds more.
        let _ = timeout(LEAVE, queue.deregister_worker(worker)).await;
    }
}
