//! What a create writes: new orders, and the idempotency key that identifies the request.

use std::ops::Deref;
use std::sync::Arc;

use domain::{Content, DEFAULT_TENANT, IdempotencyKey, Order, OrderEvent, OrderId, Status, Timestamp};

/// An order that is about to be accepted, as it is right after that. Cheap to clone: the answer to the
/// client, the group commit and the store's memory have the same one.
#[derive(Debug, Clone)]
pub struct NewOrder(Arc<Order>);

/// Orders that one request creates: all of them are written, or none. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CreateRequest {
    /// At least one. The ids of several are a run (see `keys`), so that the first one tells all.
    pub orders: Arc<[NewOrder]>,
    /// What the client calls this create, if it may repeat it.
    pub idempotency: Option<Idempotency>,
}

/// What became of one creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InsertOutcome {
    /// It is written.
    Inserted,
    /// The same create came before, and this was its first order.
    Replayed(OrderId),
    /// The key was used before, for something else.
    KeyConflict,
}

impl CreateRequest {
    /// The id of the first order, which stands for all of them.
    pub fn id(&self) -> OrderId {
        self.orders[0].id
    }
}

/// A create of one order that the client cannot repeat.
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
    /// The order with this id and content, accepted at this time.
    pub fn new(id: OrderId, content: Content, created_at: Timestamp) -> Self {
        let not_before = content.process_after.map_or(created_at, |at| at.max(created_at));
        Self(Arc::new(Order {
            id,
            tenant_id: DEFAULT_TENANT.to_owned(),
            external_reference: content.external_reference,
            customer: content.customer,
            line_items: content.line_items,
            total: content.total,
            quantity: content.quantity,
            status: Status::Pending,
            version: 1,
            attempt: 0,
            failures: 0,
            max_attempts: content.max_attempts,
            priority: content.priority,
            process_after: content.process_after,
            not_before,
            reason: None,
            error_class: None,
            created_at,
            updated_at: created_at,
        }))
    }

    /// The order, shared with whoever else has this one.
    pub fn order(&self) -> Arc<Order> {
        self.0.clone()
    }

    /// Whether it is not scheduled for later.
    pub fn starts_at_once(&self) -> bool {
        self.process_after.is_none()
    }

    /// Event 1.
    pub fn event(&self) -> OrderEvent {
        OrderEvent {
            order_id: self.id,
            sequence: 1,
            status: Status::Pending,
            previous_status: None,
            attempt: 0,
            reason: None,
            error_class: None,
            occurred_at: self.created_at,
        }
    }
}

/// A key, what it was used for, and until when.
#[derive(Debug, Clone)]
pub struct Idempotency {
    /// The client's name for the create.
    pub key: IdempotencyKey,
    /// See [`request_hash`](super::request_hash).
    pub request_hash: [u8; 32],
    /// From then on the key is new again.
    pub expires_at: Timestamp,
}
