//! Webhook endpoints: lists, creates, changes and removes them.

use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequestParts, Path, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use domain::{EndpointId, ErrorCode, InvalidEndpointId, Principal, Scope};
use http::request::Parts;
use utoipa::IntoParams;

use super::api_error::{ApiError, ProblemSchema, UNAVAILABLE};
use super::commands::request_id;
use super::page;
use super::webhook_requests::{
    CreateWebhookEndpoint, RotateWebhookSecret, UpdateWebhookEndpoint, changes, new_endpoint, rotation,
};
use super::webhook_views::{CreatedView, EndpointView};
use crate::RestState;
use gateway_http::auth::Caller;
use gateway_http::body;
use gateway_http::problem::{InputError, Problem};
use gateway_http::query::Query;
use gateway_webhooks::WebhookError;

/// Number of endpoints on a page without `limit`.
const DEFAULT_LIMIT: u32 = 20;
/// Maximum number of endpoints on a page.
const MAX_LIMIT: u32 = 100;

/// Delay of a request that another user has overtaken.
const RETRY: Duration = Duration::from_secs(1);

/// The parameters of the page, for the documentation.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "`list` reads them")]
struct PageParams {
    /// Maximum number of endpoints on the page. Default: 20.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    limit: (),
    /// Return endpoints after the one with this id.
    #[param(value_type = Option<String>, format = Uuid)]
    after: (),
}

/// The `{id}` of a path.
pub(super) struct EndpointPath(pub(super) EndpointId);

impl<S: Send + Sync> FromRequestParts<S> for EndpointPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let id = path.map_err(|_| InvalidEndpointId).and_then(|Path(text)| text.parse());
        // Another string is the id of no endpoint.
        id.map(Self).map_err(|error| Problem::new(ErrorCode::WebhookNotFound, format!("the id is {error}")))
    }
}

/// Converts the error of a use case.
pub(super) fn refused(error: WebhookError) -> ApiError {
    let (code, detail) = (error.code(), error.to_string());
    match error {
        WebhookError::Service(error) => error.into(),
        WebhookError::Busy => Problem::new(code, detail).retry_after(RETRY).into(),
        error => match error.field().filter(|_| code == ErrorCode::InvalidInput) {
            Some(field) => Problem::input(code, vec![InputError::field(format!("/{field}"), detail)]).into(),
            None => Problem::new(code, detail).into(),
        },
    }
}

/// Refuses a caller without the scope before its input is checked, which tells which networks are permitted.
fn require(caller: &Principal) -> Result<(), ApiError> {
    caller.require(Scope::WebhooksManage).map_err(|missing| refused(missing.into()))
}

/// Returns a page of webhook endpoints, sorted by id. The `Link` header contains the next page. Requires the scope
/// `webhooks:manage`.
#[utoipa::path(
    get, path = "/webhooks", tag = "webhooks", operation_id = "listWebhookEndpoints",
    params(PageParams),
    responses(
        (status = 200, description = "The page, with its `Link` header.", body = Vec<EndpointView>),
        (status = 400, description = "`invalid_input`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(state): State<RestState>,
    Caller(caller): Caller,
    RawQuery(query): RawQuery,
) -> Result<(HeaderMap, Json<Vec<EndpointView>>), ApiError> {
    let mut query = Query::new(query.as_deref(), &["limit", "after"]);
    let limit = page::limit(&mut query, DEFAULT_LIMIT, MAX_LIMIT);
    let after: Option<EndpointId> = query.parse("after");
    query.finish()?;
    let found = state.webhooks.list(&caller, after, limit).await.map_err(refused)?;
    let last = found.last().filter(|_| found.len() >= limit as usize);
    let last = last.map(|status| status.endpoint.id.to_string());
    let links = page::next_link("/webhooks", limit, "after", last.as_deref());
    Ok((links, Json(found.into_iter().map(EndpointView::from).collect())))
}

/// Creates a webhook endpoint, which receives the events from now on. The response contains its secret, which is not shown
/// again. Requires the scope `webhooks:manage`.
#[utoipa::path(
    post, path = "/webhooks", tag = "webhooks", operation_id = "createWebhookEndpoint",
    request_body(content = CreateWebhookEndpoint, content_type = "application/json"),
    responses(
        (status = 201, description = "The endpoint and its secret.", body = CreatedView, headers(
            ("Location" = String, description = "Path of the endpoint."),
        )),
        (status = 400, description = "`malformed_json`, `invalid_input`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 409, description = "`webhook_limit`, `event_log_disabled`, `secret_key_missing`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 422, description = "`webhook_url_refused`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn create(
    State(state): State<RestState>,
    Caller(caller): Caller,
    request: Request,
) -> Result<(StatusCode, HeaderMap, Json<CreatedView>), ApiError> {
    require(&caller)?;
    let request_id = request_id(request.headers());
    let body = body::json(request, &state.context.limits, &state.context.buffers.bodies).await?;
    let new = new_endpoint(&body, &state.webhooks)?;
    let created = state.webhooks.create(&caller, new, request_id).await.map_err(refused)?;
    let view = CreatedView::from(created);
    let location = HeaderValue::try_from(view.location()).map(|path| (header::LOCATION, path));
    Ok((StatusCode::CREATED, location.into_iter().collect(), Json(view)))
}

/// Returns a webhook endpoint with its progress. Requires the scope `webhooks:manage`.
#[utoipa::path(
    get, path = "/webhooks/{id}", tag = "webhooks", operation_id = "getWebhookEndpoint",
    params(("id" = String, Path, format = Uuid, description = "The id of the endpoint.")),
    responses(
        (status = 200, description = "The endpoint.", body = EndpointView),
        (status = 403, description = "`forbidden`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 404, description = "`webhook_not_found`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get(
    State(state): State<RestState>,
    Caller(caller): Caller,
    EndpointPath(id): EndpointPath,
) -> Result<Json<EndpointView>, ApiError> {
    Ok(Json(state.webhooks.get(&caller, id).await.map_err(refused)?.into()))
}

/// Changes a webhook endpoint: the members of the body replace its values, and other values stay. Requires the scope
/// `webhooks:manage`.
#[utoipa::path(
    patch, path = "/webhooks/{id}", tag = "webhooks", operation_id = "updateWebhookEndpoint",
    params(("id" = String, Path, format = Uuid, description = "The id of the endpoint.")),
    request_body(content = UpdateWebhookEndpoint, content_type = "application/json"),
    responses(
        (status = 200, description = "The endpoint, changed.", body = EndpointView),
        (status = 400, description = "`malformed_json`, `invalid_input`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 404, description = "`webhook_not_found`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 422, description = "`webhook_url_refused`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn update(
    State(state): State<RestState>,
    Caller(caller): Caller,
    EndpointPath(id): EndpointPath,
    request: Request,
) -> Result<Json<EndpointView>, ApiError> {
    require(&caller)?;
    let request_id = request_id(request.headers());
    let body = body::json(request, &state.context.limits, &state.context.buffers.bodies).await?;
    let changes = changes(&body, &state.webhooks)?;
    let changed = state.webhooks.update(&caller, id, &changes, request_id).await.map_err(refused)?;
    Ok(Json(changed.into()))
}

/// Removes a webhook endpoint with its messages and attempts. Requires the scope `webhooks:manage`.
#[utoipa::path(
    delete, path = "/webhooks/{id}", tag = "webhooks", operation_id = "deleteWebhookEndpoint",
    params(("id" = String, Path, format = Uuid, description = "The id of the endpoint.")),
    responses(
        (status = 204, description = "The endpoint is removed."),
        (status = 403, description = "`forbidden`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 404, description = "`webhook_not_found`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn delete(
    State(state): State<RestState>,
    Caller(caller): Caller,
    EndpointPath(id): EndpointPath,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    state.webhooks.delete(&caller, id, request_id(&headers)).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a webhook endpoint another secret. The old one signs as well until the end of the overlap. The response contains
/// the new secret, which is not shown again. Requires the scope `webhooks:manage`.
#[utoipa::path(
    post, path = "/webhooks/{id}/rotate-secret", tag = "webhooks", operation_id = "rotateWebhookSecret",
    params(("id" = String, Path, format = Uuid, description = "The id of the endpoint.")),
    request_body(content = Option<RotateWebhookSecret>, content_type = "application/json"),
    responses(
        (status = 200, description = "The endpoint and its new secret.", body = CreatedView),
        (status = 400, description = "`malformed_json`, `invalid_input`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 404, description = "`webhook_not_found`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 409, description = "`secret_key_missing`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn rotate_secret(
    State(state): State<RestState>,
    Caller(caller): Caller,
    EndpointPath(id): EndpointPath,
    request: Request,
) -> Result<Json<CreatedView>, ApiError> {
    let request_id = request_id(request.headers());
    let body = body::optional_json(request, &state.context.limits, &state.context.buffers.bodies).await?;
    let rotation = body.map_or_else(|| rotation(b"{}"), |body| rotation(&body))?;
    let rotated = state.webhooks.rotate_secret(&caller, id, &rotation, request_id).await;
    Ok(Json(rotated.map_err(refused)?.into()))
}

/// Sends messages to a disabled or failing webhook endpoint again at once, from its position in the event log on. Requires
/// the scope `webhooks:manage`.
#[utoipa::path(
    post, path = "/webhooks/{id}/enable", tag = "webhooks", operation_id = "enableWebhookEndpoint",
    params(("id" = String, Path, format = Uuid, description = "The id of the endpoint.")),
    responses(
        (status = 200, description = "The endpoint, now `active`.", body = EndpointView),
        (status = 403, description = "`forbidden`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 404, description = "`webhook_not_found`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 409, description = "`event_log_disabled`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn enable(
    State(state): State<RestState>,
    Caller(caller): Caller,
    EndpointPath(id): EndpointPath,
    headers: HeaderMap,
) -> Result<Json<EndpointView>, ApiError> {
    let enabled = state.webhooks.enable(&caller, id, request_id(&headers)).await;
    Ok(Json(enabled.map_err(refused)?.into()))
}

/// Sends no more messages to a webhook endpoint. It keeps its position in the event log, from which it continues when it is
/// enabled. Requires the scope `webhooks:manage`.
#[utoipa::path(
    post, path = "/webhooks/{id}/disable", tag = "webhooks", operation_id = "disableWebhookEndpoint",
    params(("id" = String, Path, format = Uuid, description = "The id of the endpoint.")),
    responses(
        (status = 200, description = "The endpoint, now `disabled`.", body = EndpointView),
        (status = 403, description = "`forbidden`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 404, description = "`webhook_not_found`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn disable(
    State(state): State<RestState>,
    Caller(caller): Caller,
    EndpointPath(id): EndpointPath,
    headers: HeaderMap,
) -> Result<Json<EndpointView>, ApiError> {
    let disabled = state.webhooks.disable(&caller, id, request_id(&headers)).await;
    Ok(Json(disabled.map_err(refused)?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_documented() {
        limits_page::row(
            "webhook endpoints of a page over REST",
            &format!("{DEFAULT_LIMIT}, at most {MAX_LIMIT}"),
        );
    }
}
