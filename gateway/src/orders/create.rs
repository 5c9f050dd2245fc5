//! Accepting orders: one, or many at once.

use std::sync::Arc;
use std::time::Duration;

use domain::{Content, Draft, IdempotencyKey, Invalid, Order, OrderId};
use tokio::time::Instant;

use super::{Orders, Publisher};
use crate::Error;
use crate::batch::Failure;
use crate::shortcut::Shortcut;
use crate::store::{
    Creation, Error as StoreError, Idempotency, Inserted, NewOrder, Store, request_hash, request_hash_of_all,
};

/// The most orders that one request can create.
pub const MAX_ROWS: usize = 1_000;

/// How often a create is tried whose key turns out to stand for orders that are gone.
const KEY_TRIES: u32 = 2;

/// The answer to a create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// The order as it was right after its creation.
    pub order: Arc<Order>,
    /// Whether it was created before, by a request with the same key.
    pub replayed: bool,
}

/// What is done with the good rows of a bulk create when others are bad.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ErrorPolicy {
    /// Nothing is created unless every row can be.
    #[default]
    RejectEverything,
    /// The good rows are created, the bad ones are reported.
    RejectFailedRows,
}

/// One row of a bulk create as it came in.
#[derive(Debug, Clone)]
pub enum Row {
    /// An order.
    Draft(Draft),
    /// Something that the transport could not read; its bytes, to tell one request from another.
    Unreadable(Vec<u8>),
}

/// What became of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowOutcome {
    /// The order as it was right after its creation.
    Created(Arc<Order>),
    /// These values break a rule.
    Invalid(Vec<Invalid>),
    /// The transport could not read it and knows why.
    Unreadable,
    /// Nothing is wrong with it, but with another row, and nothing was created.
    NotCreated,
}

/// The answer to a bulk create: one outcome for each row, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedRows {
    /// What became of each.
    pub rows: Vec<RowOutcome>,
    /// Whether the orders were created before, by a request with the same key.
    pub replayed: bool,
}

impl Orders {
    /// Refuses a create before any work is spent on it, when it would be refused afterwards anyway.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(crate) fn has_room(&self) -> Result<(), Error> {
        if self.creations.is_full() { Err(Error::overloaded()) } else { Ok(()) }
    }

    /// Accepts an order. When it returns, the order is committed. With a key, the same order again
    /// within [`crate::Config::idempotency_ttl`] is not another order.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::KeyReused`], [`Error::Unavailable`] and [`Error::OutcomeUnknown`].
    pub async fn create(&self, draft: Draft, key: Option<IdempotencyKey>) -> Result<Created, Error> {
        let content = draft.check(self.config.default_currency).map_err(Error::Invalid)?;
        let hash = key.as_ref().map(|_| request_hash(&content)).unwrap_or_default();
        let (mut orders, replayed) = self.create_contents(vec![content], key, hash).await?;
        Ok(Created { order: orders.pop().ok_or(Error::Internal)?, replayed })
    }

    /// Accepts many orders in one transaction: all of them, or, as `policy` says, the good ones. With a
    /// key, the same request again makes no other orders and is answered as before.
    ///
    /// # Errors
    /// [`Error::RowCount`], and those of [`Self::create`] but [`Error::Invalid`]: what is wrong with a
    /// row is said in its place.
    pub async fn create_rows(
        &self,
        rows: Vec<Row>,
        policy: ErrorPolicy,
        key: Option<IdempotencyKey>,
    ) -> Result<CreatedRows, Error> {
        if rows.is_empty() || rows.len() > MAX_ROWS {
            return Err(Error::RowCount(rows.len()));
        }
        let mut outcomes = Vec::with_capacity(rows.len());
        let mut contents = Vec::with_capacity(rows.len());
        let mut identities: Vec<Vec<u8>> = vec![vec![u8::from(policy == ErrorPolicy::RejectFailedRows)]];
        for row in rows {
            let (identity, outcome) = match row {
                Row::Unreadable(bytes) => (bytes, RowOutcome::Unreadable),
                Row::Draft(draft) => {
                    let written = key.is_some().then(|| format!("{draft:?}").into_bytes());
                    match draft.check(self.config.default_currency) {
                        Ok(content) => {
                            let hash = key.is_some().then(|| request_hash(&content).to_vec());
                            contents.push(content);
                            (hash.unwrap_or_default(), RowOutcome::NotCreated)
                        }
                        Err(problems) => (written.unwrap_or_default(), RowOutcome::Invalid(problems)),
                    }
                }
            };
            identities.push(identity);
            outcomes.push(outcome);
        }
        let bad = contents.len() < outcomes.len();
        if contents.is_empty() || (bad && policy == ErrorPolicy::RejectEverything) {
            return Ok(CreatedRows { rows: outcomes, replayed: false });
        }
        let hash = key.as_ref().map(|_| request_hash_of_all(identities.iter().map(Vec::as_slice)));
        let (orders, replayed) = self.create_contents(contents, key, hash.unwrap_or_default()).await?;
        let good = outcomes.iter_mut().filter(|outcome| **outcome == RowOutcome::NotCreated);
        for (outcome, order) in good.zip(orders) {
            *outcome = RowOutcome::Created(order);
        }
        Ok(CreatedRows { rows: outcomes, replayed })
    }

    /// Creates all of them, or finds those that a request with the same key has created before.
    async fn create_contents(
        &self,
        contents: Vec<Content>,
        key: Option<IdempotencyKey>,
        request_hash: [u8; 32],
    ) -> Result<(Vec<Arc<Order>>, bool), Error> {
        let created_at = self.store.now();
        let expires_at = created_at + self.config.idempotency_ttl;
        let idempotency = key.map(|key| Idempotency { key, request_hash, expires_at });
        let ids = OrderId::new_run(created_at, contents.len());
        let orders =
            ids.into_iter().zip(contents).map(|(id, content)| NewOrder::new(id, content, created_at));
        let creation = Creation { orders: orders.collect(), idempotency };
        let (first, count) = (creation.id(), creation.orders.len());
        for _ in 0..KEY_TRIES {
            let answers = self.creations.submit(vec![creation.clone()]).await;
            return match answers.map(|mut answers| answers.pop()) {
                Ok(Some(Ok(Inserted::New))) => {
                    Ok((creation.orders.iter().map(NewOrder::order).collect(), false))
                }
                Ok(Some(Ok(Inserted::Before(id)))) => {
                    let orders = self.store.orders_as_created(&id.run(count)).await?;
                    if orders.len() < count {
                        // Removed since (see `retention`), so the key stands for nothing any more.
                        self.store.forget_key_of(id).await?;
                        continue;
                    }
                    Ok((orders.into_iter().map(Arc::new).collect(), true))
                }
                Ok(Some(Ok(Inserted::KeyReused))) => Err(Error::KeyReused),
                Ok(Some(Err(Error::OutcomeUnknown(_)))) | Err(Failure::Unknown) => {
                    Err(Error::OutcomeUnknown(first))
                }
                Ok(Some(Err(error))) => Err(error),
                Ok(None) => Err(Error::Internal),
                Err(Failure::Overloaded) => Err(Error::overloaded()),
                Err(Failure::NotDone) => Err(self.too_late()),
            };
        }
        Err(Error::Internal)
    }
}

/// Flushes a batch of creations and tells the system about the new orders.
pub(super) async fn create_all(
    store: Store,
    shortcut: Shortcut,
    publisher: Publisher,
    creations: Vec<Creation>,
) -> Vec<Result<Inserted, Error>> {
    let creations: Arc<[Creation]> = creations.into();
    let mut passage = shortcut.reserve(&creations);
    let inserted = match &passage {
        Some(_) => store.insert_taken(creations.clone(), shortcut.config.redelivery_guard).await,
        None => store.insert(creations.clone()).await,
    };
    let results = match inserted {
        Ok(inserted) => inserted.into_iter().map(Ok).collect(),
        Err(StoreError::Locked(_)) if creations.len() > 1 => {
            passage = None;
            one_by_one(&store, &creations).await
        }
        Err(error) => vec![Err(failed(error, creations[0].id())); creations.len()],
    };
    let new = || {
        let creations = creations.iter().zip(&results);
        let new = creations.filter(|(_, result)| matches!(result, Ok(Inserted::New)));
        new.flat_map(|(creation, _)| &*creation.orders)
    };
    match passage {
        Some(passage) => passage.push(new()),
        None => shortcut.wake.due(),
    }
    let events: Vec<_> = new().map(|order| Arc::new(order.event())).collect();
    metrics::counter!("orders_created_total").increment(events.len() as u64);
    publisher.publish(events);
    results
}

/// How long creations are tried one by one. Each locked key takes a second to find out.
const ONE_BY_ONE: Duration = Duration::from_secs(3);

/// A key that a hanging transaction has locked holds up nobody but its own creation: what has no key
/// is written together, what has one for itself. What is not reached in time has not been tried.
async fn one_by_one(store: &Store, creations: &[Creation]) -> Vec<Result<Inserted, Error>> {
    let without_key: Arc<[Creation]> =
        creations.iter().filter(|creation| creation.idempotency.is_none()).cloned().collect();
    let mut together = match store.insert(without_key.clone()).await {
        Ok(inserted) => inserted.into_iter().map(Ok).collect::<Vec<_>>().into_iter(),
        Err(error) => {
            let first = without_key.first().map_or(creations[0].id(), Creation::id);
            vec![Err(failed(error, first)); without_key.len()].into_iter()
        }
    };
    let until = Instant::now() + ONE_BY_ONE;
    let mut results = Vec::with_capacity(creations.len());
    for creation in creations {
        results.push(if creation.idempotency.is_none() {
            together.next().unwrap_or(Err(Error::Internal))
        } else if Instant::now() >= until {
            Err(Error::database_unavailable())
        } else {
            let inserted = store.insert(Arc::new([creation.clone()])).await;
            inserted
                .map_err(|error| failed(error, creation.id()))
                .and_then(|mut inserted| inserted.pop().ok_or(Error::Internal))
        });
    }
    results
}

fn failed(error: StoreError, first: OrderId) -> Error {
    match error {
        StoreError::CommitUnknown => Error::OutcomeUnknown(first),
        error => error.into(),
    }
}
