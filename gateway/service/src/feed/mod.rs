//! Feeds subscribers: past events, then new ones, each once and in order.
//!
//! One subscription to the bus serves the whole gateway. Each watched order has a topic with its latest events. A
//! subscriber keeps its position and takes the next event from the topic, or from the database if the topic no longer
//! has it. So no subscriber has a queue that could overflow, a slow one delays no other, and a lost, repeated or late
//! message of the bus does not change what subscribers receive.
//!
//! Events that this gateway has committed go directly to its subscribers. The bus carries those of other gateways, and
//! this gateway's once more. Events that the bus lost are found by comparing the versions of watched orders with the
//! database: of all orders after a gap in the messages of the bus, when another gateway has ended, and repeatedly while the
//! bus is interrupted; and of a part of them all the time, for what nothing reports.

mod all_orders;
mod latest_progress;
mod topics;
mod watch;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use broker::{Bus, Signal};
use domain::{Order, OrderEvent, OrderId, Principal, Progress, Scope, Status};
use futures_util::stream::{BoxStream, StreamExt};
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::presence::Presence;
use gateway_store::Store;

pub use all_orders::FeedItem;
pub use watch::{WatchFrom, WatchItem};

use all_orders::AllOrders;
use latest_progress::LatestProgress;
use topics::Topics;

/// Interval of comparing the versions of a part of the watched orders with the delivered events; of all of them while the
/// bus is interrupted.
const RESYNC: Duration = Duration::from_secs(2);
/// The number of these parts: each order is compared every 30 s.
const PARTS: u8 = 15;
/// Cancellations buffered for a worker's stream; heartbeats report them as well.
const CANCELLED_BACKLOG: usize = 1_024;

/// The live feed. Cheap to clone.
#[derive(Clone)]
pub struct Feed {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    /// The caller of the comparison with the database.
    system: Principal,
    topics: Arc<Topics>,
    presence: Presence,
    all: AllOrders,
    progress: LatestProgress,
    cancelled: broadcast::Sender<OrderId>,
    /// Time of the last start by any gateway of the installation.
    started: Mutex<Option<Instant>>,
}

impl Feed {
    pub(crate) fn new(store: &Store, presence: Presence) -> Self {
        let inner = Inner {
            store: store.clone(),
            system: Principal::system("feed"),
            topics: Arc::default(),
            presence,
            all: AllOrders::new(),
            progress: LatestProgress::default(),
            cancelled: broadcast::channel(CANCELLED_BACKLOG).0,
            started: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Streams the events of one order from `cursor` on. The stream ends after a final status without a later event, or
    /// with an error.
    ///
    /// # Errors
    /// [`Error::Forbidden`] without `orders:read`, [`Error::NotFound`] and [`Error::Unavailable`], before anything is
    /// streamed.
    pub async fn watch(
        &self,
        principal: &Arc<Principal>,
        id: OrderId,
        cursor: WatchFrom,
    ) -> Result<BoxStream<'static, Result<Arc<OrderEvent>, Error>>, Error> {
        let items = self.watch_items(principal, id, cursor, false).await?;
        Ok(items.map(|item| item.map(WatchItem::into_event)).boxed())
    }

    /// As [`Self::watch`], with the progress of attempts between the events.
    ///
    /// # Errors
    /// As [`Self::watch`].
    pub async fn watch_with_progress(
        &self,
        principal: &Arc<Principal>,
        id: OrderId,
        cursor: WatchFrom,
    ) -> Result<BoxStream<'static, Result<WatchItem, Error>>, Error> {
        self.watch_items(principal, id, cursor, true).await
    }

    async fn watch_items(
        &self,
        principal: &Arc<Principal>,
        id: OrderId,
        cursor: WatchFrom,
        with_progress: bool,
    ) -> Result<BoxStream<'static, Result<WatchItem, Error>>, Error> {
        principal.require(Scope::OrdersRead)?;
        // Boxed: the stream of the caller keeps this future, and with it memory for the queries.
        let (store, topics) = (self.inner.store.clone(), Arc::clone(&self.inner.topics));
        let latest = self.inner.progress.get(id).filter(|_| with_progress);
        let progress = with_progress.then_some(latest);
        Box::pin(watch::watch(store, topics, Arc::clone(principal), id, cursor, progress)).await
    }

    /// Returns the latest progress of an order, if it runs and a worker has reported some.
    pub fn progress(&self, order: &Order) -> Option<Arc<Progress>> {
        let latest = self.inner.progress.get(order.id)?;
        let is_running = order.status == Status::Processing && latest.attempt == order.attempt;
        is_running.then_some(latest)
    }

    /// Streams every change of the orders that the caller may see from now on, for dashboards.
    ///
    /// # Errors
    /// [`Error::Forbidden`] without `events:read`.
    pub fn all(&self, principal: &Principal) -> Result<BoxStream<'static, FeedItem>, Error> {
        principal.require(Scope::EventsRead)?;
        Ok(self.inner.all.subscribe(principal, self.inner.store.now()))
    }

    /// Receives the ids of cancelled orders, for the streams of workers.
    pub fn cancelled(&self) -> broadcast::Receiver<OrderId> {
        self.inner.cancelled.subscribe()
    }

    /// Returns whether the bus has reported a start of an order within this time.
    pub(crate) fn has_started_within(&self, time: Duration) -> bool {
        self.started().is_some_and(|at| at.elapsed() <= time)
    }

    fn started(&self) -> MutexGuard<'_, Option<Instant>> {
        self.inner.started.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the bus until `stop`.
    pub(crate) async fn run(self, bus: Arc<dyn Bus>, stop: CancellationToken) {
        let gap = Notify::new();
        tokio::select! {
            () = self.follow(&*bus, &gap) => {}
            () = self.compare(&gap) => {}
            () = stop.cancelled() => {}
        }
    }

    /// Delivers the events of the bus. Its subscription ends only with the process.
    async fn follow(&self, bus: &dyn Bus, gap: &Notify) {
        let mut signals = bus.subscribe().await;
        let mut connected_before = false;
        while let Some(signal) = signals.recv().await {
            match signal {
                Signal::Events(events) => self.deliver_from_bus(&events),
                Signal::Progress(progress) => self.deliver_progress(&progress),
                Signal::Gateway(gateway) => self.inner.presence.record(gateway),
                Signal::Connected => {
                    if connected_before {
                        self.inner.all.missed();
                    }
                    connected_before = true;
                    gap.notify_one();
                }
            }
        }
    }

    /// Compares watched orders with the database. Concurrent to the bus, because a slow database must not delay its events.
    async fn compare(&self, gap: &Notify) {
        let mut timer = tokio::time::interval(RESYNC);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut part = 0;
        loop {
            let of = tokio::select! {
                () = gap.notified() => None,
                () = self.inner.presence.departed() => None,
                _ = timer.tick() => {
                    part = (part + 1) % PARTS;
                    Some(part).filter(|_| !self.inner.presence.is_interrupted())
                }
            };
            self.resync(of).await;
        }
    }

    /// Delivers events of this gateway to subscribers.
    pub(crate) fn deliver(&self, events: &[Arc<OrderEvent>]) {
        self.inner.all.deliver(events);
        self.deliver_to_watchers(events);
    }

    /// Delivers events that a gateway of this installation has sent, possibly repeated.
    fn deliver_from_bus(&self, events: &[Arc<OrderEvent>]) {
        self.inner.all.deliver_from_bus(events, self.inner.store.now());
        self.deliver_to_watchers(events);
    }

    /// Delivers progress, possibly repeated.
    pub(crate) fn deliver_progress(&self, reports: &[Progress]) {
        for progress in reports {
            let progress = Arc::new(progress.clone());
            if self.inner.progress.record(&progress) {
                self.inner.topics.deliver_progress(&progress);
            }
        }
    }

    fn deliver_to_watchers(&self, events: &[Arc<OrderEvent>]) {
        self.inner.progress.end(events);
        self.inner.topics.deliver(events);
        if events.iter().any(|event| event.status == Status::Processing) {
            *self.started() = Some(Instant::now());
        }
        for event in events.iter().filter(|event| event.status == Status::Cancelled) {
            // The error means that there is no receiver.
            let _ = self.inner.cancelled.send(event.order_id);
        }
    }

    /// Compares a part of the watched orders with the database, or all of them, and delivers what is missing.
    async fn resync(&self, part: Option<u8>) {
        let (watched, total) = self.inner.topics.positions(part.map(|part| (part, PARTS)));
        metrics::gauge!("orders_subscribed").set(total as f64);
        for chunk in watched.chunks(RESYNC_CHUNK) {
            if let Err(error) = self.resync_chunk(chunk).await {
                tracing::debug!(%error, "failed to resynchronize subscribed orders");
                return;
            }
        }
    }

    async fn resync_chunk(&self, watched: &[(OrderId, u32)]) -> Result<(), gateway_store::Error> {
        let ids: Vec<OrderId> = watched.iter().map(|(id, _)| *id).collect();
        let versions: std::collections::HashMap<OrderId, u32> =
            self.inner.store.versions(&ids).await?.into_iter().collect();
        for (id, _) in watched {
            self.inner.topics.record_existence(*id, versions.contains_key(id));
        }
        let behind: Vec<(OrderId, u32)> = watched
            .iter()
            .filter(|(id, position)| versions.get(id).is_some_and(|version| version > position))
            .copied()
            .collect();
        if !behind.is_empty() {
            let missing = self.inner.store.events_after(&self.inner.system, &behind).await?;
            metrics::counter!("orders_events_recovered_total").increment(missing.len() as u64);
            self.inner.topics.deliver(&missing);
        }
        Ok(())
    }
}

/// Orders compared in one query.
const RESYNC_CHUNK: usize = 256;
