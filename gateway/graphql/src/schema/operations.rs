//! Statistics of the last hours, workers and the health of the system.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, Result, SimpleObject};
use gateway_service::health_reasons::HealthReason;
use gateway_service::signals::{self, Classes, StatsRange, parse_duration};
use gateway_service::workers;
use gateway_store as store;

use crate::errors::{bad_input, to_graphql_error};
use crate::schema::scalars::DateTime;
use crate::services::{Services, caller};

/// What happened to orders within a window of time.
#[derive(SimpleObject)]
pub(crate) struct Stats {
    /// Start of the first bucket.
    from: DateTime,
    /// End of the window: the present.
    to: DateTime,
    /// Length of a bucket in seconds.
    step_seconds: i32,
    /// The sums of all buckets.
    totals: StatsBucket,
    /// The buckets, oldest first.
    buckets: Vec<StatsBucket>,
}

/// What happened within a bucket.
#[derive(SimpleObject)]
pub(crate) struct StatsBucket {
    /// Start of the bucket.
    at: DateTime,
    /// False if a part of what happened is unknown: draw a gap.
    complete: bool,
    /// Orders accepted.
    accepted: i32,
    /// Attempts started.
    started: i32,
    /// Orders completed.
    completed: i32,
    /// Attempts that ended without success and are followed by another one.
    retried: i32,
    /// Orders failed.
    failed: i32,
    /// Orders cancelled.
    cancelled: i32,
    /// Failed orders redriven.
    redriven: i32,
    /// Failed orders by error class, most frequent first. At most 50 classes are separate, the others are
    /// `other`.
    failed_by_class: Vec<ClassCount>,
    /// Retried attempts by error class, in the same form.
    retried_by_class: Vec<ClassCount>,
    /// From the time at which an order could be started to its start; null without a start.
    wait: Option<Percentiles>,
    /// From the start of an attempt to its end; null without an end.
    handling: Option<Percentiles>,
    /// From the creation of an order to its completion; null without a completion.
    completion: Option<Percentiles>,
    /// Orders that could be started, as measured last in the bucket; null if they were not measured, and
    /// for callers of one tenant.
    ready: Option<i32>,
}

/// A number of failures with the same error class.
#[derive(SimpleObject)]
pub(crate) struct ClassCount {
    /// Error class.
    error_class: String,
    /// Their number.
    count: i32,
}

/// The distribution of durations, with an error of at most 6 %.
#[derive(SimpleObject)]
pub(crate) struct Percentiles {
    /// Number of durations.
    count: i32,
    /// Median in seconds.
    p50_seconds: f64,
    /// 95th percentile in seconds.
    p95_seconds: f64,
    /// 99th percentile in seconds.
    p99_seconds: f64,
    /// Longest duration in seconds.
    max_seconds: f64,
}

fn int(count: u64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

impl From<signals::Percentiles> for Percentiles {
    fn from(found: signals::Percentiles) -> Self {
        Self {
            count: int(found.count),
            p50_seconds: found.p50_s,
            p95_seconds: found.p95_s,
            p99_seconds: found.p99_s,
            max_seconds: found.max_s,
        }
    }
}

fn classes(classes: &Classes) -> Vec<ClassCount> {
    let counted = |(error_class, count)| ClassCount { error_class, count: int(count) };
    classes.sorted().into_iter().map(counted).collect()
}

impl From<signals::Step> for StatsBucket {
    fn from(signals::Step { at, is_complete, interval, ready }: signals::Step) -> Self {
        Self {
            at: DateTime(at),
            complete: is_complete,
            accepted: int(interval.accepted),
            started: int(interval.started),
            completed: int(interval.completed),
            retried: int(interval.retried),
            failed: int(interval.failed),
            cancelled: int(interval.cancelled),
            redriven: int(interval.redriven),
            failed_by_class: classes(&interval.failed_by_class),
            retried_by_class: classes(&interval.retried_by_class),
            wait: interval.wait.percentiles().map(Into::into),
            handling: interval.handling.percentiles().map(Into::into),
            completion: interval.completion.percentiles().map(Into::into),
            ready: ready.map(|ready| int(ready.into())),
        }
    }
}

/// A worker.
pub(crate) struct Worker(workers::Worker);

/// A worker.
#[Object]
impl Worker {
    /// Name.
    async fn name(&self) -> &str {
        self.0.name.as_str()
    }

    /// Version; null if it has not stated one.
    async fn version(&self) -> Option<&str> {
        Some(self.0.stated.version.as_str()).filter(|version| !version.is_empty())
    }

    /// Host; null if it has not stated one.
    async fn host(&self) -> Option<&str> {
        Some(self.0.stated.host.as_str()).filter(|host| !host.is_empty())
    }

    /// Id of its gateway.
    async fn gateway(&self) -> String {
        format!("{:012x}", self.0.gateway)
    }

    /// `connected`, `draining` (its gateway shuts down), `disconnected` or `lost` (its gateway has stopped).
    async fn state(&self) -> &str {
        self.0.state.as_str()
    }

    /// Time of the connection.
    async fn connected_at(&self) -> DateTime {
        DateTime(self.0.connected_at)
    }

    /// Time at which its gateway saw it last.
    async fn last_seen_at(&self) -> DateTime {
        DateTime(self.0.last_seen_at)
    }

    /// Attempts that it runs at the same time; null if it has not stated that.
    async fn slots(&self) -> Option<i32> {
        Some(int(self.0.stated.slots.into())).filter(|slots| *slots > 0)
    }

    /// Kinds of orders that it takes; `*` is every kind. Empty for a worker of the stream `Work`, which takes orders without a
    /// kind.
    async fn kinds(&self) -> &[String] {
        &self.0.stated.kinds
    }

    /// Attempts that it runs.
    async fn in_flight(&self) -> i32 {
        int(self.0.in_flight.into())
    }

    /// Orders that it completed in the last minute.
    async fn completed_per_minute(&self) -> i32 {
        int(self.0.completed)
    }

    /// Attempts that failed in the last minute.
    async fn failed_per_minute(&self) -> i32 {
        int(self.0.failed)
    }

    /// The times of these attempts; null without one.
    async fn handling(&self) -> Option<Percentiles> {
        self.0.handling.map(Into::into)
    }

    /// The orders that it processes, at most 100, oldest first.
    async fn orders(&self, ctx: &Context<'_>) -> Result<Vec<WorkerOrder>> {
        let services = ctx.data_unchecked::<Arc<Services>>();
        let found =
            services.workers.get(caller(ctx), self.0.name.as_str()).await.map_err(to_graphql_error)?;
        Ok(found.map_or_else(Vec::new, |(_, orders)| orders.into_iter().map(Into::into).collect()))
    }
}

/// An order that a worker processes.
#[derive(SimpleObject)]
pub(crate) struct WorkerOrder {
    /// Id of the order.
    order_id: ID,
    /// Number of the attempt.
    attempt: i32,
    /// Start of the attempt.
    started_at: DateTime,
    /// End of the lease, unless the worker renews it.
    lease_ends_at: DateTime,
}

impl From<store::WorkerOrder> for WorkerOrder {
    fn from(order: store::WorkerOrder) -> Self {
        Self {
            order_id: order.order_id.to_string().into(),
            attempt: int(order.attempt.into()),
            started_at: DateTime(order.started_at),
            lease_ends_at: DateTime(order.lease_ends_at),
        }
    }
}

/// The health of the system.
#[derive(SimpleObject)]
pub(crate) struct HealthReport {
    /// `ok`, `degraded` (orders are accepted, and some wait or fail) or `unavailable` (orders cannot be
    /// accepted).
    status: &'static str,
    /// What is wrong, the most severe first; empty if the status is `ok`.
    reasons: Vec<HealthReasonView>,
}

/// One thing that is wrong.
#[derive(SimpleObject)]
#[graphql(name = "HealthReason")]
pub(crate) struct HealthReasonView {
    /// Stable word.
    code: &'static str,
    /// `critical` or `warning`.
    severity: &'static str,
    /// Sentence for people.
    message: String,
    /// Since when, if that is known.
    since: Option<DateTime>,
}

impl From<HealthReason> for HealthReasonView {
    fn from(reason: HealthReason) -> Self {
        Self {
            code: reason.code.as_str(),
            severity: reason.code.severity().as_str(),
            message: reason.message,
            since: reason.since.map(DateTime),
        }
    }
}

/// Queries of operators.
#[derive(Default)]
pub(crate) struct OperationsQuery;

/// Queries of operators.
#[Object]
impl OperationsQuery {
    /// Returns what happened to the orders of the caller in the last hours, over all gateways. Each gateway
    /// reports its part within 10 s. Requires the scope `orders:read`.
    async fn stats(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Length of the window, from 1m to 6h. Default: 1h.")] window: Option<String>,
        #[graphql(
            desc = "Length of a bucket: a multiple of 10s; the window has at most 360 buckets. Default: a sixtieth of the window."
        )]
        step: Option<String>,
    ) -> Option<Result<Stats>> {
        let services = ctx.data_unchecked::<Arc<Services>>();
        let parse = |name: &str, text: Option<String>| {
            text.map(|text| parse_duration(&text).map_err(|problem| bad_input(format!("{name} {problem}"))))
                .transpose()
        };
        let range = || {
            let (window, step) = (parse("window", window)?, parse("step", step)?);
            StatsRange::new(window, step).map_err(|error| bad_input(format!("{} {error}", error.parameter())))
        };
        let range = match range() {
            Ok(range) => range,
            Err(error) => return Some(Err(error)),
        };
        let found = services.signals.stats(caller(ctx), range).await.map_err(to_graphql_error);
        Some(found.map(|stats| Stats {
            from: DateTime(stats.from),
            to: DateTime(stats.to),
            step_seconds: int(stats.step_s),
            totals: stats.total.into(),
            buckets: stats.steps.into_iter().map(Into::into).collect(),
        }))
    }

    /// Returns the workers that are connected to any gateway first, then those that were within the last
    /// hour; each group by name. Requires the scope `metrics:read`.
    async fn workers(&self, ctx: &Context<'_>) -> Option<Result<Vec<Worker>>> {
        let workers = ctx.data_unchecked::<Arc<Services>>().workers.list(caller(ctx)).await;
        Some(workers.map(|workers| workers.into_iter().map(Worker).collect()).map_err(to_graphql_error))
    }

    /// Returns a worker; null if none with this name was seen within the last hour. Requires the scope
    /// `metrics:read`.
    async fn worker(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Name of the worker.")] name: String,
    ) -> Result<Option<Worker>> {
        let services = ctx.data_unchecked::<Arc<Services>>();
        let workers = services.workers.list(caller(ctx)).await.map_err(to_graphql_error)?;
        Ok(workers.into_iter().find(|worker| worker.name.as_str() == name).map(Worker))
    }

    /// Returns the health of the system with reasons for people. Requires the scope `metrics:read`.
    async fn health(&self, ctx: &Context<'_>) -> Option<Result<HealthReport>> {
        let report = ctx.data_unchecked::<Arc<Services>>().health_reasons.report(caller(ctx)).await;
        let view = report.map(|report| HealthReport {
            status: report.status.as_str(),
            reasons: report.reasons.into_iter().map(Into::into).collect(),
        });
        Some(view.map_err(to_graphql_error))
    }
}
