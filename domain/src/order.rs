use std::ops::Deref;

use crate::draft::Content;
use crate::order_code::OrderCode;
use crate::order_id::OrderId;
use crate::status::Status;
use crate::tenant::TenantId;
use crate::timestamp::Timestamp;
use crate::trace_context::TraceContext;
use crate::worker_name::WorkerName;

/// An order as it is stored. Its content can be read as if its fields were those of the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The id, which sorts by creation time.
    pub id: OrderId,
    /// The tenant that owns it.
    pub tenant_id: TenantId,
    /// What the client sent. Only its metadata changes.
    pub content: Content,
    /// Status.
    pub status: Status,
    /// The sequence of its latest event.
    pub version: u32,
    /// The latest attempt; 0 before the first.
    pub attempt: u32,
    /// The failed attempts since its creation or its last redrive.
    pub failures: u32,
    /// The earliest start of its next attempt: its creation, its schedule, or the end of its retry delay.
    pub not_before: Timestamp,
    /// The reason of its latest event, if there is one.
    pub reason: Option<String>,
    /// The error class of its latest event, if that is a failure.
    pub error_class: Option<String>,
    /// The worker of its latest attempt, if it has stated a name.
    pub worker: Option<WorkerName>,
    /// The span that created it, if its trace is recorded.
    pub trace: Option<TraceContext>,
    /// The order that it has replaced.
    pub replaces: Option<OrderId>,
    /// The order that has replaced it.
    pub replaced_by: Option<OrderId>,
    /// Time of creation.
    pub created_at: Timestamp,
    /// Time of the last status change.
    pub updated_at: Timestamp,
}

impl Deref for Order {
    type Target = Content;

    fn deref(&self) -> &Content {
        &self.content
    }
}

impl Order {
    /// Returns a new order of a tenant with this content.
    pub fn pending(id: OrderId, tenant_id: TenantId, content: Content, created_at: Timestamp) -> Self {
        let not_before = content.process_after.map_or(created_at, |at| at.max(created_at));
        Self {
            id,
            tenant_id,
            content,
            status: Status::Pending,
            version: 1,
            attempt: 0,
            failures: 0,
            not_before,
            reason: None,
            error_class: None,
            worker: None,
            trace: None,
            replaces: None,
            replaced_by: None,
            created_at,
            updated_at: created_at,
        }
    }

    /// Returns the short form of its id for people.
    pub fn code(&self) -> OrderCode {
        OrderCode::of(self.id)
    }

    /// Estimates the bytes of the order in memory and in a response: its strings, and an allowance for the rest.
    pub fn approximate_bytes(&self) -> usize {
        const ORDER: usize = 512;
        const LINE_ITEM: usize = 96;
        let lines = self.line_items.iter().map(|line| line.item.len() + LINE_ITEM);
        ORDER + lines.sum::<usize>() + self.string_bytes()
    }

    /// Returns the bytes of the strings of the order, without those of its line items.
    pub fn string_bytes(&self) -> usize {
        let event = [self.reason.as_deref(), self.error_class.as_deref()];
        self.content.strings().chain(event.into_iter().flatten()).map(str::len).sum()
    }
}
