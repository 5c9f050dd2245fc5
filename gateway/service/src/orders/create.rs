//! Creates one order or many.

use std::sync::Arc;

use domain::{Content, Draft, IdempotencyKey, InvalidField, Order, OrderId, Principal, Scope, Slot};

use super::use_cases::Orders;
use crate::config::MAX_ROWS;
use crate::error::{Error, ReferenceTaken};
use crate::group_commit::SubmitError;
use gateway_store::{
    CreateRequest, FoundOrders, Idempotency, InsertOutcome, MAX_KINDS, NewOrder, TakenReference, bulk_hash,
    draft_hash, request_hash, unreadable_hash,
};
use telemetry::panics::{self, Panicked};
use telemetry::trace;

/// Maximum number of attempts of a create whose key belongs to removed orders.
const KEY_TRIES: u32 = 2;
/// Maximum number of further attempts of a create without a key while shards of the database do not respond.
const SHARD_TRIES: u32 = 2;
/// Maximum number of random slots that are tried to find a shard that responds.
const PLACE_TRIES: u32 = 64;
/// Maximum number of attempts of a bulk create while other requests take references of its rows.
const REFERENCE_TRIES: u32 = 8;

/// The result of a create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// The order as created.
    pub order: Arc<Order>,
    /// Whether an earlier request with the same key created it.
    pub replayed: bool,
}

/// The handling of valid rows of a bulk create when others are invalid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ErrorPolicy {
    /// Creates no order unless every row is valid.
    #[default]
    RejectEverything,
    /// Creates the valid rows and reports the invalid ones.
    RejectFailedRows,
}

/// A row of a bulk create.
#[derive(Debug, Clone)]
pub enum BulkRow {
    /// An order.
    Draft(Box<Draft>),
    /// A row that the API could not parse. Its bytes are part of the request hash.
    Unreadable(Vec<u8>),
}

/// The outcome of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BulkRowOutcome {
    /// The order as created.
    Created(Arc<Order>),
    /// These fields are invalid.
    Invalid(Vec<InvalidField>),
    /// The API could not parse it and knows the reason.
    Unreadable,
    /// The check failed because of a defect of the gateway.
    Failed,
    /// The row is valid, but another is not, and no order was created.
    NotCreated,
    /// Its external reference is taken.
    ReferenceTaken(ReferenceTaken),
}

/// The result of a bulk create: one outcome for each row, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkCreated {
    /// The outcome of each row.
    pub rows: Vec<BulkRowOutcome>,
    /// Whether an earlier request with the same key created them.
    pub replayed: bool,
}

impl Orders {
    /// Checks a draft, and that its kind is not one too many.
    pub(super) fn check_draft(&self, draft: Draft) -> Result<Content, Vec<InvalidField>> {
        let content = draft.check(self.config.default_currency)?;
        match self.direct_enqueue.lanes.admit(&content.kind) {
            true => Ok(content),
            false => Err(vec![InvalidField::of_further_kind(MAX_KINDS)]),
        }
    }

    /// Rejects a create early if the group commit would reject it.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub fn check_capacity(&self) -> Result<(), Error> {
        if self.creations.is_full() { Err(self.timeout_error()) } else { Ok(()) }
    }

    /// Creates an order of the caller's tenant and returns after COMMIT. With a key, the same order within
    /// [`Config::idempotency_ttl`](crate::Config::idempotency_ttl) returns the first result and creates no other order.
    ///
    /// # Errors
    /// [`Error::Forbidden`] without `orders:write`, [`Error::Invalid`], [`Error::KeyReused`], [`Error::ReferenceTaken`],
    /// [`Error::TooManyOpen`], [`Error::Unavailable`] and [`Error::OutcomeUnknown`].
    pub async fn create(
        &self,
        principal: &Principal,
        draft: Draft,
        key: Option<IdempotencyKey>,
    ) -> Result<Created, Error> {
        principal.require(Scope::OrdersWrite)?;
        let content = self.check_draft(draft).map_err(Error::Invalid)?;
        let hash = key.as_ref().map(|_| request_hash(&content)).unwrap_or_default();
        match self.create_contents(principal, vec![content], key, hash, ErrorPolicy::default()).await? {
            Stored::All { mut orders, replayed } => {
                Ok(Created { order: orders.pop().ok_or(Error::Internal)?, replayed })
            }
            Stored::Taken { mut taken, .. } => {
                Err(Error::ReferenceTaken(taken.pop().ok_or(Error::Internal)?.1))
            }
        }
    }

    /// Creates orders in one transaction: all of them or, depending on `policy`, the valid ones. With a key, the same
    /// request returns the first result and creates no other orders.
    ///
    /// # Errors
    /// [`Error::RowCount`], and those of [`Self::create`] except [`Error::Invalid`] and [`Error::ReferenceTaken`]: each row
    /// reports its own.
    pub async fn create_bulk(
        &self,
        principal: &Principal,
        rows: Vec<BulkRow>,
        policy: ErrorPolicy,
        key: Option<IdempotencyKey>,
    ) -> Result<BulkCreated, Error> {
        principal.require(Scope::OrdersWrite)?;
        if rows.is_empty() || rows.len() > MAX_ROWS {
            return Err(Error::RowCount(rows.len()));
        }
        let Checked { mut outcomes, mut contents, identities } =
            Checked::new(rows, key.is_some(), |draft| self.check_draft(draft));
        if policy == ErrorPolicy::RejectEverything && outcomes.contains(&BulkRowOutcome::Failed) {
            return Err(Error::Internal);
        }
        let has_invalid = contents.len() < outcomes.len();
        if contents.is_empty() || (has_invalid && policy == ErrorPolicy::RejectEverything) {
            return Ok(BulkCreated { rows: outcomes, replayed: false });
        }
        let valid_rows_only = policy == ErrorPolicy::RejectFailedRows;
        let hash = key.as_ref().map(|_| bulk_hash(valid_rows_only, &identities)).unwrap_or_default();
        for _ in 0..REFERENCE_TRIES {
            let batch = std::mem::take(&mut contents);
            let stored = self.create_contents(principal, batch, key.clone(), hash, policy).await?;
            let (orders, taken, replayed) = match stored {
                Stored::All { orders, replayed } => (Some(orders), Vec::new(), replayed),
                Stored::Taken { created, taken, rest } => {
                    contents = rest;
                    let replayed = created.is_some();
                    (created, taken, replayed)
                }
            };
            let mut valid: Vec<&mut BulkRowOutcome> =
                outcomes.iter_mut().filter(|outcome| **outcome == BulkRowOutcome::NotCreated).collect();
            for (index, refused) in taken {
                if let Some(outcome) = valid.get_mut(index) {
                    **outcome = BulkRowOutcome::ReferenceTaken(refused);
                }
            }
            let Some(orders) = orders else {
                if policy == ErrorPolicy::RejectEverything || contents.is_empty() {
                    return Ok(BulkCreated { rows: outcomes, replayed: false });
                }
                continue;
            };
            let valid = outcomes.iter_mut().filter(|outcome| **outcome == BulkRowOutcome::NotCreated);
            for (outcome, order) in valid.zip(orders) {
                *outcome = BulkRowOutcome::Created(order);
            }
            return Ok(BulkCreated { rows: outcomes, replayed });
        }
        Err(self.timeout_error())
    }

    /// Creates all orders, or finds those of an earlier request with the same key.
    async fn create_contents(
        &self,
        principal: &Principal,
        contents: Vec<Content>,
        key: Option<IdempotencyKey>,
        request_hash: [u8; 32],
        policy: ErrorPolicy,
    ) -> Result<Stored, Error> {
        let _running = self.open_orders.admit(&self.store, principal, contents.len()).await?;
        let created_at = self.store.now();
        let expires_at = created_at + self.config.idempotency_ttl;
        let idempotency = key.map(|key| Idempotency { key, request_hash, expires_at });
        let trace = trace::current();
        let count = contents.len();
        let first = self.place(OrderId::first_of_batch(created_at, count), principal, idempotency.as_ref());
        let orders = self.keys.bulk_ids(first, count).into_iter().zip(contents);
        let orders = orders
            .map(|(id, content)| NewOrder::traced(id, principal.tenant.clone(), content, created_at, trace));
        let mut creation = CreateRequest { orders: orders.collect(), idempotency };
        let (mut key_tries, mut shard_tries) = (0, 0);
        while key_tries < KEY_TRIES {
            key_tries += 1;
            let first = creation.id();
            return match self.creations.submit_one(creation.clone()).await {
                Ok(Some(Ok(InsertOutcome::Inserted))) => {
                    let orders = creation.orders.iter().map(NewOrder::order).collect();
                    Ok(Stored::All { orders, replayed: false })
                }
                Ok(Some(Ok(InsertOutcome::Replayed(id)))) => {
                    let mut orders = self.as_created(principal, &self.keys.bulk_ids(id, count)).await?;
                    if orders.len() < count {
                        if policy == ErrorPolicy::RejectFailedRows
                            && let Some(stored) = self.created_part(&creation, id, &orders).await?
                        {
                            return Ok(stored);
                        }
                        // Consecutive ids, as earlier development versions derived them.
                        orders = self.as_created(principal, &id.consecutive(count)).await?;
                    }
                    if orders.len() < count {
                        // Removed since (see `retention`), so the key is free.
                        self.store.forget_key_of(id).await?;
                        continue;
                    }
                    Ok(Stored::All { orders: orders.into_iter().map(Arc::new).collect(), replayed: true })
                }
                Ok(Some(Ok(InsertOutcome::KeyConflict))) => Err(Error::KeyReused),
                Ok(Some(Ok(InsertOutcome::ReferenceTaken(taken)))) => Ok(Stored::refused(&creation, &taken)),
                Ok(Some(Ok(InsertOutcome::ReferenceUnavailable))) => Err(Error::database_unavailable()),
                Ok(Some(Err(Error::Unavailable { .. })))
                | Err(SubmitError::NotStarted | SubmitError::ShardUnavailable)
                    if creation.idempotency.is_none()
                        && shard_tries < SHARD_TRIES
                        && self.has_other_shard(first) =>
                {
                    // Nothing is stored, and another shard takes it.
                    (key_tries, shard_tries) = (key_tries - 1, shard_tries + 1);
                    let first = self.place(OrderId::first_of_batch(created_at, count), principal, None);
                    creation = creation.with_ids(&self.keys.bulk_ids(first, count));
                    continue;
                }
                Ok(Some(Err(Error::OutcomeUnknown(_)))) | Err(SubmitError::OutcomeUnknown) => {
                    Err(Error::OutcomeUnknown(first))
                }
                Ok(Some(Err(error))) => Err(error),
                Ok(None) => Err(Error::Internal),
                Err(SubmitError::Overloaded) => Err(self.timeout_error()),
                Err(SubmitError::NotStarted) => Err(self.timeout_error()),
                Err(SubmitError::ShardUnavailable) => Err(Error::database_unavailable()),
                Err(SubmitError::Panicked) => Err(Error::Internal),
            };
        }
        Err(Error::Internal)
    }
}

impl Orders {
    /// Returns an id for the first order of a create, in the slot of its key or, without one, in a shard that accepts writes.
    fn place(&self, id: OrderId, principal: &Principal, idempotency: Option<&Idempotency>) -> OrderId {
        if !self.store.has_shards() {
            return id;
        }
        if let Some(idempotency) = idempotency {
            return id.in_slot(idempotency.key.slot(&principal.tenant));
        }
        let is_healthy = |id: OrderId| !self.store.of(id.slot()).is_unhealthy();
        let mut others = (0..PLACE_TRIES).map(|_| id.in_slot(Slot(rand::random())));
        if is_healthy(id) { id } else { others.find(|id| is_healthy(*id)).unwrap_or(id) }
    }

    /// Returns whether a shard accepts writes while that of the order does not.
    fn has_other_shard(&self, id: OrderId) -> bool {
        self.store.has_shards() && self.store.of(id.slot()).is_unhealthy() && !self.store.is_unhealthy()
    }

    /// Finds what an earlier request with the same key has created without the orders whose references were taken.
    ///
    /// Returns `None` if orders are missing for another reason: retention has removed them.
    async fn created_part(
        &self,
        creation: &CreateRequest,
        first: OrderId,
        found: &[Order],
    ) -> Result<Option<Stored>, Error> {
        let ids = self.keys.bulk_ids(first, found.len());
        if found.is_empty() || !found.iter().map(|order| order.id).eq(ids) {
            return Ok(None);
        }
        let references: Vec<&str> =
            creation.orders.iter().filter_map(|order| order.external_reference.as_deref()).collect();
        let holders = self.store.unique_reference_holders(creation.tenant(), &references).await?;
        let mut created = found.iter().peekable();
        let mut taken = Vec::new();
        for (index, order) in creation.orders.iter().enumerate() {
            if created.next_if(|created| created.external_reference == order.external_reference).is_some() {
                continue;
            }
            let Some(reference) = order.external_reference.clone() else { return Ok(None) };
            let Some(holder) = holders.get(&reference).copied() else { return Ok(None) };
            taken.push((index, ReferenceTaken { reference, order: Some(holder) }));
        }
        Ok(created.next().is_none().then(|| Stored::Taken {
            created: Some(found.iter().cloned().map(Arc::new).collect()),
            taken,
            rest: Vec::new(),
        }))
    }

    /// Calls `gateway_store::Store::orders_as_created`.
    ///
    /// An unreadable order exists, so its create must not be repeated.
    pub(super) async fn as_created(
        &self,
        principal: &Principal,
        ids: &[OrderId],
    ) -> Result<Vec<Order>, Error> {
        let FoundOrders { orders, mut unreadable } = self.store.orders_as_created(principal, ids).await?;
        match unreadable.pop() {
            Some(unreadable) => Err(unreadable.into()),
            None => Ok(orders),
        }
    }
}

/// What a create has stored.
enum Stored {
    /// All orders.
    All { orders: Vec<Arc<Order>>, replayed: bool },
    /// Not all, because other orders have the references of some.
    Taken {
        /// The other orders, if an earlier request with the same key has created them. Otherwise nothing is stored.
        created: Option<Vec<Arc<Order>>>,
        /// The refused orders, by their index.
        taken: Vec<(usize, ReferenceTaken)>,
        /// The contents of the other orders, if nothing is stored.
        rest: Vec<Content>,
    },
}

impl Stored {
    fn refused(creation: &CreateRequest, taken: &[TakenReference]) -> Self {
        let is_taken = |index: usize| taken.iter().any(|taken| taken.index == index);
        let rest = creation.orders.iter().enumerate().filter(|(index, _)| !is_taken(*index));
        let rest = rest.map(|(_, order)| order.content.clone()).collect();
        let taken = taken.iter().map(|taken| {
            let reference = creation.orders[taken.index].external_reference.clone().unwrap_or_default();
            (taken.index, ReferenceTaken { reference, order: taken.order })
        });
        Self::Taken { created: None, taken: taken.collect(), rest }
    }
}

/// The rows of a bulk create after their check.
struct Checked {
    /// [`BulkRowOutcome::NotCreated`] for each valid row.
    outcomes: Vec<BulkRowOutcome>,
    /// The contents of the valid rows.
    contents: Vec<Content>,
    /// The hash of each row, if the create has an idempotency key.
    identities: Vec<[u8; 32]>,
}

impl Checked {
    /// Checks each row separately: a panic is the outcome of its row only.
    fn new(
        rows: Vec<BulkRow>,
        keyed: bool,
        check: impl Fn(Draft) -> Result<Content, Vec<InvalidField>>,
    ) -> Self {
        let mut checked =
            Self { outcomes: Vec::with_capacity(rows.len()), contents: Vec::new(), identities: Vec::new() };
        for row in rows {
            let (identity, outcome) = match row {
                BulkRow::Unreadable(bytes) => {
                    (keyed.then(|| unreadable_hash(&bytes)), BulkRowOutcome::Unreadable)
                }
                BulkRow::Draft(draft) => {
                    let draft_hash = keyed.then(|| draft_hash(&draft));
                    match panics::catch("bulk", || check(*draft)) {
                        Ok(Ok(content)) => {
                            let hash = keyed.then(|| request_hash(&content));
                            checked.contents.push(content);
                            (hash, BulkRowOutcome::NotCreated)
                        }
                        Ok(Err(problems)) => (draft_hash, BulkRowOutcome::Invalid(problems)),
                        Err(Panicked) => (draft_hash, BulkRowOutcome::Failed),
                    }
                }
            };
            checked.identities.extend(identity);
            checked.outcomes.push(outcome);
        }
        checked
    }
}

#[cfg(test)]
mod tests {
    use domain::Currency;

    use super::*;

    #[test]
    fn panic_fails_only_its_row() {
        let draft = |item: &str| {
            let (item, price) = (Some(item.to_owned()), Some("1".to_owned()));
            BulkRow::Draft(Box::new(Draft { item, quantity: Some(1), price, ..Draft::default() }))
        };
        let rows = vec![draft("first"), draft("defect"), draft(""), draft("last")];
        let checked = Checked::new(rows, true, |draft| {
            assert_ne!(draft.item.as_deref(), Some("defect"));
            draft.check(Currency::USD)
        });
        let items = checked.contents.iter().map(|content| content.line_items[0].item.as_str());
        assert_eq!(items.collect::<Vec<_>>(), ["first", "last"]);
        let [
            BulkRowOutcome::NotCreated,
            BulkRowOutcome::Failed,
            BulkRowOutcome::Invalid(_),
            BulkRowOutcome::NotCreated,
        ] = &checked.outcomes[..]
        else {
            panic!("{:?}", checked.outcomes)
        };
        assert_eq!(checked.identities.len(), 4);
    }
}
