//! The loop of a processor to which gateways assign jobs: grants credits, runs handlers, reports their outcomes, and shuts
//! down.
//!
//! The gateway sends jobs for the credits that the processor grants, at most one for each free slot. Outcomes gather while
//! an earlier message with outcomes has no response, and are sent together when it arrives, when a full batch has gathered,
//! or after a few milliseconds. The message grants the credits of the slots that became free.
//!
//! The processor confirms jobs before it runs their handlers, so an order that ends the process ends an attempt: handlers begin
//! when the connection has taken the confirmation. If the stream is lost before, they begin when the next one has confirmed
//! that the lease is still held.
//!
//! When the stream is lost, handlers continue. The next stream, to any gateway, begins with the leases of all jobs and
//! repeats the results without a response, which the gateway recognises.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use domain::{ErrorCode, JsonText, Order, Outcome};
use futures_util::future::OptionFuture;
use proto::v1::claim_request::Message as Request;
use proto::v1::claim_response::Message as Response;
use proto::{MAX_BATCH, REBALANCE, v1};
use telemetry::LogThrottle;
use tokio::select;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};

use crate::claim_stream::{ClaimStream, ClaimStreams};
use crate::config::Config;
use crate::error::Error;
use crate::handler::{Attempt, OrderHandler};
use crate::handler_reports::{Checkpoints, HandlerReport, ReportSender};
use crate::metrics::{self, AttemptMetrics};
use crate::requests::LeaseKey;
use crate::slots::{HandlerEnd, Slots};
use crate::worker::{BatchWindow, Phase, report_bytes, split_batch};

/// The maximum number of Results in flight.
const MAX_RESULTS_IN_FLIGHT: usize = 2;
/// The time after which Results without a response do not delay others: a gateway cannot record them while a shard of its
/// database does not respond.
const LATE_RESPONSE: Duration = Duration::from_millis(500);
/// The maximum number of credits that a gateway accepts.
const MAX_CREDITS: usize = 1_000;
/// The time from a credit to its job that prefetched orders bridge.
const CREDIT_ROUND_TRIP: Duration = Duration::from_millis(10);
/// The number of heartbeat intervals without a message after which the stream is replaced.
const SILENT_INTERVALS: u32 = 3;

pub(crate) struct ClaimWorker {
    config: Config,
    slots: Slots,
    streams: ClaimStreams,
    stream: Option<OpenStream>,
    /// Jobs whose confirmation the connection has not taken. They have slots.
    unconfirmed: Vec<(LeaseKey, v1::Attempt)>,
    /// Reports that are not in a message of the stream.
    reports: Vec<(LeaseKey, Outcome)>,
    /// The Results without a response, by their numbers.
    unanswered: BTreeMap<u64, Unanswered>,
    results: u64,
    window: BatchWindow,
    report_sender: ReportSender,
    handler_reports: mpsc::Receiver<HandlerReport>,
    checkpoints: Checkpoints,
    phase: Phase,
    metrics: AttemptMetrics,
    log: LogThrottle,
}

/// Results without a response.
struct Unanswered {
    reports: Vec<(LeaseKey, Outcome)>,
    sent_at: Instant,
    /// Whether they are late, and not in the window any more.
    is_late: bool,
}

/// The state of one stream.
struct OpenStream {
    stream: Box<ClaimStream>,
    heartbeats: Interval,
    /// Credits that the gateway has not used.
    granted: usize,
    received: u64,
    /// The number of heartbeat intervals that have ended since the latest message. Counted and not measured: of the time for
    /// which this process was stopped it contains one interval.
    silent_intervals: u32,
    /// The gateway assigns no further jobs.
    is_draining: bool,
}

impl ClaimWorker {
    pub(crate) fn new(config: Config, streams: ClaimStreams, handler: Arc<dyn OrderHandler>) -> Self {
        let metrics = AttemptMetrics::new(config.concurrency);
        metrics.set_running(0);
        let mut slots = Slots::new(
            handler,
            config.worker_id.as_str().into(),
            config.concurrency,
            config.attempt_timeout,
            metrics.clone(),
        );
        slots.record_start(CREDIT_ROUND_TRIP);
        let (report_sender, handler_reports) = ReportSender::new();
        Self {
            config,
            slots,
            streams,
            stream: None,
            unconfirmed: Vec::new(),
            reports: Vec::new(),
            unanswered: BTreeMap::new(),
            results: 0,
            window: BatchWindow::new(MAX_RESULTS_IN_FLIGHT),
            report_sender,
            handler_reports,
            checkpoints: Checkpoints::default(),
            phase: Phase::Working,
            metrics,
            log: LogThrottle::default(),
        }
    }

    pub(crate) async fn run(mut self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let mut shutdown = pin!(shutdown);
        self.connect();
        loop {
            self.flush();
            let wake_at = self.wake_at();
            let (heartbeat, taken, message) = match &mut self.stream {
                Some(open) => {
                    let taken = (!self.unconfirmed.is_empty()).then(|| open.stream.taken());
                    (Some(open.heartbeats.tick()), taken, Some(open.stream.next()))
                }
                None => (None, None, None),
            };
            select! {
                Some(message) = OptionFuture::from(message) => match message {
                    Ok(message) => self.on_message(message),
                    Err(reason) => self.on_lost(&reason),
                },
                Some(()) = OptionFuture::from(taken) => self.start_jobs(),
                Some(end) = self.slots.next_handler_end() => self.on_handler_end(end),
                Some(report) = self.handler_reports.recv() => self.on_handler_report(report),
                Some(_) = OptionFuture::from(heartbeat) => self.on_heartbeat_due(),
                stream = self.streams.connected() => self.on_connected(stream?),
                () = &mut shutdown, if matches!(self.phase, Phase::Working) => self.start_drain(),
                Some(()) = OptionFuture::from(wake_at.map(sleep_until)) => {}
            }
            if self.advance_shutdown() {
                return Ok(());
            }
        }
    }

    /// Returns the time of the next action without an event.
    fn wake_at(&self) -> Option<Instant> {
        let reports = self.window.linger_until(self.reports.len()).or_else(|| self.next_late());
        self.phase.deadline().into_iter().chain(reports).min()
    }

    /// Returns the time at which Results become late.
    fn next_late(&self) -> Option<Instant> {
        let awaited = self.unanswered.values().filter(|results| !results.is_late);
        awaited.map(|results| results.sent_at + LATE_RESPONSE).min()
    }

    /// Sends further Results although late ones have no response.
    fn pass_late(&mut self) {
        for results in self.unanswered.values_mut().filter(|results| !results.is_late) {
            if results.sent_at.elapsed() >= LATE_RESPONSE {
                results.is_late = true;
                self.window.record_response();
            }
        }
    }

    fn on_heartbeat_due(&mut self) {
        let Some(open) = &mut self.stream else { return };
        open.silent_intervals += 1;
        if open.silent_intervals > SILENT_INTERVALS {
            return self.on_lost("it has sent no message for three heartbeat intervals");
        }
        self.send(Some(Request::Heartbeat(v1::Heartbeat {})));
    }

    /// Sends the gathered reports that may be sent, and credits that no report accompanies.
    fn flush(&mut self) {
        self.pass_late();
        while self.stream.is_some() && self.window.can_send(self.reports.len()) {
            let batch = split_batch(&mut self.reports, report_bytes);
            self.results += 1;
            let number = self.results;
            let report = |(lease, outcome): &(LeaseKey, Outcome)| {
                v1::Report::new(lease.order_id, lease.token, outcome.clone())
            };
            let results = v1::Results { number, reports: batch.iter().map(report).collect() };
            let sent = Unanswered { reports: batch, sent_at: Instant::now(), is_late: false };
            self.unanswered.insert(number, sent);
            self.window.record_send();
            self.send(Some(Request::Results(results)));
        }
        while self.stream.is_some()
            && let Some(checkpoint) = self.checkpoints.next()
        {
            self.send(Some(Request::Checkpoint(checkpoint)));
        }
        // Without reports on their way, nothing else carries the credits.
        let is_awaited = self.unanswered.values().any(|results| !results.is_late);
        if self.reports.is_empty() && !is_awaited && self.new_credits() > 0 {
            self.send(None);
        }
    }

    fn unanswered_reports(&self) -> impl Iterator<Item = &(LeaseKey, Outcome)> {
        self.unanswered.values().flat_map(|results| &results.reports)
    }

    /// Returns the number of credits that can be granted.
    fn new_credits(&self) -> usize {
        let Some(open) = &self.stream else { return 0 };
        let buffered = self.reports.len() + self.unanswered_reports().count();
        if open.is_draining || !matches!(self.phase, Phase::Working) || buffered > self.config.report_buffer {
            return 0;
        }
        self.slots.free().min(MAX_CREDITS).saturating_sub(open.granted)
    }

    /// Sends a message with the credits and the confirmation that are due. A stream that takes no message is replaced.
    fn send(&mut self, message: Option<Request>) {
        let credits = self.new_credits();
        let Some(open) = &mut self.stream else { return };
        open.granted += credits;
        let credits = u32::try_from(credits).unwrap_or(u32::MAX);
        let request = v1::ClaimRequest { received: open.received, credits, message };
        if !open.stream.send(request) {
            self.on_lost("it does not read");
        }
    }

    fn connect(&mut self) {
        let reports = self.reports.iter().chain(self.unanswered_reports());
        let reported = reports.map(|(lease, _)| *lease);
        let running = self.slots.leases().chain(reported);
        // Further leases are renewed by no stream, and expire.
        let running = running.take(MAX_BATCH).map(|lease| v1::Lease::new(lease.order_id, lease.token));
        self.streams.connect(running.collect());
    }

    fn on_connected(&mut self, stream: Box<ClaimStream>) {
        // The results without a response are sent again.
        for results in std::mem::take(&mut self.unanswered).into_values() {
            self.reports.extend(results.reports);
        }
        self.checkpoints.repeat();
        self.window = BatchWindow::new(MAX_RESULTS_IN_FLIGHT);
        let interval = stream.heartbeat_interval;
        let mut heartbeats = interval_at(Instant::now() + interval, interval);
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.on_lost_leases(&stream.lost);
        self.stream = Some(OpenStream {
            stream,
            heartbeats,
            granted: 0,
            received: 0,
            silent_intervals: 0,
            is_draining: false,
        });
        // With Hello the gateway has received the other ones.
        self.start_jobs();
        self.config.health.set_connected(matches!(self.phase, Phase::Working));
        if !matches!(self.phase, Phase::Working) {
            self.send(Some(Request::Drain(v1::WorkerDrain {})));
        }
    }

    fn on_lost(&mut self, reason: &str) {
        if self.log.allow().is_some() {
            tracing::warn!(reason, "stream to the gateway lost, reconnecting");
        }
        self.stream = None;
        self.config.health.set_connected(false);
        self.connect();
    }

    fn on_message(&mut self, message: Response) {
        let Some(open) = &mut self.stream else { return };
        open.silent_intervals = 0;
        self.streams.succeeded();
        match message {
            Response::Jobs(v1::Jobs { number, jobs }) => {
                // Without a confirmation the gateway gives them to another worker.
                if matches!(self.phase, Phase::Working) {
                    open.received = number;
                    open.granted = open.granted.saturating_sub(jobs.len());
                    self.unconfirmed.extend(jobs.into_iter().filter_map(|job| {
                        let lease = v1::Lease {
                            order_id: job.order.as_ref()?.order_id.clone(),
                            lease_token: job.lease_token.clone(),
                        };
                        let lease = LeaseKey::parse(&lease)?;
                        // A job that the gateway has assigned again replaces nothing: the earlier attempt has the slot.
                        Some((self.slots.occupy(lease.order_id, lease.token)?, job))
                    }));
                    self.send(None);
                }
            }
            Response::ResultsRecorded(v1::ResultsRecorded { number, refused }) => {
                if self.unanswered.remove(&number).is_some_and(|results| !results.is_late) {
                    self.window.record_response();
                }
                metrics::count_rejected_reports(refused.len());
                for v1::Refused { lease, reason, .. } in refused {
                    let order_id = lease.map(|lease| lease.order_id).unwrap_or_default();
                    tracing::info!(order_id, reason, "gateway rejected report, dropping it");
                }
            }
            Response::CheckpointRecorded(v1::CheckpointRecorded { number, refused }) => {
                if let Some(order_id) = self.checkpoints.record_response(number, refused.is_some()) {
                    let reason = refused.map(|refused| refused.reason).unwrap_or_default();
                    tracing::info!(%order_id, reason, "gateway refused checkpoint");
                }
            }
            Response::Cancel(v1::Cancel { leases }) => self.on_lost_leases(&leases),
            Response::Drain(v1::Drain { reason }) => {
                if reason == ErrorCode::TokenExpired.as_str() {
                    tracing::warn!("the credential for the gateway has ended, connecting again");
                } else if reason == REBALANCE {
                    tracing::debug!("moving to another gateway");
                } else {
                    tracing::info!("gateway is shutting down, switching to another gateway");
                }
                open.is_draining = true;
                self.replace_draining();
            }
            Response::Heartbeat(_) | Response::Welcome(_) => {}
        }
    }

    /// Starts jobs whose confirmation is on its way.
    fn start_jobs(&mut self) {
        for (lease, job) in std::mem::take(&mut self.unconfirmed) {
            self.start_job(lease, job);
        }
        self.replace_draining();
    }

    /// Replaces a stream whose gateway is shutting down, when it has the confirmation of all jobs.
    fn replace_draining(&mut self) {
        if self.unconfirmed.is_empty() && self.stream.as_ref().is_some_and(|open| open.is_draining) {
            self.connect();
        }
    }

    fn on_handler_report(&mut self, report: HandlerReport) {
        match report {
            HandlerReport::Checkpoint(checkpoint) => self.checkpoints.add(checkpoint),
            HandlerReport::Progress { lease, percent, note } => {
                if self.stream.as_ref().is_some_and(|open| open.stream.has_space()) {
                    let lease = Some(v1::Lease::new(lease.order_id, lease.token));
                    let percent = percent.map(u32::from);
                    self.send(Some(Request::Progress(v1::Progress { lease, percent, note })));
                }
            }
        }
    }

    fn start_job(&mut self, lease: LeaseKey, job: v1::Attempt) {
        let v1::Attempt { order, lease_token: _, traceparent, checkpoint } = job;
        if !self.slots.is_starting(lease) {
            self.slots.release_unstarted(lease);
            return;
        }
        match Order::try_from(order.unwrap_or_default()) {
            // The attempt is already counted, so while there is time its handler runs and it is not released.
            Ok(order) if matches!(self.phase, Phase::Working | Phase::Draining(_)) => {
                let trace = traceparent.and_then(|text| text.parse().ok());
                let checkpoint = checkpoint.and_then(|json| JsonText::parse(&json).ok());
                let reports = self.report_sender.clone();
                let attempt = Attempt { order, lease: lease.token, trace, checkpoint, reports };
                self.slots.run_or_queue(Box::new(attempt));
            }
            Ok(_) => {
                self.slots.release_unstarted(lease);
                self.report(lease, Outcome::Released);
            }
            Err(error) => {
                // A newer gateway may send orders that this processor cannot read.
                self.slots.release_unstarted(lease);
                let reason = format!("the processor cannot read the order: {error}");
                self.report(lease, Outcome::retry(reason).with_class("unreadable_order").truncated());
            }
        }
    }

    fn on_lost_leases(&mut self, leases: &[v1::Lease]) {
        for lease in leases.iter().filter_map(LeaseKey::parse) {
            if self.slots.abandon(lease) {
                tracing::info!(order_id = %lease.order_id, "cancelling handler: order cancelled or lease lost");
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

    fn report(&mut self, lease: LeaseKey, outcome: Outcome) {
        self.metrics.count_finished(&outcome);
        self.reports.push((lease, outcome));
    }

    fn start_drain(&mut self) {
        let grace = self.config.shutdown_timeout;
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(running = self.slots.running(), grace_ms, "shutting down, starting no further orders");
        self.phase = Phase::Draining(Instant::now() + grace);
        self.config.health.set_connected(false);
        self.send(Some(Request::Drain(v1::WorkerDrain {})));
    }

    fn has_jobs(&self) -> bool {
        !self.unconfirmed.is_empty() || self.slots.leases().next().is_some()
    }

    /// Advances the shutdown; returns true at its end.
    fn advance_shutdown(&mut self) -> bool {
        let now = Instant::now();
        if let Phase::Draining(until) = self.phase
            && (!self.has_jobs() || now >= until)
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
            // In this phase they are released.
            self.start_jobs();
        }
        let Phase::Reporting(until) = self.phase else { return false };
        let reports = self.reports.len() + self.unanswered.len();
        if reports > 0 && now >= until {
            tracing::warn!(
                reports,
                "no response from a gateway, the orders are retried after their leases expire"
            );
        }
        reports == 0 || now >= until
    }
}
