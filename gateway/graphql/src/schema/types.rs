//! The output types of the schema. Their doc comments are the descriptions for clients.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, Interface, Object, Result, SimpleObject, Union};

use domain::waiting::Waiting;
use domain::{JsonText, Scope, WorkerName};

use crate::errors::{bad_input, to_graphql_error};
use crate::schema::metadata_entry::MetadataEntry;
use crate::schema::scalars::{DateTime, Decimal, Json};
use crate::services::{Services, caller};
use gateway_service::Error;
use gateway_service::feed::WatchItem;
use gateway_store::{Outputs, metadata_version};

/// Status of an order.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
#[graphql(remote = "domain::Status")]
pub(crate) enum OrderStatus {
    /// Waits for a worker, a retry or its scheduled time.
    Pending,
    /// A worker holds the lease and runs an attempt.
    Processing,
    /// Processed successfully. Final.
    Completed,
    /// All attempts failed, or an attempt failed permanently: a dead letter. Final until it is
    /// redriven.
    Failed,
    /// Cancelled before completion. Final.
    Cancelled,
}

/// Priority. While orders of all priorities wait, workers get six high, three normal and one low of every
/// ten.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
#[graphql(remote = "domain::Priority")]
pub(crate) enum OrderPriority {
    /// Processed before the others.
    High,
    /// Default priority.
    Normal,
    /// Processed after the others, without starvation.
    Low,
}

/// What a pending order waits for.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
#[graphql(remote = "domain::waiting::WaitsFor")]
pub(crate) enum OrderWaitsFor {
    /// A free worker.
    Worker,
    /// The delay after a failed attempt.
    Retry,
    /// The scheduled time, or the start time assigned by a redrive.
    Schedule,
    /// The resume of the queue.
    Pause,
}

/// An object with a global id.
#[derive(Interface)]
#[graphql(field(name = "id", ty = "ID", desc = "Globally unique."))]
pub(crate) enum Node {
    Order(Order),
}

/// An order and its processing state.
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

/// An order and its processing state.
#[Object]
impl Order {
    /// Globally unique; sorts by creation time.
    async fn id(&self) -> ID {
        ID(self.0.id.to_string())
    }

    /// 1 to 200 line items, all in one currency.
    async fn line_items(&self) -> Vec<LineItem> {
        self.0.line_items.iter().cloned().map(LineItem).collect()
    }

    /// The sum of the line items.
    async fn total(&self) -> Decimal {
        self.0.total.into()
    }

    /// ISO 4217 code of the currency, such as USD.
    async fn currency(&self) -> String {
        self.0.total.currency().code().to_owned()
    }

    /// The sum of the quantities of the line items.
    async fn quantity(&self) -> i32 {
        // At most 200 line items of 1,000,000 each.
        i32::try_from(self.0.quantity).unwrap_or(i32::MAX)
    }

    /// Customer.
    async fn customer(&self) -> Option<&str> {
        self.0.customer.as_deref()
    }

    /// Reference of the order in the client's system.
    async fn external_reference(&self) -> Option<&str> {
        self.0.external_reference.as_deref()
    }

    /// Status.
    async fn status(&self) -> OrderStatus {
        self.0.status.into()
    }

    /// Sequence of the latest event.
    async fn sequence(&self) -> i32 {
        int(self.0.version)
    }

    /// Number of the latest attempt; 0 before the first.
    async fn attempt(&self) -> i32 {
        int(self.0.attempt)
    }

    /// Failed attempts since the creation or the last redrive.
    async fn failures(&self) -> i32 {
        int(self.0.failures)
    }

    /// Number of failed attempts after which the order fails.
    async fn max_attempts(&self) -> i32 {
        int(self.0.max_attempts)
    }

    /// Priority.
    async fn priority(&self) -> OrderPriority {
        self.0.priority.into()
    }

    /// Earliest start of processing; null if it is not scheduled.
    async fn process_after(&self) -> Option<DateTime> {
        self.0.process_after.map(DateTime)
    }

    /// Kind: the word that routes the order to workers.
    async fn kind(&self) -> &str {
        self.0.kind.as_str()
    }

    /// What a pending order waits for; null in other statuses.
    async fn waits_for(&self, ctx: &Context<'_>) -> Option<OrderWaitsFor> {
        self.waiting(ctx).map(|waiting| waiting.waits_for.into())
    }

    /// Earliest time of the next attempt; null if a free worker can start it immediately, if the
    /// queue is paused without an end, and if it is not pending.
    async fn next_attempt_at(&self, ctx: &Context<'_>) -> Option<DateTime> {
        self.waiting(ctx)?.next_attempt_at.map(DateTime)
    }

    /// Reason of the latest event, such as an error, a cancellation or a redrive.
    async fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }

    /// Error class of the latest event, such as `http_503` or `lease_expired`; null if it is not a
    /// failure.
    async fn error_class(&self) -> Option<&str> {
        self.0.error_class.as_deref()
    }

    /// Worker of the latest attempt; null if it has stated no name.
    async fn worker(&self) -> Option<&str> {
        self.0.worker.as_ref().map(WorkerName::as_str)
    }

    /// Request that created the order, as a W3C `traceparent`; null if its trace is not recorded.
    async fn traceparent(&self) -> Option<String> {
        self.0.trace.map(|trace| trace.to_string())
    }

    /// Id of the order that this one has replaced.
    async fn replaces(&self) -> Option<ID> {
        self.0.replaces.map(|id| id.to_string().into())
    }

    /// Id of the order that has replaced this one.
    async fn replaced_by(&self) -> Option<ID> {
        self.0.replaced_by.map(|id| id.to_string().into())
    }

    /// Short form of the id for people. Two orders can have the same code; `search` finds them.
    async fn code(&self) -> String {
        self.0.code().to_string()
    }

    /// Metadata, sorted by key. The client can change it at any time.
    async fn metadata(&self) -> Vec<MetadataEntry> {
        MetadataEntry::all(&self.0.metadata)
    }

    /// Version of the metadata, for `ifVersion` of `updateMetadata`.
    async fn metadata_version(&self) -> String {
        metadata_version(&self.0.metadata)
    }

    /// Result with which a worker has completed the order; null without one.
    async fn result(&self, ctx: &Context<'_>) -> Option<Result<Json>> {
        self.output(ctx, |outputs| outputs.result).await
    }

    /// Latest checkpoint of the order; null without one. The result removes it.
    async fn checkpoint(&self, ctx: &Context<'_>) -> Option<Result<Json>> {
        self.output(ctx, |outputs| outputs.checkpoint).await
    }

    /// Latest progress of the running attempt; null without one.
    async fn progress(&self, ctx: &Context<'_>) -> Option<OrderProgress> {
        ctx.data_unchecked::<Arc<Services>>().feed.progress(&self.0).map(OrderProgress)
    }

    /// Time of creation.
    async fn created_at(&self) -> DateTime {
        DateTime(self.0.created_at)
    }

    /// Time of the last status change.
    async fn updated_at(&self) -> DateTime {
        DateTime(self.0.updated_at)
    }

    /// Timeline, oldest event first.
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Return only events with a higher sequence. Default: all events.")] after: Option<
            i32,
        >,
    ) -> Option<Result<Vec<OrderStatusEvent>>> {
        let after = match sequence(after) {
            Ok(after) => after.unwrap_or(0),
            Err(error) => return Some(Err(error)),
        };
        let services = ctx.data_unchecked::<Arc<Services>>();
        let events = services
            .event_loader
            .load(caller(ctx), Scope::OrdersRead, (self.0.id, after))
            .await
            .map_err(to_graphql_error);
        Some(events.map(|events| events.into_iter().flatten().map(OrderStatusEvent::from).collect()))
    }
}

impl Order {
    async fn output(
        &self,
        ctx: &Context<'_>,
        choose: impl Fn(Outputs) -> Option<JsonText>,
    ) -> Option<Result<Json>> {
        if self.0.attempt == 0 {
            return None;
        }
        let services = ctx.data_unchecked::<Arc<Services>>();
        match services.outputs_loader.load(caller(ctx), Scope::OrdersRead, self.0.id).await {
            Ok(outputs) => outputs.and_then(choose).map(|json| Ok(Json(json))),
            Err(error) => Some(Err(to_graphql_error(error))),
        }
    }

    fn waiting(&self, ctx: &Context<'_>) -> Option<Waiting> {
        self.0.waiting(&ctx.data_unchecked::<Arc<Services>>().orders.queue_snapshot())
    }
}

/// Line item of an order.
pub(crate) struct LineItem(domain::LineItem);

/// Line item of an order.
#[Object]
impl LineItem {
    /// Item name.
    async fn item(&self) -> &str {
        &self.0.item
    }

    /// Quantity.
    async fn quantity(&self) -> i32 {
        int(self.0.quantity)
    }

    /// Unit price.
    async fn price(&self) -> Decimal {
        self.0.price.into()
    }

    /// Quantity multiplied by the unit price.
    async fn total(&self) -> Result<Decimal> {
        // A stored order is valid: its total is in range, so each part of it is.
        self.0.total().map(Decimal::from).map_err(|_| to_graphql_error(Error::Internal))
    }
}

/// What the worker tells about a running attempt. It is not stored and takes no sequence.
pub(crate) struct OrderProgress(Arc<domain::Progress>);

/// What the worker tells about a running attempt. It is not stored and takes no sequence.
#[Object]
impl OrderProgress {
    /// Number of the attempt.
    async fn attempt(&self) -> i32 {
        int(self.0.attempt)
    }

    /// Done part of the work: 0 to 100.
    async fn percent(&self) -> Option<i32> {
        self.0.percent.map(i32::from)
    }

    /// What the worker does, at most 200 characters.
    async fn note(&self) -> Option<&str> {
        self.0.note.as_deref()
    }

    /// Time of the report.
    async fn reported_at(&self) -> DateTime {
        DateTime(self.0.reported_at)
    }
}

/// A status change of an order.
#[derive(Clone)]
pub(crate) struct OrderStatusEvent {
    event: Arc<domain::OrderEvent>,
    progress: Option<Arc<domain::Progress>>,
}

impl From<Arc<domain::OrderEvent>> for OrderStatusEvent {
    fn from(event: Arc<domain::OrderEvent>) -> Self {
        Self { event, progress: None }
    }
}

impl From<WatchItem> for OrderStatusEvent {
    fn from(item: WatchItem) -> Self {
        match item {
            WatchItem::Event(event) => event.into(),
            WatchItem::Progress(event, progress) => Self { event, progress: Some(progress) },
        }
    }
}

impl OrderStatusEvent {
    /// The field whose selection adds items with progress.
    pub(crate) const PROGRESS: &str = "progress";
}

/// A status change of an order.
#[Object]
impl OrderStatusEvent {
    /// The order that changed.
    async fn order_id(&self) -> ID {
        ID(self.event.order_id.to_string())
    }

    /// The current order, which may be newer than this event.
    async fn order(&self, ctx: &Context<'_>) -> Result<Order> {
        let services = ctx.data_unchecked::<Arc<Services>>();
        let id = self.event.order_id;
        let order =
            services.order_loader.load(caller(ctx), Scope::OrdersRead, id).await.map_err(to_graphql_error)?;
        order.map(Order).ok_or_else(|| to_graphql_error(Error::NotFound(id)))
    }

    /// New status.
    async fn status(&self) -> OrderStatus {
        self.event.status.into()
    }

    /// Previous status; null for the first event.
    async fn previous_status(&self) -> Option<OrderStatus> {
        self.event.previous_status.map(OrderStatus::from)
    }

    /// Sequence within the order: 1, 2, 3, without gaps.
    async fn sequence(&self) -> i32 {
        int(self.event.sequence)
    }

    /// Time of the change, by the clock of the database.
    async fn occurred_at(&self) -> DateTime {
        DateTime(self.event.occurred_at)
    }

    /// Number of the attempt; 0 before the first.
    async fn attempt(&self) -> i32 {
        int(self.event.attempt)
    }

    /// Reason, such as an error, a cancellation or a redrive.
    async fn reason(&self) -> Option<&str> {
        self.event.reason.as_deref()
    }

    /// Error class, such as `http_503`; null if the event is not a failure.
    async fn error_class(&self) -> Option<&str> {
        self.event.error_class.as_deref()
    }

    /// Progress of the attempt; null in an item that reports a status change. Where `orderStatus` selects this field, it also
    /// streams items with the latest event and new progress.
    async fn progress(&self) -> Option<OrderProgress> {
        self.progress.clone().map(OrderProgress)
    }

    /// Worker that started the attempt; null for events that are no start.
    async fn worker(&self) -> Option<&str> {
        self.event.worker.as_ref().map(WorkerName::as_str)
    }
}

/// Item of the feed of all orders.
#[derive(Union)]
pub(crate) enum OrderFeedItem {
    Event(OrderStatusEvent),
    Lag(OrderFeedLag),
}

/// The gateway skipped events because the subscriber was too slow or the connection was interrupted.
/// Reload the list.
#[derive(SimpleObject)]
pub(crate) struct OrderFeedLag {
    /// Number of skipped events; 0 if unknown.
    pub(crate) missed: i32,
}

/// Validates a sequence from a client.
pub(crate) fn sequence(after: Option<i32>) -> Result<Option<u32>> {
    after.map(|after| u32::try_from(after).map_err(|_| bad_input("after must be 0 or more"))).transpose()
}

/// Converts a counter to GraphQL's Int, whose maximum is 2^31 - 1. No counter reaches it.
fn int(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
