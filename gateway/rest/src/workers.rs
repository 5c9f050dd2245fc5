//! The workers, and the health of the system in words.

use axum::Json;
use axum::extract::{Path, State};
use domain::{ErrorCode, OrderId, Timestamp, WorkerName};
use serde::Serialize;
use utoipa::ToSchema;

use super::api_error::{ApiError, ProblemSchema, UNAVAILABLE};
use super::stats::PercentilesView;
use crate::RestState;
use gateway_http::auth::Caller;
use gateway_http::problem::Problem;
use gateway_service::health_reasons::{HealthReason, HealthReport};
use gateway_service::workers::Worker;
use gateway_store::WorkerOrder;

/// A worker.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Worker)]
pub(super) struct WorkerView {
    /// Name.
    #[schema(value_type = String, example = "packer-2")]
    name: WorkerName,
    /// Version; null if it has not stated one.
    #[schema(required)]
    version: Option<String>,
    /// Host; null if it has not stated one.
    #[schema(required)]
    host: Option<String>,
    /// Id of its gateway.
    gateway: String,
    /// `connected`, `draining` (its gateway shuts down), `disconnected` or `lost` (its gateway has stopped).
    #[schema(example = "connected")]
    state: &'static str,
    /// Time of the connection.
    #[schema(value_type = String, format = DateTime)]
    connected_at: Timestamp,
    /// Time at which its gateway saw it last.
    #[schema(value_type = String, format = DateTime)]
    last_seen_at: Timestamp,
    /// Attempts that it runs at the same time; null if it has not stated that.
    #[schema(required)]
    slots: Option<u32>,
    /// Kinds of orders that it takes; `*` is every kind. Empty for a worker of the stream `Work`, which takes orders without a
    /// kind.
    #[schema(example = json!(["default"]))]
    kinds: Vec<String>,
    /// Attempts that it runs.
    in_flight: u32,
    /// Orders that it completed in the last minute.
    completed_per_minute: u64,
    /// Attempts that failed in the last minute.
    failed_per_minute: u64,
    /// The times of these attempts; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    handling: Option<PercentilesView>,
}

impl From<Worker> for WorkerView {
    fn from(worker: Worker) -> Self {
        let stated = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            name: worker.name,
            version: stated(worker.stated.version),
            host: stated(worker.stated.host),
            gateway: format!("{:012x}", worker.gateway),
            state: worker.state.as_str(),
            connected_at: worker.connected_at,
            last_seen_at: worker.last_seen_at,
            slots: Some(worker.stated.slots).filter(|slots| *slots > 0),
            kinds: worker.stated.kinds,
            in_flight: worker.in_flight,
            completed_per_minute: worker.completed,
            failed_per_minute: worker.failed,
            handling: worker.handling.map(Into::into),
        }
    }
}

/// The workers of all gateways.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Workers)]
pub(super) struct WorkersView {
    /// Connected workers first, then those seen within the last hour; each group by name.
    workers: Vec<WorkerView>,
}

/// A worker and what it runs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WorkerDetail)]
pub(super) struct WorkerDetailView {
    /// The worker.
    #[serde(flatten)]
    worker: WorkerView,
    /// The orders that it processes, at most 100, oldest first.
    orders: Vec<WorkerOrderView>,
}

/// An order that a worker processes.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WorkerOrder)]
struct WorkerOrderView {
    /// Id of the order.
    #[schema(value_type = String, format = Uuid)]
    order_id: OrderId,
    /// Number of the attempt.
    attempt: u32,
    /// Start of the attempt.
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    /// End of the lease, unless the worker renews it.
    #[schema(value_type = String, format = DateTime)]
    lease_ends_at: Timestamp,
}

impl From<WorkerOrder> for WorkerOrderView {
    fn from(order: WorkerOrder) -> Self {
        Self {
            order_id: order.order_id,
            attempt: order.attempt,
            started_at: order.started_at,
            lease_ends_at: order.lease_ends_at,
        }
    }
}

/// Returns the workers that are connected to any gateway, and those that were within the last hour. Requires the scope
/// `metrics:read`.
#[utoipa::path(
    get, path = "/workers", tag = "operations", operation_id = "listWorkers",
    responses(
        (status = 200, description = "The workers.", body = WorkersView),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(state): State<RestState>,
    Caller(principal): Caller,
) -> Result<Json<WorkersView>, ApiError> {
    let workers = state.workers.list(&principal).await?;
    Ok(Json(WorkersView { workers: workers.into_iter().map(Into::into).collect() }))
}

/// Returns a worker with the orders that it processes. Requires the scope `metrics:read`.
#[utoipa::path(
    get, path = "/workers/{name}", tag = "operations", operation_id = "getWorker",
    params(("name" = String, Path, description = "Name of the worker.")),
    responses(
        (status = 200, description = "The worker.", body = WorkerDetailView),
        (status = 404, description = "`worker_not_found`: no worker with this name was seen within the last hour", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get(
    State(state): State<RestState>,
    Caller(principal): Caller,
    Path(name): Path<String>,
) -> Result<Json<WorkerDetailView>, ApiError> {
    let unknown = || {
        Problem::new(
            ErrorCode::WorkerNotFound,
            "no worker with this name was seen within the last hour; GET /workers lists them",
        )
    };
    let (worker, orders) = state.workers.get(&principal, &name).await?.ok_or_else(unknown)?;
    Ok(Json(WorkerDetailView { worker: worker.into(), orders: orders.into_iter().map(Into::into).collect() }))
}

/// The health of the system.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HealthReport)]
pub(super) struct HealthReportView {
    /// `ok`, `degraded` (orders are accepted, and some wait or fail) or `unavailable` (orders cannot be accepted).
    #[schema(example = "degraded")]
    status: &'static str,
    /// What is wrong, the most severe first; empty if the status is `ok`.
    reasons: Vec<HealthReasonView>,
}

/// One thing that is wrong.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HealthReason)]
struct HealthReasonView {
    /// Stable word.
    #[schema(example = "no_workers")]
    code: &'static str,
    /// `critical` or `warning`.
    #[schema(example = "critical")]
    severity: &'static str,
    /// Sentence for people.
    #[schema(example = "no worker is connected since 4 min")]
    message: String,
    /// Since when, if that is known.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Path of the runbook.
    #[schema(example = "/guide/operate/runbooks.html#no_workers")]
    runbook: String,
}

impl From<HealthReason> for HealthReasonView {
    fn from(reason: HealthReason) -> Self {
        let code = reason.code.as_str();
        Self {
            code,
            severity: reason.code.severity().as_str(),
            message: reason.message,
            since: reason.since,
            runbook: format!("/guide/operate/runbooks.html#{code}"),
        }
    }
}

impl From<HealthReport> for HealthReportView {
    fn from(report: HealthReport) -> Self {
        Self { status: report.status.as_str(), reasons: report.reasons.into_iter().map(Into::into).collect() }
    }
}

/// Returns the health of the system with reasons for people. Requires the scope `metrics:read`. Probes of orchestrators use
/// `/livez` and `/readyz`.
#[utoipa::path(
    get, path = "/health", tag = "operations", operation_id = "getHealth",
    responses((status = 200, description = "The health.", body = HealthReportView))
)]
pub(super) async fn health(
    State(state): State<RestState>,
    Caller(principal): Caller,
) -> Result<Json<HealthReportView>, ApiError> {
    Ok(Json(state.health_reasons.report(&principal).await?.into()))
}
