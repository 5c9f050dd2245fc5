//! Subscriptions to the events of one order and of all orders, and to the event log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_graphql::{Context, ID, InputObject, Result, Subscription as GraphqlSubscription};
use domain::ErrorCode;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use crate::errors::{field_error, to_graphql_error};
use crate::schema::event_log::{self, EventPage, EventSelection};
use crate::schema::types::{OrderFeedItem, OrderFeedLag, OrderStatus, OrderStatusEvent, sequence};
use crate::services::{Services, caller};
use crate::stream_slot::attach;
use gateway_service::feed::{FeedItem, WatchFrom, WatchItem};

/// Filter of a feed; an event must match all fields that are set.
#[derive(InputObject, Default)]
pub(crate) struct OrderEventFilter {
    /// Any of these statuses. Default: all.
    statuses: Option<Vec<OrderStatus>>,
}

/// The sequence of the last event that a subscriber of one order received.
///
/// A transport that can resume adds one to the request. Its initial value replaces a lower `after`; afterwards it
/// follows the events.
#[derive(Clone, Default)]
pub(crate) struct EventPosition(Arc<AtomicU32>);

impl EventPosition {
    /// Creates a position after this sequence; 0 is unknown.
    pub(crate) fn new(after: u32) -> Self {
        Self(Arc::new(AtomicU32::new(after)))
    }

    /// Returns the sequence of the latest event, if there was one.
    pub(crate) fn get(&self) -> Option<u32> {
        Some(self.0.load(Ordering::Relaxed)).filter(|sequence| *sequence > 0)
    }
}

/// Subscriptions.
pub(crate) struct Subscription;

/// Subscriptions.
#[GraphqlSubscription]
impl Subscription {
    /// Streams the events of one order, each once and in order: stored events first, then new events.
    /// Ends after a final status. With the field `progress` it also streams the progress of attempts.
    async fn order_status(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The id of the order.")] order_id: ID,
        #[graphql(
            desc = "Start after this sequence; 0 starts at the first event. Default: start with the latest event."
        )]
        after: Option<i32>,
    ) -> Result<BoxStream<'static, Option<Result<OrderStatusEvent>>>> {
        let id = order_id.parse().map_err(|error: domain::InvalidOrderId| {
            field_error(ErrorCode::InvalidOrderId, error.to_string())
        })?;
        let position = ctx.data_opt::<EventPosition>().cloned().unwrap_or_default();
        let after = sequence(after)?.max(position.get());
        let cursor = after.map_or(WatchFrom::Latest, WatchFrom::After);
        let feed = &ctx.data_unchecked::<Arc<Services>>().feed;
        let items = if ctx.look_ahead().field(OrderStatusEvent::PROGRESS).exists() {
            feed.watch_with_progress(caller(ctx), id, cursor).await
        } else {
            let events = feed.watch(caller(ctx), id, cursor).await;
            events.map(|events| events.map(|event| event.map(WatchItem::Event)).boxed())
        };
        let items = items.map_err(to_graphql_error)?.map(move |item| {
            Some(match item {
                Ok(item) => {
                    if let WatchItem::Event(event) = &item {
                        position.0.store(event.sequence, Ordering::Relaxed);
                    }
                    Ok(item.into())
                }
                Err(error) => Err(to_graphql_error(error)),
            })
        });
        Ok(attach(ctx, items))
    }

    /// Streams new events of all orders, for dashboards. A slow subscriber receives the number of
    /// skipped events.
    async fn order_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Filter.")] filter: Option<OrderEventFilter>,
    ) -> Result<BoxStream<'static, Option<OrderFeedItem>>> {
        let statuses = filter.unwrap_or_default().statuses.unwrap_or_default();
        let wanted = move |status: OrderStatus| statuses.is_empty() || statuses.contains(&status);
        let events = ctx.data_unchecked::<Arc<Services>>().feed.all(caller(ctx)).map_err(to_graphql_error)?;
        let items = events.filter_map(move |item| {
            std::future::ready(match item {
                FeedItem::Event(event) => {
                    wanted(event.status.into()).then(|| Some(OrderFeedItem::Event(event.into())))
                }
                FeedItem::Lagged(missed) => {
                    let missed = i32::try_from(missed).unwrap_or(i32::MAX);
                    Some(Some(OrderFeedItem::Lag(OrderFeedLag { missed })))
                }
            })
        });
        Ok(attach(ctx, items))
    }

    /// Streams pages of the event log: the events after the cursor, then new events. The first page comes at once, also
    /// without events. Save `next` with the effects of the events: a subscriber that continues there misses nothing.
    async fn event_log(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Start after this cursor, the `next` of an earlier page. Default: start with the oldest event."
        )]
        after: Option<String>,
        #[graphql(desc = "Maximum number of events of a page: 1 to 100. Default: 20.")] first: Option<i32>,
        #[graphql(desc = "Types such as order.completed; `order.*` is every type. Default: every type.")]
        types: Option<Vec<String>>,
        #[graphql(desc = "Only events of orders of this customer.")] customer: Option<String>,
        #[graphql(desc = "Only events of orders in this currency.")] currency: Option<String>,
    ) -> Result<BoxStream<'static, Option<Result<EventPage>>>> {
        let selection = EventSelection { after, first, types, customer, currency };
        let pages = event_log::follow(ctx, selection).await?;
        Ok(attach(ctx, pages.map(Some)))
    }
}
