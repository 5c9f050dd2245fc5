//! How new orders are stored: waiting, held by the queue, or started in the transaction of their creation.

use std::time::Duration;

use domain::transition::OrderState;
use domain::{LeaseToken, Order, OrderEvent, OrderMap, Status, Timestamp, WorkerName};

use super::create_request::{InsertOutcome, NewOrder};

/// The plan for the orders of one transaction.
#[derive(Debug, Default)]
pub struct InsertPlan {
    /// The time for which the queue holds the orders that are pushed without dispatch, as if it had claimed them. Zero: they
    /// wait for dispatch.
    pub visibility_timeout: Duration,
    /// The orders that are started in the same transaction, unless the queue is paused. Then they wait for dispatch.
    pub starts: OrderMap<DirectStart>,
}

impl InsertPlan {
    /// Creates the plan of orders that the queue holds for this time.
    pub fn held(visibility_timeout: Duration) -> Self {
        Self { visibility_timeout, ..Self::default() }
    }
}

/// The start of an order in the transaction of its creation: events 1 and 2.
#[derive(Debug, Clone)]
pub struct DirectStart {
    /// The lease of the attempt.
    pub lease: LeaseToken,
    /// The end of the lease.
    pub until: Timestamp,
    /// The time of the start.
    pub at: Timestamp,
    /// The worker, if it has stated a name.
    pub worker: Option<WorkerName>,
}

impl DirectStart {
    /// The sequence of the start.
    pub(super) const VERSION: u32 = 2;

    /// Returns the time of event 2. Times of a timeline do not decrease.
    pub(super) fn at(&self, order: &NewOrder) -> Timestamp {
        self.at.max(order.created_at)
    }

    /// Returns the state of the started order.
    pub(super) fn state(&self, order: &NewOrder) -> OrderState {
        OrderState {
            status: Status::Processing,
            version: Self::VERSION,
            attempt: 1,
            failures: 0,
            max_attempts: order.max_attempts,
            lease: Some(self.lease),
            due_at: Some(self.until),
            not_before: order.not_before,
            process_after: None,
            updated_at: self.at(order),
        }
    }

    /// Returns the started order.
    pub fn order(&self, order: &NewOrder) -> Order {
        Order {
            status: Status::Processing,
            version: Self::VERSION,
            attempt: 1,
            updated_at: self.at(order),
            worker: self.worker.clone(),
            ..(**order).clone()
        }
    }

    /// Returns event 2.
    pub fn event(&self, order: &NewOrder) -> OrderEvent {
        OrderEvent {
            sequence: Self::VERSION,
            status: Status::Processing,
            previous_status: Some(Status::Pending),
            attempt: 1,
            worker: self.worker.clone(),
            occurred_at: self.at(order),
            ..order.event()
        }
    }
}

/// The outcome of an insert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inserted {
    /// The outcome of each request.
    pub outcomes: Vec<InsertOutcome>,
    /// Whether the new orders with a [`DirectStart`] are started.
    pub started: bool,
}
