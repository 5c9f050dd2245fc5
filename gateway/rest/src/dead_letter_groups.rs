//! Groups of dead letters, by error class and by the normal form of the reason.

use axum::Json;
use axum::extract::{RawQuery, State};
use domain::query::{Filter, Sort};
use domain::{Currency, OrderId, Status, Timestamp};
use gateway_store::{DeadLetterGroup, DeadLetterGroups};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::api_error::{ApiError, LIST_UNAVAILABLE, ProblemSchema};
use super::filter::{self, FilterParams};
use super::list;
use crate::RestState;
use gateway_http::auth::Caller;
use gateway_http::problem::Problem;
use gateway_http::query::Query;

const DEFAULT_LIMIT: u32 = 50;

/// The parameter of the response, for the documentation.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read by `read`")]
struct LimitParam {
    /// Maximum number of groups. Default: 50.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: (),
}

/// Groups of failed orders.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetterGroups)]
pub(super) struct GroupsView {
    /// The largest groups first.
    groups: Vec<GroupView>,
    /// Number of orders in all groups, also in those beyond `limit`.
    #[schema(example = 664)]
    orders: u32,
    /// False if there are more failed orders than were read: the newest 100,000, or as many as the timeout of a
    /// search permits.
    complete: bool,
}

/// Failed orders with one error class and the same reason, except its variable parts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeadLetterGroup)]
struct GroupView {
    /// Error class, for the filter `errorClass`.
    #[schema(required, example = "http_503")]
    error_class: Option<String>,
    /// Normal form of the reason, for the filter `reason`: numbers, ids, quoted strings, addresses and times are
    /// `*`. Empty for orders without a reason.
    #[schema(example = "HTTP 503 from host-*")]
    reason: String,
    /// Number of orders.
    #[schema(example = 41)]
    count: u32,
    /// Number of different customers.
    #[schema(example = 12)]
    customers: u32,
    /// Time of the first failure.
    #[schema(value_type = String, format = DateTime)]
    first_failed_at: Timestamp,
    /// Time of the last failure.
    #[schema(value_type = String, format = DateTime)]
    last_failed_at: Timestamp,
    /// The order that failed last.
    #[schema(value_type = uuid::Uuid)]
    latest_order_id: OrderId,
}

impl From<DeadLetterGroup> for GroupView {
    fn from(group: DeadLetterGroup) -> Self {
        Self {
            error_class: group.error_class,
            reason: group.reason,
            count: group.count,
            customers: group.customers,
            first_failed_at: group.first_failed_at,
            last_failed_at: group.last_failed_at,
            latest_order_id: group.latest_order_id,
        }
    }
}

/// Groups the failed orders that match, by error class and by their reason without its variable parts. The filters
/// errorClass and reason of a group select its orders, also in a redrive.
#[utoipa::path(
    get, path = "/dead-letters/groups", tag = "dead letters", operation_id = "groupDeadLetters",
    params(LimitParam, FilterParams),
    responses(
        (status = 200, description = "The groups.", body = GroupsView),
        (status = 400, description = "`invalid_input`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = LIST_UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(state): State<RestState>,
    Caller(principal): Caller,
    RawQuery(query): RawQuery,
) -> Result<Json<GroupsView>, ApiError> {
    let (filter, limit) = read(query.as_deref(), state.orders.config().default_currency)?;
    let DeadLetterGroups { groups, orders, complete } =
        state.orders.dead_letter_groups(&principal, &filter).await?;
    let groups = groups.into_iter().take(limit as usize).map(GroupView::from).collect();
    Ok(Json(GroupsView { groups, orders, complete }))
}

fn read(query: Option<&str>, default_currency: Currency) -> Result<(Filter, u32), Problem> {
    let known: Vec<&str> = ["limit"].into_iter().chain(filter::parameters()).collect();
    let mut query = Query::new(query, &known);
    let limit = list::limit(&mut query, DEFAULT_LIMIT);
    let filter = filter::from_query(&mut query, vec![Status::Failed], Sort::default(), default_currency);
    query.finish()?;
    Ok((filter, limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_those_of_a_filter_and_a_limit() {
        let (filter, limit) = read(Some("errorClass=x&reason=a+*&limit=3"), Currency::USD).unwrap();
        assert_eq!((filter.error_class.as_deref(), limit), (Some("x"), 3));
        assert!(filter.reason.unwrap().matches(Some("a 7")));
        assert_eq!(read(None, Currency::USD).unwrap().1, DEFAULT_LIMIT);
        for bad in ["limit=0", "limit=1001", "status=failed", "sort=total", "reason=%0A"] {
            assert!(read(Some(bad), Currency::USD).is_err(), "{bad}");
        }
    }
}
