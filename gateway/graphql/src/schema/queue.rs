//! The queue: its pause, its length, and the number of orders in each status.

use std::sync::Arc;

use async_graphql::{Context, InputObject, Object, Result, SimpleObject};
use domain::Status;

use crate::errors::to_graphql_error;
use crate::schema::mutation::{UserError, actor};
use crate::schema::scalars::DateTime;
use crate::services::{Services, caller};
use gateway_store::{COUNT_LIMIT, Counts, Pause};

/// The state of the queue.
#[derive(Default)]
pub(crate) struct OrderQueue {
    pause: Option<Pause>,
}

/// The state of the queue.
#[Object]
impl OrderQueue {
    /// True while the queue is paused.
    async fn paused(&self) -> bool {
        self.pause.is_some()
    }

    /// Start of the pause; null if the queue is not paused.
    async fn paused_at(&self) -> Option<DateTime> {
        self.pause.as_ref().map(|pause| DateTime(pause.at))
    }

    /// Time of the automatic resume; null without one, and if the queue is not paused.
    async fn paused_until(&self) -> Option<DateTime> {
        self.pause.as_ref().and_then(|pause| pause.until).map(DateTime)
    }

    /// Requester of the pause, if known.
    async fn paused_by(&self) -> Option<&str> {
        self.pause.as_ref().and_then(|pause| pause.by.as_deref())
    }

    /// Number of orders ready to be started. Excludes orders that wait for a retry or their scheduled
    /// time. `limit` of the counts means `limit` or more. Null if the database cannot count them at
    /// present.
    async fn length(&self, ctx: &Context<'_>) -> Option<i32> {
        let counts = ctx.data_unchecked::<Arc<Services>>().orders.counts(caller(ctx)).await.ok()?;
        Some(i32::try_from(counts.ready).unwrap_or(i32::MAX))
    }

    /// Age in seconds of the oldest order that is ready to be started, measured within the last 30 s; 0
    /// without one. Null if it is not measured yet, and for callers of one tenant.
    async fn oldest_ready_seconds(&self, ctx: &Context<'_>) -> Option<f64> {
        let measured = ctx.data_unchecked::<Arc<Services>>().health.measured();
        let ready = measured.ready.filter(|_| caller(ctx).all_tenants)?;
        Some(if ready == 0 { 0.0 } else { measured.oldest.unwrap_or_default().as_secs_f64() })
    }

    /// Number of jobs in the queue. An order can have several jobs, and most orders of a long backlog
    /// have none yet. Null if the queue is unreachable.
    async fn jobs(&self, ctx: &Context<'_>) -> Option<i32> {
        let jobs = ctx.data_unchecked::<Arc<Services>>().queue.len().await.ok()?;
        Some(i32::try_from(jobs).unwrap_or(i32::MAX))
    }

    /// Number of workers connected to the gateways of this installation; 0 means that orders are
    /// accepted but not processed. Null if unknown.
    async fn workers(&self, ctx: &Context<'_>) -> Option<i32> {
        let workers = ctx.data_unchecked::<Arc<Services>>().health.workers()?;
        Some(i32::try_from(workers).unwrap_or(i32::MAX))
    }

    /// Number of orders in each status, including those outside the queue.
    async fn counts(&self, ctx: &Context<'_>) -> Option<Result<OrderCounts>> {
        let counts = ctx.data_unchecked::<Arc<Services>>().orders.counts(caller(ctx)).await;
        Some(counts.map(OrderCounts::from).map_err(to_graphql_error))
    }
}

/// Number of orders in each status. Cached for one second.
#[derive(SimpleObject)]
pub(crate) struct OrderCounts {
    /// Orders that wait for a worker, a retry or their scheduled time.
    pending: i32,
    /// Orders leased by a worker.
    processing: i32,
    /// Completed orders.
    completed: i32,
    /// Failed orders (dead letters).
    failed: i32,
    /// Cancelled orders.
    cancelled: i32,
    /// Upper bound of the counts: a count equal to `limit` means `limit` or more.
    limit: i32,
    /// Time of the count. Events with a later `occurredAt` are not included.
    counted_at: DateTime,
}

impl From<Counts> for OrderCounts {
    fn from(counts: Counts) -> Self {
        let of = |status| i32::try_from(counts.of(status)).unwrap_or(i32::MAX);
        Self {
            pending: of(Status::Pending),
            processing: of(Status::Processing),
            completed: of(Status::Completed),
            failed: of(Status::Failed),
            cancelled: of(Status::Cancelled),
            limit: i32::try_from(COUNT_LIMIT).unwrap_or(i32::MAX),
            counted_at: DateTime(counts.at),
        }
    }
}

/// Options of a pause.
#[derive(InputObject)]
pub(crate) struct PauseQueueInput {
    /// Time of the automatic resume. Default: none.
    until: Option<DateTime>,
    /// Requester: 1 to 100 characters.
    requested_by: Option<String>,
}

/// The queue after the change.
#[derive(SimpleObject)]
pub(crate) struct QueuePayload {
    /// The current queue; null on an error.
    queue: Option<OrderQueue>,
    /// The errors; empty on success.
    user_errors: Vec<UserError>,
}

/// Queries of the queue.
#[derive(Default)]
pub(crate) struct QueueQuery;

/// Queries of the queue.
#[Object]
impl QueueQuery {
    /// Returns the state of the queue and the number of orders in each status.
    async fn queue(&self, ctx: &Context<'_>) -> Option<Result<OrderQueue>> {
        let paused = ctx.data_unchecked::<Arc<Services>>().orders.paused(caller(ctx)).await;
        Some(paused.map(|pause| OrderQueue { pause }).map_err(to_graphql_error))
    }
}

/// Mutations of the queue.
#[derive(Default)]
pub(crate) struct QueueMutation;

/// Mutations of the queue.
#[Object]
impl QueueMutation {
    /// Pauses the queue. A paused queue accepts orders but starts none; running orders finish. The
    /// pause survives restarts. Pausing a paused queue changes the time of the resume.
    async fn pause_queue(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Time of the resume, and the requester.")] input: Option<PauseQueueInput>,
    ) -> Option<Result<QueuePayload>> {
        let orders = &ctx.data_unchecked::<Arc<Services>>().orders;
        let (until, name) = input.map_or((None, None), |input| (input.until, input.requested_by));
        let refused = |error| Some(Ok(QueuePayload { queue: None, user_errors: vec![error] }));
        let actor = match actor(ctx, name) {
            Ok(actor) => actor,
            Err(error) => return refused(error),
        };
        let (until, now) = (until.map(|until| until.0), orders.now());
        if until.is_some_and(|until| until <= now) {
            return refused(UserError::input("until", format!("must be in the future; it is {now}")));
        }
        let paused = orders.pause(caller(ctx), until, &actor).await;
        Some(paused.map(|pause| after(Some(pause))).map_err(to_graphql_error))
    }

    /// Resumes a paused queue; no effect if it is not paused.
    async fn resume_queue(&self, ctx: &Context<'_>) -> Option<Result<QueuePayload>> {
        let orders = &ctx.data_unchecked::<Arc<Services>>().orders;
        let actor = match actor(ctx, None) {
            Ok(actor) => actor,
            Err(error) => return Some(Ok(QueuePayload { queue: None, user_errors: vec![error] })),
        };
        let resumed = orders.resume(caller(ctx), &actor).await;
        Some(resumed.map(|_| after(None)).map_err(to_graphql_error))
    }
}

fn after(pause: Option<Pause>) -> QueuePayload {
    QueuePayload { queue: Some(OrderQueue { pause }), user_errors: Vec::new() }
}
