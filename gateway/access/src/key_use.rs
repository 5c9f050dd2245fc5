//! Records when keys were last used: once a minute, in one statement for all keys.
//!
//! A write for each request would make the row of a busy key a queue of locks.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use gateway_store::Store;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Interval between writes of the uses.
const EVERY: Duration = Duration::from_secs(60);
/// Maximum number of keys that one write names.
const MAX_KEYS: usize = 20_000;

/// The keys that were used since the last write.
pub(crate) struct KeyUse {
    store: Store,
    ids: Mutex<HashSet<String>>,
}

impl KeyUse {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, ids: Mutex::default() }
    }

    /// Notes the use of a key.
    pub(crate) fn note(&self, id: &str) {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        if !ids.contains(id) && ids.len() < MAX_KEYS {
            ids.insert(id.to_owned());
        }
    }

    /// Writes the noted uses. What cannot be written is noted again.
    pub(crate) async fn write(&self) {
        let ids: Vec<String> = self.ids.lock().unwrap_or_else(PoisonError::into_inner).drain().collect();
        if ids.is_empty() {
            return;
        }
        if let Err(error) = self.store.record_key_use(&ids, self.store.now()).await {
            tracing::debug!(%error, keys = ids.len(), "failed to record the use of keys");
            ids.iter().for_each(|id| self.note(id));
        }
    }

    /// Writes the uses at regular times, and once more at `stop`.
    pub(crate) async fn run(&self, stop: &CancellationToken) {
        let mut times = interval(EVERY);
        times.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(times.tick()).await.is_some() {
            self.write().await;
        }
        self.write().await;
    }
}
