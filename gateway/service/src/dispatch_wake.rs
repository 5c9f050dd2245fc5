//! Wakes the dispatch loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Wakes dispatch. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Wake {
    notify: Arc<Notify>,
    full: Arc<AtomicBool>,
}

impl Wake {
    /// Reports that an order is ready.
    pub(crate) fn due(&self) {
        self.notify.notify_one();
    }

    /// Completes at the next wake-up, including one before the first poll.
    pub(crate) fn notified(&self) -> Notified<'_> {
        self.notify.notified()
    }

    /// Sets whether the queue is full.
    pub(crate) fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    /// Reports a start; wakes dispatch if the queue was full.
    pub(crate) fn started(&self) {
        if self.full.load(Ordering::Relaxed) {
            self.notify.notify_one();
        }
    }
}
