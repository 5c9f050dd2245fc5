//! The event log for readers: numbering, and pages of events.
//!
//! The gateway with the lease of the sweeper, and each gateway at which a reader waits, number committed events (see
//! `gateway_store`): soon after their own commits, so that the wait of a reader is short, and from time to time for those of other
//! gateways.

mod body;
mod cursor;
mod read;
mod readers;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gateway_store::{Installation, LogEnds, LogRetention, Numbered, Store};
use telemetry::LogThrottle;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::sweeper::Sweeper;

pub use self::cursor::{EventCursor, InvalidEventCursor};
pub use self::read::{EventPage, EventQuery, LogEvent, LogWatch, MAX_EVENTS};
pub use self::readers::{
    CommittedReader, DEFAULT_LEASE, InvalidReaderName, MAX_LEASE, MAX_METADATA, MIN_LEASE, ReaderCommit,
    ReaderName,
};
pub use gateway_store::ReaderLease;

/// Minimum pause between two transactions that number events, while a reader waits here. More commits then share one.
const READER_PAUSE: Duration = Duration::from_millis(20);
/// The same without a reader. A transaction costs the database as much as some orders.
const IDLE_PAUSE: Duration = Duration::from_millis(200);
/// Minimum pause between two transactions that remove old events.
const TRIM_PAUSE: Duration = Duration::from_millis(20);
/// Interval of looking for events of other gateways, while a reader waits here.
const READER_INTERVAL: Duration = Duration::from_millis(50);
/// The same without a reader.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);
/// Interval of reading the ends of the log, for metrics, in a gateway that does not number events.
const OBSERVE_INTERVAL: Duration = Duration::from_secs(5);
/// Pause after a failure.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Maximum number of rows without a position that are counted.
const MAX_COUNTED: u32 = 10_000;
/// Interval of removing old events.
const TRIM_INTERVAL: Duration = Duration::from_secs(30);

/// The event log. Cheap to clone.
#[derive(Clone)]
pub struct EventLog(Arc<Inner>);

struct Inner {
    store: Store,
    is_enabled: bool,
    /// The beginning of the id of the installation, for cursors.
    installation: [u8; 4],
    committed: Notify,
    /// Wakes numbering in a pause, when a reader begins to wait.
    reader_began: Notify,
    /// The next position that this gateway knows.
    next: watch::Sender<u64>,
    /// The number of readers that wait for events.
    waiting: AtomicUsize,
}

impl EventLog {
    /// Returns the log of a database, without the tasks that number and trim it.
    pub fn new(store: &Store, installation: &Installation) -> Self {
        let [a, b, c, d, ..] = installation.id;
        Self(Arc::new(Inner {
            store: store.clone(),
            is_enabled: store.has_event_log(),
            installation: [a, b, c, d],
            committed: Notify::new(),
            reader_began: Notify::new(),
            next: watch::Sender::new(0),
            waiting: AtomicUsize::new(0),
        }))
    }

    /// Returns whether there is a log.
    pub fn is_enabled(&self) -> bool {
        self.0.is_enabled
    }

    /// Reports a commit of events by this gateway.
    pub(crate) fn committed(&self) {
        self.0.committed.notify_one();
    }

    /// Numbers events until `stop`.
    pub(crate) async fn number(self, sweeper: Sweeper, stop: CancellationToken) {
        if !self.0.is_enabled {
            return;
        }
        let log = LogThrottle::default();
        loop {
            let numbers = self.has_readers() || sweeper.is_held();
            let interval = match (self.has_readers(), numbers) {
                (true, _) => READER_INTERVAL,
                (false, true) => IDLE_INTERVAL,
                (false, false) => OBSERVE_INTERVAL,
            };
            let is_local = tokio::select! {
                () = self.0.committed.notified(), if numbers => true,
                () = self.0.reader_began.notified(), if !numbers => true,
                () = tokio::time::sleep(interval) => false,
                () = sweeper.held(), if !numbers => true,
                () = stop.cancelled() => return,
            };
            let numbered =
                if is_local || numbers { self.number_all(is_local).await } else { self.observe_ends().await };
            let pause = match numbered {
                Ok(()) if self.has_readers() => READER_PAUSE,
                Ok(()) => IDLE_PAUSE,
                Err(error) => {
                    if let Some(more) = log.allow() {
                        tracing::warn!(%error, more, "failed to number events, their readers receive them later");
                    }
                    RETRY_PAUSE
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.0.reader_began.notified() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    fn has_readers(&self) -> bool {
        self.0.waiting.load(Ordering::Relaxed) > 0
    }

    /// Numbers every committed event, and returns the position of the newest one.
    ///
    /// # Errors
    /// If the database does not respond.
    pub async fn newest_position(&self) -> Result<u64, gateway_store::Error> {
        loop {
            let numbered = self.number_some().await?;
            if !numbered.more {
                return Ok(numbered.ends.next.saturating_sub(1));
            }
        }
    }

    async fn observe_ends(&self) -> Result<(), gateway_store::Error> {
        self.observe(self.0.store.event_log_ends().await?);
        Ok(())
    }

    async fn number_all(&self, is_local: bool) -> Result<(), gateway_store::Error> {
        let store = &self.0.store;
        if !is_local && !store.has_unnumbered_events().await? {
            return self.observe_ends().await;
        }
        loop {
            if !self.number_some().await?.more {
                return Ok(());
            }
        }
    }

    async fn number_some(&self) -> Result<Numbered, gateway_store::Error> {
        let numbered = self.0.store.number_events().await?;
        self.observe(numbered.ends);
        metrics::counter!("orders_event_log_numbered_total").increment(numbered.events);
        Ok(numbered)
    }

    fn observe(&self, ends: LogEnds) {
        metrics::gauge!("orders_event_log_bytes").set(ends.bytes as f64);
        metrics::gauge!("orders_event_log_events").set(ends.next.saturating_sub(ends.first) as f64);
        self.0.next.send_if_modified(|next| {
            let is_new = *next != ends.next;
            *next = ends.next;
            is_new
        });
    }

    /// Removes old events until `stop`.
    pub(crate) async fn trim(self, sweeper: Sweeper, retention: LogRetention, stop: CancellationToken) {
        let mut more = false;
        loop {
            let pause = if more { TRIM_PAUSE } else { TRIM_INTERVAL };
            tokio::select! {
                () = tokio::time::sleep(pause) => {
                    if !more && let Ok(rows) = self.0.store.count_unnumbered_events(MAX_COUNTED).await {
                        metrics::gauge!("orders_event_log_unnumbered").set(rows as f64);
                    }
                    more = sweeper.is_held() && self.0.store.trim_event_log(retention).await.unwrap_or_else(|error| {
                        tracing::debug!(%error, "failed to remove old events, retrying later");
                        false
                    });
                }
                () = stop.cancelled() => return,
            }
        }
    }
}
