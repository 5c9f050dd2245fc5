//! Statistics of the last hours.

use axum::Json;
use axum::extract::{RawQuery, State};
use domain::Timestamp;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::api_error::{ApiError, ProblemSchema, UNAVAILABLE};
use crate::RestState;
use gateway_http::auth::Caller;
use gateway_http::query::Query;
use gateway_service::signals::{Classes, Percentiles, StatsRange, Step, parse_duration};

/// The parameters, for the documentation.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "`stats` reads them")]
struct StatsParams {
    /// Length of the window, from 1m to 6h. Default: 1h.
    #[param(value_type = Option<String>, example = "15m")]
    window: (),
    /// Length of a bucket: a multiple of 10s; the window has at most 360 buckets. Default: a sixtieth of the window.
    #[param(value_type = Option<String>, example = "1m")]
    step: (),
}

/// What happened to orders within a window of time.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Stats)]
pub(super) struct StatsView {
    /// Start of the first bucket.
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    /// End of the window: the present.
    #[schema(value_type = String, format = DateTime)]
    to: Timestamp,
    /// Length of a bucket in seconds.
    step_seconds: u64,
    /// The sums of all buckets.
    totals: BucketView,
    /// The buckets, oldest first.
    buckets: Vec<BucketView>,
}

/// What happened within a bucket.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = StatsBucket)]
struct BucketView {
    /// Start of the bucket.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// False if a part of what happened is unknown: draw a gap.
    complete: bool,
    /// Orders accepted.
    accepted: u64,
    /// Attempts started.
    started: u64,
    /// Orders completed.
    completed: u64,
    /// Attempts that ended without success and are followed by another one.
    retried: u64,
    /// Orders failed.
    failed: u64,
    /// Orders cancelled.
    cancelled: u64,
    /// Failed orders redriven.
    redriven: u64,
    /// Failed orders by error class, most frequent first. At most 50 classes are separate, the others are `other`.
    failed_by_class: Vec<ClassView>,
    /// Retried attempts by error class, in the same form.
    retried_by_class: Vec<ClassView>,
    /// From the time at which an order could be started to its start; absent without a start.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    wait: Option<PercentilesView>,
    /// From the start of an attempt to its end; absent without an end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    handling: Option<PercentilesView>,
    /// From the creation of an order to its completion; absent without a completion.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    completion: Option<PercentilesView>,
    /// Orders that could be started, as measured last in the bucket; null if they were not measured, and for callers of
    /// one tenant.
    #[schema(required)]
    ready: Option<u32>,
}

/// A number of failures with the same error class.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ClassCount)]
struct ClassView {
    /// Error class.
    #[schema(example = "http_503")]
    error_class: String,
    /// Their number.
    count: u64,
}

/// The distribution of durations, with an error of at most 6 %.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Percentiles)]
pub(super) struct PercentilesView {
    /// Number of durations.
    count: u64,
    /// Median in seconds.
    p50_seconds: f64,
    /// 95th percentile in seconds.
    p95_seconds: f64,
    /// 99th percentile in seconds.
    p99_seconds: f64,
    /// Longest duration in seconds.
    max_seconds: f64,
}

impl From<Percentiles> for PercentilesView {
    fn from(found: Percentiles) -> Self {
        Self {
            count: found.count,
            p50_seconds: found.p50_s,
            p95_seconds: found.p95_s,
            p99_seconds: found.p99_s,
            max_seconds: found.max_s,
        }
    }
}

fn classes(classes: &Classes) -> Vec<ClassView> {
    classes.sorted().into_iter().map(|(error_class, count)| ClassView { error_class, count }).collect()
}

impl From<Step> for BucketView {
    fn from(Step { at, is_complete, interval, ready }: Step) -> Self {
        Self {
            at,
            complete: is_complete,
            accepted: interval.accepted,
            started: interval.started,
            completed: interval.completed,
            retried: interval.retried,
            failed: interval.failed,
            cancelled: interval.cancelled,
            redriven: interval.redriven,
            failed_by_class: classes(&interval.failed_by_class),
            retried_by_class: classes(&interval.retried_by_class),
            wait: interval.wait.percentiles().map(Into::into),
            handling: interval.handling.percentiles().map(Into::into),
            completion: interval.completion.percentiles().map(Into::into),
            ready,
        }
    }
}

/// Returns what happened to the orders of the caller in the last hours, over all gateways. Each gateway reports its part
/// within 10 s.
#[utoipa::path(
    get, path = "/stats", tag = "operations", operation_id = "getStats",
    params(StatsParams),
    responses(
        (status = 200, description = "The statistics.", body = StatsView),
        (status = 400, description = "`invalid_input`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn stats(
    State(state): State<RestState>,
    Caller(principal): Caller,
    RawQuery(query): RawQuery,
) -> Result<Json<StatsView>, ApiError> {
    let mut query = Query::new(query.as_deref(), &["window", "step"]);
    let duration = |query: &mut Query<'_>, name| {
        let text = query.one(name)?;
        parse_duration(&text).map_err(|problem| query.add(name, problem)).ok()
    };
    let (window, step) = (duration(&mut query, "window"), duration(&mut query, "step"));
    let range = StatsRange::new(window, step);
    if let Err(error) = &range {
        query.add(error.parameter(), error.to_string());
    }
    query.finish()?;
    let Ok(range) = range else { return Err(gateway_service::Error::Internal.into()) };
    let stats = state.signals.stats(&principal, range).await?;
    Ok(Json(StatsView {
        from: stats.from,
        to: stats.to,
        step_seconds: stats.step_s,
        totals: stats.total.into(),
        buckets: stats.steps.into_iter().map(Into::into).collect(),
    }))
}
