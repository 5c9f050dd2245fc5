//! Replaces an order that was never started.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use domain::{ErrorCode, OrderId, Principal};
use http::{StatusCode, header};

use super::api_error::{ApiError, CREATE_UNAVAILABLE, ProblemSchema};
use super::commands::{actor, request_id};
use super::create_order::{IDEMPOTENT_REPLAYED, idempotency_key};
use super::draft::{self, DraftSchema};
use super::metadata;
use super::order_path::OrderPath;
use super::order_view::OrderView;
use crate::RestState;
use gateway_http::auth::Caller;
use gateway_http::body;
use gateway_http::problem::Problem;

/// Replaces an order that no worker has started: cancels it and creates another one, in one transaction. Each order names
/// the other in `replacedBy` and `replaces`.
#[utoipa::path(
    post, path = "/orders/{id}/replace", tag = "orders", operation_id = "replaceOrder",
    params(
        ("id" = String, Path, format = Uuid, description = "The id of the order to replace."),
        ("Idempotency-Key" = Option<String>, Header, description = "Idempotency key, as for a create: the same key with the same request replays the original response.", min_length = 1, max_length = 257, pattern = "^(\"[!-~]{1,255}\"|[!#-~][!-~]{0,254})$"),
        ("If-Match" = Option<String>, Header, description = "Expected `sequence` of the order in quotes, or `*`. Up to 10, separated by commas.", pattern = "^(\\*|\"[0-9]{1,9}\"( *, *\"[0-9]{1,9}\"){0,9})$"),
    ),
    request_body(content = DraftSchema, content_type = "application/json"),
    responses(
        (status = 201, description = "The new order.", body = OrderView,
            headers(
                ("Location" = String, description = "The path of the new order."),
                ("Idempotent-Replayed" = String, description = "`true` if an earlier request with the same key replaced the order."),
            )),
        (status = 400, description = "`invalid_order_id`, `malformed_json`, `invalid_input`, `invalid_idempotency_key`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 404, description = "`order_not_found`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 408, description = "`body_timeout`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 409, description = "`order_started`, `order_final`; `reference_taken`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 412, description = "`order_changed`: the order has another sequence", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 413, description = "`body_too_large`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 422, description = "`invalid_order`, `idempotency_key_reused`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = CREATE_UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn replace(
    State(state): State<RestState>,
    Caller(principal): Caller,
    OrderPath(id): OrderPath,
    request: Request,
) -> Response {
    let mut answer = accept(&state, &principal, id, request).await.into_response();
    super::cache_control::forbid_storing(&mut answer);
    answer
}

async fn accept(
    state: &RestState,
    principal: &Principal,
    id: OrderId,
    request: Request,
) -> Result<Response, ApiError> {
    state.orders.check_capacity()?;
    let actor = actor(None, request_id(request.headers()));
    let key = idempotency_key(request.headers())?;
    let expected = metadata::expected(request.headers())?.map(sequences).transpose()?;
    let body = body::json(request, &state.context.limits, &state.context.buffers.bodies).await?;
    let draft = draft::read(&body)?;
    let _held = body.into_held();
    let created = state.orders.replace(principal, id, draft, key, expected, &actor).await?;
    let location = [(header::LOCATION, format!("/orders/{}", created.order.id))];
    let replayed = created.replayed.then_some([(IDEMPOTENT_REPLAYED, "true")]);
    let view = OrderView::created(&created.order, &state.orders.queue_snapshot());
    Ok((StatusCode::CREATED, location, replayed, view).into_response())
}

fn sequences(versions: Vec<String>) -> Result<Vec<u32>, Problem> {
    let sequences = versions.iter().map(|version| version.parse()).collect::<Result<_, _>>();
    sequences.map_err(|_| {
        let detail = "`If-Match` must be `*` or up to 10 sequences of the order in quotes, such as \"1\"";
        Problem::new(ErrorCode::InvalidInput, detail)
    })
}
