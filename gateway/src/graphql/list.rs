//! The list of orders: its filter, its sort, and its pages as the Relay cursor connections specification
//! has them.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, InputObject, Result, SimpleObject};
use domain::Currency;

use super::Services;
use super::errors::{bad_input, fault};
use super::room::Room;
use super::scalars::{DateTime, Decimal};
use super::types::{Order, OrderStatus};
use crate::orders::{Criteria, Cursor, InvalidCriterion, Listing, Take};
use crate::store::Listed;
use domain::query::{Filter, Position, Sort};

/// Orders of a page when the client does not say.
pub(crate) const DEFAULT_PAGE: i32 = 20;
/// Most orders of a page.
pub(crate) const MAX_PAGE: i32 = 100;

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
    /// In this currency, an ISO 4217 code such as EUR. When absent and totals are compared, that is with
    /// `totalFrom`, `totalTo` or a sort by total, it is the gateway's default currency.
    currency: Option<String>,
    /// A total of at least so much.
    total_from: Option<Decimal>,
    /// A total of at most so much.
    total_to: Option<Decimal>,
    /// The name of at least one line item contains this text of 1 to 200 characters. Upper and lower case
    /// are the same in every script, and no character has a special meaning.
    item_contains: Option<String>,
}

impl OrderFilter {
    /// The filter that is meant, or what is wrong with it.
    pub(super) fn check(
        self,
        sort: Sort,
        default_currency: Currency,
    ) -> std::result::Result<Filter, Vec<InvalidCriterion>> {
        let criteria = Criteria {
            statuses: self.statuses.unwrap_or_default().into_iter().map(Into::into).collect(),
            customer: self.customer,
            external_reference: self.external_reference,
            error_class: self.error_class,
            created_from: self.created_from.map(|time| time.0),
            created_before: self.created_before.map(|time| time.0),
            currency: self.currency,
            total_from: self.total_from.map(|total| total.0),
            total_to: self.total_to.map(|total| total.0),
            item_contains: self.item_contains,
        };
        criteria.check(sort, default_currency)
    }
}

/// The order of a list. Not by `updatedAt`: orders would move while the list is read, and could be met
/// twice or never.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OrderSort {
    /// Newest first.
    CreatedAtDesc,
    /// Oldest first.
    CreatedAtAsc,
    /// Largest total first; among equal ones the newest first. Orders of one currency only.
    TotalDesc,
    /// Smallest total first; among equal ones the oldest first. Orders of one currency only.
    TotalAsc,
}

impl From<OrderSort> for Sort {
    fn from(sort: OrderSort) -> Self {
        match sort {
            OrderSort::CreatedAtDesc => Self::CreatedDescending,
            OrderSort::CreatedAtAsc => Self::CreatedAscending,
            OrderSort::TotalDesc => Self::TotalDescending,
            OrderSort::TotalAsc => Self::TotalAscending,
        }
    }
}

/// A page of orders, in the order of the list whichever end it was read from.
#[derive(SimpleObject)]
pub(crate) struct OrderConnection {
    /// The orders with their cursors.
    edges: Vec<OrderEdge>,
    /// The orders alone.
    nodes: Vec<Order>,
    /// The orders of this page that are there and cannot be read. They are not among `edges` and `nodes`.
    unreadable: Vec<UnreadableOrder>,
    /// Whether there is more, and where it begins.
    page_info: PageInfo,
}

/// An order whose stored row cannot be used. Its operators have to repair it; asking for it alone is answered with
/// the code `order_unreadable`.
#[derive(SimpleObject)]
pub(crate) struct UnreadableOrder {
    /// The order.
    order_id: ID,
    /// Which column or rule it is about, for people.
    detail: String,
}

/// An order in a list.
#[derive(SimpleObject)]
pub(crate) struct OrderEdge {
    /// The order.
    node: Order,
    /// Give this as `after` to go on behind this order, or as `before` to go back in front of it, with the
    /// same sort. Opaque.
    cursor: String,
}

/// Where a page is in its list.
#[derive(SimpleObject)]
pub(crate) struct PageInfo {
    /// Whether there are orders behind this page: up to `before` when it was read with `first`.
    has_next_page: bool,
    /// Whether there are orders in front of this page: down to `after` when it was read with `last`.
    has_previous_page: bool,
    /// The cursor of the first order.
    start_cursor: Option<String>,
    /// The cursor of the last order.
    end_cursor: Option<String>,
}

/// The arguments that choose a page.
pub(super) struct Window {
    pub(super) first: Option<i32>,
    pub(super) after: Option<String>,
    pub(super) last: Option<i32>,
    pub(super) before: Option<String>,
}

impl Window {
    fn take(&self) -> Result<Take> {
        match (self.first, self.last) {
            (Some(_), Some(_)) => Err(bad_input("first and last contradict each other: give one of them")),
            (None, Some(last)) => size("last", last).map(Take::Last),
            (first, None) => size("first", first.unwrap_or(DEFAULT_PAGE)).map(Take::First),
        }
    }
}

fn size(name: &str, size: i32) -> Result<u32> {
    let given = u32::try_from(size).ok().filter(|_| (1..=MAX_PAGE).contains(&size));
    given.ok_or_else(|| bad_input(format!("{name} must be 1 to {MAX_PAGE}, is {size}")))
}

pub(super) async fn page(
    ctx: &Context<'_>,
    window: Window,
    filter: OrderFilter,
    sort: Option<OrderSort>,
) -> Result<OrderConnection> {
    let services = ctx.data_unchecked::<Arc<Services>>();
    let sort = sort.map(Sort::from).unwrap_or_default();
    let filter = filter.check(sort, services.default_currency).map_err(|problems| {
        let texts: Vec<String> =
            problems.iter().map(|problem| format!("filter.{} {}", problem.name, problem.message)).collect();
        bad_input(texts.join("; "))
    })?;
    let place = |name, cursor: &Option<String>| -> Result<Option<Position>> {
        let read = cursor.as_deref().map(|text| Cursor::read(text, sort, filter.currency)).transpose();
        read.map_err(|error| bad_input(format!("{name} {error}")))
    };
    let (take, after, before) =
        (window.take()?, place("after", &window.after)?, place("before", &window.before)?);
    let currency = filter.currency;
    let page = services.orders.list(Listing { filter, sort, after, before, take }).await.map_err(fault)?;
    if let Some(room) = ctx.data_opt::<Arc<Room>>() {
        let (Take::First(most) | Take::Last(most)) = take;
        room.read(most as usize, page.items.iter().filter_map(Listed::order));
    }

    let cursor = |item: &Listed| Cursor::at(item.position(), sort, currency).to_string();
    let page_info = PageInfo {
        has_next_page: page.has_next,
        has_previous_page: page.has_previous,
        start_cursor: page.items.first().map(cursor),
        end_cursor: page.items.last().map(cursor),
    };
    let (mut edges, mut unreadable) = (Vec::with_capacity(page.items.len()), Vec::new());
    for item in page.items {
        let cursor = cursor(&item);
        match item {
            Listed::Order(order) => edges.push(OrderEdge { cursor, node: (*order).into() }),
            Listed::Unreadable { unreadable: one, .. } => {
                unreadable
                    .push(UnreadableOrder { order_id: one.order_id.to_string().into(), detail: one.detail });
            }
        }
    }
    let nodes = edges.iter().map(|edge| edge.node.clone()).collect();
    Ok(OrderConnection { edges, nodes, unreadable, page_info })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_documented() {
        crate::limits_page::row("nodes of a connection", &format!("{DEFAULT_PAGE}, at most {MAX_PAGE}"));
    }
}
