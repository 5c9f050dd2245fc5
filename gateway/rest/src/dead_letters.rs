//! Redrives the dead letters that match a filter.

use axum::Json;
use axum::extract::{Request, State};
use domain::{Currency, OrderId, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::api_error::{ApiError, ProblemSchema};
use super::commands::{actor, request_id, requested_by};
use super::filter::{self, FilterParams};
use crate::RestState;
use domain::query::Filter;
use gateway_http::auth::Caller;
use gateway_http::body;
use gateway_http::json::{self, Decoder};
use gateway_http::problem::Problem;
use gateway_service::orders::{MAX_RATE, MAX_REDRIVEN, Redrive};

/// The dead letters to redrive, and the options.
#[derive(Debug, ToSchema)]
#[schema(
    rename_all = "camelCase",
    example = json!({"filter": {"errorClass": "http_503"}, "ratePerSecond": 50, "requestedBy": "ann", "reason": "the carrier is back"})
)]
#[expect(dead_code, reason = "for the documentation; read field by field")]
struct RedriveDeadLetters {
    /// Filter; an order must match all fields that are set. `{}` selects all.
    filter: FilterParams,
    /// Return the matching orders without redriving them. Default: `false`.
    dry_run: Option<bool>,
    /// Maximum starts per second. Default: unlimited.
    #[schema(minimum = 1, maximum = 10_000)]
    rate_per_second: Option<u32>,
    /// Maximum number of orders of this request. Default: 1,000.
    #[schema(minimum = 1, maximum = 1_000)]
    limit: Option<u32>,
    /// Cursor: `next` of the previous response.
    #[schema(format = Uuid)]
    after: Option<String>,
    /// Start time that continues the rate: `nextStartAt` of the previous response.
    #[schema(format = DateTime)]
    start_at: Option<String>,
    /// Requester: 1 to 100 characters, stored with the events.
    #[schema(min_length = 1, max_length = 100)]
    requested_by: Option<String>,
    /// Reason, stored with the events; truncated to 500 characters.
    reason: Option<String>,
}

/// Result of a redrive.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RedrivenDeadLetters {
    /// Number of orders redriven, or selected by a dry run.
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
    /// Start time of the next order, for `startAt`.
    #[schema(value_type = String, format = DateTime)]
    next_start_at: Timestamp,
}

const FIELDS: &[&str] =
    &["filter", "dryRun", "ratePerSecond", "limit", "after", "startAt", "requestedBy", "reason"];
/// Redrives up to 1,000 failed orders that match: each gets a new set of attempts. With ratePerSecond, each order
/// stores its start time, so the rate survives restarts. A repeated request continues with the orders that are
/// still failed.
#[utoipa::path(
    post, path = "/dead-letters/redrive", tag = "dead letters", operation_id = "redriveDeadLetters",
    request_body(content = RedriveDeadLetters, content_type = "application/json"),
    responses(
        (status = 200, description = "The redriven orders.", body = RedrivenDeadLetters),
        (status = 400, description = "`malformed_json`, `invalid_input`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = "`database_unavailable`, `overloaded`: ask again, what was redriven is left out", body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn redrive(
    State(state): State<RestState>,
    Caller(principal): Caller,
    request: Request,
) -> Result<Json<RedrivenDeadLetters>, ApiError> {
    let request_id = request_id(request.headers());
    let body = body::json(request, &state.context.limits, &state.context.buffers.bodies).await?;
    let mut redrive = read(&body, state.orders.config().default_currency)?;
    redrive.requester.request_id = request_id;
    let redriven = state.orders.redrive_all(&principal, &redrive).await?;
    Ok(Json(RedrivenDeadLetters {
        count: redriven.orders.len(),
        dry_run: redrive.dry_run,
        order_ids: redriven.orders,
        next: redriven.next,
        next_start_at: redriven.next_start_at,
    }))
}

fn read(body: &[u8], default_currency: Currency) -> Result<Redrive, Problem> {
    let document = json::document(body)?;
    let mut decoder = Decoder::default();
    let mut redrive = Redrive {
        filter: Filter::default(),
        after: None,
        limit: MAX_REDRIVEN,
        dry_run: false,
        start_at: None,
        rate: None,
        requester: actor(None, None),
        reason: None,
    };
    if let Some(fields) = decoder.object("", document, FIELDS) {
        match fields.get("filter") {
            Some((at, value)) => {
                redrive.filter = filter::from_json(&mut decoder, &at, value, default_currency)
            }
            // A redrive of all orders requires an explicit empty filter.
            None => decoder.note("/filter", "is required; {} means every failed order"),
        }
        redrive.dry_run =
            fields.get("dryRun").and_then(|(at, value)| decoder.boolean(&at, value)).unwrap_or_default();
        redrive.rate =
            fields.get("ratePerSecond").and_then(|(at, value)| decoder.count(&at, value, MAX_RATE));
        let limit = fields.get("limit").and_then(|(at, value)| decoder.count(&at, value, MAX_REDRIVEN));
        redrive.limit = limit.unwrap_or(MAX_REDRIVEN);
        redrive.after = fields.get("after").and_then(|(at, value)| decoder.parsed(&at, value));
        redrive.start_at = fields.get("startAt").and_then(|(at, value)| decoder.parsed(&at, value));
        redrive.requester = actor(requested_by(&mut decoder, &fields), None);
        redrive.reason = fields.get("reason").and_then(|(at, value)| decoder.text(&at, value));
    }
    decoder.finish()?;
    Ok(redrive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_fields_are_decoded() {
        let body =
            br#"{"filter":{"customer":"Ann","errorClass":"http_503","createdFrom":"2026-01-31T12:00:00Z"},
            "dryRun":true,"ratePerSecond":50,"limit":7,"requestedBy":"ann","reason":"it is back"}"#;
        let redrive = read(body, Currency::USD).unwrap();
        assert_eq!((redrive.dry_run, redrive.rate, redrive.limit), (true, Some(50), 7));
        assert_eq!(redrive.filter.error_class.as_deref(), Some("http_503"));
        assert_eq!(redrive.requester.name.as_deref(), Some("ann"));
        let all = read(br#"{"filter":{}}"#, Currency::USD).unwrap();
        assert_eq!((all.filter, all.limit, all.rate), (Filter::default(), MAX_REDRIVEN, None));
    }

    #[test]
    fn errors_are_reported_and_a_missing_filter_is_rejected() {
        for (body, pointer) in [
            ("{}", "/filter"),
            (r#"{"filter":{"class":"x"}}"#, "/filter/class"),
            (r#"{"filter":{"createdFrom":"yesterday"}}"#, "/filter/createdFrom"),
            (r#"{"filter":{"customer":""}}"#, "/filter/customer"),
            (r#"{"filter":{"totalFrom":1.999}}"#, "/filter/totalFrom"),
            (r#"{"filter":{"itemContains":7}}"#, "/filter/itemContains"),
            (r#"{"filter":{},"ratePerSecond":0}"#, "/ratePerSecond"),
            (r#"{"filter":{},"ratePerSecond":10001}"#, "/ratePerSecond"),
            (r#"{"filter":{},"limit":1001}"#, "/limit"),
            (r#"{"filter":{},"dryRun":"yes"}"#, "/dryRun"),
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
