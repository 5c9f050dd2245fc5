//! The workers that are connected to the gateways, and what each did in the last minute.
//!
//! A worker states its name with its stream. Its gateway counts its attempts, and writes its row every ten seconds. Other
//! gateways read the rows: a worker whose gateway has stopped writing is lost.
//!
//! Nothing is decided by this list.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::{Outcome, Principal, Scope, Timestamp, WorkerName};
use gateway_store::{Error as StoreError, Store, WorkerOrder, WorkerRow};
use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::signals::{Histogram, Percentiles};

/// Interval of the writes, and length of an interval of the recent attempts.
const SAVE_INTERVAL: Duration = Duration::from_secs(10);
/// The number of intervals of the recent attempts.
const RECENT: usize = 6;
/// Time without a write of its gateway after which a worker counts as lost.
const LOST_AFTER: Duration = Duration::from_secs(35);
/// Time for which a worker that is not connected is listed.
pub const LISTED_FOR: Duration = Duration::from_secs(60 * 60);
/// Time after which it is removed.
const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// Maximum number of workers of a gateway that are listed.
pub const MAX_SESSIONS: usize = 2_000;
/// Maximum length of the version and the host of a worker.
const MAX_STATED: usize = 64;

/// What a worker states about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkerHello {
    /// Its version.
    pub version: String,
    /// Its host.
    pub host: String,
    /// The attempts that it runs at the same time; 0 if it does not state that.
    pub slots: u32,
    /// The kinds of orders that it takes; empty if it does not state them.
    pub kinds: Vec<String>,
}

/// The state of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerState {
    /// Its stream is open.
    Connected,
    /// Its gateway shuts down, and it connects to another one.
    Draining,
    /// It has closed its stream.
    Disconnected,
    /// Its gateway has stopped without a word about it.
    Lost,
}

impl WorkerState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Connected, Self::Draining, Self::Disconnected, Self::Lost];

    /// Returns the word in every interface.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Draining => "draining",
            Self::Disconnected => "disconnected",
            Self::Lost => "lost",
        }
    }
}

/// A worker as readers see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Worker {
    /// Its name.
    pub name: WorkerName,
    /// What it has stated.
    pub stated: WorkerHello,
    /// The number of its gateway's process.
    pub gateway: i64,
    /// Its state.
    pub state: WorkerState,
    /// The attempts that it runs.
    pub in_flight: u32,
    /// Orders that it completed in the last minute.
    pub completed: u64,
    /// Attempts that failed in the last minute.
    pub failed: u64,
    /// The times of these attempts.
    pub handling: Option<Percentiles>,
    /// The time of the connection.
    pub connected_at: Timestamp,
    /// The time at which it was seen last.
    pub last_seen_at: Timestamp,
}

/// How an attempt has ended for its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeKind {
    /// The order is completed.
    Completed,
    /// The attempt failed.
    Failed,
    /// The worker has given the order back.
    Released,
}

impl OutcomeKind {
    /// Returns the kind of an outcome.
    pub fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Completed | Outcome::CompletedWith(_) => Self::Completed,
            Outcome::Retry { .. } | Outcome::Failed { .. } => Self::Failed,
            Outcome::Released => Self::Released,
        }
    }
}

/// What a worker did in ten seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Recent {
    #[serde(rename = "c")]
    completed: u64,
    #[serde(rename = "f")]
    failed: u64,
    #[serde(rename = "h")]
    handling: Histogram,
}

/// A connected worker. It is listed as disconnected when this is dropped.
pub struct WorkerSession(Arc<Session>);

struct Session {
    tenant: Option<String>,
    name: WorkerName,
    stated: WorkerHello,
    connected_at: Timestamp,
    in_flight: AtomicU32,
    is_draining: AtomicBool,
    is_closed: AtomicBool,
    recent: Mutex<VecDeque<Recent>>,
}

/// The tenant of a worker, and its name.
type SessionKey = (Option<String>, WorkerName);

/// The workers. Cheap to clone.
#[derive(Clone)]
pub struct Workers(Arc<Inner>);

struct Inner {
    store: Store,
    gateway: i64,
    sessions: Mutex<HashMap<SessionKey, Arc<Session>>>,
}

impl WorkerSession {
    /// Returns the name of the worker.
    pub fn name(&self) -> &WorkerName {
        &self.0.name
    }

    /// Records the number of attempts that the worker runs.
    pub fn set_in_flight(&self, count: usize) {
        self.0.in_flight.store(u32::try_from(count).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Records that the worker was told to leave this gateway.
    pub fn set_draining(&self) {
        self.0.is_draining.store(true, Ordering::Relaxed);
    }

    /// Records the end of an attempt, and its time if it is known.
    pub fn record(&self, outcome: OutcomeKind, time: Option<Duration>) {
        let mut recent = lock(&self.0.recent);
        let Some(current) = recent.back_mut() else { return };
        match outcome {
            OutcomeKind::Completed => current.completed += 1,
            OutcomeKind::Failed => current.failed += 1,
            OutcomeKind::Released => return,
        }
        time.into_iter().for_each(|time| current.handling.record(time));
    }
}

impl Drop for WorkerSession {
    fn drop(&mut self) {
        self.0.is_closed.store(true, Ordering::Relaxed);
        self.0.in_flight.store(0, Ordering::Relaxed);
    }
}

impl Session {
    fn row(&self, gateway: i64, now: Timestamp) -> WorkerRow {
        let state = match (self.is_closed.load(Ordering::Relaxed), self.is_draining.load(Ordering::Relaxed)) {
            (true, _) => WorkerState::Disconnected,
            (false, true) => WorkerState::Draining,
            (false, false) => WorkerState::Connected,
        };
        WorkerRow {
            tenant: self.tenant.clone(),
            name: self.name.clone(),
            version: self.stated.version.clone(),
            host: self.stated.host.clone(),
            gateway,
            state: state.as_str().to_owned(),
            slots: self.stated.slots,
            kinds: self.stated.kinds.clone(),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            recent: serde_json::to_string(&*lock(&self.recent)).unwrap_or_default(),
            connected_at: self.connected_at,
            last_seen_at: now,
        }
    }

    /// Begins a new interval.
    fn advance(&self) {
        let mut recent = lock(&self.recent);
        recent.push_back(Recent::default());
        while recent.len() > RECENT {
            recent.pop_front();
        }
    }
}

impl Workers {
    pub(crate) fn new(store: &Store, gateway: i64) -> Self {
        Self(Arc::new(Inner { store: store.clone(), gateway, sessions: Mutex::default() }))
    }

    /// Lists a worker that has opened its stream. `None` if the gateway has too many, which are then not listed.
    pub fn connected(
        &self,
        principal: &Principal,
        name: WorkerName,
        hello: WorkerHello,
    ) -> Option<WorkerSession> {
        let cut = |stated: &str| stated.chars().filter(|c| !c.is_control()).take(MAX_STATED).collect();
        let session = Arc::new(Session {
            tenant: (!principal.all_tenants).then(|| principal.tenant.as_str().to_owned()),
            name: name.clone(),
            stated: WorkerHello { version: cut(&hello.version), host: cut(&hello.host), ..hello },
            connected_at: self.0.store.now(),
            in_flight: AtomicU32::new(0),
            is_draining: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            recent: Mutex::new(VecDeque::from([Recent::default()])),
        });
        let mut sessions = lock(&self.0.sessions);
        let key = (session.tenant.clone(), name);
        if sessions.len() >= MAX_SESSIONS && !sessions.contains_key(&key) {
            return None;
        }
        sessions.insert(key, session.clone());
        Some(WorkerSession(session))
    }

    /// Returns the workers that the caller may see: connected ones first, then those seen within the last hour, each group by
    /// name.
    ///
    /// # Errors
    /// [`Error::Forbidden`] without `metrics:read`, and [`Error::Unavailable`].
    pub async fn list(&self, principal: &Principal) -> Result<Vec<Worker>, Error> {
        principal.require(Scope::MetricsRead)?;
        let now = self.0.store.now();
        let mut rows = self.0.store.workers_since(principal, now - LISTED_FOR).await?;
        // What this gateway knows is newer than its rows.
        for session in lock(&self.0.sessions).values() {
            let is_seen = principal.all_tenants
                || session.tenant.as_deref().is_none_or(|tenant| tenant == principal.tenant.as_str());
            if is_seen {
                let row = session.row(self.0.gateway, now);
                let is_same = |other: &WorkerRow| (&other.tenant, &other.name) == (&row.tenant, &row.name);
                match rows.iter_mut().find(|other| is_same(other)) {
                    // It has connected to another gateway since.
                    Some(other) if other.gateway != row.gateway && row.state == "disconnected" => {}
                    Some(other) => *other = row,
                    None => rows.push(row),
                }
            }
        }
        let mut workers: Vec<Worker> = rows.into_iter().map(|row| worker(row, now)).collect();
        workers.sort_by(|a, b| {
            let rank = |worker: &Worker| worker.state != WorkerState::Connected;
            (rank(a), &a.name).cmp(&(rank(b), &b.name))
        });
        Ok(workers)
    }

    /// Returns a worker with the attempts that it runs; `None` if it was not seen within the last hour.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn get(
        &self,
        principal: &Principal,
        name: &str,
    ) -> Result<Option<(Worker, Vec<WorkerOrder>)>, Error> {
        let mut workers = self.list(principal).await?.into_iter();
        let Some(worker) = workers.find(|worker| worker.name.as_str() == name) else { return Ok(None) };
        let orders = self.0.store.worker_orders(principal, &worker.name).await?;
        Ok(Some((worker, orders)))
    }

    /// Writes the workers of this gateway until `stop`, and then once more.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut times = interval(SAVE_INTERVAL);
        times.set_missed_tick_behavior(MissedTickBehavior::Delay);
        times.tick().await;
        while stop.run_until_cancelled(times.tick()).await.is_some() {
            if let Err(error) = self.save().await {
                tracing::debug!(%error, "failed to write the workers, they are written later");
            }
        }
        if let Err(error) = self.save().await {
            tracing::debug!(%error, "failed to write the workers");
        }
    }

    async fn save(&self) -> Result<(), StoreError> {
        let now = self.0.store.now();
        let sessions: Vec<_> = lock(&self.0.sessions).values().cloned().collect();
        if sessions.is_empty() {
            return Ok(());
        }
        let rows: Vec<WorkerRow> = sessions.iter().map(|session| session.row(self.0.gateway, now)).collect();
        sessions.iter().for_each(|session| session.advance());
        self.0.store.save_workers(&rows, now - KEPT_FOR).await?;
        // The last row of a closed session says so.
        let closed = rows.iter().zip(&sessions).filter(|(row, _)| row.state == "disconnected");
        let mut listed = lock(&self.0.sessions);
        for (row, session) in closed {
            let key = (row.tenant.clone(), row.name.clone());
            if listed.get(&key).is_some_and(|other| Arc::ptr_eq(other, session)) {
                listed.remove(&key);
            }
        }
        Ok(())
    }
}

fn worker(row: WorkerRow, now: Timestamp) -> Worker {
    let stated = WorkerState::ALL.into_iter().find(|state| state.as_str() == row.state);
    let state = match stated.unwrap_or(WorkerState::Disconnected) {
        WorkerState::Connected | WorkerState::Draining if now.since(row.last_seen_at) > LOST_AFTER => {
            WorkerState::Lost
        }
        state => state,
    };
    let recent: VecDeque<Recent> = serde_json::from_str(&row.recent).unwrap_or_default();
    let mut handling = Histogram::default();
    recent.iter().for_each(|interval| handling.merge(&interval.handling));
    let is_current = state == WorkerState::Connected || state == WorkerState::Draining;
    let sum = |count: fn(&Recent) -> u64| if is_current { recent.iter().map(count).sum() } else { 0 };
    Worker {
        name: row.name,
        stated: WorkerHello { version: row.version, host: row.host, slots: row.slots, kinds: row.kinds },
        gateway: row.gateway,
        state,
        in_flight: if is_current { row.in_flight } else { 0 },
        completed: sum(|interval| interval.completed),
        failed: sum(|interval| interval.failed),
        handling: handling.percentiles().filter(|_| is_current),
        connected_at: row.connected_at,
        last_seen_at: row.last_seen_at,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_without_writes_of_its_gateway_is_lost() {
        let now = Timestamp::from_micros(1_700_000_000_000_000);
        let row = |state: &str, seconds| WorkerRow {
            tenant: None,
            name: WorkerName::clean("packer").unwrap(),
            version: String::new(),
            host: String::new(),
            gateway: 1,
            state: state.to_owned(),
            slots: 8,
            kinds: Vec::new(),
            in_flight: 3,
            recent: r#"[{"c":5,"f":1},{}]"#.to_owned(),
            connected_at: now,
            last_seen_at: now - Duration::from_secs(seconds),
        };
        for (state, seconds, expected) in [
            ("connected", 34, WorkerState::Connected),
            ("connected", 36, WorkerState::Lost),
            ("draining", 36, WorkerState::Lost),
            ("disconnected", 36, WorkerState::Disconnected),
            ("unknown", 1, WorkerState::Disconnected),
        ] {
            let worker = worker(row(state, seconds), now);
            assert_eq!(worker.state, expected, "{state}");
            let is_current = expected == WorkerState::Connected;
            let expected = if is_current { (3, 5, 1) } else { (0, 0, 0) };
            assert_eq!((worker.in_flight, worker.completed, worker.failed), expected, "{state}");
        }
        let unreadable = WorkerRow { recent: "{".to_owned(), ..row("connected", 1) };
        assert_eq!(worker(unreadable, now).completed, 0);
    }

    #[test]
    fn the_limits_are_documented() {
        let (sessions, hour) = (limits_page::count(MAX_SESSIONS), Duration::from_secs(3_600));
        assert_eq!(LISTED_FOR, hour);
        limits_page::row(
            "workers of a gateway that are listed; time for which a worker is listed after its end",
            &format!("{sessions}; 1 h"),
        );
        limits_page::row(
            "running orders of a worker that are listed",
            &gateway_store::MAX_WORKER_ORDERS.to_string(),
        );
    }
}
