//! The state of the database, the queue and the workers, as requests and background tasks report it.
//!
//! Readiness and metrics read it. A successful read says nothing about writes: a database that is read-only or full
//! responds to every query. Creates, transitions and pushes therefore record their outcome here. [`HealthMonitor::run`]
//! makes a test write when there was no write for a while or the last one failed. An error is reported once a test
//! write has confirmed it, because a single row can fail for its own reasons.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use broker::{Queue, Registrations};
use domain::{ErrorCode, Kind, WorkerName};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::claims::Claims;
use crate::error::Error;
use crate::failed_order_log::FailedOrderLog;
use crate::feed::Feed;
use crate::signals::Signals;
use crate::sweeper::Sweeper;
use gateway_store::Store;
use gateway_store::{Probe, SweeperMeasurement};

/// Interval of the updates of the state.
const ROUND: Duration = Duration::from_secs(2);
/// Time after a successful write for which no test write is made.
const FRESH: Duration = Duration::from_secs(3);
/// Time for which a failed push counts.
const PUSH_FRESH: Duration = Duration::from_secs(30);
/// Time after a start for which a worker without a stream counts.
const STARTED_FRESH: Duration = Duration::from_secs(60);
/// Time for which a full database counts as full, unless an order is written.
///
/// A small write can still succeed in a full database.
const FULL_FOR: Duration = Duration::from_secs(10);
/// The error of an embedded database without its file.
const FILE_LOST: &str =
    "the file of the database was removed or replaced; nothing is accepted until a restart";
/// The wait of the oldest order of a kind after which the kind counts as unserved, unless one of its orders is processed.
const UNSERVED_AFTER: Duration = Duration::from_secs(60);
/// Reciprocal of the maximum share of time that measuring the queue uses.
const MEASURE_PARTS: u32 = 20;
/// Maximum interval of the measurements; it has priority over the share.
const MEASURE_AT_LEAST: Duration = Duration::from_secs(30);
/// Age of a measurement of the sweeper after which a gateway measures for itself.
const MEASUREMENT_FRESH: Duration = Duration::from_secs(2 * MEASURE_AT_LEAST.as_secs());

/// The state of the database, the queue and the workers. Cheap to clone.
#[derive(Clone)]
pub struct HealthMonitor(Arc<Inner>);

struct Inner {
    store: Store,
    queue: Arc<dyn Queue>,
    feed: Feed,
    begun: Instant,
    /// Times of the last written order and the last successful write, in milliseconds since `begun`.
    ///
    /// Test writes count as writes, but not as written orders.
    written: AtomicU64,
    answered: AtomicU64,
    /// A write has failed since the last successful one.
    doubtful: AtomicBool,
    refused: Mutex<Option<WriteRefusal>>,
    /// Time and error of the last push, if it failed.
    pushes: Mutex<Option<(Instant, String)>>,
    /// The users of the queue; `None` if unknown.
    presence: Mutex<Option<Registrations>>,
    streams: AtomicUsize,
    look: Notify,
    failed: FailedOrderLog,
    signals: Signals,
    claims: Claims,
    sweeper: Sweeper,
    /// The workers of this gateway that are registered at the queue.
    registered: Mutex<BTreeSet<WorkerName>>,
    measured: Mutex<Measured>,
}

/// What was measured last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// The number of orders that can be started.
    pub ready: Option<u32>,
    /// The age of the oldest of them.
    pub oldest: Option<Duration>,
    /// The kinds whose orders wait while none of the kind is processed, each with the age of its oldest order.
    pub unserved: Vec<(Kind, Duration)>,
    /// The number of parked orders.
    #[serde(default)]
    pub parked: u64,
}

impl Measured {
    fn to_json(&self) -> String {
        // Numbers and words cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what was measured `age` ago: orders that waited then wait still, or the next measurement shows it.
    fn from_json(text: &str, age: Duration) -> Option<Self> {
        let mut measured: Self = serde_json::from_str(text).ok()?;
        measured.oldest = measured.oldest.map(|oldest| oldest.saturating_add(age));
        for (_, waited) in &mut measured.unserved {
            *waited = waited.saturating_add(age);
        }
        Some(measured)
    }
}

/// The reason why the database rejects writes.
#[derive(Debug, Clone, Copy)]
pub struct WriteRefusal {
    code: ErrorCode,
    /// The message for people.
    pub message: &'static str,
    at: Instant,
}

impl HealthMonitor {
    pub(crate) fn new(
        store: &Store,
        queue: &Arc<dyn Queue>,
        feed: &Feed,
        signals: &Signals,
        claims: &Claims,
        sweeper: &Sweeper,
    ) -> Self {
        // The gauges exist from the start, so that an alert on 0 fires.
        metrics::gauge!("orders_worker_streams").increment(0.0);
        metrics::gauge!("orders_workers").increment(0.0);
        metrics::gauge!("orders_queue_oldest_ready_age_seconds").increment(0.0);
        metrics::gauge!("orders_ready").increment(0.0);
        Self(Arc::new(Inner {
            store: store.clone(),
            queue: queue.clone(),
            feed: feed.clone(),
            begun: Instant::now(),
            written: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            doubtful: AtomicBool::new(false),
            refused: Mutex::default(),
            pushes: Mutex::default(),
            presence: Mutex::default(),
            streams: AtomicUsize::new(0),
            look: Notify::new(),
            failed: FailedOrderLog::default(),
            signals: signals.clone(),
            claims: claims.clone(),
            sweeper: sweeper.clone(),
            registered: Mutex::default(),
            measured: Mutex::default(),
        }))
    }

    /// Records the outcome of writes: `Ok` when at least one order was written.
    pub(crate) fn record_write(&self, outcome: Result<(), &Error>) {
        match outcome {
            Ok(()) => {
                let now = self.now();
                self.0.written.store(now, Ordering::Relaxed);
                self.0.answered.store(now, Ordering::Relaxed);
                if self.0.doubtful.load(Ordering::Relaxed) {
                    self.accepted();
                }
            }
            Err(error) => {
                if let Some(refused) = to_write_refusal(error) {
                    self.0.doubtful.store(true, Ordering::Relaxed);
                    // Space is freed slowly, and a small test write may still succeed.
                    if refused.code == ErrorCode::DatabaseFull {
                        *lock(&self.0.refused) = Some(refused);
                    }
                    self.0.look.notify_one();
                }
            }
        }
    }

    fn accepted(&self) {
        self.0.doubtful.store(false, Ordering::Relaxed);
        if lock(&self.0.refused).take().is_some() {
            tracing::info!("the database accepts writes again");
        }
    }

    /// Records the outcome of a push to the queue.
    pub(crate) fn record_push<T>(&self, outcome: &Result<T, broker::Error>) {
        let mut pushes = lock(&self.0.pushes);
        match outcome {
            Ok(_) => *pushes = None,
            Err(error) => *pushes = Some((Instant::now(), error.to_string())),
        }
    }

    /// Counts a worker's stream for as long as the guard lives.
    pub fn track_worker_stream(&self) -> WorkerStreamGuard {
        self.0.streams.fetch_add(1, Ordering::Relaxed);
        metrics::gauge!("orders_worker_streams").increment(1.0);
        WorkerStreamGuard(self.clone())
    }

    /// Returns the log of failed orders.
    pub(crate) fn failed_orders(&self) -> &FailedOrderLog {
        &self.0.failed
    }

    /// Returns the reason why the database rejects writes, if it does.
    pub fn write_refusal(&self) -> Option<WriteRefusal> {
        if self.0.store.has_lost_its_file() {
            return Some(WriteRefusal {
                code: ErrorCode::DatabaseUnavailable,
                message: FILE_LOST,
                at: Instant::now(),
            });
        }
        *lock(&self.0.refused)
    }

    /// Returns the error of the last push, if it failed recently.
    ///
    /// The orders of a failed push, if any are left, are pushed again within seconds.
    pub fn push_failure(&self) -> Option<String> {
        let failed = lock(&self.0.pushes).clone();
        failed.filter(|(at, _)| at.elapsed() < PUSH_FRESH).map(|(_, error)| error)
    }

    /// Returns the number of known workers; `None` if the queue is unavailable and none is known.
    ///
    /// Workers are processors that pull from the queue or have a stream to this gateway. The number is at least 1 while
    /// other workers start orders.
    pub fn workers(&self) -> Option<u64> {
        let streams = self.0.streams.load(Ordering::Relaxed) as u64;
        let others = u64::from(self.0.feed.has_started_within(STARTED_FRESH));
        let here = streams.max(others);
        match *lock(&self.0.presence) {
            Some(presence) => Some(presence.workers.max(here)),
            None => (here > 0).then_some(here),
        }
    }

    /// Returns what was measured last.
    pub fn measured(&self) -> Measured {
        lock(&self.0.measured).clone()
    }

    /// Returns the number of installations that push to the queue.
    ///
    /// More than one is a configuration error.
    pub fn installations(&self) -> u64 {
        lock(&self.0.presence).map_or(1, |presence| presence.installations)
    }

    /// Returns whether no write has succeeded for this time.
    ///
    /// An overloaded gateway still writes; one whose database hangs does not.
    pub fn is_stalled(&self, time: Duration) -> bool {
        !self.is_fresh(&self.0.answered, time)
    }

    /// Updates the state until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut measure_at = Instant::now();
        loop {
            let look = self.0.look.notified();
            self.0.failed.flush();
            let round = async {
                self.count_connections();
                self.try_write().await;
                self.meet_others().await;
                let paused = self.0.store.paused().await;
                if let Ok(pause) = paused {
                    metrics::gauge!("orders_queue_paused").set(if pause.is_some() { 1.0 } else { 0.0 });
                }
                if Instant::now() >= measure_at {
                    measure_at = Instant::now() + self.measure().await;
                }
            };
            tokio::select! {
                () = round => {}
                () = stop.cancelled() => return,
            }
            tokio::select! {
                () = look => {}
                () = tokio::time::sleep(ROUND) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn try_write(&self) {
        let doubtful = self.0.doubtful.load(Ordering::Relaxed);
        if !doubtful && self.is_fresh(&self.0.written, FRESH) {
            return;
        }
        let probe = if doubtful { Probe::Commit } else { Probe::RollBack };
        match self.0.store.probe(probe).await {
            Ok(()) => {
                self.0.answered.store(self.now(), Ordering::Relaxed);
                let full = |refused: WriteRefusal| {
                    refused.code == ErrorCode::DatabaseFull && refused.at.elapsed() < FULL_FOR
                };
                if !self.write_refusal().is_some_and(full) {
                    self.accepted();
                }
            }
            Err(error) => {
                let error = crate::error::Error::from(error);
                let Some(refused) = to_write_refusal(&error) else { return };
                self.0.doubtful.store(true, Ordering::Relaxed);
                if lock(&self.0.refused).replace(refused).is_none() {
                    tracing::warn!(code = %refused.code, "the database refuses writes: {}", refused.message);
                }
            }
        }
    }

    /// Registers the workers that wait for jobs of this gateway, so that every gateway counts them.
    async fn register_workers(&self) {
        let present = self.0.claims.workers();
        let before = std::mem::replace(&mut *lock(&self.0.registered), present.clone());
        // A failure is ignored: the registrations are for display only, and the next ones follow soon.
        for worker in &present {
            let _ = self.0.queue.register_worker(worker.as_str()).await;
        }
        for worker in before.difference(&present) {
            let _ = self.0.queue.deregister_worker(worker.as_str()).await;
        }
    }

    async fn meet_others(&self) {
        self.register_workers().await;
        let Ok(installation) = self.0.store.installation().await else { return };
        let presence = self.0.queue.register_installation(&installation.id).await.ok();
        let before = std::mem::replace(&mut *lock(&self.0.presence), presence);
        if let Some(workers) = self.workers() {
            metrics::gauge!("orders_workers").set(workers as f64);
        }
        let Some(presence) = presence else { return };
        metrics::gauge!("orders_queue_installations").set(presence.installations as f64);
        if presence.installations > 1 && before.is_none_or(|before| before.installations < 2) {
            tracing::error!(
                installations = presence.installations,
                "gateways with different databases use the same Redis prefix, so their workers take each other's jobs and \
                 orders wait: give each installation a prefix with --redis-prefix (ORDERS_REDIS_PREFIX)"
            );
        }
    }

    fn count_connections(&self) {
        for (pool, open, idle) in self.0.store.connections() {
            for (state, count) in [("idle", idle), ("used", open.saturating_sub(idle))] {
                metrics::gauge!("orders_database_connections", "pool" => pool, "state" => state)
                    .set(count as f64);
            }
        }
    }

    /// Measures the queue, or reads what the sweeper has measured. Returns the pause before the next measurement.
    async fn measure(&self) -> Duration {
        if !self.0.sweeper.is_held()
            && let Some(measured) = self.measured_by_sweeper().await
        {
            self.show(measured);
            return ROUND;
        }
        let begin = Instant::now();
        let mut measured = self.measured();
        if let Ok(oldest) = self.0.store.oldest_claimable().await {
            measured.oldest = oldest;
        }
        if let Ok(unserved) = self.0.store.unserved_kinds(UNSERVED_AFTER).await {
            measured.unserved = unserved;
        }
        if let Ok(ready) = self.0.store.ready().await {
            measured.ready = Some(ready);
        }
        if let Ok(parked) = self.0.store.parked().await {
            measured.parked = parked;
        }
        if self.0.sweeper.is_held() {
            let saved = SweeperMeasurement { at: self.0.store.now(), payload: measured.to_json() };
            if let Err(error) = self.0.store.save_measurement(self.0.sweeper.gateway(), &saved).await {
                tracing::debug!(%error, "failed to save the measurement of the queue, retrying later");
            }
        }
        self.show(measured);
        (begin.elapsed() * MEASURE_PARTS).clamp(ROUND, MEASURE_AT_LEAST)
    }

    async fn measured_by_sweeper(&self) -> Option<Measured> {
        let saved = self.0.store.measurement().await.ok()??;
        let age = self.0.store.now().since(saved.at);
        (age < MEASUREMENT_FRESH).then(|| Measured::from_json(&saved.payload, age))?
    }

    fn show(&self, measured: Measured) {
        metrics::gauge!("orders_queue_oldest_ready_age_seconds")
            .set(measured.oldest.unwrap_or_default().as_secs_f64());
        metrics::gauge!("orders_unserved_kinds").set(measured.unserved.len() as f64);
        metrics::gauge!("orders_parked").set(measured.parked as f64);
        if let Some(ready) = measured.ready {
            self.0.signals.record_ready(ready);
            metrics::gauge!("orders_ready").set(f64::from(ready));
        }
        *lock(&self.0.measured) = measured;
    }

    /// Returns the milliseconds since `begun`.
    fn now(&self) -> u64 {
        u64::try_from(self.0.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn is_fresh(&self, stamp: &AtomicU64, time: Duration) -> bool {
        u128::from(self.now().saturating_sub(stamp.load(Ordering::Relaxed))) <= time.as_millis()
    }
}

/// A worker's stream, counted until it is dropped.
pub struct WorkerStreamGuard(HealthMonitor);

impl Drop for WorkerStreamGuard {
    fn drop(&mut self) {
        self.0.0.streams.fetch_sub(1, Ordering::Relaxed);
        metrics::gauge!("orders_worker_streams").decrement(1.0);
    }
}

/// Extracts the reason why the database as a whole rejects writes.
fn to_write_refusal(error: &Error) -> Option<WriteRefusal> {
    match error {
        Error::Unavailable { code, message, .. } if is_database_failure(*code) => {
            Some(WriteRefusal { code: *code, message, at: Instant::now() })
        }
        _ => None,
    }
}

/// Returns whether the code means that the database as a whole rejects writes.
///
/// `DatabasePoolExhausted` does not: this gateway uses all of its connections.
fn is_database_failure(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::DatabaseUnavailable
            | ErrorCode::DatabaseConnectionLimit
            | ErrorCode::DatabaseReadOnly
            | ErrorCode::DatabaseFull
            | ErrorCode::DatabaseAccessDenied
            | ErrorCode::DatabaseStatementLimit
            | ErrorCode::DatabaseStatementTimeout
            | ErrorCode::DatabasePacketLimit
            | ErrorCode::DatabaseMisconfigured
    )
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    #[test]
    fn a_measurement_is_read_with_its_age() {
        let kind = || Kind::from_str("repair").unwrap();
        let second = Duration::from_secs(1);
        let measured = Measured {
            ready: Some(3),
            oldest: Some(second),
            unserved: vec![(kind(), 60 * second)],
            parked: 2,
        };
        let unserved = vec![(kind(), 64 * second)];
        let expected = Measured { oldest: Some(5 * second), unserved, ..measured.clone() };
        assert_eq!(Measured::from_json(&measured.to_json(), 4 * second), Some(expected));
        let empty = Measured::default();
        assert_eq!(Measured::from_json(&empty.to_json(), second), Some(empty));
        assert_eq!(Measured::from_json("{}", second), None);
    }

    #[test]
    fn every_database_code_but_the_exhausted_pool_is_a_failure() {
        for code in ErrorCode::ALL {
            let expected =
                code.as_str().starts_with("database_") && *code != ErrorCode::DatabasePoolExhausted;
            assert_eq!(is_database_failure(*code), expected, "{code}");
        }
    }
}
