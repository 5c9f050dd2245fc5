//! The loop of a processor: pulls jobs for free slots, starts the orders, reports their outcomes, and shuts down.
//!
//! Jobs and reports gather while an earlier request of their kind is in flight. They are sent together when its response
//! arrives, when a full batch has gathered, or after a few milliseconds (see [`BatchWindow`]). So a batch has one order
//! under low load and hundreds under high load.
//!
//! A handler that ends frees its slot immediately. Its report waits outside the slots, and the number of reports has its
//! own limit. Orders are prefetched while handlers are short (see `slots`).

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use broker::{Job, Queue};
use domain::{Backoff, LeasePrefix, LeaseToken, Order, Outcome};
use futures_util::future::{BoxFuture, OptionFuture};
use proto::{MAX_BATCH, v1};
use telemetry::LogThrottle;
use tokio::select;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, sleep_until};

use crate::config::{Config, RETRY_DELAYS};
use crate::gateway_client::GatewayClient;
use crate::gateway_connection::Gateways;
use crate::handler::{Attempt, OrderHandler};
use crate::metrics::{self, AttemptMetrics};
use crate::requests::{Event, LeaseKey, Request};
use crate::slots::{HandlerEnd, Slots};

/// The maximum wait of one pull for a first job.
const PULL_WAIT: Duration = Duration::from_secs(2);
/// The maximum number of Starts, and of Finishes, in flight.
const MAX_STARTS_IN_FLIGHT: usize = 4;
const MAX_FINISHES_IN_FLIGHT: usize = 2;
/// The number of entries that are sent immediately although an earlier request of their kind has no response.
const FULL_BATCH: usize = 128;
/// The maximum time for which entries gather while an earlier request of their kind has no response.
/// It is longer than most response times, and short enough that an order for which the gateway waits delays no others.
const BATCH_LINGER: Duration = Duration::from_millis(5);

/// Limits the requests of one kind in flight, and gathers entries into batches.
///
/// A gateway writes each request in a transaction, so two small requests cost nearly twice as much as one.
pub(crate) struct BatchWindow {
    in_flight: usize,
    max_in_flight: usize,
    /// The time of the latest send.
    sent_at: Instant,
}

impl BatchWindow {
    pub(crate) fn new(max_in_flight: usize) -> Self {
        Self { in_flight: 0, max_in_flight, sent_at: Instant::now() }
    }

    pub(crate) fn can_send(&self, gathered: usize) -> bool {
        let due = gathered >= FULL_BATCH || self.sent_at.elapsed() >= BATCH_LINGER;
        gathered > 0 && (self.in_flight == 0 || (due && self.in_flight < self.max_in_flight))
    }

    /// Returns the time at which the gathered entries may be sent without a response.
    pub(crate) fn linger_until(&self, gathered: usize) -> Option<Instant> {
        (gathered > 0 && self.in_flight < self.max_in_flight).then(|| self.sent_at + BATCH_LINGER)
    }

    /// Records the response to a request.
    pub(crate) fn record_response(&mut self) {
        self.in_flight -= 1;
    }

    pub(crate) fn record_send(&mut self) {
        self.in_flight += 1;
        self.sent_at = Instant::now();
    }
}

pub(crate) struct Worker {
    config: Config,
    client: GatewayClient,
    slots: Slots,
    /// Orders that have a slot and are not in a request yet.
    starts: Vec<LeaseKey>,
    start_window: BatchWindow,
    /// Reports that are not in a request yet.
    reports: Vec<(LeaseKey, Outcome)>,
    finish_window: BatchWindow,
    reports_in_flight: usize,
    /// Present while there is a stream.
    heartbeat: Option<Interval>,
    queue_backoff: Backoff,
    queue_log: LogThrottle,
    /// The delay of the next pull, after a failed one.
    pull_delay: Option<Duration>,
    phase: Phase,
    metrics: AttemptMetrics,
}

/// The phase of the processor's lifecycle.
pub(crate) enum Phase {
    Working,
    /// Nothing is pulled. Orders that are being started are started, and handlers may run until this time.
    Draining(Instant),
    /// No handler runs. Responses are awaited until this time.
    Reporting(Instant),
}

type PullResult = Result<Vec<Job>, broker::Error>;

impl Worker {
    pub(crate) fn new(config: Config, gateways: Gateways, handler: Arc<dyn OrderHandler>) -> Self {
        let metrics = AttemptMetrics::new(config.concurrency);
        metrics.set_running(0);
        Self {
            client: GatewayClient::new(gateways, config.response_timeout),
            slots: Slots::new(
                handler,
                config.worker_id.as_str().into(),
                config.concurrency,
                config.attempt_timeout,
                metrics.clone(),
            ),
            config,
            starts: Vec::new(),
            start_window: BatchWindow::new(MAX_STARTS_IN_FLIGHT),
            reports: Vec::new(),
            finish_window: BatchWindow::new(MAX_FINISHES_IN_FLIGHT),
            reports_in_flight: 0,
            heartbeat: None,
            queue_backoff: Backoff::new(RETRY_DELAYS),
            queue_log: LogThrottle::default(),
            pull_delay: None,
            phase: Phase::Working,
            metrics,
        }
    }

    pub(crate) async fn run(mut self, queue: &dyn Queue, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        // The pull is kept between iterations: a dropped pull may lose the jobs that it has just taken.
        let mut pull: Option<BoxFuture<'_, PullResult>> = None;
        loop {
            self.send_batches();
            if pull.is_none() && self.can_pull() {
                pull = Some(self.start_pull(queue));
            }
            let wake_at = self.wake_at();
            select! {
                event = self.client.next() => self.on_event(event),
                Some(end) = self.slots.next_handler_end() => self.on_handler_end(end),
                Some(result) = OptionFuture::from(pull.as_mut()) => {
                    pull = None;
                    self.on_pulled(result);
                }
                Some(_) = OptionFuture::from(self.heartbeat.as_mut().map(Interval::tick)) => {
                    self.send_heartbeats();
                }
                () = &mut shutdown, if matches!(self.phase, Phase::Working) => {
                    // The gateway pushes jobs again that this pull may have taken.
                    pull = None;
                    self.start_drain();
                }
                Some(()) = OptionFuture::from(wake_at.map(sleep_until)) => {}
            }
            if self.advance_shutdown() {
                return;
            }
        }
    }

    /// Returns the time of the next action without an event.
    fn wake_at(&self) -> Option<Instant> {
        let starts = self.start_window.linger_until(self.starts.len());
        let finishes = self.finish_window.linger_until(self.reports.len());
        [self.phase.deadline(), starts, finishes].into_iter().flatten().min()
    }

    fn can_pull(&self) -> bool {
        matches!(self.phase, Phase::Working)
            && self.client.is_ready()
            && self.starts.is_empty()
            && self.slots.free() > 0
            && self.reports.len() + self.reports_in_flight <= self.config.report_buffer
    }

    fn start_pull<'a>(&mut self, queue: &'a dyn Queue) -> BoxFuture<'a, PullResult> {
        let max = self.slots.free().min(MAX_BATCH);
        let delay = self.pull_delay.take();
        Box::pin(async move {
            if let Some(delay) = delay {
                sleep(delay).await;
            }
            queue.pull(max, PULL_WAIT).await
        })
    }

    fn on_pulled(&mut self, result: PullResult) {
        match result {
            Ok(jobs) => {
                self.config.health.record_pull(Ok(()));
                self.queue_backoff.reset();
                // An order and a token together identify a lease. With one token for all jobs, the gateway writes all of
                // them in one statement.
                let token =
                    self.config.lease_prefix.map_or_else(LeaseToken::random, LeasePrefix::random_token);
                let slots = &mut self.slots;
                self.starts.extend(jobs.into_iter().filter_map(|job| slots.occupy(job.order_id, token)));
            }
            Err(error) => {
                metrics::count_queue_error();
                self.config.health.record_pull(Err(&error));
                self.pull_delay = Some(self.queue_backoff.next_delay());
                if self.queue_log.allow().is_some() {
                    tracing::warn!(%error, "queue unreachable, retrying");
                }
            }
        }
    }

    fn on_handler_end(&mut self, end: HandlerEnd) {
        let mut next = Some(end);
        while let Some(end) = next {
            if let Some((lease, outcome)) = self.slots.on_handler_end(end) {
                self.report(lease, outcome.truncated());
            }
            next = self.slots.try_next_handler_end();
        }
    }

    /// Sends the gathered entries that may be sent.
    fn send_batches(&mut self) {
        while self.start_window.can_send(self.starts.len()) {
            self.client.send(Request::Start(split_batch(&mut self.starts, |_| 0)));
            self.start_window.record_send();
        }
        while self.finish_window.can_send(self.reports.len()) {
            let batch = split_batch(&mut self.reports, report_bytes);
            self.reports_in_flight += batch.len();
            self.client.send(Request::Finish(batch));
            self.finish_window.record_send();
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Connected { heartbeat_interval } => {
                // The first tick is immediate: leases may be about to expire after an outage.
                let mut ticks = interval(heartbeat_interval);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                self.heartbeat = Some(ticks);
                self.config.health.set_connected(matches!(self.phase, Phase::Working));
            }
            Event::Disconnected => {
                self.heartbeat = None;
                self.config.health.set_connected(false);
            }
            Event::Started { leases, attempts, more, response_time } => {
                self.start_window.in_flight -= usize::from(!more);
                if let Some(response_time) = response_time {
                    self.slots.record_start(response_time);
                }
                for attempt in attempts {
                    self.on_attempt(attempt);
                }
                // The other orders belong to another worker or cannot be processed.
                for lease in leases {
                    self.slots.release_unstarted(lease);
                }
            }
            Event::Finished { reports, refused, more } => {
                self.finish_window.in_flight -= usize::from(!more);
                self.reports_in_flight -= reports;
                metrics::count_rejected_reports(refused.len());
                for v1::Refused { lease, reason, .. } in refused {
                    let order_id = lease.map(|lease| lease.order_id).unwrap_or_default();
                    tracing::info!(order_id, reason, "gateway rejected report, dropping it");
                }
            }
            Event::LeasesLost(leases) => {
                for lease in leases.iter().filter_map(LeaseKey::parse) {
                    if self.slots.abandon(lease) {
                        let order_id = lease.order_id;
                        tracing::info!(%order_id, "cancelling handler: order cancelled or lease lost");
                    }
                }
            }
        }
    }

    fn on_attempt(&mut self, v1::Attempt { order, lease_token, traceparent, checkpoint: _ }: v1::Attempt) {
        let Some(order) = order else { return };
        let lease = v1::Lease { order_id: order.order_id.clone(), lease_token };
        let Some(lease) = LeaseKey::parse(&lease).filter(|lease| self.slots.is_starting(*lease)) else {
            return;
        };
        match Order::try_from(order) {
            // The attempt is already counted, so while there is time its handler runs and it is not released.
            Ok(order) if matches!(self.phase, Phase::Working | Phase::Draining(_)) => {
                let trace = traceparent.and_then(|text| text.parse().ok());
                // Boxed, because an attempt is moved often and is large.
                self.slots.run_or_queue(Box::new(Attempt { trace, ..Attempt::new(order, lease.token) }));
            }
            Ok(_) => self.report(lease, Outcome::Released),
            Err(error) => {
                // A newer gateway may send orders that this processor cannot read.
                let reason = format!("the processor cannot read the order: {error}");
                self.report(lease, Outcome::retry(reason).with_class("unreadable_order").truncated());
            }
        }
    }

    fn report(&mut self, lease: LeaseKey, outcome: Outcome) {
        self.metrics.count_finished(&outcome);
        self.reports.push((lease, outcome));
    }

    /// Renews the leases of all started orders and of all unsent reports.
    fn send_heartbeats(&mut self) {
        let reports = self.reports.iter().map(|(lease, _)| *lease);
        let leases: Vec<_> = self.slots.started_leases().chain(reports).collect();
        for batch in leases.chunks(MAX_BATCH) {
            self.client.send(Request::Heartbeats(batch.to_vec()));
        }
    }

    fn start_drain(&mut self) {
        let grace = self.config.shutdown_timeout;
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(running = self.slots.running(), grace_ms, "shutting down, starting no further orders");
        for lease in std::mem::take(&mut self.starts) {
            self.slots.release_unstarted(lease);
        }
        self.phase = Phase::Draining(Instant::now() + grace);
        self.config.health.set_connected(false);
    }

    /// Returns whether no handler runs and none is about to run.
    fn is_idle(&self) -> bool {
        self.slots.started_leases().next().is_none() && self.start_window.in_flight == 0
    }

    /// Advances the shutdown; returns true at its end.
    fn advance_shutdown(&mut self) -> bool {
        let now = Instant::now();
        if let Phase::Draining(until) = self.phase
            && (self.is_idle() || now >= until)
        {
            let stopped = self.slots.stop_all();
            if !stopped.is_empty() {
                tracing::warn!(
                    orders = stopped.len(),
                    "handlers exceeded the shutdown timeout, releasing their orders"
                );
            }
            for lease in stopped {
                self.report(lease, Outcome::Released);
            }
            self.phase = Phase::Reporting(now + self.config.report_timeout);
        }
        let Phase::Reporting(until) = self.phase else { return false };
        let (starting, reports) = (self.slots.occupied(), self.reports.len() + self.reports_in_flight);
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

impl Phase {
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Working => None,
            Self::Draining(until) | Self::Reporting(until) => Some(*until),
        }
    }
}

/// The length of the results after which a request ends. It may exceed it by one.
const RESULT_BYTES: usize = 1024 * 1024;

/// Returns the length of the result in a report.
pub(crate) fn report_bytes((_, outcome): &(LeaseKey, Outcome)) -> usize {
    match outcome {
        Outcome::CompletedWith(result) => result.as_str().len(),
        Outcome::Completed | Outcome::Retry { .. } | Outcome::Failed { .. } | Outcome::Released => 0,
    }
}

/// Removes the entries of the next request: at most [`MAX_BATCH`], until they have [`RESULT_BYTES`].
pub(crate) fn split_batch<T>(entries: &mut Vec<T>, bytes_of: impl Fn(&T) -> usize) -> Vec<T> {
    let mut bytes = 0;
    let fitting = entries.iter().take(MAX_BATCH).take_while(|entry| {
        let fits = bytes < RESULT_BYTES;
        bytes += bytes_of(entry);
        fits
    });
    let rest = entries.split_off(fitting.count());
    std::mem::replace(entries, rest)
}
