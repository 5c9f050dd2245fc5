//! Health checks for orchestrators and load balancers, and metrics for Prometheus.
//!
//! Liveness means that the process runs: a restart would not repair the database. Readiness means that the gateway can
//! accept orders: the database responds and accepts writes. Without the queue or a worker, and while the queue is
//! paused, orders are accepted and wait in the database. This state is `degraded` and has status 200.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use broker::Queue;
use domain::Scope;
use http::{Extensions, HeaderMap, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use gateway_http::auth;
use gateway_http::buffer_limits::Budget;
use gateway_http::context::Context;
use gateway_http::problem::Problem;
use gateway_http::streams::Client;
use gateway_service::HealthMonitor;
use gateway_service::orders::Orders;
use gateway_store::{ReplicaState, Store};

/// Maximum duration of the check of a component.
const DEADLINE: Duration = Duration::from_secs(1);

/// The components that the endpoints check.
#[derive(Clone)]
pub(crate) struct HealthState {
    pub(crate) orders: Orders,
    pub(crate) store: Store,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) health: HealthMonitor,
    pub(crate) context: Context,
}

/// Returns the public routes with their documentation.
pub(crate) fn probes() -> OpenApiRouter<HealthState> {
    OpenApiRouter::new().routes(routes!(livez)).routes(routes!(healthz)).routes(routes!(readyz))
}

/// Returns the route of the metrics with its documentation.
pub(crate) fn metrics_route() -> OpenApiRouter<HealthState> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// State of the gateway or a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
// Generated clients have this name.
#[schema(as = Condition)]
#[serde(rename_all = "lowercase")]
enum HealthStatus {
    /// All components work.
    Ok,
    /// Orders are accepted, but an optional component is unavailable.
    Degraded,
    /// Orders cannot be accepted.
    Unavailable,
    /// The gateway shuts down and must receive no new requests.
    Draining,
}

/// Response of a health check.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// Overall state.
    status: HealthStatus,
    /// The components, with `?verbose`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checks: Vec<Check>,
}

/// State of a component.
#[derive(Debug, Serialize, ToSchema)]
struct Check {
    /// `database`: it responds. `writes`: it accepts writes. `queue`: it responds and accepts jobs.
    /// `workers`: at least one is connected. `processing`: the queue is not paused. `kinds`: each kind that waits has a
    /// worker. `replica`: the one of `--database-read-url` can be read. `shards`: each shard of the database accepts writes.
    #[schema(example = "database")]
    name: &'static str,
    /// State.
    status: HealthStatus,
    /// Duration of the check in milliseconds.
    ms: u64,
    /// Reason if it is not ok.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    detail: Option<Cow<'static, str>>,
}

/// Liveness of the process; always a success.
#[utoipa::path(get, path = "/livez", tag = "operations", operation_id = "livez",
    responses((status = 200, description = "It runs.", body = Health)))]
async fn livez() -> Json<Health> {
    Json(Health { status: HealthStatus::Ok, checks: Vec::new() })
}

/// The same as `/livez`.
#[utoipa::path(get, path = "/healthz", tag = "operations", operation_id = "healthz",
    responses((status = 200, description = "It runs.", body = Health)))]
async fn healthz() -> Json<Health> {
    livez().await
}

/// Readiness: whether the gateway can accept orders. It checks the database and the queue, and the results of
/// recent writes.
#[utoipa::path(get, path = "/readyz", tag = "operations", operation_id = "readyz",
    params(("verbose" = Option<String>, Query, description = "List each component with the reason if it is not ok; needs no value.")),
    responses(
        (status = 200, description = "Ready. `degraded`: orders are accepted but not processed, because the queue is unreachable or rejects jobs, no worker is connected, or the queue is paused; or the replica cannot be read.", body = Health),
        (status = 503, description = "Not ready: `unavailable` without a writable database, `draining` during shutdown.", body = Health),
    ))]
async fn readyz(
    State(state): State<HealthState>,
    extensions: Extensions,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let verbose = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .any(|(name, value)| name == "verbose" && value != "false");
    let Client(client) = Client::from(&extensions, &headers, &state.context.limits);
    if verbose && let Err(problem) = may_see_parts(&state, &headers, client).await {
        return problem.into_response();
    }
    let (database, queue) = tokio::join!(
        check("database", HealthStatus::Unavailable, state.store.ping()),
        check("queue", HealthStatus::Degraded, state.queue.len()),
    );
    let mut checks = vec![
        database,
        writes(&state.health),
        pushes(queue, &state.health),
        workers(&state.health),
        processing(&state),
        kinds(&state),
    ];
    checks.extend(replica(&state));
    checks.extend(shards(&state));
    let status = overall(&checks, state.context.departing.is_cancelled());
    let checks = if verbose { checks } else { Vec::new() };
    let code = match status {
        HealthStatus::Ok | HealthStatus::Degraded => StatusCode::OK,
        HealthStatus::Unavailable | HealthStatus::Draining => StatusCode::SERVICE_UNAVAILABLE,
    };
    (code, [(header::CACHE_CONTROL, "no-store")], Json(Health { status, checks })).into_response()
}

/// Checks that the caller may see the state of each part. The probe without it is public.
async fn may_see_parts(
    state: &HealthState,
    headers: &HeaderMap,
    client: Option<IpAddr>,
) -> Result<(), Problem> {
    let principal = state.context.auth.authenticate_headers(headers, client).await?;
    auth::require(&principal, Scope::MetricsRead)
}

impl Check {
    /// Creates the check of a component whose state is already known.
    fn known(
        name: &'static str,
        when_wrong: HealthStatus,
        detail: Option<impl Into<Cow<'static, str>>>,
    ) -> Self {
        let status = if detail.is_some() { when_wrong } else { HealthStatus::Ok };
        Self { name, status, ms: 0, detail: detail.map(Into::into) }
    }
}

/// Checks whether the database accepts writes.
fn writes(health: &HealthMonitor) -> Check {
    Check::known("writes", HealthStatus::Unavailable, health.write_refusal().map(|refused| refused.message))
}

/// Adds the reason why the queue rejects jobs to its check.
fn pushes(asked: Check, health: &HealthMonitor) -> Check {
    let failed = health.push_failure().filter(|_| asked.detail.is_none());
    match failed {
        Some(error) => {
            let detail = server_word(&error).unwrap_or("the last push failed");
            Check { status: HealthStatus::Degraded, detail: Some(detail.into()), ..asked }
        }
        None if health.installations() > 1 => Check {
            status: HealthStatus::Degraded,
            detail: Some("gateways with different databases use the same Redis prefix".into()),
            ..asked
        },
        None => asked,
    }
}

fn workers(health: &HealthMonitor) -> Check {
    let missing = match health.workers() {
        None => Some("unknown while the queue cannot be asked"),
        Some(0) => Some("no worker is connected; orders are accepted and wait"),
        Some(_) => None,
    };
    Check::known("workers", HealthStatus::Degraded, missing)
}

fn processing(state: &HealthState) -> Check {
    let snapshot = state.orders.queue_snapshot();
    let paused = snapshot.paused_at.map(|at| match snapshot.paused_until {
        Some(until) => format!("the queue is paused since {at}, until {until}"),
        None => format!("the queue is paused since {at}, until it is resumed"),
    });
    Check::known("processing", HealthStatus::Degraded, paused)
}

/// Checks which shards accept writes, if the database has shards.
fn shards(state: &HealthState) -> Option<Check> {
    let unhealthy = state.store.unhealthy_shards();
    let detail = (!unhealthy.is_empty()).then(|| format!("no writes in {}", unhealthy.join(", ")));
    state.store.has_shards().then(|| Check::known("shards", HealthStatus::Degraded, detail))
}

fn kinds(state: &HealthState) -> Check {
    let unserved = state.health.measured().unserved;
    let is_paused = state.orders.queue_snapshot().paused_at.is_some();
    let kinds: Vec<_> = unserved.iter().take(MAX_NAMED_KINDS).map(|(kind, _)| kind.to_string()).collect();
    let detail = (!kinds.is_empty() && !is_paused)
        .then(|| format!("unserved_kind: no worker processes orders of the kinds {}", kinds.join(", ")));
    Check::known("kinds", HealthStatus::Degraded, detail)
}

/// Checks the replica, if there is one.
fn replica(state: &HealthState) -> Option<Check> {
    let detail = match state.store.replica_state()? {
        ReplicaState::Ok => None,
        ReplicaState::Unreachable => Some("cannot be reached; searches and counts read the primary"),
        ReplicaState::OtherDatabase => {
            Some("does not have the tables of this installation; searches and counts read the primary")
        }
    };
    Some(Check::known("replica", HealthStatus::Degraded, detail))
}

/// Checks one component; `when_away` is the status if it fails or times out.
async fn check<T, E: std::fmt::Display>(
    name: &'static str,
    when_away: HealthStatus,
    question: impl Future<Output = Result<T, E>>,
) -> Check {
    let started = Instant::now();
    let answer = tokio::time::timeout(DEADLINE, question).await;
    let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let detail = match answer {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => {
            // Details such as addresses are logged and not sent to the clients of this port.
            tracing::debug!(part = name, %error, "readiness check failed");
            Some(server_word(&error.to_string()).unwrap_or("cannot be reached"))
        }
        Err(_) => Some("does not answer in time"),
    };
    Check { ms, ..Check::known(name, when_away, detail) }
}

/// Maximum number of kinds that a check names.
const MAX_NAMED_KINDS: usize = 10;

/// The error codes of Redis and their meaning.
const SERVER_WORDS: [(&str, &str); 8] = [
    ("READONLY", "the Redis server is a read-only replica (READONLY)"),
    ("OOM", "the Redis server is out of memory (OOM)"),
    ("MOVED", "the Redis server is a node of a cluster (MOVED)"),
    ("MISCONF", "the Redis server cannot write its snapshot and refuses writes (MISCONF)"),
    ("NOPERM", "the Redis user may not do what is needed (NOPERM)"),
    ("WRONGPASS", "the Redis server refuses the password (WRONGPASS)"),
    ("NOAUTH", "the Redis server requires a password (NOAUTH)"),
    ("LOADING", "the Redis server is loading its data (LOADING)"),
];

fn server_word(error: &str) -> Option<&'static str> {
    let upper = error.to_ascii_uppercase();
    let words = || upper.split(|c: char| !c.is_ascii_alphanumeric());
    SERVER_WORDS.into_iter().find(|(word, _)| words().any(|each| each == *word)).map(|(_, detail)| detail)
}

fn overall(checks: &[Check], draining: bool) -> HealthStatus {
    let any = |status| checks.iter().any(|check| check.status == status);
    if draining {
        HealthStatus::Draining
    } else if any(HealthStatus::Unavailable) {
        HealthStatus::Unavailable
    } else if any(HealthStatus::Degraded) {
        HealthStatus::Degraded
    } else {
        HealthStatus::Ok
    }
}

/// The metrics in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "operations", operation_id = "metrics",
    responses((status = 200, description = "Prometheus' text format, version 0.0.4.", body = String, content_type = "text/plain")))]
async fn metrics(State(state): State<HealthState>, extensions: Extensions) -> Response {
    let permitted =
        auth::principal(&extensions).and_then(|principal| auth::require(&principal, Scope::MetricsRead));
    if let Err(problem) = permitted {
        return problem.into_response();
    }
    let used = |budget: &Budget| u32::try_from(budget.used()).unwrap_or(u32::MAX);
    metrics::gauge!("orders_request_buffer_bytes").set(used(&state.context.buffers.bodies));
    metrics::gauge!("orders_response_buffer_bytes").set(used(&state.context.buffers.responses));
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, telemetry::recorder::render()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worst_component_decides() {
        let part = |status| Check { status, ..Check::known("part", HealthStatus::Ok, None::<&str>) };
        let fine = || part(HealthStatus::Ok);
        assert_eq!(overall(&[fine(), fine()], false), HealthStatus::Ok);
        assert_eq!(overall(&[fine(), part(HealthStatus::Degraded)], false), HealthStatus::Degraded);
        let both = [part(HealthStatus::Degraded), part(HealthStatus::Unavailable)];
        assert_eq!(overall(&both, false), HealthStatus::Unavailable);
        assert_eq!(overall(&[fine(), fine()], true), HealthStatus::Draining);
    }

    #[tokio::test(start_paused = true)]
    async fn check_of_a_component_times_out() {
        let hung = check("part", HealthStatus::Degraded, std::future::pending::<Result<(), &str>>()).await;
        assert_eq!(
            (hung.status, hung.detail.as_deref()),
            (HealthStatus::Degraded, Some("does not answer in time"))
        );
    }

    #[tokio::test]
    async fn error_codes_of_redis_are_explained() {
        for (error, word) in [
            ("Redis at redis://h: READONLY: You can't write against a read only replica.", "READONLY"),
            ("Redis at redis://h: OOM command not allowed when used memory > 'maxmemory'.", "OOM"),
            ("Redis at redis://h: An error was signalled by the server - Moved: 866 127.0.0.1:7000", "MOVED"),
        ] {
            let refused =
                check("queue", HealthStatus::Degraded, std::future::ready(Err::<(), _>(error))).await;
            assert!(refused.detail.unwrap().contains(&format!("({word})")), "{error}");
        }
        let away =
            check("queue", HealthStatus::Degraded, std::future::ready(Err::<(), _>("room 5 is away"))).await;
        assert_eq!(away.detail.as_deref(), Some("cannot be reached"));
    }
}
