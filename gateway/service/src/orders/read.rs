//! Reads orders and their events.

use std::sync::Arc;

use domain::{LeaseToken, Order, OrderEvent, OrderId};
use gateway_store::{FoundOrders, Timelines};

use super::use_cases::Orders;
use crate::error::Error;

impl Orders {
    /// Reads an order.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Unreadable`] and [`Error::Unavailable`].
    pub async fn get(&self, id: OrderId) -> Result<Order, Error> {
        let FoundOrders { mut orders, mut unreadable } = self.store.find(&[id]).await?;
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
    /// As [`Self::get`].
    pub async fn with_lease(&self, id: OrderId) -> Result<(Order, Option<LeaseToken>), Error> {
        Ok(self.store.order_with_lease(id).await?.ok_or(Error::NotFound(id))??)
    }

    /// Reads the existing ones of these orders, for batched loading.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn get_many(&self, ids: &[OrderId]) -> Result<FoundOrders, Error> {
        Ok(self.store.find(ids).await?)
    }

    /// Reads the events of an order with a sequence above `after`, oldest first.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Unreadable`] and [`Error::Unavailable`].
    pub async fn events(&self, id: OrderId, after: u32) -> Result<Vec<Arc<OrderEvent>>, Error> {
        let Timelines { events, mut unreadable } = self.store.timelines(&[(id, after)]).await?;
        // The events are also missing when the order is removed between two reads.
        if events.is_empty() && !self.store.exists(id).await? {
            return Err(Error::NotFound(id));
        }
        match unreadable.pop() {
            Some(unreadable) => Err(unreadable.into()),
            None => Ok(events),
        }
    }

    /// Reads the events of each order above the given sequence, for batched loading.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn events_of_many(&self, cursors: &[(OrderId, u32)]) -> Result<Timelines, Error> {
        Ok(self.store.timelines(cursors).await?)
    }
}
