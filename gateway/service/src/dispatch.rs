//! Pushes due orders to the queue and takes back expired leases.
//!
//! An order waits until it is due (`orders.due_at`), or it is held until a time (`held_until`) by the queue or by
//! a worker, or it is final. This loop pushes what is due and takes back what was held for too long. It takes
//! no input but the table: the wake-ups only make it look earlier, and the first round after a crash is like
//! any other.
//!
//! The queue is kept short. A job in it is a hint with a guard: the order waits again when nobody has
//! started it within `visibility_timeout`, so a lost hint costs that much time, and nothing has to be
//! acknowledged. The backlog waits in the table, where its sequence can still change: while
//! orders of all priorities wait, of ten that are pushed six are high, three normal and one low, and
//! the high ones go to the front of the queue. A paused queue gets nothing.
//!
//! Every gateway runs this loop. Rows that one is taking are left out by the others. While nothing waits,
//! new orders do not come this way at all (see `shortcut`).

use std::sync::Arc;
use std::time::Duration;

use broker::{Job, Queue, QueueEnd};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::health_monitor::Vitals;
use crate::orders::Orders;
use crate::queue_capacity::Room;
use crate::wake::Wake;
use gateway_store::Store;
use gateway_store::{Longest, Marks, Overdue, ReadyOrder, Taken};

/// How long the loop sleeps when nothing wakes it; also how late an expired lease is noticed.
const IDLE: Duration = Duration::from_millis(500);
/// How long it sleeps while the queue is full: other gateways' processors may make room.
const FULL: Duration = Duration::from_millis(50);
/// How long it waits after the queue or the database did not work.
const BACKOFF: Duration = Duration::from_secs(1);
/// How often the database is asked for its clock, so how late a step is noticed.
pub(crate) const CLOCK_INTERVAL: Duration = Duration::from_secs(2);
/// How long orders are brought in after a step: other gateways notice it later and write by the clock before it.
const UNSETTLED: Duration = Duration::from_secs(15);
/// Most overdue orders in one round, and in one transaction.
const OVERDUE: u32 = 10_000;
const OVERDUE_AT_ONCE: usize = 1_000;
/// A look for overdue orders that begins later than planned by half a lease, and by this, follows a time in which the
/// process was stopped: a virtual machine that was paused, a container that was frozen.
const LATE: Duration = Duration::from_secs(2);
/// Looking for overdue orders takes one part in so many of the time, however many are held ...
const SWEEP_PARTS: u32 = 20;
/// ... unless that would make it rarer than this.
const SWEEP_AT_LEAST: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(crate) struct Dispatch {
    pub(crate) store: Store,
    pub(crate) orders: Orders,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) config: Arc<Config>,
    pub(crate) wake: Wake,
    pub(crate) room: Room,
    pub(crate) vitals: Vitals,
}

/// When jobs and leases are taken back.
struct Sweep {
    next: Instant,
    /// The last look did not work: then nobody could renew a lease either.
    blind: bool,
    /// Workers that were kept from it get until then.
    not_before: Instant,
    /// Steps of the clock that were seen.
    steps: u64,
    /// Until then other gateways may go on by the clock before the step.
    unsettled: Instant,
}

/// What a round found.
enum Round {
    /// Nothing more to push now.
    Idle,
    /// The queue is paused.
    Paused,
    /// More is due than was pushed in one go.
    More,
    /// The queue holds as many jobs as it should.
    Full,
}

impl Dispatch {
    /// Runs until `stop`. A round that has begun is finished: taken orders are pushed.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut failing = false;
        let now = Instant::now();
        let mut marks = Marks::default();
        // No worker could renew a lease with this gateway before.
        let not_before = now + self.config.rules.lease / 2;
        let steps = self.store.clock_steps();
        let mut sweep = Sweep { next: now + IDLE, blind: false, not_before, steps, unsettled: now };
        if self.store.clock_behind().await.is_ok_and(|behind| behind.is_some()) {
            sweep.unsettled = now + UNSETTLED;
        }
        while !stop.is_cancelled() {
            // Armed before the table is read, so that no wake-up falls in between.
            let woken = self.wake.notified();
            if Instant::now() >= sweep.next {
                marks = Marks::default();
                let pause = self.sweep(&mut sweep).await;
                sweep.next = Instant::now() + pause.clamp(IDLE, SWEEP_AT_LEAST);
            }
            let round = self.push(&mut marks).await;
            if !matches!(round, Ok(Round::Idle)) {
                self.room.close();
            }
            let pause = match round {
                Ok(Round::More) => continue,
                Ok(Round::Idle | Round::Paused) => IDLE,
                Ok(Round::Full) => FULL,
                Err(ref error) => {
                    if !failing {
                        tracing::warn!(%error, "dispatch paused: queue or database unavailable");
                    }
                    BACKOFF
                }
            };
            let fails = round.is_err();
            if failing && !fails {
                tracing::info!("dispatch resumed");
            }
            failing = fails;
            tokio::select! {
                () = woken, if !fails => {}
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    async fn push(&self, marks: &mut Marks) -> Result<Round, Failure> {
        let waiting = self.queue.len().await?;
        metrics::gauge!("orders_queue_depth").set(waiting as f64);
        let window = u64::from(self.config.max_queue_depth);
        let free = u32::try_from(window.saturating_sub(waiting)).unwrap_or(u32::MAX);
        self.wake.set_full(free == 0);
        if free == 0 {
            return Ok(Round::Full);
        }
        let limit = free.min(u32::try_from(self.config.batch_size).unwrap_or(u32::MAX));
        let mark = self.room.mark();
        let Some(taken) = self.store.take_due(limit, self.config.visibility_timeout, *marks).await? else {
            return Ok(Round::Paused);
        };
        let Taken { ahead, behind, more, marks: reached, unreadable: _ } = taken;
        *marks = if more { reached } else { Marks::default() };
        // Should this fail, the orders turn up again when their guard runs out.
        let pushed = (ahead.len() + behind.len()) as u64;
        if pushed > 0 {
            let outcome = self.fill(ahead, behind).await;
            self.vitals.pushed(&outcome);
            outcome?;
        }
        metrics::counter!("orders_enqueued_total").increment(pushed);
        if more {
            return Ok(Round::More);
        }
        self.room.open(mark, u64::from(free).saturating_sub(pushed));
        Ok(Round::Idle)
    }

    async fn fill(&self, ahead: Vec<ReadyOrder>, behind: Vec<ReadyOrder>) -> Result<(), broker::Error> {
        self.queue.push(&jobs(ahead), QueueEnd::Front).await?;
        self.queue.push(&jobs(behind), QueueEnd::Back).await.map(drop)
    }

    /// Takes back what has been held for too long: jobs that nobody has started, and leases. After the
    /// database was away, or this process was stopped, the workers first get half a lease to renew theirs: an attempt must
    /// not count as failed because its heartbeats could not be written. Says how long to wait before the next look.
    async fn sweep(&self, sweep: &mut Sweep) -> Duration {
        let begin = Instant::now();
        let longest = Longest { guard: self.config.visibility_timeout, lease: self.config.rules.lease };
        let Overdue { guards, leases, ahead, parked, unreadable } =
            match self.store.overdue(OVERDUE, longest).await {
                Ok(overdue) => overdue,
                Err(error) => {
                    sweep.blind = true;
                    tracing::debug!(%error, "failed to read overdue orders");
                    return IDLE;
                }
            };
        let pause = begin.elapsed() * SWEEP_PARTS;
        for guards in guards.chunks(OVERDUE_AT_ONCE) {
            if let Err(error) = self.store.drop_guards_of(guards.to_vec()).await {
                tracing::debug!(%error, "failed to release orders with lost jobs, retrying in the next round");
            }
        }
        for (what, done) in [
            ("leases of another clock", self.store.shorten_leases(&ahead, longest).await.map(drop)),
            ("parked orders", self.store.recheck(&parked).await),
            ("orders to be parked", self.store.park(&unreadable).await),
        ] {
            if let Err(error) = done {
                tracing::debug!(%error, what, "failed to update orders, retrying in the next round");
            }
        }
        let now = Instant::now();
        let late = now.saturating_duration_since(sweep.next);
        let was_stopped = late > LATE.max(self.config.rules.lease / 2);
        if std::mem::take(&mut sweep.blind) || was_stopped {
            sweep.not_before = sweep.not_before.max(now + self.config.rules.lease / 2);
        }
        self.after_step(sweep, now).await;
        if now < sweep.not_before {
            return pause;
        }
        for leases in leases.chunks(OVERDUE_AT_ONCE) {
            match self.orders.expire(leases.to_vec()).await {
                Ok(0) => {}
                Ok(count) => {
                    tracing::warn!(count, "leases expired, their orders are retried or failed");
                    metrics::counter!("orders_leases_expired_total").increment(count as u64);
                }
                Err(error) => tracing::debug!(%error, "failed to expire leases, retrying in the next round"),
            }
        }
        pause
    }
}

impl Dispatch {
    /// After a step of the clock no lease is taken back before every gateway has noticed it and every worker has
    /// renewed its leases by the new clock; and orders are brought in that would wait for as long as the step.
    async fn after_step(&self, sweep: &mut Sweep, now: Instant) {
        let steps = self.store.clock_steps();
        if steps != sweep.steps {
            sweep.steps = steps;
            sweep.unsettled = now + UNSETTLED;
            sweep.not_before = now + 2 * CLOCK_INTERVAL + self.config.rules.lease / 2;
        }
        if now < sweep.unsettled
            && let Err(error) = self.store.bring_in().await
        {
            tracing::debug!(%error, "failed to reschedule waiting orders, retrying in the next round");
        }
    }
}

/// The hints about these orders.
fn jobs(orders: Vec<ReadyOrder>) -> Vec<Job> {
    orders.into_iter().map(|ReadyOrder { order_id, quantity }| Job { order_id, quantity }).collect()
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the queue: {0}")]
    Queue(#[from] broker::Error),
    #[error("the database: {0}")]
    Store(#[from] gateway_store::Error),
}
