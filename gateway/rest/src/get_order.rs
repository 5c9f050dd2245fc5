use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use domain::{ErrorCode, OrderId};

use super::api_error::{ApiError, ProblemSchema, UNAVAILABLE};
use super::long_poll::{self, Waiter};
use super::order_path::OrderPath;
use super::order_view::OrderView;
use crate::RestState;
use gateway_http::auth::{Caller, Credential};
use gateway_http::problem::Problem;
use gateway_http::query::Query;
use gateway_http::streams::Client;

/// Returns one order. With waitForSequence the response waits for the event with this sequence: send the sequence
/// of the previous response plus one. The sequence of the response is lower if the wait timed out. With timeout
/// alone it waits for the next event. A final order is returned immediately.
#[utoipa::path(
    get, path = "/orders/{id}", tag = "orders", operation_id = "getOrder",
    params(
        ("id" = String, Path, format = Uuid, description = "The order's id."),
        ("waitForSequence" = Option<i64>, Query, description = "Wait for the event with this sequence. Default with `timeout`: the next event.", minimum = 0, maximum = 4294967295_i64),
        ("timeout" = Option<u32>, Query, description = "Maximum wait in seconds. Default: 30, maximum: 55, which is below the timeout of common proxies.", minimum = 0, maximum = 60),
    ),
    responses(
        (status = 200, description = "The current order.", body = OrderView),
        (status = 400, description = "`invalid_order_id`, `invalid_input`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 404, description = "`order_not_found`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get(
    State(state): State<RestState>,
    Caller(principal): Caller,
    OrderPath(id): OrderPath,
    RawQuery(query): RawQuery,
    credential: Credential,
    client: Client,
) -> Result<Json<OrderView>, ApiError> {
    let wait = Wait::read(query.as_deref())?;
    let waiter = Waiter { principal: &principal, credential, client };
    let order = order(&state, waiter, id, wait).await?;
    Ok(Json(view(&state, &order).await?))
}

/// Returns the newest order with an external reference, compared byte by byte. A list with the filter
/// `externalReference` returns all of them.
#[utoipa::path(
    get, path = "/orders/by-reference/{reference}", tag = "orders", operation_id = "getOrderByReference",
    params(("reference" = String, Path, description = "External reference, percent-encoded.", min_length = 1, max_length = 200)),
    responses(
        (status = 200, description = "The current order.", body = OrderView),
        (status = 404, description = "`order_not_found`: no order has this reference", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn by_reference(
    State(state): State<RestState>,
    Caller(principal): Caller,
    reference: Result<Path<String>, PathRejection>,
) -> Result<Json<OrderView>, ApiError> {
    let unknown = || Problem::new(ErrorCode::OrderNotFound, "there is no order with this reference");
    // A path that is not UTF-8 is no reference.
    let Path(reference) = reference.map_err(|_| unknown())?;
    let order = state.orders.by_reference(&principal, &reference).await?.ok_or_else(unknown)?;
    Ok(Json(view(&state, &order).await?))
}

/// Returns the view of an order with what its worker has produced.
async fn view(state: &RestState, order: &domain::Order) -> Result<OrderView, ApiError> {
    let outputs = state.orders.outputs(order).await?;
    let progress = state.feed.progress(order);
    let view = OrderView::new(order, &state.orders.queue_snapshot());
    Ok(view.with_outputs(outputs, progress.as_deref()))
}

async fn order(
    state: &RestState,
    waiter: Waiter<'_>,
    id: OrderId,
    wait: Option<Wait>,
) -> Result<domain::Order, ApiError> {
    let principal = waiter.principal;
    let order = state.orders.get(principal, id).await?;
    let Some(Wait { sequence, longest }) = wait else { return Ok(order) };
    let sequence = sequence.unwrap_or(order.version.saturating_add(1));
    if order.version >= sequence || order.status.is_final() {
        return Ok(order);
    }
    long_poll::for_sequence(state, waiter, id, sequence, longest).await?;
    Ok(state.orders.get(principal, id).await?)
}

#[derive(Debug, PartialEq)]
struct Wait {
    /// `None` is the next sequence.
    sequence: Option<u32>,
    longest: std::time::Duration,
}

impl Wait {
    fn read(query: Option<&str>) -> Result<Option<Self>, Problem> {
        let mut query = Query::new(query, &["waitForSequence", "timeout"]);
        let sequence = query.one("waitForSequence").map(|text| {
            text.parse().unwrap_or_else(|_| {
                query.add("waitForSequence", "must be a whole number, the sequence of an event");
                0
            })
        });
        let longest = long_poll::timeout(&mut query);
        query.finish()?;
        let waits = sequence.is_some() || longest.is_some();
        Ok(waits.then(|| Self { sequence, longest: longest.unwrap_or(long_poll::DEFAULT) }))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn wait_has_a_sequence_and_a_timeout() {
        let wait = |sequence, seconds| {
            Some(Wait { sequence: Some(sequence), longest: Duration::from_secs(seconds) })
        };
        let next = |seconds| Some(Wait { sequence: None, longest: Duration::from_secs(seconds) });
        for (query, expected) in [
            ("", None),
            ("waitForSequence=3", wait(3, 30)),
            ("waitForSequence=3&timeout=0", wait(3, 0)),
            ("timeout=60&waitForSequence=0", wait(0, 55)),
            ("timeout=55&waitForSequence=0", wait(0, 55)),
            ("timeout=5", next(5)),
            ("timeout=54&waitForSequence=0", wait(0, 54)),
        ] {
            assert_eq!(Wait::read(Some(query)).unwrap(), expected, "{query}");
        }
        for (query, parameter) in [
            ("waitForSequence=-1", "waitForSequence"),
            ("waitForSequence=x", "waitForSequence"),
            ("waitForSequence=1&waitForSequence=2", "waitForSequence"),
            ("waitForSequence=4294967296", "waitForSequence"),
            ("waitForSequence=1&timeout=61", "timeout"),
            ("waitForSequence=1&timeout=1.5", "timeout"),
            ("waitForSequence=1&timeout=-1", "timeout"),
            ("wait=1", "wait"),
        ] {
            let problem = serde_json::to_value(Wait::read(Some(query)).unwrap_err()).unwrap();
            assert_eq!(problem["code"], "invalid_input", "{query}");
            assert_eq!(problem["errors"][0]["parameter"], parameter, "{query}");
        }
    }
}
