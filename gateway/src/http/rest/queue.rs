//! The queue as a whole: whether it is paused, how much waits in it, and how many orders there are.

use axum::Json;
use axum::extract::{Request, State};
use domain::{Status, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::commands::requested_by;
use crate::App;
use crate::http::body;
use crate::http::json::{self, Shape};
use crate::http::problem::Problem;
use crate::store::{COUNT_LIMIT, Counts, Pause};

/// The state of the queue.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Queue)]
pub(super) struct QueueView {
    /// Whether nothing is started at present.
    paused: bool,
    /// Since when.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    paused_at: Option<Timestamp>,
    /// When it goes on by itself; null when it has to be resumed.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    paused_until: Option<Timestamp>,
    /// Who asked for it, if they said.
    #[schema(required)]
    paused_by: Option<String>,
    /// How many orders wait for a free worker, or for the end of the pause. Orders that wait for a retry or for their time
    /// are not among them. `counts.limit` means that many or more; null when the database cannot count them at present.
    #[schema(required)]
    length: Option<u32>,
    /// How many jobs the queue holds. An order can have several jobs, and most orders of a long backlog have none yet. Null
    /// when the queue cannot be reached.
    #[schema(required)]
    jobs: Option<u64>,
    /// How many workers are connected to the gateways of this installation; 0 when orders are accepted and none can be
    /// processed. Null when it is not known.
    #[schema(required)]
    workers: Option<u64>,
    /// How many orders there are in each status: all of them, not only those in the queue. Absent when the
    /// database cannot count them at present.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    counts: Option<CountsView>,
}

/// How many orders there are in each status. Counted once for all who ask within a second, so they may be
/// that old.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Counts)]
pub(super) struct CountsView {
    /// Orders that wait for a worker, for a retry or for their time.
    pending: u32,
    /// Orders that a worker has.
    processing: u32,
    /// Orders that are done.
    completed: u32,
    /// Dead letters.
    failed: u32,
    /// Orders that were called off.
    cancelled: u32,
    /// Where the counting ends: a count of `limit` means so many or more.
    limit: u32,
    /// When they were counted.
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

/// How to pause; may be left out altogether.
#[derive(Debug, Default, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"until": "2099-01-31T12:00:00Z", "requestedBy": "ann"}))]
struct PauseQueue {
    /// When to go on without being told (RFC 3339); never when absent.
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// Who asks; 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100)]
    requested_by: Option<String>,
}

impl PauseQueue {
    fn read(body: &[u8], now: Timestamp) -> Result<Self, Problem> {
        let document = json::document(body)?;
        let mut shape = Shape::default();
        let mut pause = Self::default();
        if let Some(fields) = shape.object("", document, &["until", "requestedBy"]) {
            pause.until = fields.get("until").and_then(|(at, value)| shape.parsed(&at, value));
            if pause.until.is_some_and(|until| until <= now) {
                shape.note("/until", format!("must be in the future; it is {now}"));
            }
            pause.requested_by = requested_by(&mut shape, &fields);
        }
        shape.finish()?;
        Ok(pause)
    }
}

/// Whether the queue is paused, how long it is, and how many orders there are in each status.
#[utoipa::path(
    get, path = "/queue", tag = "queue", operation_id = "getQueue",
    responses(
        (status = 200, description = "The state of the queue.", body = QueueView),
        (status = 503, description = "`database_unavailable`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn status(State(app): State<App>) -> Result<Json<QueueView>, Problem> {
    let pause = app.orders.paused().await?;
    Ok(Json(view(&app, pause).await))
}

/// Pauses the queue: orders are accepted and none is started, from the answer on, also after a restart.
/// What is being processed goes on. Pausing again changes until when.
#[utoipa::path(
    post, path = "/queue/pause", tag = "queue", operation_id = "pauseQueue",
    request_body(content = Option<PauseQueue>, content_type = "application/json"),
    responses(
        (status = 200, description = "The queue, paused.", body = QueueView),
        (status = 400, description = "`malformed_json`, `invalid_input`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`database_unavailable`: ask again", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn pause(State(app): State<App>, request: Request) -> Result<Json<QueueView>, Problem> {
    let body = body::optional_json(request, &app.config.http, &app.inflight.bodies).await?;
    let pause = body.map_or(Ok(PauseQueue::default()), |body| PauseQueue::read(&body, app.orders.now()))?;
    let pause = app.orders.pause(pause.until, pause.requested_by).await?;
    Ok(Json(view(&app, Some(pause)).await))
}

/// Lets a paused queue go on; changes nothing when it is not paused.
#[utoipa::path(
    post, path = "/queue/resume", tag = "queue", operation_id = "resumeQueue",
    responses(
        (status = 200, description = "The queue, not paused.", body = QueueView),
        (status = 503, description = "`database_unavailable`: ask again", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn resume(State(app): State<App>) -> Result<Json<QueueView>, Problem> {
    app.orders.resume().await?;
    Ok(Json(view(&app, None).await))
}

async fn view(app: &App, pause: Option<Pause>) -> QueueView {
    let counts = app.orders.counts().await.ok();
    QueueView {
        paused: pause.is_some(),
        paused_at: pause.as_ref().map(|pause| pause.at),
        paused_until: pause.as_ref().and_then(|pause| pause.until),
        paused_by: pause.and_then(|pause| pause.by),
        length: counts.map(|counts| counts.ready),
        jobs: app.queue.len().await.ok(),
        workers: app.vitals.workers(),
        counts: counts.map(CountsView::from),
    }
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
