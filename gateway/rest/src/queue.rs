//! The state of the queue: its pause, its length and the order counts.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use domain::{Principal, Status, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::api_error::{ApiError, ProblemSchema};
use super::commands::{actor, request_id, requested_by};
use crate::RestState;
use gateway_http::auth::Caller;
use gateway_http::body;
use gateway_http::json::{self, Decoder};
use gateway_http::problem::Problem;
use gateway_store::{COUNT_LIMIT, Counts, Pause};

/// The state of the queue.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Queue)]
pub(super) struct QueueView {
    /// True while the queue is paused.
    paused: bool,
    /// Start of the pause.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    paused_at: Option<Timestamp>,
    /// Time of the automatic resume; null without one.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    paused_until: Option<Timestamp>,
    /// Requester of the pause, if known.
    #[schema(required)]
    paused_by: Option<String>,
    /// Number of orders ready to be started. Excludes orders that wait for a retry or their scheduled time.
    /// `counts.limit` means that number or more; null if the database cannot count them at present.
    #[schema(required)]
    length: Option<u32>,
    /// Age in seconds of the oldest order that is ready to be started, measured within the last 30 s; 0 without one. Null if
    /// it is not measured yet, and for callers of one tenant.
    #[schema(required, example = 0.4)]
    oldest_ready_seconds: Option<f64>,
    /// Number of jobs in the queue. An order can have several jobs, and most orders of a long backlog have
    /// none yet. Null if the queue is unreachable.
    #[schema(required)]
    jobs: Option<u64>,
    /// Number of workers connected to the gateways of this installation; 0 means that orders are accepted but
    /// not processed. Null if unknown.
    #[schema(required)]
    workers: Option<u64>,
    /// Number of orders in each status, including those outside the queue. Absent if the database cannot
    /// count them at present.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    counts: Option<CountsView>,
}

/// Number of orders in each status. Cached for one second.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Counts)]
pub(super) struct CountsView {
    /// Orders that wait for a worker, a retry or their scheduled time.
    pending: u32,
    /// Orders leased by a worker.
    processing: u32,
    /// Completed orders.
    completed: u32,
    /// Failed orders (dead letters).
    failed: u32,
    /// Cancelled orders.
    cancelled: u32,
    /// Upper bound of the counts: a count equal to `limit` means `limit` or more.
    limit: u32,
    /// Time of the count.
    #[schema(value_type = String, format = DateTime)]
    counted_at: Timestamp,
}

impl From<Counts> for CountsView {
    fn from(counts: Counts) -> Self {
        Self {
            pending: counts.of(Status::Pending),
            processing: counts.of(Status::Processing),
            completed: counts.of(Status::Completed),
            failed: counts.of(Status::Failed),
            cancelled: counts.of(Status::Cancelled),
            limit: COUNT_LIMIT,
            counted_at: counts.at,
        }
    }
}

/// Options of a pause; optional.
#[derive(Debug, Default, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"until": "2099-01-31T12:00:00Z", "requestedBy": "ann"}))]
struct PauseQueue {
    /// Time of the automatic resume (RFC 3339). Default: none.
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// Requester: 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100)]
    requested_by: Option<String>,
}

impl PauseQueue {
    fn read(body: &[u8], now: Timestamp) -> Result<Self, Problem> {
        let document = json::document(body)?;
        let mut decoder = Decoder::default();
        let mut pause = Self::default();
        if let Some(fields) = decoder.object("", document, &["until", "requestedBy"]) {
            pause.until = fields.get("until").and_then(|(at, value)| decoder.parsed(&at, value));
            if pause.until.is_some_and(|until| until <= now) {
                decoder.note("/until", format!("must be in the future; it is {now}"));
            }
            pause.requested_by = requested_by(&mut decoder, &fields);
        }
        decoder.finish()?;
        Ok(pause)
    }
}

/// Returns the state of the queue and the number of orders in each status.
#[utoipa::path(
    get, path = "/queue", tag = "queue", operation_id = "getQueue",
    responses(
        (status = 200, description = "The state of the queue.", body = QueueView),
        (status = 503, description = "`database_unavailable`", body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn status(
    State(state): State<RestState>,
    Caller(principal): Caller,
) -> Result<Json<QueueView>, ApiError> {
    let pause = state.orders.paused(&principal).await?;
    Ok(Json(view(&state, &principal, pause).await))
}

/// Pauses the queue. A paused queue accepts orders but starts none; running orders finish. The pause survives
/// restarts. Pausing a paused queue changes the time of the resume.
#[utoipa::path(
    post, path = "/queue/pause", tag = "queue", operation_id = "pauseQueue",
    request_body(content = Option<PauseQueue>, content_type = "application/json"),
    responses(
        (status = 200, description = "The queue, paused.", body = QueueView),
        (status = 400, description = "`malformed_json`, `invalid_input`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = "`database_unavailable`: ask again", body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn pause(
    State(state): State<RestState>,
    Caller(principal): Caller,
    request: Request,
) -> Result<Json<QueueView>, ApiError> {
    let request_id = request_id(request.headers());
    let body = body::optional_json(request, &state.context.limits, &state.context.buffers.bodies).await?;
    let pause = body.map_or(Ok(PauseQueue::default()), |body| PauseQueue::read(&body, state.orders.now()))?;
    let actor = actor(pause.requested_by, request_id);
    let pause = state.orders.pause(&principal, pause.until, &actor).await?;
    Ok(Json(view(&state, &principal, Some(pause)).await))
}

/// Resumes a paused queue; no effect if it is not paused.
#[utoipa::path(
    post, path = "/queue/resume", tag = "queue", operation_id = "resumeQueue",
    responses(
        (status = 200, description = "The queue, not paused.", body = QueueView),
        (status = 503, description = "`database_unavailable`: ask again", body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn resume(
    State(state): State<RestState>,
    Caller(principal): Caller,
    headers: HeaderMap,
) -> Result<Json<QueueView>, ApiError> {
    state.orders.resume(&principal, &actor(None, request_id(&headers))).await?;
    Ok(Json(view(&state, &principal, None).await))
}

async fn view(state: &RestState, principal: &Principal, pause: Option<Pause>) -> QueueView {
    let counts = state.orders.counts(principal).await.ok();
    QueueView {
        paused: pause.is_some(),
        paused_at: pause.as_ref().map(|pause| pause.at),
        paused_until: pause.as_ref().and_then(|pause| pause.until),
        paused_by: pause.and_then(|pause| pause.by),
        length: counts.map(|counts| counts.ready),
        oldest_ready_seconds: oldest_ready_seconds(state, principal),
        jobs: state.queue.len().await.ok(),
        workers: state.health.workers(),
        counts: counts.map(CountsView::from),
    }
}

fn oldest_ready_seconds(state: &RestState, principal: &Principal) -> Option<f64> {
    let measured = state.health.measured();
    // The measurement concerns the orders of all tenants.
    let ready = measured.ready.filter(|_| principal.all_tenants)?;
    Some(if ready == 0 { 0.0 } else { measured.oldest.unwrap_or_default().as_secs_f64() })
}

#[cfg(test)]
mod tests {
    use domain::ErrorCode;

    use super::*;

    #[test]
    fn a_pause_ends_in_the_future() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let read = |body: &str| PauseQueue::read(body.as_bytes(), now);
        let pause = read(r#"{"until":"2026-01-31T12:00:01Z","requestedBy":"ann"}"#).unwrap();
        assert!(pause.until.is_some() && pause.requested_by.as_deref() == Some("ann"));
        assert!(read("{}").unwrap().until.is_none());
        for body in [r#"{"until":"2026-01-31T12:00:00Z"}"#, r#"{"until":5}"#, r#"{"for":"1h"}"#, "[]"] {
            assert_eq!(read(body).unwrap_err().code(), ErrorCode::InvalidInput, "{body}");
        }
    }
}
