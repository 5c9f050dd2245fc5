use crate::line_item::LineItem;
use crate::money::Money;
use crate::order_id::OrderId;
use crate::priority::Priority;
use crate::status::Status;
use crate::timestamp::Timestamp;

/// The tenant of every order; there is only one.
pub const DEFAULT_TENANT: &str = "default";

/// An order as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The id, which sorts by creation time.
    pub id: OrderId,
    /// The tenant that owns it.
    pub tenant_id: String,
    /// The shop's number of the order.
    pub external_reference: Option<String>,
    /// Customer.
    pub customer: Option<String>,
    /// 1 to [`MAX_LINE_ITEMS`](crate::MAX_LINE_ITEMS) positions, all in one currency.
    pub line_items: Vec<LineItem>,
    /// The sum of the line items.
    pub total: Money,
    /// The sum of their quantities.
    pub quantity: u64,
    /// Status.
    pub status: Status,
    /// The sequence of its latest event.
    pub version: u32,
    /// The latest attempt; 0 before the first.
    pub attempt: u32,
    /// The failed attempts since its creation or its last redrive.
    pub failures: u32,
    /// The number of failures at which it becomes a dead letter.
    pub max_attempts: u32,
    /// Priority.
    pub priority: Priority,
    /// The scheduled start: it is not started before this time.
    pub process_after: Option<Timestamp>,
    /// The earliest start of its next attempt: its creation, its schedule, or the end of its retry delay.
    pub not_before: Timestamp,
    /// The reason of its latest event, if there is one.
    pub reason: Option<String>,
    /// The error class of its latest event, if that is a failure.
    pub error_class: Option<String>,
    /// Time of creation.
    pub created_at: Timestamp,
    /// Time of the last status change.
    pub updated_at: Timestamp,
}

impl Order {
    /// Estimates the bytes of the order in memory and in a response: its strings, and an allowance for the rest.
    pub fn approximate_bytes(&self) -> usize {
        const ORDER: usize = 512;
        const LINE_ITEM: usize = 96;
        let optional = [&self.external_reference, &self.customer, &self.reason, &self.error_class];
        let lines = self.line_items.iter().map(|line| line.item.len() + LINE_ITEM);
        ORDER + lines.sum::<usize>() + optional.into_iter().flatten().map(String::len).sum::<usize>()
    }
}
