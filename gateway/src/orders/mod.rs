//! The use cases. Every transport calls these and nothing below them.
//!
//! Each one runs as part of a batch with whatever else is going on (see `batch`), in one
//! transaction, and then tells the rest of the system: dispatch is woken, events are published.
//! Publishing and pushing happen behind the answer; a client never waits for the queue or the bus.

mod list;
mod publish;
mod transitions;

use std::sync::Arc;

use domain::transition::{Command, Outcome};
use domain::{Draft, IdempotencyKey, LeaseToken, Order, OrderEvent, OrderId};
use tokio_util::task::TaskTracker;

use crate::batch::{Batch, Failure, Limits};
use crate::dispatch::Wake;
use crate::store::{Applied, Idempotency, Inserted, NewOrder, Store, request_hash};
use crate::{Config, Error};

pub use list::{Filter, Page};
pub(crate) use publish::Publisher;

/// The use cases. Cheap to clone.
#[derive(Clone)]
pub struct Orders {
    store: Store,
    config: Arc<Config>,
    creations: Batch<NewOrder, Result<Inserted, Error>>,
    transitions: Batch<(OrderId, Command), Result<Applied, Error>>,
}

/// The answer to a create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// The order as it was right after its creation.
    pub order: Order,
    /// Whether it was created before, by a request with the same key.
    pub replayed: bool,
}

impl Orders {
    pub(crate) fn start(
        store: &Store,
        config: &Arc<Config>,
        wake: &Wake,
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
            let (store, wake, publisher) = (store.clone(), wake.clone(), publisher.clone());
            Batch::start(limits, tasks, ready(store.clone()), move |orders| {
                create_all(store.clone(), wake.clone(), publisher.clone(), orders)
            })
        };
        let transitions = {
            let (store, wake, publisher) = (store.clone(), wake.clone(), publisher.clone());
            let rules = config.rules;
            Batch::start(limits, tasks, ready(store.clone()), move |commands| {
                transitions::apply_all(store.clone(), rules, wake.clone(), publisher.clone(), commands)
            })
        };
        Self { store: store.clone(), config: config.clone(), creations, transitions }
    }

    /// Accepts an order. When it returns, the order is committed. With a key, the same order again
    /// within [`Config::idempotency_ttl`] is not another order.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::KeyReused`], [`Error::Unavailable`] and [`Error::OutcomeUnknown`].
    pub async fn create(&self, draft: Draft, key: Option<IdempotencyKey>) -> Result<Created, Error> {
        let content = draft.check(self.config.default_currency).map_err(Error::Invalid)?;
        let created_at = self.store.now();
        let idempotency = key.map(|key| Idempotency {
            key,
            request_hash: request_hash(&content),
            expires_at: created_at + self.config.idempotency_ttl,
        });
        let order = NewOrder { id: OrderId::new(created_at), content, created_at, idempotency };
        let answers = self.creations.submit(vec![order.clone()]).await;
        match answers.map(|mut answers| answers.pop()) {
            Ok(Some(Ok(Inserted::New))) => Ok(Created { order: order.into_order(), replayed: false }),
            Ok(Some(Ok(Inserted::Before(id)))) => {
                let order = self.store.order_as_created(id).await?.ok_or(Error::NotFound(id))?;
                Ok(Created { order, replayed: true })
            }
            Ok(Some(Ok(Inserted::KeyReused))) => Err(Error::KeyReused),
            Ok(Some(Err(Error::OutcomeUnknown(_)))) | Err(Failure::Unknown) => {
                Err(Error::OutcomeUnknown(order.id))
            }
            Ok(Some(Err(error))) => Err(error),
            Ok(None) => Err(Error::Internal),
            Err(Failure::Overloaded) => Err(Error::overloaded()),
            Err(Failure::NotDone) => Err(Error::database_unavailable()),
        }
    }

    /// One order.
    ///
    /// # Errors
    /// [`Error::NotFound`] and [`Error::Unavailable`].
    pub async fn get(&self, id: OrderId) -> Result<Order, Error> {
        self.store.orders(&[id]).await?.pop().ok_or(Error::NotFound(id))
    }

    /// One order and the token of its latest attempt, for workers that do not keep the token.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn with_lease(&self, id: OrderId) -> Result<(Order, Option<LeaseToken>), Error> {
        self.store.order_with_lease(id).await?.ok_or(Error::NotFound(id))
    }

    /// Those of the orders that exist, in any order; for batched loading.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn get_many(&self, ids: &[OrderId]) -> Result<Vec<Order>, Error> {
        Ok(self.store.orders(ids).await?)
    }

    /// Up to `limit` orders older than `after`, newest first.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn list(&self, filter: &Filter, after: Option<OrderId>, limit: u32) -> Result<Page, Error> {
        // One more than asked for tells whether there are more.
        let mut orders = self.store.list(filter, after, limit.saturating_add(1)).await?;
        let has_more = orders.len() > limit as usize;
        orders.truncate(limit as usize);
        Ok(Page { orders, has_more })
    }

    /// The events of an order with a sequence above `after`, oldest first.
    ///
    /// # Errors
    /// [`Error::NotFound`] and [`Error::Unavailable`].
    pub async fn events(&self, id: OrderId, after: u32) -> Result<Vec<Arc<OrderEvent>>, Error> {
        let events = self.store.events_after(&[(id, after)]).await?;
        if events.is_empty() && self.store.versions(&[id]).await?.is_empty() {
            return Err(Error::NotFound(id));
        }
        Ok(events)
    }

    /// Calls an order off; answers the order as it is then. Again answers the same.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Refused`] when the order is completed or failed, and
    /// [`Error::Unavailable`].
    pub async fn cancel(&self, id: OrderId, reason: Option<String>) -> Result<Order, Error> {
        self.change(id, Command::Cancel { reason }).await
    }

    /// Gives a failed order a new set of attempts.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Refused`] when the order is not failed, and
    /// [`Error::Unavailable`].
    pub async fn redrive(&self, id: OrderId, reason: Option<String>) -> Result<Order, Error> {
        self.change(id, Command::Redrive { reason }).await
    }

    /// Starts attempts. The same lease again answers the same order again.
    ///
    /// # Errors
    /// For all: [`Error::Unavailable`]. For one: [`Error::NotFound`] and [`Error::Refused`].
    pub async fn start_attempts(
        &self,
        leases: &[(OrderId, LeaseToken)],
    ) -> Result<Vec<Result<Order, Error>>, Error> {
        let commands = leases.iter().map(|(id, lease)| (*id, Command::Start { lease: *lease })).collect();
        self.apply(commands, transitions::order).await
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

    /// Takes back leases that ran out, as found by dispatch. How many did: another gateway may have been
    /// faster, and the worker may have come back.
    pub(crate) async fn expire(&self, commands: Vec<(OrderId, Command)>) -> Result<usize, Error> {
        let answers =
            self.apply(commands, |_, applied| Ok(matches!(applied, Applied::Changed { .. }))).await?;
        Ok(answers.iter().filter(|answer| matches!(answer, Ok(true))).count())
    }
}

async fn create_all(
    store: Store,
    wake: Wake,
    publisher: Publisher,
    orders: Vec<NewOrder>,
) -> Vec<Result<Inserted, Error>> {
    let orders: Arc<[NewOrder]> = orders.into();
    let inserted = match store.insert(orders.clone()).await {
        Ok(inserted) => inserted,
        Err(error) => {
            let error = match error {
                crate::store::Error::CommitUnknown => Error::OutcomeUnknown(orders[0].id),
                error => error.into(),
            };
            return vec![Err(error); orders.len()];
        }
    };
    let new = orders.iter().zip(&inserted).filter(|(_, inserted)| **inserted == Inserted::New);
    let events: Vec<_> = new.map(|(order, _)| Arc::new(order.event())).collect();
    metrics::counter!("orders_created_total").increment(events.len() as u64);
    wake.due();
    publisher.publish(events);
    inserted.into_iter().map(Ok).collect()
}
