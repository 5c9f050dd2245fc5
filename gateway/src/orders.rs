//! The use cases. Every transport calls these and nothing below them.
use std::sync::Arc;

use domain::transition::Outcome;
use domain::{Draft, LeaseToken, Order, OrderEvent, OrderId, Status, Timestamp};

use crate::Error;

/// The use cases. Cheap to clone.
#[derive(Clone)]
pub struct Orders;

/// Which orders a list shows; everything that is set must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Any of these; empty means all.
    pub statuses: Vec<Status>,
    /// Exactly this customer.
    pub customer: Option<String>,
    /// Exactly this reference.
    pub external_reference: Option<String>,
    /// Created at or after this time.
    pub created_from: Option<Timestamp>,
    /// Created before this time.
    pub created_before: Option<Timestamp>,
}

/// A page of orders, newest first.
#[derive(Debug, Clone)]
pub struct Page {
    /// The orders.
    pub orders: Vec<Order>,
    /// Whether older ones follow.
    pub has_more: bool,
}

#[allow(clippy::unused_async, clippy::unimplemented)]
impl Orders {
    /// Accepts an order. When it returns, the order is committed.
    pub async fn create(&self, _draft: Draft) -> Result<Order, Error> {
        unimplemented!()
    }
    /// One order.
    pub async fn get(&self, _id: OrderId) -> Result<Order, Error> {
        unimplemented!()
    }
    /// Those of the orders that exist, in any order; for batched loading.
    pub async fn get_many(&self, _ids: &[OrderId]) -> Result<Vec<Order>, Error> {
        unimplemented!()
    }
    /// Up to `limit` orders older than `after`, newest first.
    pub async fn list(&self, _filter: &Filter, _after: Option<OrderId>, _limit: u32) -> Result<Page, Error> {
        unimplemented!()
    }
    /// The events of an order with a sequence above `after`, oldest first.
    pub async fn events(&self, _id: OrderId, _after: u32) -> Result<Vec<Arc<OrderEvent>>, Error> {
        unimplemented!()
    }
    /// Calls an order off; answers the order as it is then. Again answers the same.
    pub async fn cancel(&self, _id: OrderId, _reason: Option<String>) -> Result<Order, Error> {
        unimplemented!()
    }
    /// Gives a failed order a new set of attempts.
    pub async fn redrive(&self, _id: OrderId, _reason: Option<String>) -> Result<Order, Error> {
        unimplemented!()
    }
    /// Starts an attempt.
    pub async fn start(&self, _id: OrderId, _lease: LeaseToken) -> Result<Order, Error> {
        unimplemented!()
    }
    /// Renews a lease.
    pub async fn heartbeat(&self, _id: OrderId, _lease: LeaseToken) -> Result<(), Error> {
        unimplemented!()
    }
    /// Records how an attempt went.
    pub async fn finish(&self, _id: OrderId, _lease: LeaseToken, _outcome: Outcome) -> Result<(), Error> {
        unimplemented!()
    }
}
