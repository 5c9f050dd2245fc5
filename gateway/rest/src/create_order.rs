use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use domain::{ErrorCode, IdempotencyKey, Principal};
use http::{HeaderMap, HeaderName, StatusCode, header};

use super::api_error::{ApiError, CREATE_UNAVAILABLE, ProblemSchema};
use super::draft::{self, DraftSchema};
use super::order_view::OrderView;
use crate::RestState;
use gateway_http::auth::Caller;
use gateway_http::body;
use gateway_http::problem::Problem;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub(super) const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Creates an order. On success the order is stored durably and will be processed.
#[utoipa::path(
    post, path = "/orders", tag = "orders", operation_id = "createOrder",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "Idempotency key, preferably a UUID: 1 to 255 visible ASCII characters, with or without quotes. Within a day, the same key with the same order replays the original response and creates no other order, so a request whose response was lost can be repeated.", min_length = 1, max_length = 257, pattern = "^(\"[!-~]{1,255}\"|[!#-~][!-~]{0,254})$"),
    ),
    request_body(content = DraftSchema, content_type = "application/json"),
    responses(
        (status = 201, description = "Accepted.", body = OrderView,
            headers(
                ("Location" = String, description = "The path of the order."),
                ("Idempotent-Replayed" = String, description = "`true` if an earlier request with the same key created the order."),
            )),
        (status = 400, description = "`malformed_json`, or `invalid_input`: a field is unknown, repeated or of the wrong type; `invalid_idempotency_key`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 408, description = "`body_timeout`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 413, description = "`body_too_large`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 409, description = "`reference_taken`: the order in `orderId` has the external reference, which is unique for the tenant", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 422, description = "`invalid_order`: the shape is right, but a value breaks a rule; `idempotency_key_reused`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = CREATE_UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn create(
    State(state): State<RestState>,
    Caller(principal): Caller,
    request: Request,
) -> Response {
    let mut answer = accept(&state, &principal, request).await.into_response();
    super::cache_control::forbid_storing(&mut answer);
    answer
}

async fn accept(state: &RestState, principal: &Principal, request: Request) -> Result<Response, ApiError> {
    state.orders.check_capacity()?;
    let key = idempotency_key(request.headers())?;
    let body = body::json(request, &state.context.limits, &state.context.buffers.bodies).await?;
    let draft = draft::read(&body)?;
    let _held = body.into_held();
    let created = state.orders.create(principal, draft, key).await?;
    let location = [(header::LOCATION, format!("/orders/{}", created.order.id))];
    let replayed = created.replayed.then_some([(IDEMPOTENT_REPLAYED, "true")]);
    let view = OrderView::created(&created.order, &state.orders.queue_snapshot());
    Ok((StatusCode::CREATED, location, replayed, view).into_response())
}

/// Parses the key, with or without quotes.
///
/// The IETF draft has quotes; most clients send none.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let refuse = |why: &dyn std::fmt::Display| {
        Problem::new(ErrorCode::InvalidIdempotencyKey, format!("`Idempotency-Key` {why}"))
    };
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(refuse(&"must be there once"));
    }
    let text = value.to_str().unwrap_or_default();
    let bare = match text.strip_prefix('"') {
        // A key without a closing quote is invalid.
        Some(quoted) => quoted.strip_suffix('"').unwrap_or_default(),
        None => text,
    };
    bare.parse().map(Some).map_err(|error| refuse(&error))
}
