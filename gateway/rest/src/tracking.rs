//! Tracking links: creates and revokes them, and serves the order of a link to its holder.
//!
//! The routes below `/track` are the only ones that accept the token of a link, and they return only what a customer may
//! see. No other route can be reached with it, because the token is no credential of a principal.

use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::response::sse::Event;
use domain::{ErrorCode, Note, Order, OrderCode, OrderEvent, OrderId, Progress, Timestamp};
use http::header::AUTHORIZATION;
use serde::Serialize;
use utoipa::ToSchema;

use super::api_error::{ApiError, ProblemSchema, UNAVAILABLE};
use super::commands::request_id;
use super::events::{LastEventId, Messages, live, numbered};
use super::order_path::OrderPath;
use super::order_view::{Amount, StatusWord};
use super::schema::CurrencyCode;
use crate::RestState;
use gateway_access::{InvalidLink, LINK_TTL, MAX_LINK_TTL, TrackingError, TrackingLink, Visit};
use gateway_http::auth::{Caller, Method};
use gateway_http::body;
use gateway_http::json::{self, Decoder};
use gateway_http::last_event_id::last_event_id;
use gateway_http::middleware::end_event_stream;
use gateway_http::problem::{InputError, Problem};
use gateway_http::streams::Client;
use gateway_service::Error;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The scheme of the token in the header `Authorization`.
const SCHEME: &str = "tracking";

/// Options of a tracking link; optional.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"ttlDays": 30}))]
#[expect(dead_code, reason = "`ttl` decodes the members")]
struct CreateTrackingLink {
    /// Lifetime in days: 1 to 400. Default: 30.
    #[schema(minimum = 1, maximum = 400)]
    ttl_days: Option<u32>,
}

/// A tracking link.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TrackingLink)]
pub(super) struct LinkView {
    /// Path of the tracking page with the token in the fragment. Precede it with the public address of the gateway.
    #[schema(example = "/track/01890a5d-ac96-774b-bcce-b302099a8057#t=v1.1767225600.Zq0cRfkM1wZ6hJp8b3nQeA")]
    url: String,
    /// The token, for `Authorization: Tracking`.
    token: String,
    /// End of the link.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

impl From<TrackingLink> for LinkView {
    fn from(link: TrackingLink) -> Self {
        Self { url: link.url(), token: link.token, expires_at: link.expires_at }
    }
}

/// What a customer sees of an order.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TrackedOrder {
    /// Short form of the order's id.
    #[schema(value_type = String, example = "K6M0AY2J", min_length = 8, max_length = 8)]
    code: OrderCode,
    /// Status.
    status: StatusWord,
    /// Sequence of the latest event.
    #[schema(value_type = i64, example = 1, minimum = 1)]
    sequence: u32,
    /// Time of creation.
    #[schema(value_type = String, format = DateTime, example = "2026-01-31T12:00:00.000000Z")]
    created_at: Timestamp,
    /// Earliest start of processing; null if it is not scheduled.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    process_after: Option<Timestamp>,
    /// Reference of the order in the shop's system.
    #[schema(required, example = "WEB-1001")]
    external_reference: Option<String>,
    /// ISO 4217 code of all amounts.
    #[schema(value_type = CurrencyCode)]
    currency: String,
    /// The sum of the line items.
    total: Amount,
    /// All line items, 1 to 200.
    #[schema(min_items = 1, max_items = 200)]
    line_items: Vec<TrackedLineItem>,
    /// Public notes, oldest first, at most 100.
    #[schema(max_items = 100)]
    notes: Vec<TrackedNote>,
}

/// Public note of a tracked order.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TrackedNote {
    /// Content.
    #[schema(example = "in box 7")]
    text: String,
    /// Milestone that the order has reached; null without one.
    #[schema(required, example = "packed")]
    milestone: Option<String>,
    /// Time of creation.
    #[schema(value_type = String, format = DateTime, example = "2026-01-31T12:00:00.000000Z")]
    created_at: Timestamp,
}

/// Line item of a tracked order.
#[derive(Debug, Serialize, ToSchema)]
struct TrackedLineItem {
    /// Item name.
    #[schema(example = "Laptop")]
    item: String,
    /// Quantity.
    #[schema(example = 2, minimum = 1, maximum = 1_000_000)]
    quantity: u32,
    /// Unit price.
    price: Amount,
}

/// What a customer sees of an event.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TrackedEvent {
    sequence: u32,
    status: StatusWord,
    occurred_at: Timestamp,
}

impl TrackedOrder {
    fn new(order: Order, notes: Vec<Note>) -> Self {
        let notes = notes.into_iter().filter(|note| note.content.is_public).map(|note| TrackedNote {
            text: note.content.text,
            milestone: note.content.milestone,
            created_at: note.created_at,
        });
        let line = |line: domain::LineItem| TrackedLineItem {
            item: line.item,
            quantity: line.quantity,
            price: line.price.into(),
        };
        Self {
            code: order.code(),
            status: StatusWord(order.status),
            sequence: order.version,
            created_at: order.created_at,
            process_after: order.process_after,
            currency: order.total.currency().code().to_owned(),
            total: order.total.into(),
            external_reference: order.content.external_reference,
            line_items: order.content.line_items.into_iter().map(line).collect(),
            notes: notes.collect(),
        }
    }
}

/// What a customer receives: no reason, and of the progress only the percentage.
const MESSAGES: Messages = Messages { event: message, progress: Some(progress_message) };

fn progress_message(progress: &Progress) -> Event {
    // A number can always be serialised.
    let json = serde_json::to_string(&TrackedProgress { percent: progress.percent }).unwrap_or_default();
    Event::default().event("progress").data(json)
}

/// The progress of a running attempt, as a customer sees it.
#[derive(Serialize)]
struct TrackedProgress {
    percent: Option<u8>,
}

fn message(event: &OrderEvent) -> Event {
    let OrderEvent { sequence, status, occurred_at, .. } = *event;
    numbered(sequence, &TrackedEvent { sequence, status: StatusWord(status), occurred_at })
}

fn ttl(body: &[u8]) -> Result<Duration, Problem> {
    let document = json::document(body)?;
    let mut decoder = Decoder::default();
    let fields = decoder.object("", document, &["ttlDays"]);
    let max = u32::try_from(MAX_LINK_TTL.as_secs() / DAY.as_secs()).unwrap_or(u32::MAX);
    let days = fields
        .as_ref()
        .and_then(|fields| fields.get("ttlDays"))
        .and_then(|(at, value)| decoder.count(&at, value, max));
    decoder.finish()?;
    Ok(days.map_or(LINK_TTL, |days| DAY * days))
}

fn refused(error: TrackingError) -> ApiError {
    match error {
        TrackingError::Forbidden(missing) => Error::from(missing).into(),
        TrackingError::NotFound(id) => Error::NotFound(id).into(),
        TrackingError::Store(error) => Error::from(error).into(),
        TrackingError::Ttl => {
            let errors = vec![InputError::field("/ttlDays", error.to_string())];
            Problem::input(ErrorCode::InvalidInput, errors).into()
        }
    }
}

/// Creates a link for a customer, who follows the order with it until it ends. The holder of the link sees the progress and
/// the line items, and nothing else. Requires the scope `orders:write`.
#[utoipa::path(
    post, path = "/orders/{id}/tracking-links", tag = "tracking", operation_id = "createTrackingLink",
    params(("id" = String, Path, format = Uuid, description = "The order's id.")),
    request_body(content = Option<CreateTrackingLink>, content_type = "application/json"),
    responses(
        (status = 201, description = "The link. It is not stored.", body = LinkView),
        (status = 400, description = "`invalid_order_id`, `malformed_json`, `invalid_input`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 404, description = "`order_not_found`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn create(
    State(state): State<RestState>,
    Caller(caller): Caller,
    OrderPath(id): OrderPath,
    request: Request,
) -> Result<(StatusCode, Json<LinkView>), ApiError> {
    let body = body::optional_json(request, &state.context.limits, &state.context.buffers.bodies).await?;
    let ttl = body.map_or(Ok(LINK_TTL), |body| ttl(&body))?;
    let link = state.tracking.create(&caller, id, ttl).await.map_err(refused)?;
    Ok((StatusCode::CREATED, Json(link.into())))
}

/// Revokes all tracking links of the tenant of the caller. Open pages lose their stream within two seconds. Requires the
/// scope `orders:manage`.
#[utoipa::path(
    post, path = "/tracking-links/revoke", tag = "tracking", operation_id = "revokeTrackingLinks",
    responses(
        (status = 204, description = "The links are revoked."),
        (status = 403, description = "`forbidden`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn revoke(
    State(state): State<RestState>,
    Caller(caller): Caller,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    state.tracking.revoke(&caller, request_id(&headers)).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Returns what a customer sees of an order. Requires the token of a tracking link in `Authorization: Tracking`, and
/// accepts no other credential. Every invalid token has the same response, whether the order exists or not.
#[utoipa::path(
    get, path = "/track/{id}/order", tag = "tracking", operation_id = "trackOrder",
    params(("id" = String, Path, format = Uuid, description = "The order's id.")),
    responses(
        (status = 200, description = "The order.", body = TrackedOrder),
        (status = 400, description = "`invalid_order_id`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`: the link has expired, was revoked or is of another order", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 404, description = "`order_not_found`, only without authentication", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 429, description = "`rate_limited`: the address has failed too often", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn order(
    State(state): State<RestState>,
    OrderPath(id): OrderPath,
    headers: HeaderMap,
    client: Client,
) -> Result<Json<TrackedOrder>, ApiError> {
    let principal = match visit(&state, id, &headers, client).await? {
        Some(visit) => visit.principal.clone(),
        None => state.context.auth.authenticate(None, client.0).await?,
    };
    let order = state.orders.get(&principal, id).await?;
    let notes = state.orders.notes(&principal, id).await?;
    Ok(Json(TrackedOrder::new(order, notes)))
}

/// Streams what a customer sees of the events of an order, as server-sent events: `sequence`, `status` and `occurredAt`.
/// Requires the same token as `GET /track/{id}/order`. The stream ends with an event `error` within two seconds after the
/// end or the revocation of the link.
#[utoipa::path(
    get, path = "/track/{id}/events", tag = "tracking", operation_id = "trackEvents",
    params(
        ("id" = String, Path, format = Uuid, description = "The order's id."),
        ("Last-Event-ID" = inline(Option<LastEventId>), Header, description = "Last sequence that the client received."),
    ),
    responses(
        (status = 200, description = "The events, oldest first.", content((String = "text/event-stream"))),
        (status = 204, description = "The order is final and the client has received all events."),
        (status = 400, description = "`invalid_order_id`, `invalid_input`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`: the link has expired, was revoked or is of another order", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 404, description = "`order_not_found`, only without authentication", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 429, description = "`rate_limited`: the address has failed too often; `too_many_streams`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn events(
    State(state): State<RestState>,
    OrderPath(id): OrderPath,
    headers: HeaderMap,
    client: Client,
) -> Result<Response, ApiError> {
    let visit = visit(&state, id, &headers, client).await?;
    let after = last_event_id(None, &headers);
    let after = after.map_err(|error| Problem::new(ErrorCode::InvalidInput, error.to_string()))?;
    let after = after.unwrap_or(0);
    let Some(visit) = visit else {
        let anonymous = state.context.auth.authenticate(None, client.0).await?;
        return live(&state, &anonymous, client, id, after, MESSAGES).await;
    };
    let response = live(&state, &visit.principal, client, id, after, MESSAGES).await?;
    if response.status() != StatusCode::OK {
        return Ok(response);
    }
    let ended = state.tracking.clone().until_ended(visit);
    Ok(end_event_stream(response, async {
        ended.await;
        Problem::new(ErrorCode::TokenExpired, "the tracking link has expired or was revoked")
    }))
}

/// Verifies the link of a request; `None` without authentication.
async fn visit(
    state: &RestState,
    id: OrderId,
    headers: &HeaderMap,
    Client(client): Client,
) -> Result<Option<Visit>, Problem> {
    let auth = &state.context.auth;
    if !auth.is_required() {
        return Ok(None);
    }
    let token = headers.get(AUTHORIZATION).and_then(|value| token(value.as_bytes())).unwrap_or_default();
    let verify = async { state.tracking.verify(id, token).await.map_err(invalid) };
    auth.limited(Method::TrackingLink, client, verify).await.map(Some)
}

fn invalid(error: InvalidLink) -> Problem {
    let detail = error.to_string();
    match error {
        InvalidLink::Refused => Problem::new(ErrorCode::Unauthenticated, detail),
        InvalidLink::Unavailable(cause) => {
            let error = Error::from(cause);
            let problem = Problem::new(error.code(), format!("{detail}: {error}"));
            match error.retry_after() {
                Some(wait) => problem.retry_after(wait),
                None => problem,
            }
        }
    }
}

/// Returns the token of `Tracking <token>`.
fn token(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked(SCHEME.len())?;
    token.strip_prefix(b" ").filter(|_| scheme.eq_ignore_ascii_case(SCHEME.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lifetime_is_read() {
        assert_eq!(ttl(b"{}").unwrap(), LINK_TTL);
        assert_eq!(ttl(br#"{"ttlDays": 400}"#).unwrap(), MAX_LINK_TTL);
        for wrong in [&br#"{"ttlDays": 0}"#[..], br#"{"ttlDays": 401}"#, br#"{"days": 1}"#, b"[]"] {
            assert_eq!(ttl(wrong).unwrap_err().code(), ErrorCode::InvalidInput);
        }
    }

    #[test]
    fn only_the_scheme_of_links_has_a_token() {
        assert_eq!(token(b"Tracking v1.5.x"), Some(&b"v1.5.x"[..]));
        assert_eq!(token(b"tracking v1.5.x"), Some(&b"v1.5.x"[..]));
        for wrong in [&b"Bearer v1.5.x"[..], b"Tracking", b"Trackingv1", b"", b"Session x", b"\xff"] {
            assert_eq!(token(wrong), None);
        }
    }
}
