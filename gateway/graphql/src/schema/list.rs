//! The list of orders: filter, sort, and pages as in the Relay cursor connections specification.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, InputObject, Result, SimpleObject};
use domain::Currency;

use crate::errors::{bad_input, to_graphql_error};
use crate::large_operations::{LargeOperationPermit, order_size};
use crate::schema::metadata_entry::{self, MetadataInput};
use crate::schema::scalars::{DateTime, Decimal};
use crate::schema::types::{Order, OrderStatus, OrderWaitsFor};
use crate::services::{Services, caller};
use domain::query::{Filter, FilterError, Position, RawFilter, Sort};
use domain::waiting::WaitsFor;
use gateway_service::orders::{ListQuery, PageCursor, Take};
use gateway_store::Listed;

/// Default number of orders of a page.
pub(crate) const DEFAULT_PAGE: i32 = 20;
/// Maximum number of orders of a page.
pub(crate) const MAX_PAGE: i32 = 100;

/// Filter of a list; an order must match all fields that are set.
#[derive(InputObject, Default)]
pub(crate) struct OrderFilter {
    /// Any of these statuses. Default: all.
    statuses: Option<Vec<OrderStatus>>,
    /// Order id or at least 8 hexadecimal digits of its beginning, code of an order, or prefix of the external reference or of
    /// the customer, case-insensitive.
    search: Option<String>,
    /// Customer, exact match.
    customer: Option<String>,
    /// Prefix of the customer, case-insensitive.
    customer_prefix: Option<String>,
    /// External reference, exact match.
    external_reference: Option<String>,
    /// Prefix of the external reference, case-insensitive.
    reference_prefix: Option<String>,
    /// Error class of the latest event, exact match.
    error_class: Option<String>,
    /// Worker of the latest attempt, exact match.
    worker: Option<String>,
    /// Pattern of the reason of the latest event. Without `**` it selects the reasons with the same
    /// normal form: the `reason` of a group of dead letters. `**` stands for any characters. An empty
    /// pattern selects orders without a reason.
    reason: Option<String>,
    /// Kind, exact match.
    kind: Option<String>,
    /// What a pending order waits for. Orders in other statuses do not match.
    waits_for: Option<OrderWaitsFor>,
    /// Created at or after this time.
    created_from: Option<DateTime>,
    /// Created before this time.
    created_before: Option<DateTime>,
    /// ISO 4217 code such as EUR. Default with `totalFrom`, `totalTo` or a sort by total: the
    /// gateway's default currency.
    currency: Option<String>,
    /// Minimum total, inclusive.
    total_from: Option<Decimal>,
    /// Maximum total, inclusive.
    total_to: Option<Decimal>,
    /// Substring of the name of at least one line item: 1 to 200 characters. Case-insensitive; no
    /// wildcards.
    item_contains: Option<String>,
    /// Values of the metadata, exact match: up to 10 keys.
    metadata: Option<Vec<MetadataInput>>,
}

impl OrderFilter {
    /// Validates the filter; returns the filter or all its errors.
    pub(crate) fn check(
        self,
        sort: Sort,
        default_currency: Currency,
    ) -> std::result::Result<Filter, Vec<FilterError>> {
        let raw_filter = RawFilter {
            statuses: self.statuses.unwrap_or_default().into_iter().map(Into::into).collect(),
            search: self.search,
            customer: self.customer,
            customer_prefix: self.customer_prefix,
            external_reference: self.external_reference,
            reference_prefix: self.reference_prefix,
            error_class: self.error_class,
            worker: self.worker,
            reason: self.reason,
            kind: self.kind,
            waits_for: self.waits_for.map(|cause| WaitsFor::from(cause).to_string()),
            created_from: self.created_from.map(|time| time.0),
            created_before: self.created_before.map(|time| time.0),
            currency: self.currency,
            total_from: self.total_from.map(|total| total.0),
            total_to: self.total_to.map(|total| total.0),
            item_contains: self.item_contains,
            metadata: self.metadata.map(metadata_entry::pairs).unwrap_or_default(),
        };
        raw_filter.check(sort, default_currency)
    }
}

/// Sort order of a list. There is no sort by `updatedAt`: orders would move during paging and be repeated
/// or skipped.
#[derive(Enum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OrderSort {
    /// Newest first.
    CreatedAtDesc,
    /// Oldest first.
    CreatedAtAsc,
    /// Largest total first, then newest first. One currency only.
    TotalDesc,
    /// Smallest total first, then oldest first. One currency only.
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

/// A page of orders. The sort order is the same for `first` and `last`.
#[derive(SimpleObject)]
pub(crate) struct OrderConnection {
    /// The orders with their cursors.
    edges: Vec<OrderEdge>,
    /// The orders without cursors.
    nodes: Vec<Order>,
    /// Orders of this page whose stored row is unreadable. `edges` and `nodes` do not contain them.
    unreadable: Vec<UnreadableOrder>,
    /// Position of the page in the list.
    page_info: PageInfo,
}

/// An order whose stored row is unreadable. Operators have to repair it; queries of this order return the
/// code `order_unreadable`.
#[derive(SimpleObject)]
pub(crate) struct UnreadableOrder {
    /// The order.
    order_id: ID,
    /// The column or rule that is violated.
    detail: String,
}

/// An order in a list.
#[derive(SimpleObject)]
pub(crate) struct OrderEdge {
    /// The order.
    node: Order,
    /// Opaque cursor for `after` or `before`. Valid for the same sort only; does not expire.
    cursor: String,
}

/// Position of a page in its list.
#[derive(SimpleObject)]
pub(crate) struct PageInfo {
    /// True if there are items after this page; with `first`, only items up to `before` count.
    has_next_page: bool,
    /// True if there are items before this page; with `last`, only items from `after` count.
    has_previous_page: bool,
    /// The cursor of the first item.
    start_cursor: Option<String>,
    /// The cursor of the last item.
    end_cursor: Option<String>,
}

impl PageInfo {
    pub(crate) fn of(
        has_next_page: bool,
        has_previous_page: bool,
        start_cursor: Option<String>,
        end_cursor: Option<String>,
    ) -> Self {
        Self { has_next_page, has_previous_page, start_cursor, end_cursor }
    }
}

/// The arguments that select a page.
pub(crate) struct ConnectionArgs {
    pub(crate) first: Option<i32>,
    pub(crate) after: Option<String>,
    pub(crate) last: Option<i32>,
    pub(crate) before: Option<String>,
}

impl ConnectionArgs {
    fn take(&self) -> Result<Take> {
        match (self.first, self.last) {
            (Some(_), Some(_)) => Err(bad_input("first and last contradict each other: give one of them")),
            (None, Some(last)) => size("last", last).map(Take::Last),
            (first, None) => size("first", first.unwrap_or(DEFAULT_PAGE)).map(Take::First),
        }
    }
}

/// Checks the size of a page.
pub(crate) fn size(name: &str, size: i32) -> Result<u32> {
    let given = u32::try_from(size).ok().filter(|_| (1..=MAX_PAGE).contains(&size));
    given.ok_or_else(|| bad_input(format!("{name} must be 1 to {MAX_PAGE}, is {size}")))
}

/// Validates the filter of a query.
pub(crate) fn checked(filter: OrderFilter, sort: Sort, default_currency: Currency) -> Result<Filter> {
    filter.check(sort, default_currency).map_err(|problems| {
        let texts: Vec<String> =
            problems.iter().map(|problem| format!("filter.{} {}", problem.name, problem.message)).collect();
        bad_input(texts.join("; "))
    })
}

/// Returns a page of orders.
pub(crate) async fn page(
    ctx: &Context<'_>,
    args: ConnectionArgs,
    filter: OrderFilter,
    sort: Option<OrderSort>,
) -> Result<OrderConnection> {
    let services = ctx.data_unchecked::<Arc<Services>>();
    let sort = sort.map(Sort::from).unwrap_or_default();
    let filter = checked(filter, sort, services.default_currency)?;
    let position = |name, cursor: &Option<String>| -> Result<Option<Position>> {
        let read = cursor.as_deref().map(|text| PageCursor::read(text, sort, filter.currency)).transpose();
        read.map_err(|error| bad_input(format!("{name} {error}")))
    };
    let (take, after, before) =
        (args.take()?, position("after", &args.after)?, position("before", &args.before)?);
    let currency = filter.currency;
    let page = services
        .orders
        .list(caller(ctx), ListQuery { filter, sort, after, before, take }, services.max_page_bytes)
        .await
        .map_err(to_graphql_error)?;
    if let Some(permit) = ctx.data_opt::<Arc<LargeOperationPermit>>() {
        let (Take::First(most) | Take::Last(most)) = take;
        let found = page.items.iter().filter_map(Listed::order);
        permit.release_unneeded(most as usize, found.map(order_size).sum());
    }

    let cursor = |item: &Listed| PageCursor::at(item.position(), sort, currency).to_string();
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
        limits_page::row("nodes of a connection", &format!("{DEFAULT_PAGE}, at most {MAX_PAGE}"));
    }
}
