//! What can be asked, and the cursors of its lists.
//!
//! Fields that can fail are `Option<Result<…>>` and not the other way round: so a field that failed
//! is null and its neighbours are still answered. An outer `Result` would take the parent down.

use async_graphql::{Context, ID, InputObject, Object, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use domain::OrderId;

use super::Services;
use super::errors::{bad_input, fault};
use super::scalars::DateTime;
use super::types::{Node, Order, OrderConnection, OrderEdge, OrderStatus, PageInfo};
use crate::Error;
use crate::orders::Filter;

/// Orders of a page when the client does not say.
pub(crate) const DEFAULT_PAGE: i32 = 20;
/// Most orders of a page.
pub(crate) const MAX_PAGE: i32 = 100;
/// What every cursor begins with before it is encoded.
const CURSOR_VERSION: &str = "v1:";

/// Which orders a list shows; everything that is set must match.
#[derive(InputObject, Default)]
pub(crate) struct OrderFilter {
    /// Any of these statuses; absent or empty means all.
    statuses: Option<Vec<OrderStatus>>,
    /// Exactly this customer.
    customer: Option<String>,
    /// Exactly this reference.
    external_reference: Option<String>,
    /// Exactly this error class: the latest event is a failure of this kind.
    error_class: Option<String>,
    /// Created at or after this time.
    created_from: Option<DateTime>,
    /// Created before this time.
    created_before: Option<DateTime>,
}

impl From<OrderFilter> for Filter {
    fn from(filter: OrderFilter) -> Self {
        Self {
            statuses: filter.statuses.unwrap_or_default().into_iter().map(Into::into).collect(),
            customer: filter.customer,
            external_reference: filter.external_reference,
            error_class: filter.error_class,
            created_from: filter.created_from.map(|time| time.0),
            created_before: filter.created_before.map(|time| time.0),
        }
    }
}

/// What can be asked about orders.
#[derive(Default)]
pub(crate) struct OrderQuery;

/// What can be asked about orders.
#[Object]
impl OrderQuery {
    /// Any object by its id; null when there is none.
    async fn node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The id of the object.")] id: ID,
    ) -> Option<Result<Node>> {
        find(ctx, &id).await.map(|order| order.map(Node::Order)).transpose()
    }

    /// One order by its id; null when there is none.
    async fn order(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The id of the order.")] id: ID,
    ) -> Option<Result<Order>> {
        find(ctx, &id).await.transpose()
    }

    /// Orders, newest first.
    async fn orders(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100; 20 when absent.")] first: Option<i32>,
        #[graphql(desc = "Only orders behind this cursor.")] after: Option<String>,
        #[graphql(desc = "Only orders that match.")] filter: Option<OrderFilter>,
    ) -> Option<Result<OrderConnection>> {
        Some(page(ctx, first.unwrap_or(DEFAULT_PAGE), after, filter.unwrap_or_default()).await)
    }
}

async fn page(
    ctx: &Context<'_>,
    first: i32,
    after: Option<String>,
    filter: OrderFilter,
) -> Result<OrderConnection> {
    let limit = u32::try_from(first).ok().filter(|_| (1..=MAX_PAGE).contains(&first));
    let limit = limit.ok_or_else(|| bad_input(format!("first must be 1 to {MAX_PAGE}, is {first}")))?;
    let after = after.as_deref().map(read_cursor).transpose()?;
    let services = ctx.data_unchecked::<Services>();
    let filter = filter.into();
    let page = services.orders.list(&filter, after, limit).await.map_err(fault)?;

    let nodes: Vec<Order> = page.orders.into_iter().map(Order::from).collect();
    let edges: Vec<OrderEdge> =
        nodes.iter().map(|node| OrderEdge { cursor: cursor(node.0.id), node: node.clone() }).collect();
    let page_info = PageInfo {
        has_next_page: page.has_more,
        has_previous_page: false,
        start_cursor: edges.first().map(|edge| edge.cursor.clone()),
        end_cursor: edges.last().map(|edge| edge.cursor.clone()),
    };
    Ok(OrderConnection { edges, nodes, page_info })
}

async fn find(ctx: &Context<'_>, id: &ID) -> Result<Option<Order>> {
    // A text that is no order id is the id of nothing.
    let Ok(id) = id.parse() else { return Ok(None) };
    match ctx.data_unchecked::<Services>().orders.get(id).await {
        Ok(order) => Ok(Some(order.into())),
        Err(Error::NotFound(_)) => Ok(None),
        Err(error) => Err(fault(error)),
    }
}

/// The version in front lets a later one tell old cursors from its own.
fn cursor(id: OrderId) -> String {
    BASE64.encode(format!("{CURSOR_VERSION}{id}"))
}

fn read_cursor(text: &str) -> Result<OrderId> {
    let read = || {
        let bytes = BASE64.decode(text).ok()?;
        std::str::from_utf8(&bytes).ok()?.strip_prefix(CURSOR_VERSION)?.parse().ok()
    };
    read().ok_or_else(|| bad_input("after is not a cursor of this list"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_round_trip_and_others_are_refused() {
        let id = OrderId::new(domain::Timestamp::from_micros(1));
        assert_eq!(read_cursor(&cursor(id)).unwrap(), id);
        for bad in ["", "x", &id.to_string(), &BASE64.encode(format!("v2:{id}")), &BASE64.encode("v1:abc")] {
            assert!(read_cursor(bad).is_err(), "{bad}");
        }
    }
}
