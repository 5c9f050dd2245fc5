//! The queue as a whole: whether it is paused, how much waits in it, and how many orders there are.

use std::sync::Arc;

use async_graphql::{Context, InputObject, Object, Result, SimpleObject};
use domain::Status;

use super::Services;
use super::errors::fault;
use super::mutation::{UserError, requester};
use super::scalars::DateTime;
use crate::store::{COUNT_LIMIT, Counts, Pause};

/// The state of the queue.
#[derive(Default)]
pub(crate) struct OrderQueue {
    pause: Option<Pause>,
}

/// The state of the queue.
#[Object]
impl OrderQueue {
    /// Whether nothing is started at present.
    async fn paused(&self) -> bool {
        self.pause.is_some()
    }

    /// Since when; null when it is not paused.
    async fn paused_at(&self) -> Option<DateTime> {
        self.pause.as_ref().map(|pause| DateTime(pause.at))
    }

    /// When it goes on by itself; null when it has to be resumed, or is not paused.
    async fn paused_until(&self) -> Option<DateTime> {
        self.pause.as_ref().and_then(|pause| pause.until).map(DateTime)
    }

    /// Who asked for the pause, if they said.
    async fn paused_by(&self) -> Option<&str> {
        self.pause.as_ref().and_then(|pause| pause.by.as_deref())
    }

    /// How many orders wait for a free worker, or for the end of the pause. Orders that wait for a retry or for their time
    /// are not among them. `limit` of the counts means that many or more. Null when the database cannot count them at
    /// present.
    async fn length(&self, ctx: &Context<'_>) -> Option<i32> {
        let counts = ctx.data_unchecked::<Arc<Services>>().orders.counts().await.ok()?;
        Some(i32::try_from(counts.ready).unwrap_or(i32::MAX))
    }

    /// How many jobs the queue holds. An order can have several jobs, and most orders of a long backlog have none yet. Null
    /// when the queue cannot be reached.
    async fn jobs(&self, ctx: &Context<'_>) -> Option<i32> {
        let jobs = ctx.data_unchecked::<Arc<Services>>().queue.len().await.ok()?;
        Some(i32::try_from(jobs).unwrap_or(i32::MAX))
    }

    /// How many workers are connected to the gateways of this installation; 0 when orders are accepted and none can be
    /// processed. Null when it is not known.
    async fn workers(&self, ctx: &Context<'_>) -> Option<i32> {
        let workers = ctx.data_unchecked::<Arc<Services>>().vitals.workers()?;
        Some(i32::try_from(workers).unwrap_or(i32::MAX))
    }

    /// How many orders there are in each status: all of them, not only those in the queue.
    async fn counts(&self, ctx: &Context<'_>) -> Option<Result<OrderCounts>> {
        let counts = ctx.data_unchecked::<Arc<Services>>().orders.counts().await;
        Some(counts.map(OrderCounts::from).map_err(fault))
    }
}

/// How many orders there are in each status. Counted once for all who ask within a second, so they may be
/// that old.
#[derive(SimpleObject)]
pub(crate) struct OrderCounts {
    /// Orders that wait for a worker, for a retry or for their time.
    pending: i32,
    /// Orders that a worker has.
    processing: i32,
    /// Orders that are done.
    completed: i32,
    /// Dead letters.
    failed: i32,
    /// Orders that were called off.
    cancelled: i32,
    /// Where the counting ends: a count of `limit` means so many or more.
    limit: i32,
    /// When they were counted. Changes that `orderEvents` shows with a later `occurredAt` are not counted.
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

/// How to pause.
#[derive(InputObject)]
pub(crate) struct PauseQueueInput {
    /// When to go on without being told; never when absent.
    until: Option<DateTime>,
    /// Who asks: 1 to 100 characters.
    requested_by: Option<String>,
}

/// The queue after a change.
#[derive(SimpleObject)]
pub(crate) struct QueuePayload {
    /// The queue as it is now; null when the change was refused.
    queue: Option<OrderQueue>,
    /// Why it was refused; empty when it was not.
    user_errors: Vec<UserError>,
}

/// What can be asked about the queue.
#[derive(Default)]
pub(crate) struct QueueQuery;

/// What can be asked about the queue.
#[Object]
impl QueueQuery {
    /// Whether the queue is paused, how long it is, and how many orders there are in each status.
    async fn queue(&self, ctx: &Context<'_>) -> Option<Result<OrderQueue>> {
        let paused = ctx.data_unchecked::<Arc<Services>>().orders.paused().await;
        Some(paused.map(|pause| OrderQueue { pause }).map_err(fault))
    }
}

/// What can be done to the queue.
#[derive(Default)]
pub(crate) struct QueueMutation;

/// What can be done to the queue.
#[Object]
impl QueueMutation {
    /// Pauses the queue: orders are accepted and none is started, from the answer on, also after a restart.
    /// What is being processed goes on. Pausing again changes until when.
    async fn pause_queue(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Until when, and who asks.")] input: Option<PauseQueueInput>,
    ) -> Option<Result<QueuePayload>> {
        let orders = &ctx.data_unchecked::<Arc<Services>>().orders;
        let (until, name) = input.map_or((None, None), |input| (input.until, input.requested_by));
        let refused = |error| Some(Ok(QueuePayload { queue: None, user_errors: vec![error] }));
        let requester = match requester(name) {
            Ok(requester) => requester,
            Err(error) => return refused(error),
        };
        let (until, now) = (until.map(|until| until.0), orders.now());
        if until.is_some_and(|until| until <= now) {
            return refused(UserError::input("until", format!("must be in the future; it is {now}")));
        }
        let paused = orders.pause(until, requester.name).await;
        Some(paused.map(|pause| after(Some(pause))).map_err(fault))
    }

    /// Lets a paused queue go on; changes nothing when it is not paused.
    async fn resume_queue(&self, ctx: &Context<'_>) -> Option<Result<QueuePayload>> {
        let resumed = ctx.data_unchecked::<Arc<Services>>().orders.resume().await;
        Some(resumed.map(|_| after(None)).map_err(fault))
    }
}

fn after(pause: Option<Pause>) -> QueuePayload {
    QueuePayload { queue: Some(OrderQueue { pause }), user_errors: Vec::new() }
}
