//! Cancels the orders that match a filter.

use axum::Json;
use axum::extract::{Request, State};
use domain::query::Filter;
use domain::{Currency, OrderId};
use serde::Serialize;
use utoipa::ToSchema;

use super::api_error::{ApiError, ProblemSchema};
use super::commands::{actor, request_id, requested_by};
use super::filter::{self, CancelFilter};
use crate::RestState;
use gateway_http::auth::Caller;
use gateway_http::body;
use gateway_http::json::{self, Decoder};
use gateway_http::problem::Problem;
use gateway_service::orders::{BulkCancel, MAX_CANCELLED};

/// The orders to cancel, and the options.
#[derive(ToSchema)]
#[schema(
    rename_all = "camelCase",
    example = json!({"filter": {"customer": "ann@example.com"}, "requestedBy": "ann", "reason": "ordered twice"})
)]
#[expect(dead_code, reason = "for the documentation; read field by field")]
struct CancelOrders {
    /// Filter; an order must match all fields that are set. `{}` selects all `pending` and `processing` orders.
    filter: CancelFilter,
    /// Return the matching orders without cancelling them. Default: `false`.
    dry_run: Option<bool>,
    /// Maximum number of orders of this request. Default: 1,000.
    #[schema(minimum = 1, maximum = 1_000)]
    limit: Option<u32>,
    /// Cursor: `next` of the previous response.
    #[schema(format = Uuid)]
    after: Option<String>,
    /// Requester: 1 to 100 characters, stored with the events.
    #[schema(min_length = 1, max_length = 100)]
    requested_by: Option<String>,
    /// Reason, stored with the events; truncated to 500 characters.
    reason: Option<String>,
}

/// Result of a cancellation by filter.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CancelledOrders {
    /// Number of orders cancelled, or selected by a dry run.
    #[schema(example = 1)]
    count: usize,
    /// True for a dry run.
    dry_run: bool,
    /// Ids of the orders, newest first.
    #[schema(value_type = Vec<uuid::Uuid>)]
    order_ids: Vec<OrderId>,
    /// Cursor for `after`; null at the end.
    #[schema(required, value_type = Option<String>, format = Uuid)]
    next: Option<OrderId>,
}

const FIELDS: &[&str] = &["filter", "dryRun", "limit", "after", "requestedBy", "reason"];

/// Cancels up to 1,000 pending and processing orders that match. The workers of processing orders are told to stop.
/// A repeated request continues with the orders that are not final yet.
#[utoipa::path(
    post, path = "/orders/cancel", tag = "orders", operation_id = "cancelOrders",
    request_body(content = CancelOrders, content_type = "application/json"),
    responses(
        (status = 200, description = "The cancelled orders.", body = CancelledOrders),
        (status = 400, description = "`malformed_json`, `invalid_input`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = "`database_unavailable`, `overloaded`, `query_timeout`: repeat the request, it continues with the other orders", body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn cancel(
    State(state): State<RestState>,
    Caller(principal): Caller,
    request: Request,
) -> Result<Json<CancelledOrders>, ApiError> {
    let request_id = request_id(request.headers());
    let body = body::json(request, &state.context.limits, &state.context.buffers.bodies).await?;
    let mut cancel = read(&body, state.orders.config().default_currency)?;
    cancel.requester.request_id = request_id;
    let cancelled = state.orders.cancel_all(&principal, &cancel).await?;
    Ok(Json(CancelledOrders {
        count: cancelled.orders.len(),
        dry_run: cancel.dry_run,
        order_ids: cancelled.orders,
        next: cancelled.next,
    }))
}

fn read(body: &[u8], default_currency: Currency) -> Result<BulkCancel, Problem> {
    let document = json::document(body)?;
    let mut decoder = Decoder::default();
    let mut cancel = BulkCancel {
        filter: Filter::default(),
        after: None,
        limit: MAX_CANCELLED,
        dry_run: false,
        requester: actor(None, None),
        reason: None,
    };
    if let Some(fields) = decoder.object("", document, FIELDS) {
        match fields.get("filter") {
            Some((at, value)) => {
                cancel.filter = filter::to_cancel(&mut decoder, &at, value, default_currency);
            }
            // A cancellation of all orders requires an explicit empty filter.
            None => decoder.note("/filter", "is required; {} means every pending and processing order"),
        }
        cancel.dry_run =
            fields.get("dryRun").and_then(|(at, value)| decoder.boolean(&at, value)).unwrap_or_default();
        let limit = fields.get("limit").and_then(|(at, value)| decoder.count(&at, value, MAX_CANCELLED));
        cancel.limit = limit.unwrap_or(MAX_CANCELLED);
        cancel.after = fields.get("after").and_then(|(at, value)| decoder.parsed(&at, value));
        cancel.requester = actor(requested_by(&mut decoder, &fields), None);
        cancel.reason = fields.get("reason").and_then(|(at, value)| decoder.text(&at, value));
    }
    decoder.finish()?;
    Ok(cancel)
}

#[cfg(test)]
mod tests {
    use domain::Status;

    use super::*;

    #[test]
    fn all_fields_are_decoded() {
        let body = br#"{"filter":{"customer":"Ann","status":["pending"]},"dryRun":true,"limit":7,"requestedBy":"ann","reason":"twice"}"#;
        let cancel = read(body, Currency::USD).unwrap();
        assert_eq!((cancel.dry_run, cancel.limit, cancel.reason.as_deref()), (true, 7, Some("twice")));
        assert_eq!(cancel.filter.customer.as_deref(), Some("Ann"));
        assert_eq!(cancel.filter.statuses, [Status::Pending]);
        assert_eq!(cancel.requester.name.as_deref(), Some("ann"));
        let all = read(br#"{"filter":{}}"#, Currency::USD).unwrap();
        assert_eq!((all.filter, all.limit, all.after), (Filter::default(), MAX_CANCELLED, None));
    }

    #[test]
    fn errors_are_reported_and_a_missing_filter_is_rejected() {
        for (body, pointer) in [
            ("{}", "/filter"),
            (r#"{"filter":{"class":"x"}}"#, "/filter/class"),
            (r#"{"filter":{"status":["pending","done"]}}"#, "/filter/status/1"),
            (r#"{"filter":{"status":["failed"]}}"#, "/filter/status/0"),
            (r#"{"filter":{"status":"pending"}}"#, "/filter/status"),
            (r#"{"filter":{},"ratePerSecond":1}"#, "/ratePerSecond"),
            (r#"{"filter":{},"limit":1001}"#, "/limit"),
            (r#"{"filter":{},"after":"1"}"#, "/after"),
            (r#"{"filter":{},"requestedBy":""}"#, "/requestedBy"),
            ("[]", ""),
        ] {
            let problem = serde_json::to_value(read(body.as_bytes(), Currency::USD).unwrap_err()).unwrap();
            assert_eq!(
                (&problem["code"], &problem["errors"][0]["pointer"]),
                (&"invalid_input".into(), &pointer.into())
            );
        }
    }
}
