//! What orchestrators, load balancers and Prometheus ask.
//!
//! Alive means the process runs: a restart would not bring a database back. Ready means it can
//! accept orders. Without the queue it can, and the orders wait in the database, so that is
//! `degraded` and still 200.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::inflight::Budget;
use crate::App;

/// How long a part may take to answer a check.
const DEADLINE: Duration = Duration::from_secs(1);

/// The routes with their documentation.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(livez))
        .routes(routes!(healthz))
        .routes(routes!(readyz))
        .routes(routes!(metrics))
}

/// How the gateway, or one of its parts, is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Condition {
    /// All is well.
    Ok,
    /// It works, but something that it can do without for a while is away.
    Degraded,
    /// It cannot work.
    Unavailable,
    /// It is going away and wants no new requests.
    Draining,
}

/// What a health check answers.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// How it is on the whole.
    status: Condition,
    /// Each part, when the request says `?verbose`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checks: Vec<Check>,
}

/// How one part is.
#[derive(Debug, Serialize, ToSchema)]
struct Check {
    /// `database` or `queue`.
    #[schema(example = "database")]
    name: &'static str,
    /// How it is.
    status: Condition,
    /// How long it took to answer, in milliseconds.
    ms: u64,
    /// Why it is not ok.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    detail: Option<&'static str>,
}

/// Whether the process runs. Always yes.
#[utoipa::path(get, path = "/livez", tag = "operations", operation_id = "livez",
    responses((status = 200, description = "It runs.", body = Health)))]
async fn livez() -> Json<Health> {
    Json(Health { status: Condition::Ok, checks: Vec::new() })
}

/// The same as `/livez`.
#[utoipa::path(get, path = "/healthz", tag = "operations", operation_id = "healthz",
    responses((status = 200, description = "It runs.", body = Health)))]
async fn healthz() -> Json<Health> {
    livez().await
}

/// Whether it can accept orders. The database and the queue are really asked.
#[utoipa::path(get, path = "/readyz", tag = "operations", operation_id = "readyz",
    params(("verbose" = Option<String>, Query, description = "List each part; needs no value.")),
    responses(
        (status = 200, description = "It can; `degraded` when the queue is away: orders are accepted and wait.", body = Health),
        (status = 503, description = "It cannot: `unavailable` without the database, `draining` before it ends.", body = Health),
    ))]
async fn readyz(State(app): State<App>, RawQuery(query): RawQuery) -> Response {
    let (database, queue) = tokio::join!(
        check("database", Condition::Unavailable, app.store.ping()),
        check("queue", Condition::Degraded, app.queue.len()),
    );
    let status = overall(&[&database, &queue], app.draining.is_cancelled());
    let verbose = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .any(|(name, value)| name == "verbose" && value != "false");
    let checks = if verbose { vec![database, queue] } else { Vec::new() };
    let code = match status {
        Condition::Ok | Condition::Degraded => StatusCode::OK,
        Condition::Unavailable | Condition::Draining => StatusCode::SERVICE_UNAVAILABLE,
    };
    (code, [(header::CACHE_CONTROL, "no-store")], Json(Health { status, checks })).into_response()
}

/// Asks one part; `when_away` is what it means for the whole when there is no answer.
async fn check<T, E: std::fmt::Display>(
    name: &'static str,
    when_away: Condition,
    question: impl Future<Output = Result<T, E>>,
) -> Check {
    let started = Instant::now();
    let answer = tokio::time::timeout(DEADLINE, question).await;
    let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let detail = match answer {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => {
            // Addresses and such are for the log, not for whoever can reach this port.
            tracing::debug!(part = name, %error, "readiness check failed");
            Some("cannot be reached")
        }
        Err(_) => Some("does not answer in time"),
    };
    let status = if detail.is_some() { when_away } else { Condition::Ok };
    Check { name, status, ms, detail }
}

fn overall(checks: &[&Check], draining: bool) -> Condition {
    let any = |status| checks.iter().any(|check| check.status == status);
    if draining {
        Condition::Draining
    } else if any(Condition::Unavailable) {
        Condition::Unavailable
    } else if any(Condition::Degraded) {
        Condition::Degraded
    } else {
        Condition::Ok
    }
}

/// The metrics in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "operations", operation_id = "metrics",
    responses((status = 200, description = "Prometheus' text format, version 0.0.4.", body = String, content_type = "text/plain")))]
async fn metrics(State(app): State<App>) -> Response {
    let used = |budget: &Budget| u32::try_from(budget.used()).unwrap_or(u32::MAX);
    metrics::gauge!("inflight_body_bytes").set(used(&app.inflight.bodies));
    metrics::gauge!("inflight_response_bytes").set(used(&app.inflight.responses));
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, crate::metrics::render()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answered(when_away: Condition, answer: Result<(), &'static str>) -> Check {
        check("part", when_away, std::future::ready(answer)).await
    }

    #[tokio::test]
    async fn the_database_decides_and_the_queue_degrades() {
        let fine = answered(Condition::Unavailable, Ok(())).await;
        let no_database = answered(Condition::Unavailable, Err("x")).await;
        let no_queue = answered(Condition::Degraded, Err("x")).await;
        assert_eq!(overall(&[&fine, &fine], false), Condition::Ok);
        assert_eq!(overall(&[&fine, &no_queue], false), Condition::Degraded);
        assert_eq!(overall(&[&no_database, &no_queue], false), Condition::Unavailable);
        assert_eq!(overall(&[&fine, &fine], true), Condition::Draining);
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_hangs_is_not_waited_for() {
        let hung = check("part", Condition::Degraded, std::future::pending::<Result<(), &str>>()).await;
        assert_eq!((hung.status, hung.detail), (Condition::Degraded, Some("does not answer in time")));
    }
}
