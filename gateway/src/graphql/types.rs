//! The types of the schema that clients read. Their doc comments are the descriptions that clients
//! see, so they are written for them.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, Interface, Object, Result, SimpleObject, Union};

use domain::waiting::Waiting;

use super::Services;
use super::errors::{bad_input, fault};
use super::scalars::{DateTime, Decimal};
use crate::Error;

/// Where an order is in its life.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
#[graphql(remote = "domain::Status")]
pub(crate) enum OrderStatus {
    /// Accepted; waits for a worker, for a retry or for its time.
    Pending,
    /// A worker holds a lease and runs an attempt.
    Processing,
    /// Done. Final.
    Completed,
    /// Out of attempts, or failed for good: a dead letter. Final until it is redriven.
    Failed,
    /// Called off before it was done. Final.
    Cancelled,
}

/// How urgent an order is. While orders of all priorities wait, of ten that are handed to the workers
/// six are high, three normal and one low.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
#[graphql(remote = "domain::Priority")]
pub(crate) enum OrderPriority {
    /// Ahead of the others.
    High,
    /// What an order has that names none.
    Normal,
    /// Behind the others, but never forgotten.
    Low,
}

/// What keeps a pending order from being started.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
#[graphql(remote = "domain::waiting::WaitsFor")]
pub(crate) enum OrderWaitsFor {
    /// A free worker.
    Worker,
    /// The end of the wait after a failed attempt.
    Retry,
    /// The time for which it is scheduled, or to which a redrive has assigned it.
    Schedule,
    /// The end of the pause of the queue.
    Pause,
}

/// An object that can be fetched again by its id.
#[derive(Interface)]
#[graphql(field(name = "id", ty = "ID", desc = "Globally unique."))]
pub(crate) enum Node {
    Order(Order),
}

/// An order: what was bought, and how far its processing is.
#[derive(Clone)]
pub(crate) struct Order(pub(crate) Arc<domain::Order>);

impl From<domain::Order> for Order {
    fn from(order: domain::Order) -> Self {
        Self(Arc::new(order))
    }
}

impl From<Arc<domain::Order>> for Order {
    fn from(order: Arc<domain::Order>) -> Self {
        Self(order)
    }
}

/// An order: what was bought, and how far its processing is.
#[Object]
impl Order {
    /// Globally unique; sorts by creation time.
    async fn id(&self) -> ID {
        ID(self.0.id.to_string())
    }

    /// What was bought: 1 to 200 positions, all in one currency.
    async fn line_items(&self) -> Vec<LineItem> {
        self.0.line_items.iter().cloned().map(LineItem).collect()
    }

    /// The sum of the line items.
    async fn total(&self) -> Decimal {
        self.0.total.into()
    }

    /// The ISO 4217 code of the currency, such as USD.
    async fn currency(&self) -> String {
        self.0.total.currency().code().to_owned()
    }

    /// The sum of the quantities of the line items.
    async fn quantity(&self) -> i32 {
        // At most 200 line items of 1,000,000 each.
        i32::try_from(self.0.quantity).unwrap_or(i32::MAX)
    }

    /// Who bought.
    async fn customer(&self) -> Option<&str> {
        self.0.customer.as_deref()
    }

    /// The shop's own number for the order.
    async fn external_reference(&self) -> Option<&str> {
        self.0.external_reference.as_deref()
    }

    /// Where the order is in its life.
    async fn status(&self) -> OrderStatus {
        self.0.status.into()
    }

    /// The sequence of its latest event.
    async fn sequence(&self) -> i32 {
        int(self.0.version)
    }

    /// The number of its latest attempt; 0 before the first.
    async fn attempt(&self) -> i32 {
        int(self.0.attempt)
    }

    /// Attempts that failed since it was created or redriven.
    async fn failures(&self) -> i32 {
        int(self.0.failures)
    }

    /// With so many failures the order is failed.
    async fn max_attempts(&self) -> i32 {
        int(self.0.max_attempts)
    }

    /// How urgent it is.
    async fn priority(&self) -> OrderPriority {
        self.0.priority.into()
    }

    /// It is not started before this time; null when it is not scheduled.
    async fn process_after(&self) -> Option<DateTime> {
        self.0.process_after.map(DateTime)
    }

    /// What it waits for while it is pending; null in other statuses.
    async fn waits_for(&self, ctx: &Context<'_>) -> Option<OrderWaitsFor> {
        self.waiting(ctx).map(|waiting| waiting.waits_for.into())
    }

    /// The earliest time of its next attempt; null when a free worker can start it at once, while the queue is paused
    /// until it is resumed, and when it is not pending.
    async fn next_attempt_at(&self, ctx: &Context<'_>) -> Option<DateTime> {
        self.waiting(ctx)?.next_attempt_at.map(DateTime)
    }

    /// What its latest event says, if anything: an error, a cancellation, a redrive.
    async fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }

    /// One word for what kind of failure its latest event is, such as `http_503` or `lease_expired`; null
    /// when it is none.
    async fn error_class(&self) -> Option<&str> {
        self.0.error_class.as_deref()
    }

    /// When it was accepted.
    async fn created_at(&self) -> DateTime {
        DateTime(self.0.created_at)
    }

    /// When its status last changed.
    async fn updated_at(&self) -> DateTime {
        DateTime(self.0.updated_at)
    }

    /// Its timeline, oldest event first.
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only events with a higher sequence; all when absent.")] after: Option<i32>,
    ) -> Option<Result<Vec<OrderStatusEvent>>> {
        let after = match sequence(after) {
            Ok(after) => after.unwrap_or(0),
            Err(error) => return Some(Err(error)),
        };
        let services = ctx.data_unchecked::<Arc<Services>>();
        let events = services.event_loader.load((self.0.id, after)).await.map_err(fault);
        Some(events.map(|events| events.into_iter().flatten().map(OrderStatusEvent).collect()))
    }
}

impl Order {
    fn waiting(&self, ctx: &Context<'_>) -> Option<Waiting> {
        self.0.waiting(&ctx.data_unchecked::<Arc<Services>>().orders.outlook())
    }
}

/// One position of an order.
pub(crate) struct LineItem(domain::LineItem);

/// One position of an order.
#[Object]
impl LineItem {
    /// What was bought.
    async fn item(&self) -> &str {
        &self.0.item
    }

    /// How many.
    async fn quantity(&self) -> i32 {
        int(self.0.quantity)
    }

    /// The price of one unit.
    async fn price(&self) -> Decimal {
        self.0.price.into()
    }

    /// Quantity times price.
    async fn total(&self) -> Result<Decimal> {
        // A stored order was checked: its total fits, so each part of it does.
        self.0.total().map(Decimal::from).map_err(|_| fault(Error::Internal))
    }
}

/// One change of one order.
#[derive(Clone)]
pub(crate) struct OrderStatusEvent(pub(crate) Arc<domain::OrderEvent>);

/// One change of one order.
#[Object]
impl OrderStatusEvent {
    /// The order that changed.
    async fn order_id(&self) -> ID {
        ID(self.0.order_id.to_string())
    }

    /// The order as it is now, which may be further on than this event.
    async fn order(&self, ctx: &Context<'_>) -> Result<Order> {
        let services = ctx.data_unchecked::<Arc<Services>>();
        let id = self.0.order_id;
        let order = services.order_loader.load(id).await.map_err(fault)?;
        order.map(Order).ok_or_else(|| fault(Error::NotFound(id)))
    }

    /// The status since this event.
    async fn status(&self) -> OrderStatus {
        self.0.status.into()
    }

    /// The status before it; null for the first event.
    async fn previous_status(&self) -> Option<OrderStatus> {
        self.0.previous_status.map(OrderStatus::from)
    }

    /// 1, 2, 3 and so on within the order, without holes.
    async fn sequence(&self) -> i32 {
        int(self.0.sequence)
    }

    /// When it was recorded, by the database's clock.
    async fn occurred_at(&self) -> DateTime {
        DateTime(self.0.occurred_at)
    }

    /// The attempt it belongs to; 0 before the first.
    async fn attempt(&self) -> i32 {
        int(self.0.attempt)
    }

    /// Why, where there is something to say: an error, a cancellation, a redrive.
    async fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }

    /// One word for what kind of failure it is, such as `http_503`; null when it is none.
    async fn error_class(&self) -> Option<&str> {
        self.0.error_class.as_deref()
    }
}

/// What a subscriber of all orders receives.
#[derive(Union)]
pub(crate) enum OrderFeedItem {
    Event(OrderStatusEvent),
    Lag(OrderFeedLag),
}

/// Events were skipped, because this subscriber or the gateway could not keep up or was cut off for a
/// moment. Read the list again.
#[derive(SimpleObject)]
pub(crate) struct OrderFeedLag {
    /// How many; 0 when that is not known.
    pub(crate) missed: i32,
}

/// A sequence that a client sent.
pub(crate) fn sequence(after: Option<i32>) -> Result<Option<u32>> {
    after.map(|after| u32::try_from(after).map_err(|_| bad_input("after must be 0 or more"))).transpose()
}

/// GraphQL's Int ends at 2^31 - 1; none of our counters comes near it.
fn int(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
