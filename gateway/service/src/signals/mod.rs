//! Signals: what happened to orders in the last six hours, in intervals of ten seconds.
//!
//! Each gateway counts the changes that it commits, exactly and with their times, and writes them to the database every ten
//! seconds: one row for each minute and gateway. A reader adds the rows of all gateways and what this gateway has not
//! written yet. So every gateway gives the same answer, at most ten seconds late, the history survives restarts, and an
//! outage of the bus changes nothing. A gateway that is killed loses the counts of up to ten seconds; the orders and their
//! events are not concerned.
//!
//! Nothing is decided by signals.

mod histogram;
mod history;
mod interval;
mod minute;
mod stats;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::{OrderEvent, Principal, Scope, Timestamp};
use gateway_store::{Error as StoreError, SignalRow, Store};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use self::history::History;
use self::minute::{KEPT_MINUTES, Minute, interval_of, place_of};
use crate::error::Error;

pub use self::histogram::{Histogram, Percentiles};
pub use self::interval::{Classes, Interval};
pub use self::stats::{
    InvalidRange, MAX_STEPS, MAX_WINDOW, MIN_WINDOW, Stats, StatsRange, Step, parse_duration,
};

/// Interval of the writes.
const SAVE_INTERVAL: Duration = Duration::from_secs(10);

/// Counts what happens. Cheap to clone.
#[derive(Clone)]
pub struct Signals(Arc<Inner>);

struct Inner {
    store: Store,
    gateway: i64,
    own: Mutex<Own>,
    history: tokio::sync::Mutex<History>,
}

/// The minutes of this gateway that are not written, or not finally.
#[derive(Default)]
struct Own {
    minutes: BTreeMap<i64, Unsaved>,
}

#[derive(Default)]
struct Unsaved {
    minute: Minute,
    is_changed: bool,
}

impl Own {
    fn at(&mut self, minute: i64) -> &mut Minute {
        let unsaved = self.minutes.entry(minute).or_default();
        unsaved.is_changed = true;
        &mut unsaved.minute
    }
}

impl Signals {
    pub(crate) fn new(store: &Store) -> Self {
        // Positive, as a signed column shows it.
        let gateway = i64::from(rand::random::<u32>()) << 16 | i64::from(std::process::id() & 0xffff);
        let history = tokio::sync::Mutex::new(History::new());
        Self(Arc::new(Inner { store: store.clone(), gateway, own: Mutex::default(), history }))
    }

    /// Returns the number of this process in rows.
    pub(crate) fn gateway(&self) -> i64 {
        self.0.gateway
    }

    /// Records changes that were committed, each with the wait of a start, or the time of an attempt that has ended.
    pub(crate) fn record<'e>(
        &self,
        events: impl ExactSizeIterator<Item = (&'e OrderEvent, Option<Duration>)>,
    ) {
        if events.len() == 0 {
            return;
        }
        let (minute, place) = place_of(interval_of(self.0.store.now()));
        let mut own = self.own();
        let current = own.at(minute);
        for (event, elapsed) in events {
            current.record(place, event, elapsed);
        }
    }

    /// Records the number of orders that can be started.
    pub(crate) fn record_ready(&self, ready: u32) {
        let (minute, place) = place_of(interval_of(self.0.store.now()));
        let mut own = self.own();
        // An idle gateway writes nothing.
        if ready > 0 || own.minutes.contains_key(&minute) {
            own.at(minute).record_ready(place, ready);
        }
    }

    /// Returns what happened to the orders of the caller.
    ///
    /// # Errors
    /// [`Error::Forbidden`] without `orders:read`.
    pub async fn stats(&self, principal: &Principal, range: StatsRange) -> Result<Stats, Error> {
        principal.require(Scope::OrdersRead)?;
        let now = self.0.store.now();
        let mut history = self.0.history.lock().await;
        let is_known = history.refresh(&self.0.store, self.0.gateway, now).await;
        let (first, count) = range.steps(now);
        let at = |second: i64| Timestamp::from_micros(second * 1_000_000);
        let step_s = i64::try_from(range.step_s()).unwrap_or(i64::MAX);
        let mut steps: Vec<Step> = (0..count)
            .map(|n| Step {
                at: at(first + i64::try_from(n).unwrap_or(0) * step_s),
                is_complete: is_known,
                interval: Interval::default(),
                ready: None,
            })
            .collect();
        let own = self.own();
        let own = own.minutes.iter().map(|(minute, unsaved)| (*minute, &unsaved.minute));
        for (minute, content) in history.minutes().chain(own) {
            for place in 0..6 {
                let second = (minute * 6 + place) * minute::INTERVAL_S;
                let Ok(n) = usize::try_from((second - first).div_euclid(step_s)) else { continue };
                let Some(step) = steps.get_mut(n) else { continue };
                let place = usize::try_from(place).unwrap_or_default();
                content.add_to(&mut step.interval, place, principal);
                step.is_complete &= principal.all_tenants || !content.may_hide(&principal.tenant);
                if principal.all_tenants {
                    // Every gateway measures the same orders.
                    step.ready = content.ready(place).or(step.ready);
                }
            }
        }
        let mut total = Step { at: at(first), is_complete: true, interval: Interval::default(), ready: None };
        for step in &steps {
            total.interval.merge(&step.interval);
            total.is_complete &= step.is_complete;
            total.ready = step.ready.or(total.ready);
        }
        Ok(Stats { from: at(first), to: now, step_s: range.step_s(), total, steps })
    }

    /// Writes the signals until `stop`, and then once more.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut times = interval(SAVE_INTERVAL);
        times.set_missed_tick_behavior(MissedTickBehavior::Delay);
        times.tick().await;
        while stop.run_until_cancelled(times.tick()).await.is_some() {
            if let Err(error) = self.save().await {
                tracing::debug!(%error, "failed to write the signals, they are written later");
            }
        }
        if let Err(error) = self.save().await {
            tracing::debug!(%error, "failed to write the last signals");
        }
    }

    async fn save(&self) -> Result<(), StoreError> {
        let now = self.0.store.now();
        let (current, _) = place_of(interval_of(now));
        let changed: Vec<(i64, String)> = {
            let mut own = self.own();
            // Of a database that was away for long.
            own.minutes.retain(|minute, _| *minute > current - KEPT_MINUTES);
            let changed = own.minutes.iter_mut().filter(|(_, unsaved)| unsaved.is_changed);
            changed
                .map(|(minute, unsaved)| {
                    unsaved.is_changed = false;
                    (*minute, serde_json::to_string(&unsaved.minute).unwrap_or_default())
                })
                .collect()
        };
        let mut result = Ok(());
        for (minute, payload) in changed {
            let row = SignalRow { minute, gateway: self.0.gateway, changed_at: now, payload };
            if result.is_ok() {
                result = self.0.store.save_signals(&row, current - KEPT_MINUTES).await;
            }
            if result.is_err() {
                if let Some(unsaved) = self.own().minutes.get_mut(&minute) {
                    unsaved.is_changed = true;
                }
            } else if minute < current {
                // Only the history has it from now on.
                let mut history = self.0.history.lock().await;
                if let Some(unsaved) = self.own().minutes.remove(&minute) {
                    history.insert(minute, self.0.gateway, unsaved.minute);
                }
            }
        }
        result
    }

    fn own(&self) -> MutexGuard<'_, Own> {
        self.0.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
