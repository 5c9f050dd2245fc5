//! A pause of the queue, and the last one that this process knows.

use std::sync::{Mutex, PoisonError};

use domain::Timestamp;

/// A pause of the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// The time at which it began.
    pub at: Timestamp,
    /// The time at which the queue resumes automatically; `None` when an operator has to resume it.
    pub until: Option<Timestamp>,
    /// The operator who paused it, if known.
    pub by: Option<String>,
}

/// The pause as this process last read or wrote it.
#[derive(Default)]
pub(super) struct LastPause(pub(super) Mutex<Option<Pause>>);

impl LastPause {
    pub(super) fn note(&self, pause: Option<Pause>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = pause;
    }
}
