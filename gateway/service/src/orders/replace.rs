//! Replaces an order by a new one.

use std::sync::Arc;

use domain::{Draft, IdempotencyKey, OrderId, Principal, Scope};
use gateway_store::{
    CreateRequest, Error as StoreError, Idempotency, NewOrder, ReplaceRequest, Replacement, replace_hash,
};
use telemetry::trace;

use super::actor::Actor;
use super::command_batch::record_changes;
use super::create::Created;
use super::use_cases::Orders;
use crate::error::{Error, ReferenceTaken};

/// Maximum number of attempts of a replacement whose key belongs to a removed order.
const KEY_TRIES: u32 = 2;

impl Orders {
    /// Cancels an order that was never started and creates another one, in one transaction. Each names the other.
    ///
    /// With a key, the same request returns the first result. With `expected`, only an order with one of these sequences
    /// is replaced. The number of open orders does not change, so their maximum is not checked.
    ///
    /// # Errors
    /// Those of [`Self::create`] except [`Error::TooManyOpen`], [`Error::NotFound`], [`Error::Started`],
    /// [`Error::Refused`] for a final order, [`Error::OrderChanged`] and [`Error::Unreadable`].
    pub async fn replace(
        &self,
        principal: &Principal,
        old: OrderId,
        draft: Draft,
        key: Option<IdempotencyKey>,
        expected: Option<Vec<u32>>,
        actor: &Actor,
    ) -> Result<Created, Error> {
        principal.require(Scope::OrdersWrite)?;
        let content = self.check_draft(draft).map_err(Error::Invalid)?;
        let found = self.store.find(principal, &[old]).await?;
        if let Some(unreadable) = found.unreadable.into_iter().next() {
            return Err(unreadable.into());
        }
        let tenant = found.orders.into_iter().next().ok_or(Error::NotFound(old))?.tenant_id;
        let created_at = self.store.now();
        let idempotency = key.map(|key| Idempotency {
            key,
            request_hash: replace_hash(old, &content),
            expires_at: created_at + self.config.idempotency_ttl,
        });
        let mut id = OrderId::new(created_at);
        if self.store.has_shards() {
            // One transaction writes both orders.
            id = id.in_slot(old.slot());
        }
        let new = NewOrder::traced(id, tenant, content, created_at, trace::current()).replacing(old);
        let request = ReplaceRequest {
            old,
            reason: format!("replaced by order {} {}", new.id, actor.described(principal)),
            new: CreateRequest { orders: Arc::new([new.clone()]), idempotency },
            expected,
            requester: actor.requester(principal),
        };
        for _ in 0..KEY_TRIES {
            let replaced = self.store.replace(request.clone(), self.config.rules).await;
            let replaced = replaced.map_err(|error| to_error(error, new.id));
            self.health.record_write(replaced.as_ref().map(drop));
            return match replaced? {
                Replacement::Replaced(cancelled) => {
                    let mut events = vec![Arc::new(new.event())];
                    metrics::counter!("orders_created_total").increment(1);
                    self.signals.record(events.iter().map(|event| (&**event, None)));
                    let cancelled: Vec<_> = cancelled.into_iter().map(Ok).collect();
                    events.extend(record_changes(&cancelled, &self.direct_enqueue, &self.signals));
                    self.direct_enqueue.wake.due();
                    self.publisher.publish(events);
                    Ok(Created { order: new.order(), replayed: false })
                }
                Replacement::Replayed(id) => match self.as_created(principal, &[id]).await?.pop() {
                    Some(order) => Ok(Created { order: Arc::new(order), replayed: true }),
                    // Removed since, so the key is free.
                    None => {
                        self.store.forget_key_of(id).await?;
                        continue;
                    }
                },
                Replacement::KeyConflict => Err(Error::KeyReused),
                Replacement::ReferenceTaken(taken) => {
                    let reference = new.external_reference.clone().unwrap_or_default();
                    Err(Error::ReferenceTaken(ReferenceTaken { reference, order: taken.order }))
                }
                Replacement::Started(status) => Err(Error::Started { id: old, status }),
                Replacement::Refused(refusal) => Err(Error::Refused { id: old, refusal }),
                Replacement::Changed(sequence) => Err(Error::OrderChanged { id: old, sequence }),
                Replacement::NotFound => Err(Error::NotFound(old)),
                Replacement::Unreadable(unreadable) => Err(unreadable.into()),
            };
        }
        Err(Error::Internal)
    }
}

fn to_error(error: StoreError, new: OrderId) -> Error {
    match error {
        StoreError::CommitUnknown => Error::OutcomeUnknown(new),
        StoreError::Locked(_) => Error::order_locked(),
        error => error.into(),
    }
}
