//! The messages of a webhook endpoint: sends one at once, and lists attempts and messages.

use axum::Json;
use axum::extract::{RawQuery, Request, State};
use axum::http::HeaderMap;
use domain::OrderId;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::api_error::{ApiError, ProblemSchema, UNAVAILABLE};
use super::page;
use super::schema;
use super::webhook_requests::{ResendEvent, event_id};
use super::webhook_views::{AttemptView, MessageView};
use super::webhooks::{EndpointPath, refused};
use crate::RestState;
use gateway_http::auth::Caller;
use gateway_http::body;
use gateway_http::query::Query;
use gateway_store::{MAX_ATTEMPT_PAGE, MAX_MESSAGE_PAGE};

/// Number of attempts or messages on a page without `limit`.
const DEFAULT_LIMIT: u32 = 100;

/// The schema of the outcome of an attempt in a filter.
struct OutcomeWord;

impl PartialSchema for OutcomeWord {
    fn schema() -> RefOr<Schema> {
        schema::of(serde_json::json!({"type": "string", "enum": ["succeeded", "failed"]}))
    }
}

impl ToSchema for OutcomeWord {}

/// The parameters of a page of attempts, for the documentation.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "`attempts` reads them")]
struct AttemptParams {
    /// Return only attempts with this outcome. Default: all.
    #[param(value_type = Option<OutcomeWord>, inline)]
    outcome: (),
    /// Maximum number of attempts on the page. Default: 100.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500)]
    limit: (),
    /// Return attempts before the one with this id.
    #[param(value_type = Option<String>, format = Uuid)]
    before: (),
}

/// The parameters of a page of messages, for the documentation.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "`messages` reads them")]
struct MessageParams {
    /// Maximum number of messages on the page. Default: 100.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500)]
    limit: (),
    /// Return messages after the one with this id.
    #[param(value_type = Option<String>)]
    after: (),
}

/// Sends a message of the type `webhook.ping` now, also to a disabled endpoint. The attempt is the response, whether the
/// endpoint accepted the message or not. Requires the scope `webhooks:manage`.
#[utoipa::path(
    post, path = "/webhooks/{id}/test", tag = "webhooks", operation_id = "testWebhookEndpoint",
    params(("id" = String, Path, format = Uuid, description = "The id of the endpoint.")),
    responses(
        (status = 200, description = "The attempt.", body = AttemptView),
        (status = 403, description = "`forbidden`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 404, description = "`webhook_not_found`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 409, description = "`secret_key_missing`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn test(
    State(state): State<RestState>,
    Caller(caller): Caller,
    EndpointPath(id): EndpointPath,
) -> Result<Json<AttemptView>, ApiError> {
    Ok(Json(state.webhooks.test(&caller, id).await.map_err(refused)?.into()))
}

/// Sends an event again now, also one that its filter excludes. The attempt is the response, whether the endpoint accepted the
/// message or not. Requires the scope `webhooks:manage`.
#[utoipa::path(
    post, path = "/webhooks/{id}/resend", tag = "webhooks", operation_id = "resendEvent",
    params(("id" = String, Path, format = Uuid, description = "The id of the endpoint.")),
    request_body(content = ResendEvent, content_type = "application/json"),
    responses(
        (status = 200, description = "The attempt.", body = AttemptView),
        (status = 400, description = "`malformed_json`, `invalid_input`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 404, description = "`webhook_not_found`, `event_not_found`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 409, description = "`secret_key_missing`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn resend(
    State(state): State<RestState>,
    Caller(caller): Caller,
    EndpointPath(id): EndpointPath,
    request: Request,
) -> Result<Json<AttemptView>, ApiError> {
    let body = body::json(request, &state.context.limits, &state.context.buffers.bodies).await?;
    let event = event_id(&body)?;
    Ok(Json(state.webhooks.resend(&caller, id, &event).await.map_err(refused)?.into()))
}

/// Returns a page of the requests to a webhook endpoint, newest first. The `Link` header contains the next page. Requires
/// the scope `webhooks:manage`.
#[utoipa::path(
    get, path = "/webhooks/{id}/attempts", tag = "webhooks", operation_id = "listWebhookAttempts",
    params(("id" = String, Path, format = Uuid, description = "The id of the endpoint."), AttemptParams),
    responses(
        (status = 200, description = "The page, with its `Link` header.", body = Vec<AttemptView>),
        (status = 400, description = "`invalid_input`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 404, description = "`webhook_not_found`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn attempts(
    State(state): State<RestState>,
    Caller(caller): Caller,
    EndpointPath(id): EndpointPath,
    RawQuery(query): RawQuery,
) -> Result<(HeaderMap, Json<Vec<AttemptView>>), ApiError> {
    let mut query = Query::new(query.as_deref(), &["outcome", "limit", "before"]);
    let outcome = query.one("outcome");
    let succeeded = match outcome.as_deref() {
        None => None,
        Some("succeeded") => Some(true),
        Some("failed") => Some(false),
        Some(_) => {
            query.add("outcome", "must be succeeded or failed");
            None
        }
    };
    let limit = page::limit(&mut query, DEFAULT_LIMIT, MAX_ATTEMPT_PAGE);
    let before: Option<OrderId> = query.parse("before");
    query.finish()?;
    let found = state.webhooks.attempts(&caller, id, succeeded, before, limit).await.map_err(refused)?;
    let last = found.last().filter(|_| found.len() >= limit as usize).map(|attempt| attempt.id.to_string());
    let kept: Vec<(&str, &str)> = outcome.iter().map(|outcome| ("outcome", outcome.as_str())).collect();
    let path = format!("/webhooks/{id}/attempts");
    let links = page::next_link_keeping(&path, &kept, limit, "before", last.as_deref());
    Ok((links, Json(found.into_iter().map(AttemptView::from).collect())))
}

/// Returns a page of the messages of a webhook endpoint that wait for another attempt or have failed, sorted by id. The
/// `Link` header contains the next page. Requires the scope `webhooks:manage`.
#[utoipa::path(
    get, path = "/webhooks/{id}/messages", tag = "webhooks", operation_id = "listWebhookMessages",
    params(("id" = String, Path, format = Uuid, description = "The id of the endpoint."), MessageParams),
    responses(
        (status = 200, description = "The page, with its `Link` header.", body = Vec<MessageView>),
        (status = 400, description = "`invalid_input`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 404, description = "`webhook_not_found`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn messages(
    State(state): State<RestState>,
    Caller(caller): Caller,
    EndpointPath(id): EndpointPath,
    RawQuery(query): RawQuery,
) -> Result<(HeaderMap, Json<Vec<MessageView>>), ApiError> {
    let mut query = Query::new(query.as_deref(), &["limit", "after"]);
    let limit = page::limit(&mut query, DEFAULT_LIMIT, MAX_MESSAGE_PAGE);
    let after = query.one("after");
    query.finish()?;
    let found = state.webhooks.messages(&caller, id, after.as_deref(), limit).await.map_err(refused)?;
    let last = found.last().filter(|_| found.len() >= limit as usize).map(|message| message.id.as_str());
    let links = page::next_link(&format!("/webhooks/{id}/messages"), limit, "after", last);
    Ok((links, Json(found.into_iter().map(MessageView::from).collect())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_documented() {
        assert_eq!(MAX_ATTEMPT_PAGE, MAX_MESSAGE_PAGE);
        limits_page::row(
            "attempts or messages of a webhook endpoint on a page over REST",
            &format!("{DEFAULT_LIMIT}, at most {MAX_ATTEMPT_PAGE}"),
        );
    }
}
