//! Groups of dead letters, by error class and by the normal form of the reason.

use std::sync::Arc;

use async_graphql::{Context, ID, Result, SimpleObject};

use crate::errors::to_graphql_error;
use crate::schema::list::{DEFAULT_PAGE, OrderFilter, checked, size};
use crate::schema::scalars::DateTime;
use crate::services::{Services, caller};
use domain::query::Sort;

/// Groups of failed orders.
#[derive(SimpleObject)]
pub(crate) struct DeadLetterGroups {
    /// The largest groups first.
    groups: Vec<DeadLetterGroup>,
    /// Number of orders in all groups, also in those beyond `first`.
    orders: i32,
    /// False if there are more failed orders than were read: the newest 100,000, or as many as the timeout of
    /// a search permits.
    complete: bool,
}

/// Failed orders with one error class and the same reason, except its variable parts.
#[derive(SimpleObject)]
pub(crate) struct DeadLetterGroup {
    /// Error class, for the filter `errorClass`.
    error_class: Option<String>,
    /// Normal form of the reason, for the filter `reason`: numbers, ids, quoted strings, addresses and times
    /// are `*`. Empty for orders without a reason.
    reason: String,
    /// Number of orders.
    count: i32,
    /// Number of different customers.
    customers: i32,
    /// Time of the first failure.
    first_failed_at: DateTime,
    /// Time of the last failure.
    last_failed_at: DateTime,
    /// The order that failed last.
    latest_order_id: ID,
}

/// Returns the groups of the failed orders that match.
pub(crate) async fn groups(
    ctx: &Context<'_>,
    filter: OrderFilter,
    first: Option<i32>,
) -> Result<DeadLetterGroups> {
    let services = ctx.data_unchecked::<Arc<Services>>();
    let first = size("first", first.unwrap_or(DEFAULT_PAGE))?;
    let filter = checked(filter, Sort::default(), services.default_currency)?;
    let found = services.orders.dead_letter_groups(caller(ctx), &filter).await.map_err(to_graphql_error)?;
    let count = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let groups = found.groups.into_iter().take(first as usize).map(|group| DeadLetterGroup {
        error_class: group.error_class,
        reason: group.reason,
        count: count(group.count),
        customers: count(group.customers),
        first_failed_at: DateTime(group.first_failed_at),
        last_failed_at: DateTime(group.last_failed_at),
        latest_order_id: ID(group.latest_order_id.to_string()),
    });
    Ok(DeadLetterGroups { groups: groups.collect(), orders: count(found.orders), complete: found.complete })
}
