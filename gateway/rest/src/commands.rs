//! The commands on an order: cancel and redrive.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use domain::strings;
use utoipa::ToSchema;

use super::api_error::{ApiError, ProblemSchema, UNAVAILABLE};
use super::order_path::OrderPath;
use super::order_view::OrderView;
use crate::RestState;
use gateway_http::auth::Caller;
use gateway_http::body;
use gateway_http::json::{self, Decoder};
use gateway_http::problem::Problem;
use gateway_service::orders::Actor;

/// Reason of a command; optional.
#[derive(Debug, Default, ToSchema)]
#[schema(example = json!({"reason": "the customer changed her mind"}))]
struct Command {
    /// Reason, stored with the event; truncated to 500 characters.
    reason: Option<String>,
}

/// Requester and reason of a redrive; optional.
#[derive(Debug, Default, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"requestedBy": "ann", "reason": "the carrier is back"}))]
struct RedriveCommand {
    /// Requester: 1 to 100 characters, stored with the event.
    #[schema(min_length = 1, max_length = 100)]
    requested_by: Option<String>,
    /// Reason, stored with the event; truncated to 500 characters.
    reason: Option<String>,
}

impl RedriveCommand {
    fn read(body: &[u8]) -> Result<Self, Problem> {
        let document = json::document(body)?;
        let mut decoder = Decoder::default();
        let Some(fields) = decoder.object("", document, &["requestedBy", "reason"]) else {
            return decoder.finish().map(|()| Self::default());
        };
        let requested_by = requested_by(&mut decoder, &fields);
        let reason = fields.get("reason").and_then(|(at, value)| decoder.text(&at, value));
        decoder.finish()?;
        Ok(Self { requested_by, reason })
    }
}

/// Decodes the requester of a command.
pub(super) fn requested_by(decoder: &mut Decoder, fields: &json::Object<'_>) -> Option<String> {
    fields.get("requestedBy").and_then(|(at, value)| decoder.checked(&at, value, strings::MAX_REQUESTED_BY))
}

/// Returns the actor of a command over REST.
pub(super) fn actor(name: Option<String>, request_id: Option<String>) -> Actor {
    Actor { name, via: "REST", request_id }
}

/// Returns the id that the middleware gave to the request, for the audit log.
pub(super) fn request_id(headers: &HeaderMap) -> Option<String> {
    headers.get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned)
}

impl Command {
    fn read(body: &[u8]) -> Result<Self, Problem> {
        let document = json::document(body)?;
        let mut decoder = Decoder::default();
        let fields = decoder.object("", document, &["reason"]);
        let reason = fields
            .as_ref()
            .and_then(|fields| fields.get("reason"))
            .and_then(|(at, value)| decoder.text(&at, value));
        decoder.finish()?;
        Ok(Self { reason })
    }

    async fn of(state: &RestState, request: Request) -> Result<Self, Problem> {
        let body = body::optional_json(request, &state.context.limits, &state.context.buffers.bodies).await?;
        body.map_or(Ok(Self::default()), |body| Self::read(&body))
    }
}

/// Cancels the order, even while it is processing: its worker is told to stop. Repeating the request returns the
/// same result.
#[utoipa::path(
    post, path = "/orders/{id}/cancel", tag = "orders", operation_id = "cancelOrder",
    params(("id" = String, Path, format = Uuid, description = "The order's id.")),
    request_body(content = Option<Command>, content_type = "application/json"),
    responses(
        (status = 200, description = "The order, now `cancelled`.", body = OrderView),
        (status = 400, description = "`invalid_order_id`, `malformed_json`, `invalid_input`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 404, description = "`order_not_found`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 409, description = "`order_final`: it is completed or failed already", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn cancel(
    State(state): State<RestState>,
    Caller(principal): Caller,
    OrderPath(id): OrderPath,
    request: Request,
) -> Result<Json<OrderView>, ApiError> {
    let actor = actor(None, request_id(request.headers()));
    let command = Command::of(&state, request).await?;
    let order = state.orders.cancel(&principal, id, &actor, command.reason).await?;
    Ok(Json(OrderView::new(&order, &state.orders.queue_snapshot())))
}

/// Redrives a failed order: it gets a new set of attempts.
#[utoipa::path(
    post, path = "/orders/{id}/redrive", tag = "orders", operation_id = "redriveOrder",
    params(("id" = String, Path, format = Uuid, description = "The order's id.")),
    request_body(content = Option<RedriveCommand>, content_type = "application/json"),
    responses(
        (status = 200, description = "The order, `pending` again.", body = OrderView),
        (status = 400, description = "`invalid_order_id`, `malformed_json`, `invalid_input`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 404, description = "`order_not_found`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 409, description = "`order_not_failed`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn redrive(
    State(state): State<RestState>,
    Caller(principal): Caller,
    OrderPath(id): OrderPath,
    request: Request,
) -> Result<Json<OrderView>, ApiError> {
    let request_id = request_id(request.headers());
    let body = body::optional_json(request, &state.context.limits, &state.context.buffers.bodies).await?;
    let command = body.map_or(Ok(RedriveCommand::default()), |body| RedriveCommand::read(&body))?;
    let actor = actor(command.requested_by, request_id);
    let order = state.orders.redrive(&principal, id, &actor, command.reason.as_deref()).await?;
    Ok(Json(OrderView::new(&order, &state.orders.queue_snapshot())))
}

#[cfg(test)]
mod tests {
    use domain::ErrorCode;

    use super::*;

    #[test]
    fn command_accepts_only_a_reason() {
        assert_eq!(Command::read(b"{}").unwrap().reason, None);
        assert_eq!(Command::read(br#"{"reason":"x"}"#).unwrap().reason.as_deref(), Some("x"));
        for bad in [&br#"{"why":"x"}"#[..], br#"{"reason":1}"#, b"[]"] {
            assert_eq!(Command::read(bad).unwrap_err().code(), ErrorCode::InvalidInput);
        }
    }
}
