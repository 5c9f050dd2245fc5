//! What a create writes: new orders, and the idempotency key that identifies the request.

use std::ops::Deref;
use std::sync::Arc;

use domain::{
    Content, IdempotencyKey, Order, OrderEvent, OrderId, Status, TenantId, Timestamp, TraceContext,
};

/// An order that is about to be accepted, as it is directly after that.
///
/// Cloning it is cheap: the response to the client, the group commit and the row cache share one.
#[derive(Debug, Clone)]
pub struct NewOrder(Arc<Order>);

/// The orders that one request creates: the store writes all of them or none. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct CreateRequest {
    /// At least one order. The ids of several follow from the first one, which therefore identifies all of them.
    pub orders: Arc<[NewOrder]>,
    /// The client's idempotency key, if it sent one.
    pub idempotency: Option<Idempotency>,
}

/// The outcome of one create request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InsertOutcome {
    /// The orders are written.
    Inserted,
    /// The same request came before; this is the id of its first order.
    Replayed(OrderId),
    /// The key was used before, for another request.
    KeyConflict,
    /// Other orders have references of these orders, which are unique for the tenant. Nothing is written.
    ReferenceTaken(Vec<TakenReference>),
    /// The shard of one of the references, which are unique for the tenant, does not respond. Nothing is written.
    ReferenceUnavailable,
}

/// An order of a request whose reference another order has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakenReference {
    /// The index of the order in its request.
    pub index: usize,
    /// The order that has the reference. `None` for an earlier order of the same request.
    pub order: Option<OrderId>,
}

impl CreateRequest {
    /// Returns the same request with other ids.
    #[must_use]
    pub fn with_ids(&self, ids: &[OrderId]) -> Self {
        let orders = self.orders.iter().zip(ids).map(|(order, id)| order.with_id(*id));
        Self { orders: orders.collect(), idempotency: self.idempotency.clone() }
    }

    /// Returns the tenant of the orders.
    pub fn tenant(&self) -> &TenantId {
        &self.orders[0].tenant_id
    }

    /// Returns the id of the first order, which identifies the request.
    pub fn id(&self) -> OrderId {
        self.orders[0].id
    }
}

/// A create of one order without an idempotency key.
impl From<NewOrder> for CreateRequest {
    fn from(order: NewOrder) -> Self {
        Self { orders: Arc::new([order]), idempotency: None }
    }
}

impl Deref for NewOrder {
    type Target = Order;

    fn deref(&self) -> &Order {
        &self.0
    }
}

impl NewOrder {
    /// Creates the order of a tenant with this id and content, accepted at this time.
    pub fn new(id: OrderId, tenant: TenantId, content: Content, created_at: Timestamp) -> Self {
        Self::traced(id, tenant, content, created_at, None)
    }

    /// As [`NewOrder::new`], in a trace.
    pub fn traced(
        id: OrderId,
        tenant: TenantId,
        content: Content,
        created_at: Timestamp,
        trace: Option<TraceContext>,
    ) -> Self {
        Self(Arc::new(Order { trace, ..Order::pending(id, tenant, content, created_at) }))
    }

    /// As [`NewOrder::traced`], in place of another order.
    pub fn replacing(self, old: OrderId) -> Self {
        let order = Arc::unwrap_or_clone(self.0);
        Self(Arc::new(Order { replaces: Some(old), ..order }))
    }

    fn with_id(&self, id: OrderId) -> Self {
        Self(Arc::new(Order { id, ..Order::clone(&self.0) }))
    }

    /// Returns the order, which all clones share.
    pub fn order(&self) -> Arc<Order> {
        self.0.clone()
    }

    /// Returns whether the order is not scheduled for later.
    pub fn starts_at_once(&self) -> bool {
        self.process_after.is_none()
    }

    /// Returns whether the gateway can push it to the queue without dispatch.
    pub fn is_enqueued_directly(&self) -> bool {
        self.starts_at_once() && self.kind.is_default()
    }

    /// Returns event 1.
    pub fn event(&self) -> OrderEvent {
        OrderEvent {
            order_id: self.id,
            tenant_id: self.tenant_id.clone(),
            sequence: 1,
            status: Status::Pending,
            previous_status: None,
            attempt: 0,
            reason: None,
            error_class: None,
            worker: None,
            occurred_at: self.created_at,
        }
    }
}

/// An idempotency key, the request that used it, and its expiry.
#[derive(Debug, Clone)]
pub struct Idempotency {
    /// The key that the client sent.
    pub key: IdempotencyKey,
    /// See [`request_hash`](super::request_hash).
    pub request_hash: [u8; 32],
    /// The time from which the key counts as unused.
    pub expires_at: Timestamp,
}
