//! Wakes the dispatch loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Wakes dispatch. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Wake {
    /// One for each shard of the database, because dispatch runs in each.
    notify: Arc<[Notify]>,
    full: Arc<AtomicBool>,
}

impl Wake {
    pub(crate) fn new(shards: usize) -> Self {
        Self { notify: (0..shards.max(1)).map(|_| Notify::new()).collect(), full: Arc::default() }
    }

    /// Reports that an order is ready.
    pub(crate) fn due(&self) {
        self.notify.iter().for_each(Notify::notify_one);
    }

    /// Completes at the next wake-up, including one before the first poll.
    pub(crate) fn notified(&self, shard: usize) -> Notified<'_> {
        self.notify[shard.min(self.notify.len() - 1)].notified()
    }

    /// Sets whether the queue is full.
    pub(crate) fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    /// Reports a start; wakes dispatch if the queue was full.
    pub(crate) fn started(&self) {
        if self.full.load(Ordering::Relaxed) {
            self.due();
        }
    }
}
