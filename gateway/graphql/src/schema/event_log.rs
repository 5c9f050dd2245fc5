//! The event log: the events of all orders, in pages and as a subscription.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, Result, SimpleObject};
use domain::{Currency, EventTypes, Scope};
use futures_util::{Stream, StreamExt, stream};
use gateway_service::event_log::{self as service, EventCursor, EventQuery};

use crate::errors::{bad_input, to_graphql_error};
use crate::large_operations::LargeOperationPermit;
use crate::schema::list::{DEFAULT_PAGE, size};
use crate::schema::scalars::DateTime;
use crate::schema::types::Order;
use crate::services::{Services, caller};

/// The part of the budget of a response that the JSON of events may use. In a response this JSON is a string, whose
/// escapes at most double it, and the other fields of an event need room too.
const JSON_PART: usize = 4;

/// An event of an order in the event log.
pub(crate) struct LogEvent(service::LogEvent);

/// An event of an order in the event log.
#[Object]
impl LogEvent {
    /// The order and the sequence: the same for every delivery of the event, on every API.
    async fn id(&self) -> ID {
        ID(self.0.id.clone())
    }

    /// Type, such as order.completed.
    #[graphql(name = "type")]
    async fn kind(&self) -> &'static str {
        self.0.kind.as_str()
    }

    /// Time of the change, by the clock of the database.
    async fn timestamp(&self) -> DateTime {
        DateTime(self.0.occurred_at)
    }

    /// Opaque cursor after this event, for `after`.
    async fn cursor(&self) -> String {
        self.0.cursor.to_string()
    }

    /// The order.
    async fn order_id(&self) -> ID {
        ID(self.0.order_id.to_string())
    }

    /// The current order, which may be newer than this event; null if it was removed. Requires the scope `orders:read`.
    async fn order(&self, ctx: &Context<'_>) -> Option<Result<Order>> {
        let loader = &ctx.data_unchecked::<Arc<Services>>().order_loader;
        let order = loader.load(caller(ctx), Scope::OrdersRead, self.0.order_id).await;
        order.map(|order| order.map(Order)).map_err(to_graphql_error).transpose()
    }

    /// The event with the content of its order as JSON: the same bytes as in `GET /events`.
    async fn json(&self) -> &str {
        &self.0.json
    }
}

/// A page of the event log.
#[derive(SimpleObject)]
pub(crate) struct EventPage {
    /// The events, oldest first.
    nodes: Vec<LogEvent>,
    /// Opaque cursor for `after`, the position after everything that the page has examined. Only a cursor equal to
    /// `after` states that there are no further events.
    next: String,
}

impl From<service::EventPage> for EventPage {
    fn from(page: service::EventPage) -> Self {
        Self { nodes: page.events.into_iter().map(LogEvent).collect(), next: page.next.to_string() }
    }
}

/// The arguments that select events.
pub(crate) struct EventSelection {
    pub(crate) after: Option<String>,
    pub(crate) first: Option<i32>,
    pub(crate) types: Option<Vec<String>>,
    pub(crate) customer: Option<String>,
    pub(crate) currency: Option<String>,
}

impl EventSelection {
    fn read(self, max_page_bytes: usize) -> Result<EventQuery> {
        let limit = size("first", self.first.unwrap_or(DEFAULT_PAGE))?;
        let after = self.after.map(|after| after.parse::<EventCursor>()).transpose();
        let after = after.map_err(|error| bad_input(format!("after {error}")))?;
        // As on the other interfaces, types are one string.
        let types = self.types.map(|types| types.join(",").parse::<EventTypes>()).transpose();
        let types = types.map_err(|error| bad_input(format!("types is not valid: {error}")))?;
        let currency = self.currency.map(|currency| currency.parse::<Currency>()).transpose();
        let currency = currency.map_err(|error| bad_input(format!("currency is not valid: {error}")))?;
        Ok(EventQuery {
            after,
            types: types.unwrap_or(EventTypes::ALL),
            customer: self.customer,
            currency,
            limit,
            max_bytes: max_page_bytes / JSON_PART,
            with_orders: true,
        })
    }
}

/// Queries of the event log.
#[derive(Default)]
pub(crate) struct EventLogQuery;

/// Queries of the event log.
#[Object]
impl EventLogQuery {
    /// Returns the events of all orders, each once, in the order of their commits. The events of an order are in their
    /// sequence. Save `next` with the effects of the events: a reader that continues there misses nothing. Requires the
    /// scope `events:read`.
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Return events after this cursor, the `next` of an earlier page. Default: the oldest event and later ones."
        )]
        after: Option<String>,
        #[graphql(
            desc = "Maximum number of events: 1 to 100. Default: 20. A page can have fewer before the end of the log."
        )]
        first: Option<i32>,
        #[graphql(desc = "Types such as order.completed; `order.*` is every type. Default: every type.")]
        types: Option<Vec<String>>,
        #[graphql(desc = "Only events of orders of this customer.")] customer: Option<String>,
        #[graphql(desc = "Only events of orders in this currency.")] currency: Option<String>,
    ) -> Option<Result<EventPage>> {
        Some(page(ctx, EventSelection { after, first, types, customer, currency }).await)
    }
}

async fn page(ctx: &Context<'_>, selection: EventSelection) -> Result<EventPage> {
    let services = ctx.data_unchecked::<Arc<Services>>();
    let query = selection.read(services.max_page_bytes)?;
    let page = services.event_log.page(caller(ctx), &query).await.map_err(to_graphql_error)?;
    if let Some(permit) = ctx.data_opt::<Arc<LargeOperationPermit>>() {
        permit.release_unneeded(query.limit as usize, page.events.iter().map(|event| event.json.len()).sum());
    }
    Ok(page.into())
}

/// Streams pages of events: the present one at once, then those with further events.
pub(crate) async fn follow(
    ctx: &Context<'_>,
    selection: EventSelection,
) -> Result<impl Stream<Item = Result<EventPage>> + Send + 'static> {
    let services = ctx.data_unchecked::<Arc<Services>>();
    let query = selection.read(services.max_page_bytes)?;
    // An expired cursor is then an error of the subscription, and not of one of its results.
    let page = services.event_log.page(caller(ctx), &query).await.map_err(to_graphql_error)?;
    let query = EventQuery { after: Some(page.next), ..query };
    let later = services.event_log.clone().follow(Arc::clone(caller(ctx)), query);
    Ok(stream::once(async { Ok(page) })
        .chain(later)
        .map(|page| page.map(EventPage::from).map_err(to_graphql_error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_documented() {
        let part = format!("1/{JSON_PART} of `--max-response-size`");
        limits_page::row("JSON of the events of a page over GraphQL", &part);
    }
}
