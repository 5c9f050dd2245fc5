//! The wake-up of the dispatch loop.

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
    /// An order has become due.
    pub(crate) fn due(&self) {
        self.notify.notify_one();
    }

    /// Completes at the next wake-up, also at one that comes before it is polled.
    pub(crate) fn notified(&self) -> Notified<'_> {
        self.notify.notified()
    }

    /// Whether the queue holds as many jobs as it should.
    pub(crate) fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    /// An order was started, so there is room in the queue again.
    pub(crate) fn started(&self) {
        if self.full.load(Ordering::Relaxed) {
            self.notify.notify_one();
        }
    }
}
