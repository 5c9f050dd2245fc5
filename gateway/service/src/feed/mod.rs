//! Feeds subscribers: past events, then new ones, each once and in order.
//!
//! One subscription to the bus serves the whole gateway. Each watched order has a topic with its latest events. A
//! subscriber keeps its position and takes the next event from the topic, or from the database if the topic no longer
//! has it. So no subscriber has a queue that could overflow, a slow one delays no other, and a lost, repeated or late
//! message of the bus does not change what subscribers receive.
//!
//! Events that this gateway has committed go directly to its subscribers. The bus carries those of other gateways, and
//! this gateway's once more. Events that the bus lost are found by comparing the versions of all watched orders with
//! the database, after each reconnect and periodically.

mod all_orders;
mod topics;
mod watch;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use broker::{Bus, Signal};
use domain::{OrderEvent, OrderId, Principal, Scope, Status};
use futures_util::stream::BoxStream;
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::presence::Presence;
use gateway_store::Store;

pub use all_orders::FeedItem;
pub use watch::WatchFrom;

use all_orders::AllOrders;
use topics::Topics;

/// Interval of comparing the versions of all watched orders with the delivered events.
const RESYNC: Duration = Duration::from_secs(2);
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
        principal.require(Scope::OrdersRead)?;
        // Boxed: the stream of the caller keeps this future, and with it memory for the queries.
        let (store, topics) = (self.inner.store.clone(), Arc::clone(&self.inner.topics));
        Box::pin(watch::watch(store, topics, Arc::clone(principal), id, cursor)).await
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

    /// Compares all watched orders with the database after each gap and periodically. Concurrent to the bus, because a
    /// slow database must not delay its events.
    async fn compare(&self, gap: &Notify) {
        let mut timer = tokio::time::interval(RESYNC);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = gap.notified() => {}
                _ = timer.tick() => {}
            }
            self.resync().await;
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

    fn deliver_to_watchers(&self, events: &[Arc<OrderEvent>]) {
        self.inner.topics.deliver(events);
        if events.iter().any(|event| event.status == Status::Processing) {
            *self.started() = Some(Instant::now());
        }
        for event in events.iter().filter(|event| event.status == Status::Cancelled) {
            // The error means that there is no receiver.
            let _ = self.inner.cancelled.send(event.order_id);
        }
    }

    /// Compares all watched orders with the database and delivers what is missing.
    async fn resync(&self) {
        let watched = self.inner.topics.positions();
        metrics::gauge!("orders_subscribed").set(watched.len() as f64);
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
