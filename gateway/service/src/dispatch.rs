//! Pushes ready orders to the queue and ends expired claims.
//!
//! An order waits until it is due (`orders.due_at`), is held by the queue or a worker until a time (`held_until`), or
//! is final. This loop pushes due orders and releases those that were held for too long. Its only input is the table:
//! wake-ups only make it read earlier, and the first pass after a crash is like any other.
//!
//! The queue is kept short. A job is a hint with a visibility timeout: an order that is not started within
//! `visibility_timeout` waits again, so a lost job costs this time and no job has to be acknowledged. The backlog waits
//! in the table, where its order can still change. While orders of all priorities wait, of ten pushed orders six have
//! high priority, three normal and one low, and high ones are pushed to the front of the queue. Tenants with due orders get
//! equal shares (`store/src/due_tenants.rs`), and those with few jobs in the queue overtake those with many
//! (`queue_shares`). Nothing is pushed while the queue is paused.
//!
//! Every gateway runs this loop. That with the lease of the sweeper ends claims, and finds orders that become due without a
//! wake-up, such as a retry; the others look for them less often, in case it stops. The loop skips rows that another
//! gateway is claiming. While no order waits, new orders do not use this path (see `direct_enqueue`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker::Job;
use domain::Kind;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::dispatch_wake::Wake;
use crate::health_monitor::HealthMonitor;
use crate::lanes::{Lane, Lanes};
use crate::orders::Orders;
use crate::queue_shares::Placement;
use crate::sweeper::Sweeper;
use gateway_store::Store;
use gateway_store::{ClaimLimits, Claimed, DueTenants, ExpiredClaims, FairClaim, ReadyOrder};

/// Pause without a wake-up; also the delay after which an expired lease is found.
const IDLE_PAUSE: Duration = Duration::from_millis(500);
/// The same pause of a gateway without the lease of the sweeper.
const STANDBY_PAUSE: Duration = Duration::from_secs(2);
/// Pause while the queue is full: processors of other gateways may free capacity.
const FULL_PAUSE: Duration = Duration::from_millis(50);
/// Pause after an error of the queue or the database.
const ERROR_PAUSE: Duration = Duration::from_secs(1);
/// Interval of reading the database's clock: the maximum delay until a step is detected.
pub(crate) const CLOCK_INTERVAL: Duration = Duration::from_secs(2);
/// Time for which waiting orders are rescheduled after a clock step.
///
/// Other gateways detect the step later, and write by the old clock until then.
const CLOCK_SETTLE_TIME: Duration = Duration::from_secs(15);
/// Maximum number of expired claims in one pass, and in one transaction.
const MAX_EXPIRED_PER_PASS: u32 = 10_000;
const MAX_EXPIRED_PER_TRANSACTION: usize = 1_000;
/// Minimum delay of a scan that counts as a stop of the process.
///
/// The scan must also be late by half a lease. Causes are a paused virtual machine or a frozen container.
const STALL_THRESHOLD: Duration = Duration::from_secs(2);
/// Reciprocal of the maximum share of time that the scans for expired claims use.
const SCAN_TIME_SHARE: u32 = 20;
/// Maximum interval of the scans; it has priority over [`SCAN_TIME_SHARE`].
const MAX_SCAN_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(crate) struct Dispatch {
    /// One shard of the database, and its index.
    pub(crate) store: Store,
    pub(crate) shard: usize,
    pub(crate) orders: Orders,
    pub(crate) lanes: Lanes,
    pub(crate) config: Arc<Config>,
    pub(crate) wake: Wake,
    pub(crate) health: HealthMonitor,
    pub(crate) sweeper: Sweeper,
}

/// When claims are ended.
struct ExpiryScan {
    next: Instant,
    /// This gateway held the lease of the sweeper at that time.
    was_held: bool,
    /// The last scan failed, so workers could not renew their leases either.
    last_scan_failed: bool,
    /// Claims are not ended before this time, so that workers can renew their leases.
    not_before: Instant,
    /// Clock steps that were handled.
    steps: u64,
    /// Until then other gateways may use the clock before the step.
    unsettled: Instant,
}

impl ExpiryScan {
    /// Returns whether this gateway ends expired claims now, as it does with the lease of the sweeper.
    ///
    /// A gateway that has just taken the lease does not know whether workers could renew their leases before.
    fn takes_turn(&mut self, is_held: bool, config: &Config) -> bool {
        if is_held && !self.was_held {
            self.not_before = self.not_before.max(Instant::now() + config.rules.lease / 2);
        }
        self.was_held = is_held;
        is_held
    }
}

/// The position of dispatch among the orders of a kind.
struct Turns {
    tenants: DueTenants,
    /// The next pass without a wake-up.
    next: Instant,
}

impl Turns {
    fn of(kind: Kind) -> Self {
        Self { tenants: DueTenants::of(kind), next: Instant::now() }
    }
}

/// The result of a pass, the one that has to be continued first last.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum PassOutcome {
    /// The queue is paused.
    Paused,
    /// No further order is ready.
    Idle,
    /// The queue has no free capacity.
    Full,
    /// More orders are ready than one pass pushes.
    More,
}

impl Dispatch {
    /// Runs until `stop`. A started pass finishes: claimed orders are pushed.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut failing = false;
        let now = Instant::now();
        let mut turns: BTreeMap<Kind, Turns> = BTreeMap::new();
        // Workers could not renew a lease with this gateway before.
        let not_before = now + self.config.rules.lease / 2;
        let steps = self.store.clock_steps();
        let mut scan = ExpiryScan {
            next: now + IDLE_PAUSE,
            was_held: false,
            last_scan_failed: false,
            not_before,
            steps,
            unsettled: now,
        };
        if self.store.clock_behind().await.is_ok_and(|behind| behind.is_some()) {
            scan.unsettled = now + CLOCK_SETTLE_TIME;
        }
        while !stop.is_cancelled() {
            // Armed before the table is read, so that no wake-up falls in between.
            let woken = self.wake.notified(self.shard);
            let is_held = self.sweeper.is_held();
            let idle = if is_held { IDLE_PAUSE } else { STANDBY_PAUSE };
            if Instant::now() >= scan.next || (is_held && !scan.was_held) {
                turns.values_mut().for_each(|turns| turns.tenants.restart());
                self.learn_kinds().await;
                let pause = if scan.takes_turn(is_held, &self.config) {
                    self.scan_expired(&mut scan).await
                } else {
                    idle
                };
                scan.next = Instant::now() + pause.clamp(IDLE_PAUSE, MAX_SCAN_INTERVAL);
            }
            let begun = Instant::now();
            let pass = self.enqueue_kinds(&mut turns, idle).await;
            metrics::histogram!("orders_dispatch_duration_seconds").record(begun.elapsed());
            let pause = match pass {
                Ok(PassOutcome::More) => continue,
                Ok(PassOutcome::Idle | PassOutcome::Paused) => idle,
                Ok(PassOutcome::Full) => FULL_PAUSE,
                Err(ref error) => {
                    if !failing {
                        tracing::warn!(%error, "dispatch paused: queue or database unavailable");
                    }
                    ERROR_PAUSE
                }
            };
            let fails = pass.is_err();
            if failing && !fails {
                tracing::info!("dispatch resumed");
            }
            failing = fails;
            tokio::select! {
                () = woken, if !fails => {}
                () = self.sweeper.held(), if !is_held && !fails => {}
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Learns the kinds of waiting orders, which other gateways may have accepted.
    async fn learn_kinds(&self) {
        match self.store.kinds().await {
            Ok(kinds) => kinds.iter().for_each(|kind| drop(self.lanes.of(kind))),
            Err(error) => tracing::debug!(%error, "failed to read the kinds of waiting orders"),
        }
    }

    /// Pushes ready orders of the default kind, and of other kinds whose turn has come. Returns the outcome of the kind that
    /// has to be continued first. `idle` is the pause without a wake-up.
    async fn enqueue_kinds(
        &self,
        turns: &mut BTreeMap<Kind, Turns>,
        idle: Duration,
    ) -> Result<PassOutcome, PassError> {
        let mut first = PassOutcome::Paused;
        let mut is_full = false;
        for (kind, lane) in self.lanes.all() {
            let turns = turns.entry(kind.clone()).or_insert_with(|| Turns::of(kind.clone()));
            // The wake-up is for one of the shards, and each has orders of the kind.
            let is_woken = lane.take_wake() || kind.is_default() || self.store.has_shards();
            if !is_woken && Instant::now() < turns.next {
                continue;
            }
            let pass = self.enqueue_ready(&lane, &mut turns.tenants).await;
            if !matches!(pass, Ok(PassOutcome::Idle)) {
                lane.capacity.close();
            }
            let pass = pass?;
            is_full |= matches!(pass, PassOutcome::Full);
            turns.next = Instant::now()
                + match pass {
                    PassOutcome::More => Duration::ZERO,
                    PassOutcome::Full => FULL_PAUSE,
                    PassOutcome::Idle | PassOutcome::Paused => idle,
                };
            first = first.max(pass);
        }
        self.wake.set_full(is_full);
        metrics::gauge!("orders_queue_depth").set(self.lanes.length() as f64);
        Ok(first)
    }

    async fn enqueue_ready(&self, lane: &Lane, tenants: &mut DueTenants) -> Result<PassOutcome, PassError> {
        let waiting = lane.queue.len().await?;
        lane.set_length(waiting);
        let window = u64::from(self.config.max_queue_depth);
        let free = u32::try_from(window.saturating_sub(waiting)).unwrap_or(u32::MAX);
        if free == 0 {
            return Ok(PassOutcome::Full);
        }
        let limit = free.min(u32::try_from(self.config.batch_size).unwrap_or(u32::MAX));
        let mark = lane.capacity.mark();
        let timeout = self.config.visibility_timeout;
        let Some(taken) = self.store.claim_fairly(limit, timeout, tenants).await? else {
            return Ok(PassOutcome::Paused);
        };
        let FairClaim { claimed, more } = taken;
        // If this fails, the orders are pushed again after their visibility timeout.
        let pushed =
            claimed.iter().map(|claimed| claimed.front.len() + claimed.back.len()).sum::<usize>() as u64;
        if pushed > 0 {
            let outcome = place(lane, claimed, waiting).push(&*lane.queue).await;
            self.health.record_push(&outcome);
            outcome?;
        }
        metrics::counter!("orders_enqueued_total").increment(pushed);
        if more {
            return Ok(PassOutcome::More);
        }
        lane.capacity.open(mark, u64::from(free).saturating_sub(pushed));
        Ok(PassOutcome::Idle)
    }

    /// Ends expired claims: jobs that were not started, and leases. After an outage of the database or a stop of the
    /// process, workers first get half a lease to renew theirs: an attempt must not count as failed because its
    /// heartbeats could not be written. Returns the pause before the next scan.
    async fn scan_expired(&self, scan: &mut ExpiryScan) -> Duration {
        let begin = Instant::now();
        let limits = ClaimLimits {
            visibility_timeout: self.config.visibility_timeout,
            lease: self.config.rules.lease,
        };
        let ExpiredClaims { unstarted, leases, overlong, parked, unreadable } =
            match self.store.expired_claims(MAX_EXPIRED_PER_PASS, limits).await {
                Ok(overdue) => overdue,
                Err(error) => {
                    scan.last_scan_failed = true;
                    tracing::debug!(%error, "failed to read overdue orders");
                    return IDLE_PAUSE;
                }
            };
        let pause = begin.elapsed() * SCAN_TIME_SHARE;
        for unstarted in unstarted.chunks(MAX_EXPIRED_PER_TRANSACTION) {
            if let Err(error) = self.store.release_unstarted(unstarted.to_vec()).await {
                tracing::debug!(%error, "failed to release orders with lost jobs, retrying in the next pass");
            }
        }
        for (what, done) in [
            ("leases of another clock", self.store.shorten_leases(&overlong, limits).await.map(drop)),
            ("parked orders", self.store.recheck_parked(&parked).await),
            ("orders to be parked", self.store.park(&unreadable).await),
        ] {
            if let Err(error) = done {
                tracing::debug!(%error, what, "failed to update orders, retrying in the next pass");
            }
        }
        let now = Instant::now();
        let late = now.saturating_duration_since(scan.next);
        let was_stopped = late > STALL_THRESHOLD.max(self.config.rules.lease / 2);
        if std::mem::take(&mut scan.last_scan_failed) || was_stopped {
            scan.not_before = scan.not_before.max(now + self.config.rules.lease / 2);
        }
        self.handle_clock_step(scan, now).await;
        if now < scan.not_before {
            return pause;
        }
        for leases in leases.chunks(MAX_EXPIRED_PER_TRANSACTION) {
            match self.orders.expire(leases.to_vec()).await {
                Ok(0) => {}
                Ok(count) => {
                    tracing::warn!(count, "leases expired, their orders are retried or failed");
                    metrics::counter!("orders_leases_expired_total").increment(count as u64);
                }
                Err(error) => tracing::debug!(%error, "failed to expire leases, retrying in the next pass"),
            }
        }
        pause
    }
}

/// Places the claimed orders in a queue of this length.
fn place(lane: &Lane, claimed: Vec<Claimed>, length: u64) -> Placement {
    let mut placement = Placement::default();
    for Claimed { tenant, front, back, .. } in claimed {
        let job = |order: ReadyOrder| Job { order_id: order.order_id, quantity: order.quantity };
        let jobs = (front.len() + back.len()) as u64;
        let overtakes = tenant.is_some_and(|tenant| lane.shares.add(&tenant, jobs, length));
        placement.add_high(front.into_iter().map(job));
        placement.add(back.into_iter().map(job), overtakes);
    }
    placement
}

impl Dispatch {
    /// Handles a clock step. Leases are not ended before every gateway has found the step and every worker has renewed
    /// its leases by the new clock. Orders that would wait for the length of the step are rescheduled.
    async fn handle_clock_step(&self, scan: &mut ExpiryScan, now: Instant) {
        let steps = self.store.clock_steps();
        if steps != scan.steps {
            scan.steps = steps;
            scan.unsettled = now + CLOCK_SETTLE_TIME;
            scan.not_before = now + 2 * CLOCK_INTERVAL + self.config.rules.lease / 2;
        }
        if now < scan.unsettled
            && let Err(error) = self.store.shorten_waits().await
        {
            tracing::debug!(%error, "failed to reschedule waiting orders, retrying in the next pass");
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum PassError {
    #[error("the queue: {0}")]
    Queue(#[from] broker::Error),
    #[error("the database: {0}")]
    Store(#[from] gateway_store::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_documented() {
        let pauses = format!("{} ms; {} s", IDLE_PAUSE.as_millis(), STANDBY_PAUSE.as_secs());
        limits_page::row(
            "interval of looking for orders that became due: with the lease of the sweeper; without it",
            &pauses,
        );
    }
}
