//! Recoveries of webhook endpoints: a range of the event log is delivered again.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::HeaderMap;

use super::api_error::{ApiError, ProblemSchema, UNAVAILABLE};
use super::commands::request_id;
use super::webhook_requests::{RecoverEvents, range};
use super::webhook_views::{EndpointView, RecoveryView};
use super::webhooks::{EndpointPath, refused};
use crate::RestState;
use gateway_http::auth::Caller;
use gateway_http::body;

/// Delivers the events of a range again, beside the present ones, and in place of an earlier such request. The endpoint
/// shows the progress. A dry run only counts the events. Requires the scope `webhooks:manage`.
#[utoipa::path(
    post, path = "/webhooks/{id}/recover", tag = "webhooks", operation_id = "recoverEvents",
    params(("id" = String, Path, format = Uuid, description = "The id of the endpoint.")),
    request_body(content = RecoverEvents, content_type = "application/json"),
    responses(
        (status = 200, description = "The range.", body = RecoveryView),
        (status = 400, description = "`malformed_json`, `invalid_input`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 404, description = "`webhook_not_found`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 409, description = "`event_log_disabled`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 410, description = "`cursor_expired`: events of the range were removed meanwhile", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn recover(
    State(state): State<RestState>,
    Caller(caller): Caller,
    EndpointPath(id): EndpointPath,
    request: Request,
) -> Result<Json<RecoveryView>, ApiError> {
    let request_id = request_id(request.headers());
    let body = body::json(request, &state.context.limits, &state.context.buffers.bodies).await?;
    let (range, dry_run) = range(&body)?;
    let recovery = state.webhooks.recover(&caller, id, range, dry_run, request_id).await.map_err(refused)?;
    Ok(Json(RecoveryView::new(recovery, &state.event_log)))
}

/// Ends a recovery. Repeating the request has no effect. Requires the scope `webhooks:manage`.
#[utoipa::path(
    delete, path = "/webhooks/{id}/recover", tag = "webhooks", operation_id = "stopRecovery",
    params(("id" = String, Path, format = Uuid, description = "The id of the endpoint.")),
    responses(
        (status = 200, description = "The endpoint without a recovery.", body = EndpointView),
        (status = 403, description = "`forbidden`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 404, description = "`webhook_not_found`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn stop(
    State(state): State<RestState>,
    Caller(caller): Caller,
    EndpointPath(id): EndpointPath,
    headers: HeaderMap,
) -> Result<Json<EndpointView>, ApiError> {
    let stopped = state.webhooks.stop_recovery(&caller, id, request_id(&headers)).await;
    Ok(Json(stopped.map_err(refused)?.into()))
}
