//! The state of a running subscriber, for its health port.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The state of a running subscriber. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct SubscriberHealth(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    connected: AtomicBool,
    has_lease: AtomicBool,
}

impl SubscriberHealth {
    /// Returns whether the last call to a gateway had an answer.
    pub fn is_connected(&self) -> bool {
        self.0.connected.load(Ordering::Relaxed)
    }

    /// Returns whether this process has the lease of the reader, and does not wait for another process.
    pub fn has_lease(&self) -> bool {
        self.0.has_lease.load(Ordering::Relaxed)
    }

    pub(crate) fn set_connected(&self, connected: bool) {
        self.0.connected.store(connected, Ordering::Relaxed);
    }

    pub(crate) fn set_lease(&self, has_lease: bool) {
        self.0.has_lease.store(has_lease, Ordering::Relaxed);
    }
}
