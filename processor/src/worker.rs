//! The loop of a processor: pulls hints for free slots, starts them, reports what came of them, and
//! ends tidily.
//!
//! Hints and reports gather while an earlier request of their kind is on its way, and leave together when it
//! is answered, when they are many, or after a few milliseconds (see [`Flow`]). So a batch is one order when there is
//! little to do and hundreds when there is much.
//!
//! An ended handler frees its slot at once; its report waits outside the slots, and reports have a
//! bound of their own. Orders are started ahead of free handlers as far as those are short (see `slots`).

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use broker::{Job, Queue};
use domain::{LeasePrefix, LeaseToken, Order, Outcome};
use futures_util::future::{BoxFuture, OptionFuture};
use proto::{MAX_BATCH, v1};
use tokio::select;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, sleep_until};

use crate::backoff::Backoff;
use crate::client::{Client, Event, Lease, Request};
use crate::connect::Gateways;
use crate::metrics::Meters;
use crate::slots::Slots;
use crate::{Attempt, Config, OrderHandler, metrics};

/// How long one pull waits for a first hint.
const PULL_WAIT: Duration = Duration::from_secs(2);
/// Starts, and reports, on their way at the same time.
const STARTS_IN_FLIGHT: usize = 4;
const FINISHES_IN_FLIGHT: usize = 2;
/// So many leave at once although an earlier request of their kind has no answer.
const LARGE_BATCH: usize = 128;
/// So long they gather while an earlier request of their kind has no answer. Longer than most answers take, and short
/// enough that an order which the gateway has to wait for does not hold up the others.
const GATHER: Duration = Duration::from_millis(5);

/// The requests of one kind that are on their way.
///
/// A gateway writes each request in a transaction, so two small requests cost it nearly twice as much as one.
struct Flow {
    in_flight: usize,
    at_most: usize,
    /// When the latest one left.
    sent: Instant,
}

impl Flow {
    fn new(at_most: usize) -> Self {
        Self { in_flight: 0, at_most, sent: Instant::now() }
    }

    fn may_send(&self, waiting: usize) -> bool {
        let gathered = waiting >= LARGE_BATCH || self.sent.elapsed() >= GATHER;
        waiting > 0 && (self.in_flight == 0 || (gathered && self.in_flight < self.at_most))
    }

    /// When those that are waiting may leave without an answer.
    fn wakes_at(&self, waiting: usize) -> Option<Instant> {
        (waiting > 0 && self.in_flight < self.at_most).then(|| self.sent + GATHER)
    }

    fn sent(&mut self) {
        self.in_flight += 1;
        self.sent = Instant::now();
    }
}

pub(crate) struct Worker {
    config: Config,
    client: Client,
    slots: Slots,
    /// Have a slot, and are not given to the client yet.
    hints: Vec<Lease>,
    starts: Flow,
    /// Not given to the client yet.
    reports: Vec<(Lease, Outcome)>,
    finishes: Flow,
    reports_in_flight: usize,
    /// While there is a stream.
    heartbeat: Option<Interval>,
    queue_backoff: Backoff,
    /// Before the next pull, after one that failed.
    queue_pause: Option<Duration>,
    stage: Stage,
    meters: Meters,
}

/// Where the processor is in its life.
enum Stage {
    Working,
    /// Nothing is pulled any more; what is on its way is started, and handlers go on until then.
    Draining(Instant),
    /// No handlers any more; answers are waited for until then.
    Reporting(Instant),
}

type Pulled = Result<Vec<Job>, broker::Error>;

impl Worker {
    pub(crate) fn new(config: Config, gateways: Gateways, handler: Arc<dyn OrderHandler>) -> Self {
        let meters = Meters::find();
        Self {
            client: Client::new(gateways, config.response_timeout),
            slots: Slots::new(handler, config.concurrency, config.attempt_timeout, meters.clone()),
            config,
            hints: Vec::new(),
            starts: Flow::new(STARTS_IN_FLIGHT),
            reports: Vec::new(),
            finishes: Flow::new(FINISHES_IN_FLIGHT),
            reports_in_flight: 0,
            heartbeat: None,
            queue_backoff: Backoff::default(),
            queue_pause: None,
            stage: Stage::Working,
            meters,
        }
    }

    pub(crate) async fn run(mut self, queue: &dyn Queue, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        // Kept from round to round: a pull that is dropped may lose what it has just taken.
        let mut pull: Option<BoxFuture<'_, Pulled>> = None;
        loop {
            self.flush();
            if pull.is_none() && self.wants_more() {
                pull = Some(self.pull(queue));
            }
            let wake = self.wakes_at();
            select! {
                event = self.client.next() => self.on_event(event),
                Some(ended) = self.slots.next() => {
                    let mut ended = Some(ended);
                    while let Some(one) = ended {
                        if let Some((lease, outcome)) = self.slots.ended(one) {
                            self.report(lease, outcome.truncated());
                        }
                        ended = self.slots.try_next();
                    }
                }
                Some(pulled) = OptionFuture::from(pull.as_mut()) => {
                    pull = None;
                    self.on_pulled(pulled);
                }
                Some(_) = OptionFuture::from(self.heartbeat.as_mut().map(Interval::tick)) => {
                    self.send_heartbeats();
                }
                () = &mut shutdown, if matches!(self.stage, Stage::Working) => {
                    // What this pull may just have taken is pushed again by the gateway.
                    pull = None;
                    self.drain();
                }
                Some(()) = OptionFuture::from(wake.map(sleep_until)) => {}
            }
            if self.has_ended() {
                return;
            }
        }
    }

    /// When there is something to do although nothing happens.
    fn wakes_at(&self) -> Option<Instant> {
        let starts = self.starts.wakes_at(self.hints.len());
        let finishes = self.finishes.wakes_at(self.reports.len());
        [self.stage.until(), starts, finishes].into_iter().flatten().min()
    }

    fn wants_more(&self) -> bool {
        matches!(self.stage, Stage::Working)
            && self.client.is_ready()
            && self.hints.is_empty()
            && self.slots.room() > 0
            && self.reports.len() + self.reports_in_flight <= self.config.report_buffer
    }

    fn pull<'a>(&mut self, queue: &'a dyn Queue) -> BoxFuture<'a, Pulled> {
        let free = self.slots.room().min(MAX_BATCH);
        let pause = self.queue_pause.take();
        Box::pin(async move {
            if let Some(pause) = pause {
                sleep(pause).await;
            }
            queue.pull(free, PULL_WAIT).await
        })
    }

    fn on_pulled(&mut self, pulled: Pulled) {
        match pulled {
            Ok(jobs) => {
                self.config.health.pulled(Ok(()));
                self.queue_backoff.reset();
                // An order and a token together name a lease; with one token for all of them the gateway
                // writes all of them in one statement.
                let token =
                    self.config.lease_prefix.map_or_else(LeaseToken::random, LeasePrefix::random_token);
                let slots = &mut self.slots;
                self.hints.extend(jobs.into_iter().filter_map(|job| slots.take(job.order_id, token)));
            }
            Err(error) => {
                metrics::queue_error();
                self.config.health.pulled(Err(&error));
                self.queue_pause = Some(self.queue_backoff.next());
                if self.queue_backoff.should_log() {
                    tracing::warn!(%error, "queue unreachable, retrying");
                }
            }
        }
    }

    /// Sends what has gathered, if there is room on the way.
    fn flush(&mut self) {
        while self.starts.may_send(self.hints.len()) {
            self.client.send(Request::Start(split_batch(&mut self.hints)));
            self.starts.sent();
        }
        while self.finishes.may_send(self.reports.len()) {
            let batch = split_batch(&mut self.reports);
            self.reports_in_flight += batch.len();
            self.client.send(Request::Finish(batch));
            self.finishes.sent();
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Connected { heartbeat_interval } => {
                // The first tick is now: leases may be near their end after a gap.
                let mut ticks = interval(heartbeat_interval);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                self.heartbeat = Some(ticks);
                self.config.health.connected(matches!(self.stage, Stage::Working));
            }
            Event::Disconnected => {
                self.heartbeat = None;
                self.config.health.connected(false);
            }
            Event::Started { leases, attempts, more, took } => {
                self.starts.in_flight -= usize::from(!more);
                if let Some(took) = took {
                    self.slots.start_took(took);
                }
                for attempt in attempts {
                    self.on_started(attempt);
                }
                // The others are somebody else's, or not to be worked on.
                for lease in leases {
                    self.slots.free(lease);
                }
            }
            Event::Finished { reports, refused, more } => {
                self.finishes.in_flight -= usize::from(!more);
                self.reports_in_flight -= reports;
                metrics::refused(refused.len());
                for v1::Refused { lease, reason, .. } in refused {
                    let order_id = lease.map(|lease| lease.order_id).unwrap_or_default();
                    tracing::info!(order_id, reason, "gateway rejected report, dropping it");
                }
            }
            Event::Gone(leases) => {
                for lease in leases.iter().filter_map(Lease::parse) {
                    if self.slots.abandon(lease) {
                        let order_id = lease.order_id;
                        tracing::info!(%order_id, "cancelling handler: order cancelled or lease lost");
                    }
                }
            }
        }
    }

    fn on_started(&mut self, v1::Attempt { order, lease_token }: v1::Attempt) {
        let Some(order) = order else { return };
        let lease = v1::Lease { order_id: order.order_id.clone(), lease_token };
        let Some(lease) = Lease::parse(&lease).filter(|lease| self.slots.is_starting(*lease)) else { return };
        match Order::try_from(order) {
            // The attempt is counted already, so while there is time it is made and not given back.
            Ok(order) if matches!(self.stage, Stage::Working | Stage::Draining(_)) => {
                self.slots.run(Attempt { order, lease: lease.token });
            }
            Ok(_) => self.report(lease, Outcome::Released),
            Err(error) => {
                // A newer gateway may have orders that this processor cannot read.
                let reason = format!("the processor cannot read the order: {error}");
                self.report(lease, Outcome::retry(reason).with_class("unreadable_order").truncated());
            }
        }
    }

    fn report(&mut self, lease: Lease, outcome: Outcome) {
        self.meters.finished(&outcome);
        self.reports.push((lease, outcome));
    }

    /// Keeps the leases of everything that runs, or waits to be reported.
    fn send_heartbeats(&mut self) {
        let waiting = self.reports.iter().map(|(lease, _)| *lease);
        let leases: Vec<_> = self.slots.leases().chain(waiting).collect();
        for batch in leases.chunks(MAX_BATCH) {
            self.client.send(Request::Heartbeats(batch.to_vec()));
        }
    }

    fn drain(&mut self) {
        let grace = self.config.shutdown_timeout;
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(running = self.slots.running(), grace_ms, "shutting down, starting no further orders");
        for hint in std::mem::take(&mut self.hints) {
            self.slots.free(hint);
        }
        self.stage = Stage::Draining(Instant::now() + grace);
        self.config.health.connected(false);
    }

    /// Whether no handler runs, and none is about to.
    fn is_idle(&self) -> bool {
        self.slots.leases().next().is_none() && self.starts.in_flight == 0
    }

    /// Moves the shutdown on; true when it is over.
    fn has_ended(&mut self) -> bool {
        let now = Instant::now();
        if let Stage::Draining(until) = self.stage
            && (self.is_idle() || now >= until)
        {
            let stopped = self.slots.stop();
            if !stopped.is_empty() {
                tracing::warn!(
                    orders = stopped.len(),
                    "handlers exceeded the shutdown timeout, releasing their orders"
                );
            }
            for lease in stopped {
                self.report(lease, Outcome::Released);
            }
            self.stage = Stage::Reporting(now + self.config.report_timeout);
        }
        let Stage::Reporting(until) = self.stage else { return false };
        let (starting, reports) = (self.slots.taken(), self.reports.len() + self.reports_in_flight);
        if starting + reports > 0 && now >= until {
            tracing::warn!(
                starting,
                reports,
                "no response from a gateway, the orders are retried after their leases expire"
            );
        }
        starting + reports == 0 || now >= until
    }
}

impl Stage {
    fn until(&self) -> Option<Instant> {
        match self {
            Self::Working => None,
            Self::Draining(until) | Self::Reporting(until) => Some(*until),
        }
    }
}

fn split_batch<T>(waiting: &mut Vec<T>) -> Vec<T> {
    let rest = waiting.split_off(waiting.len().min(MAX_BATCH));
    std::mem::replace(waiting, rest)
}
