//! Reads orders and their events.

use std::sync::Arc;

use domain::query::Filter;
use domain::{LeaseToken, Order, OrderEvent, OrderId, OrderMap, Principal, Scope, TenantId};
use gateway_store::{FoundOrders, Outputs, Timelines};

use super::use_cases::Orders;
use crate::error::Error;

impl Orders {
    /// Reads an order.
    ///
    /// # Errors
    /// [`Error::Forbidden`] without `orders:read`, [`Error::NotFound`], [`Error::Unreadable`] and
    /// [`Error::Unavailable`].
    pub async fn get(&self, principal: &Principal, id: OrderId) -> Result<Order, Error> {
        principal.require(Scope::OrdersRead)?;
        let FoundOrders { mut orders, mut unreadable } = self.store.find(principal, &[id]).await?;
        match unreadable.pop() {
            Some(unreadable) => Err(unreadable.into()),
            None => orders.pop().ok_or(Error::NotFound(id)),
        }
    }

    /// Reads the newest order of the caller's tenant with an external reference; `None` without one.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn by_reference(&self, principal: &Principal, reference: &str) -> Result<Option<Order>, Error> {
        principal.require(Scope::OrdersRead)?;
        let unique = self.store.unique_reference_holders(&principal.tenant, &[reference]).await?;
        if let Some(id) = unique.get(reference) {
            match self.get(principal, *id).await {
                // The reference was recorded, and the order removed since.
                Err(Error::NotFound(_)) => {}
                order => return order.map(Some),
            }
        }
        let filter = Filter { external_reference: Some(reference.to_owned()), ..Filter::default() };
        let newest = self.store.list_ids(principal, &filter, None, 1).await?;
        let Some(id) = newest.first() else { return Ok(None) };
        match self.get(principal, *id).await {
            // It was removed between the two reads, or its reference erased.
            Err(Error::NotFound(_)) => Ok(None),
            order => order.map(Some),
        }
    }

    /// Reads an order and the lease token of its latest attempt.
    ///
    /// It is for workers that do not keep the token.
    ///
    /// # Errors
    /// As [`Self::get`], with the scope `work`.
    pub async fn with_lease(
        &self,
        principal: &Principal,
        id: OrderId,
    ) -> Result<(Order, Option<LeaseToken>), Error> {
        principal.require(Scope::Work)?;
        Ok(self.store.order_with_lease(principal, id).await?.ok_or(Error::NotFound(id))??)
    }

    /// Reads the tenants and the attempts of orders, for workers that resume them.
    ///
    /// # Errors
    /// As [`Self::with_lease`], without [`Error::NotFound`] and [`Error::Unreadable`].
    pub async fn attempts(
        &self,
        principal: &Principal,
        ids: &[OrderId],
    ) -> Result<Vec<(OrderId, TenantId, u32)>, Error> {
        principal.require(Scope::Work)?;
        let orders = self.store.find(principal, ids).await?.orders;
        Ok(orders.into_iter().map(|order| (order.id, order.tenant_id, order.attempt)).collect())
    }

    /// Reads what the worker of an order has produced. An order that was never started has no outputs.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn outputs(&self, order: &Order) -> Result<Outputs, Error> {
        if order.attempt == 0 {
            return Ok(Outputs::default());
        }
        Ok(self.store.outputs(&[order.id]).await?.remove(&order.id).unwrap_or_default())
    }

    /// As [`Self::outputs`], for the loader.
    pub(crate) async fn outputs_of_many(&self, ids: &[OrderId]) -> Result<OrderMap<Outputs>, Error> {
        Ok(self.store.outputs(ids).await?)
    }

    /// Reads the existing ones of these orders, for the loader, which checks the scope of each caller.
    pub(crate) async fn get_many(
        &self,
        principal: &Principal,
        ids: &[OrderId],
    ) -> Result<FoundOrders, Error> {
        Ok(self.store.find(principal, ids).await?)
    }

    /// Reads the events of an order with a sequence above `after`, oldest first.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn events(
        &self,
        principal: &Principal,
        id: OrderId,
        after: u32,
    ) -> Result<Vec<Arc<OrderEvent>>, Error> {
        principal.require(Scope::OrdersRead)?;
        let Timelines { events, mut unreadable } = self.store.timelines(principal, &[(id, after)]).await?;
        // The events are also missing when the order is removed between two reads.
        if events.is_empty() && !self.store.exists(principal, id).await? {
            return Err(Error::NotFound(id));
        }
        match unreadable.pop() {
            Some(unreadable) => Err(unreadable.into()),
            None => Ok(events),
        }
    }

    /// Reads the events of each order above the given sequence, for the loader.
    pub(crate) async fn events_of_many(
        &self,
        principal: &Principal,
        cursors: &[(OrderId, u32)],
    ) -> Result<Timelines, Error> {
        Ok(self.store.timelines(principal, cursors).await?)
    }
}
