//! The use cases. A transport that changes an order calls one of these.
//!
//! A create, a cancellation and a command of a worker run in a group commit with other requests of their kind (see
//! `batch`), in one transaction; reads, pausing and resuming do not. After COMMIT the use case wakes dispatch and
//! publishes the events in background tasks, so a client never waits for the queue or the bus.

mod counts;
mod create;
mod criteria;
mod cursor;
mod dead_letters;
mod list;
mod transitions;

use std::sync::Arc;

use domain::transition::Command;
use domain::waiting::QueueSnapshot;
use domain::{LeaseToken, Order, OrderEvent, OrderId, Outcome, Timestamp};
use tokio_util::task::TaskTracker;

use crate::batch::{Batch, Limits};
use crate::config::Config;
use crate::direct_enqueue::Shortcut;
use crate::error::Error;
use crate::health_monitor::Vitals;
use crate::keys::Keys;
use crate::publisher::Publisher;
use gateway_store::{Applied, Counts, Creation, Found, Inserted, Pause, Store, Timelines};

pub use counts::COUNTS_FRESH;
pub use create::{Created, CreatedRows, ErrorPolicy, Row, RowOutcome};
pub use criteria::{Criteria, FILTER_FIELDS, InvalidCriterion, MAX_ITEM_CONTAINS};
pub use cursor::{Cursor, InvalidCursor};
pub use dead_letters::{MAX_RATE, MAX_REDRIVEN, Redrive, Redriven, Requester};
pub use list::{Listing, Page, Take};
pub use transitions::Started;

/// The use cases. Cheap to clone.
#[derive(Clone)]
pub struct Orders {
    store: Store,
    keys: Keys,
    config: Arc<Config>,
    shortcut: Shortcut,
    counts: Arc<counts::Cache>,
    vitals: Vitals,
    creations: Batch<Creation, Result<Inserted, Error>>,
    transitions: Batch<(OrderId, Command), Result<Applied, Error>>,
}

impl Orders {
    pub(crate) fn start(
        store: &Store,
        keys: Keys,
        config: &Arc<Config>,
        shortcut: &Shortcut,
        publisher: &Publisher,
        tasks: &TaskTracker,
    ) -> Self {
        let limits = Limits {
            size: config.batch_size,
            backlog: config.batch_backlog,
            writers: config.writers,
            deadline: config.request_timeout,
        };
        let ready = |store: Store| {
            move || {
                let store = store.clone();
                async move { store.writable().await }
            }
        };
        let creations = {
            let (store, shortcut, publisher) = (store.clone(), shortcut.clone(), publisher.clone());
            let rows = |creation: &Creation| creation.orders.len();
            Batch::start(limits, tasks, rows, ready(store.clone()), move |creations, attempt| {
                create::create_all(store.clone(), shortcut.clone(), publisher.clone(), creations, attempt)
            })
        };
        let transitions = {
            let (store, shortcut, publisher) = (store.clone(), shortcut.clone(), publisher.clone());
            let rules = config.rules;
            Batch::start(
                limits,
                tasks,
                |_| 1,
                ready(store.clone()),
                // Commands recognise their effect, so carrying them out again is safe.
                move |commands, _| {
                    transitions::apply_all(
                        store.clone(),
                        rules,
                        shortcut.clone(),
                        publisher.clone(),
                        commands,
                    )
                },
            )
        };
        Self {
            store: store.clone(),
            keys,
            config: config.clone(),
            shortcut: shortcut.clone(),
            counts: Arc::default(),
            vitals: shortcut.vitals.clone(),
            creations,
            transitions,
        }
    }

    /// One order.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Unreadable`] and [`Error::Unavailable`].
    pub async fn get(&self, id: OrderId) -> Result<Order, Error> {
        let Found { mut orders, mut unreadable } = self.store.find(&[id]).await?;
        match unreadable.pop() {
            Some(unreadable) => Err(unreadable.into()),
            None => orders.pop().ok_or(Error::NotFound(id)),
        }
    }

    /// One order and the token of its latest attempt, for workers that do not keep the token.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn with_lease(&self, id: OrderId) -> Result<(Order, Option<LeaseToken>), Error> {
        Ok(self.store.order_with_lease(id).await?.ok_or(Error::NotFound(id))??)
    }

    /// Those of the orders that exist; for batched loading.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn get_many(&self, ids: &[OrderId]) -> Result<Found, Error> {
        Ok(self.store.find(ids).await?)
    }

    /// The events of an order with a sequence above `after`, oldest first.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Unreadable`] and [`Error::Unavailable`].
    pub async fn events(&self, id: OrderId, after: u32) -> Result<Vec<Arc<OrderEvent>>, Error> {
        let Timelines { events, mut unreadable } = self.store.timelines(&[(id, after)]).await?;
        // Events also go missing together with their order, when it is removed between two reads.
        if events.is_empty() && !self.store.exists(id).await? {
            return Err(Error::NotFound(id));
        }
        match unreadable.pop() {
            Some(unreadable) => Err(unreadable.into()),
            None => Ok(events),
        }
    }

    /// For each order and sequence, the events of that order with a higher sequence. For batched loading.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn events_of_many(&self, cursors: &[(OrderId, u32)]) -> Result<Timelines, Error> {
        Ok(self.store.timelines(cursors).await?)
    }

    /// Calls an order off; answers the order as it is then. Again answers the same.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Refused`] when the order is completed or failed, and
    /// [`Error::Unavailable`].
    pub async fn cancel(&self, id: OrderId, reason: Option<String>) -> Result<Order, Error> {
        self.change(id, Command::Cancel { reason }).await
    }

    /// The database's time.
    pub fn now(&self) -> Timestamp {
        self.store.now()
    }

    /// Pauses the queue: orders are accepted and none is started, until `until` or until somebody
    /// resumes it. What is being processed goes on. Pausing a paused queue changes until when.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn pause(&self, until: Option<Timestamp>, by: Option<String>) -> Result<Pause, Error> {
        let pause = self.store.pause(until, by).await?;
        self.shortcut.room.close();
        let until = pause.until.map_or("resumed".to_owned(), |until| until.to_string());
        tracing::info!(until, by = pause.by, "queue paused");
        metrics::gauge!("orders_queue_paused").set(1.0);
        Ok(pause)
    }

    /// Lets a paused queue go on. Says whether it was paused.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn resume(&self) -> Result<bool, Error> {
        let paused = self.store.resume().await?;
        metrics::gauge!("orders_queue_paused").set(0.0);
        if paused {
            tracing::info!("queue resumed");
            self.shortcut.wake.due();
        }
        Ok(paused)
    }

    /// Whether the queue is paused, and how.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn paused(&self) -> Result<Option<Pause>, Error> {
        Ok(self.store.paused().await?)
    }

    /// What decides what pending orders wait for, as last seen.
    pub fn outlook(&self) -> QueueSnapshot {
        self.store.outlook()
    }

    /// How many orders there are in each status. Counted once for all who ask within
    /// [`COUNTS_FRESH`], so it may be that old.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn counts(&self) -> Result<Counts, Error> {
        self.counts.get(&self.store).await
    }

    /// Starts attempts. The same lease again answers the same order again.
    ///
    /// # Errors
    /// For all: [`Error::Unavailable`]. For one: [`Error::NotFound`] and [`Error::Refused`].
    pub async fn start_attempts(
        &self,
        leases: &[(OrderId, LeaseToken)],
    ) -> Result<Vec<Result<Order, Error>>, Error> {
        let commands = leases.iter().map(|(id, lease)| (*id, Command::start(*lease))).collect();
        self.apply(commands, transitions::order).await
    }

    /// Starts attempts of orders of at most `max_bytes` ([`Order::approximate_bytes`]); larger orders stay as they
    /// are. The same lease again answers the same order again.
    ///
    /// # Errors
    /// As [`Self::start_attempts`].
    pub async fn start_attempts_up_to(
        &self,
        leases: &[(OrderId, LeaseToken)],
        max_bytes: usize,
    ) -> Result<Vec<Result<Started, Error>>, Error> {
        let start = |(id, lease): &(OrderId, LeaseToken)| (*id, Command::Start { lease: *lease, max_bytes });
        self.apply(leases.iter().map(start).collect(), transitions::started).await
    }

    /// Renews leases.
    ///
    /// # Errors
    /// As [`Self::start_attempts`].
    pub async fn heartbeat(&self, leases: &[(OrderId, LeaseToken)]) -> Result<Vec<Result<(), Error>>, Error> {
        let commands = leases.iter().map(|(id, lease)| (*id, Command::Heartbeat { lease: *lease })).collect();
        self.apply(commands, transitions::done).await
    }

    /// Records how attempts went. The same report again is answered as before.
    ///
    /// # Errors
    /// As [`Self::start_attempts`].
    pub async fn finish(
        &self,
        reports: Vec<(OrderId, LeaseToken, Outcome)>,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let commands = reports
            .into_iter()
            .map(|(id, lease, outcome)| (id, Command::Finish { lease, outcome }))
            .collect();
        self.apply(commands, transitions::done).await
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What binds lease tokens to orders.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Why something waited in vain for its transaction.
    pub(super) fn too_late(&self) -> Error {
        let stalled = self.vitals.is_stalled(self.config.request_timeout * 3 / 4);
        if self.store.is_ailing() || stalled { Error::database_unavailable() } else { Error::overloaded() }
    }

    /// Takes back leases that ran out, as found by dispatch. How many did: another gateway may have been
    /// faster, and the worker may have come back.
    pub(crate) async fn expire(&self, commands: Vec<(OrderId, Command)>) -> Result<usize, Error> {
        let answers =
            self.apply(commands, |_, applied| Ok(matches!(applied, Applied::Changed { .. }))).await?;
        Ok(answers.iter().filter(|answer| matches!(answer, Ok(true))).count())
    }
}
