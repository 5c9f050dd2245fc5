//! The health of the system in words, for people.
//!
//! Readiness (`health_monitor`) answers whether a gateway can accept orders. This answers what an operator has to look at:
//! also what makes orders wait or fail.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use broker::Queue;
use domain::{EndpointState, Principal, Scope, Timestamp};
use gateway_store::Store;

use crate::error::Error;
use crate::health_monitor::HealthMonitor;
use crate::orders::Orders;
use crate::signals::{Interval, Signals, Stats, StatsRange};
use crate::workers::{Worker, WorkerState, Workers};

/// The wait of the oldest order that is a warning, and that is critical.
const WAIT_WARNING: Duration = Duration::from_secs(60);
const WAIT_CRITICAL: Duration = Duration::from_secs(5 * 60);
/// The time whose failures are compared with those before.
const RECENT: Duration = Duration::from_secs(5 * 60);
const WINDOW: Duration = Duration::from_secs(60 * 60);
/// Failures of one class are rising if the recent ones are this many, and this many times as frequent as before.
const RISING_COUNT: u64 = 10;
const RISING_FACTOR: f64 = 5.0;
/// Maximum number of kinds that a message names.
const MAX_NAMED_KINDS: usize = 10;
/// Maximum time of a question to the queue.
const DEADLINE: Duration = Duration::from_secs(1);

macro_rules! codes {
    ($($code:ident $word:literal $severity:ident;)*) => {
        /// What is wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum HealthCode {
            $(#[doc = concat!("`", $word, "`")] $code,)*
        }

        impl HealthCode {
            /// Every code. Each has a runbook.
            pub const ALL: &[Self] = &[$(Self::$code),*];

            /// Returns the word of the code.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$code => $word),* }
            }

            /// Returns its severity.
            pub const fn severity(self) -> Severity {
                match self { $(Self::$code => Severity::$severity),* }
            }
        }
    };
}

// In the order of their severity.
codes! {
    WritesRefused "writes_refused" Critical;
    DatabaseUnavailable "database_unavailable" Critical;
    ShardUnavailable "shard_unavailable" Critical;
    SeveralInstallations "several_installations" Critical;
    NoWorkers "no_workers" Critical;
    QueueUnavailable "queue_unavailable" Critical;
    OrdersWaitLong "orders_wait_long" Critical;
    CompletionsStalled "completions_stalled" Critical;
    FailuresRising "failures_rising" Warning;
    OrdersWait "orders_wait" Warning;
    WorkersSaturated "workers_saturated" Warning;
    UnservedKind "unserved_kind" Warning;
    WorkersLost "workers_lost" Warning;
    WebhooksFailing "webhooks_failing" Warning;
    Paused "paused" Warning;
}

/// How urgent a reason is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Orders are refused, or are not processed.
    Critical,
    /// Something else needs attention.
    Warning,
}

impl Severity {
    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
        }
    }
}

/// The overall state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverallHealth {
    /// Nothing is wrong.
    Ok,
    /// Orders are accepted, and some wait or fail.
    Degraded,
    /// Orders cannot be accepted.
    Unavailable,
}

impl OverallHealth {
    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Unavailable => "unavailable",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthReason {
    /// What.
    pub code: HealthCode,
    /// A sentence for people.
    pub message: String,
    /// Since when, if that is known.
    pub since: Option<Timestamp>,
}

/// The health of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthReport {
    /// The overall state.
    pub status: OverallHealth,
    /// What is wrong, the most severe first.
    pub reasons: Vec<HealthReason>,
}

/// Reports the health. Cheap to clone.
#[derive(Clone)]
pub struct HealthReasons {
    pub(crate) store: Store,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) orders: Orders,
    pub(crate) health: HealthMonitor,
    pub(crate) signals: Signals,
    pub(crate) workers: Workers,
}

impl HealthReasons {
    /// Returns what is wrong.
    ///
    /// # Errors
    /// [`Error::Forbidden`] without `metrics:read`.
    pub async fn report(&self, principal: &Principal) -> Result<HealthReport, Error> {
        principal.require(Scope::MetricsRead)?;
        let system = Principal::system("health");
        let mut reasons = Vec::new();
        let mut add = |code, message: String, since| reasons.push(HealthReason { code, message, since });
        if let Some(refused) = self.health.write_refusal() {
            add(HealthCode::WritesRefused, format!("no order is accepted: {}", refused.message), None);
        } else if let Err(error) = self.store.ping().await {
            tracing::debug!(%error, "the database does not answer");
            add(HealthCode::DatabaseUnavailable, "the database does not answer".to_owned(), None);
        }
        let unhealthy = self.store.unhealthy_shards();
        if !unhealthy.is_empty() {
            let message = format!(
                "{} of the database does not accept writes: {}",
                count(unhealthy.len() as u64, "shard"),
                unhealthy.join(", ")
            );
            add(HealthCode::ShardUnavailable, message, None);
        }
        if self.health.installations() > 1 {
            let message = "gateways with different databases use the same Redis prefix";
            add(HealthCode::SeveralInstallations, message.to_owned(), None);
        }
        let queue = tokio::time::timeout(DEADLINE, self.queue.len()).await;
        if !matches!(queue, Ok(Ok(_))) || self.health.push_failure().is_some() {
            let message = "the queue does not accept jobs: orders are accepted and wait";
            add(HealthCode::QueueUnavailable, message.to_owned(), None);
        }
        let snapshot = self.orders.queue_snapshot();
        if let Some(at) = snapshot.paused_at {
            let mut message = format!("the queue was paused {} ago", words(snapshot.now.since(at)));
            if let Some(until) = snapshot.paused_until {
                let _ = write!(message, ", until {until}");
            }
            add(HealthCode::Paused, message, Some(at));
        }
        let workers = self.workers.list(&system).await.unwrap_or_default();
        self.add_waits(&mut add, &workers, snapshot.paused_at.is_some(), snapshot.now);
        let range = StatsRange::new(Some(WINDOW), Some(RECENT)).map_err(|_| Error::Internal)?;
        if let Ok(stats) = self.signals.stats(&system, range).await {
            add_trends(&mut add, &stats, snapshot.paused_at.is_some());
        }
        if let Ok(states) = self.store.webhook_endpoint_states().await {
            let failing = states
                .iter()
                .filter(|(state, _)| *state == EndpointState::Failing)
                .map(|(_, n)| n)
                .sum::<u64>();
            if failing > 0 {
                let message = format!("{} of webhooks cannot be reached", count(failing, "endpoint"));
                add(HealthCode::WebhooksFailing, message, None);
            }
        }
        let place = |reason: &HealthReason| HealthCode::ALL.iter().position(|code| *code == reason.code);
        reasons.sort_by_key(place);
        let refuses = |reason: &HealthReason| {
            matches!(reason.code, HealthCode::WritesRefused | HealthCode::DatabaseUnavailable)
        };
        let status = match reasons.is_empty() {
            true => OverallHealth::Ok,
            false if reasons.iter().any(refuses) => OverallHealth::Unavailable,
            false => OverallHealth::Degraded,
        };
        Ok(HealthReport { status, reasons })
    }

    fn add_waits(
        &self,
        add: &mut impl FnMut(HealthCode, String, Option<Timestamp>),
        workers: &[Worker],
        is_paused: bool,
        now: Timestamp,
    ) {
        let connected: Vec<_> =
            workers.iter().filter(|worker| worker.state == WorkerState::Connected).collect();
        if self.health.workers() == Some(0) {
            let since = workers.iter().map(|worker| worker.last_seen_at).max();
            let message = match since {
                Some(at) => format!(
                    "no worker is connected for {}: orders are accepted and wait",
                    words(now.since(at))
                ),
                None => "no worker is connected: orders are accepted and wait".to_owned(),
            };
            add(HealthCode::NoWorkers, message, since);
        }
        let lost = workers.iter().filter(|worker| worker.state == WorkerState::Lost).count();
        if lost > 0 {
            let message = format!("{} lost within the last hour", count(lost as u64, "worker"));
            add(HealthCode::WorkersLost, message, None);
        }
        let measured = self.health.measured();
        if !measured.unserved.is_empty() && !is_paused {
            let kinds: Vec<_> =
                measured.unserved.iter().take(MAX_NAMED_KINDS).map(|(kind, _)| kind.to_string()).collect();
            let oldest = measured.unserved.iter().map(|(_, oldest)| *oldest).max().unwrap_or_default();
            let message = format!(
                "no worker processes orders of {}: {}",
                count(measured.unserved.len() as u64, "kind"),
                kinds.join(", ")
            );
            add(HealthCode::UnservedKind, message, Some(now - oldest));
        }
        let ready = measured.ready.unwrap_or(0);
        let slots: u64 = connected.iter().map(|worker| u64::from(worker.stated.slots)).sum();
        let in_flight: u64 = connected.iter().map(|worker| u64::from(worker.in_flight)).sum();
        if slots > 0 && in_flight >= slots && ready > 0 && !is_paused {
            let message = format!(
                "all {slots} slots of {} are in use, and {ready} orders wait",
                count(connected.len() as u64, "worker")
            );
            add(HealthCode::WorkersSaturated, message, None);
        }
        if let Some(oldest) = measured.oldest.filter(|oldest| *oldest >= WAIT_WARNING && !is_paused) {
            let code =
                if oldest >= WAIT_CRITICAL { HealthCode::OrdersWaitLong } else { HealthCode::OrdersWait };
            let message = format!("the oldest order has waited for {} to be started", words(oldest));
            add(code, message, Some(now - oldest));
        }
    }
}

/// Compares the last minutes with those before.
fn add_trends(add: &mut impl FnMut(HealthCode, String, Option<Timestamp>), stats: &Stats, is_paused: bool) {
    // The last step has just begun, so the last complete one counts as well.
    let split = stats.steps.len().saturating_sub(2);
    let (mut before, mut recent) = (Interval::default(), Interval::default());
    stats.steps.iter().take(split).for_each(|step| before.merge(&step.interval));
    stats.steps.iter().skip(split).for_each(|step| recent.merge(&step.interval));
    let failures = |interval: &Interval| {
        let mut found = interval.failed_by_class.sorted();
        for (class, count) in interval.retried_by_class.sorted() {
            match found.iter_mut().find(|(known, _)| *known == class) {
                Some((_, known)) => *known += count,
                None => found.push((class, count)),
            }
        }
        found
    };
    let earlier = failures(&before);
    // Without attempts before there is nothing to compare with.
    let is_comparable = before.started > 0;
    let rising = failures(&recent).into_iter().filter_map(|(class, count)| {
        let known = earlier.iter().find(|(other, _)| *other == class).map_or(0, |(_, count)| *count);
        // The same number of steps before; at least one failure, so that a new class has a factor.
        let usual = (known as f64 * 2.0 / split.max(1) as f64).max(1.0);
        let factor = count as f64 / usual;
        (is_comparable && count >= RISING_COUNT && factor >= RISING_FACTOR).then_some((class, count, factor))
    });
    if let Some((class, count, factor)) = rising.max_by_key(|(_, count, _)| *count) {
        let message = format!(
            "attempts fail with {class} {factor:.0} times as often as before: {count} in the last minutes"
        );
        add(HealthCode::FailuresRising, message, None);
    }
    let ended = recent.completed + recent.failed + recent.retried + recent.cancelled;
    if !is_paused && recent.started >= RISING_COUNT && ended == 0 {
        let message =
            format!("{} attempts were started in the last minutes and none has ended", recent.started);
        add(HealthCode::CompletionsStalled, message, None);
    }
}

fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Returns a duration for people: seconds, minutes, hours or days.
fn words(duration: Duration) -> String {
    match duration.as_secs() {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7_200 => format!("{} min", s / 60),
        s @ 7_200..172_800 => format!("{} h", s / 3_600),
        s => format!("{} days", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use domain::{OrderEvent, OrderId, Status, TenantId};

    use super::*;
    use crate::signals::Step;

    fn failed(class: &str, count: usize) -> Interval {
        let mut interval = Interval::default();
        let event = OrderEvent {
            order_id: OrderId::from_bytes([1; 16]),
            tenant_id: TenantId::default(),
            sequence: 3,
            status: Status::Failed,
            previous_status: Some(Status::Processing),
            attempt: 1,
            reason: None,
            error_class: Some(class.to_owned()),
            worker: None,
            occurred_at: Timestamp::from_micros(0),
        };
        (0..count).for_each(|_| interval.record(&event, None));
        interval.started = 1;
        interval
    }

    fn trends(steps: Vec<Interval>) -> Vec<(HealthCode, String)> {
        let at = Timestamp::from_micros(0);
        let step = |interval| Step { at, is_complete: true, interval, ready: None };
        let steps: Vec<_> = steps.into_iter().map(step).collect();
        let total = step(Interval::default());
        let stats = Stats { from: at, to: at, step_s: 300, total, steps };
        let mut found = Vec::new();
        add_trends(&mut |code, message, _| found.push((code, message)), &stats, false);
        found
    }

    #[test]
    fn rising_failures_are_a_reason() {
        let quiet = || (0..10).map(|_| failed("http_503", 1));
        assert_eq!(trends(quiet().collect()), []);
        let rising = trends(quiet().chain([failed("http_503", 40), failed("http_503", 1)]).collect());
        assert_eq!(rising[0].0, HealthCode::FailuresRising);
        assert!(rising[0].1.contains("http_503 20 times"), "{rising:?}");
        let always = (0..12).map(|_| failed("http_503", 40)).collect();
        assert_eq!(trends(always), [], "as often as before");
        let few = quiet().chain([failed("new", 9), Interval::default()]).collect();
        assert_eq!(trends(few), []);
        assert_eq!(trends(vec![failed("http_503", 40)]), [], "nothing happened before");
    }

    #[test]
    fn attempts_that_do_not_end_are_a_reason() {
        let started = Interval { started: 20, ..Interval::default() };
        let found = trends(vec![Interval::default(), started.clone(), Interval::default()]);
        assert_eq!(found[0].0, HealthCode::CompletionsStalled);
        let ended = Interval { started: 20, completed: 1, ..Interval::default() };
        assert_eq!(trends(vec![Interval::default(), ended, Interval::default()]), []);
    }

    #[test]
    fn every_code_has_a_runbook() {
        let page = include_str!("../../../docs/operate/runbooks.md");
        let headings: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        let codes: Vec<_> = HealthCode::ALL.iter().map(|code| code.as_str()).collect();
        // The runbooks of alerts follow.
        assert_eq!(headings[..codes.len()], codes);
    }

    #[test]
    fn durations_are_rounded_for_people() {
        let of = |s| words(Duration::from_secs(s));
        assert_eq!([of(5), of(245), of(3 * 3600), of(4 * 86_400)], ["5 s", "4 min", "3 h", "4 days"]);
        assert_eq!((count(1, "worker"), count(2, "worker")), ("1 worker".to_owned(), "2 workers".to_owned()));
    }
}
