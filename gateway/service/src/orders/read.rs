//! Reads orders and their events.

use std::sync::Arc;

use domain::{LeaseToken, Order, OrderEvent, OrderId, Principal, Scope};
use gateway_store::{FoundOrders, Timelines};

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
