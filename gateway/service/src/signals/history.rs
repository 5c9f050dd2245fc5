//! The minutes that were written, of all gateways.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::Timestamp;
use gateway_store::{MAX_SIGNAL_ROWS, Store};
use tokio::time::Instant;

use super::minute::{KEPT_MINUTES, Minute, interval_of, place_of};
use super::stats::MAX_WINDOW;

/// Time for which what was read is not read again.
const FRESH: Duration = Duration::from_secs(2);
/// Rows are read again from this much before the last read: clocks differ, and a write ends after its time.
const OVERLAP: Duration = Duration::from_secs(15);
/// Maximum number of minutes of all gateways.
const MAX_MINUTES: usize = 50_000;
/// Maximum number of reads for one request.
const MAX_READS: u32 = 20;

pub(super) struct History {
    minutes: BTreeMap<(i64, i64), Minute>,
    /// Everything that was written before is read.
    complete_until: Option<Timestamp>,
    read_at: Option<Instant>,
}

impl History {
    pub(super) fn new() -> Self {
        Self { minutes: BTreeMap::new(), complete_until: None, read_at: None }
    }

    /// Returns the minutes with their numbers.
    pub(super) fn minutes(&self) -> impl Iterator<Item = (i64, &Minute)> {
        self.minutes.iter().map(|((minute, _), content)| (*minute, content))
    }

    pub(super) fn insert(&mut self, minute: i64, gateway: i64, content: Minute) {
        self.minutes.insert((minute, gateway), content);
    }

    /// Reads what other gateways have written. Returns whether that succeeded.
    pub(super) async fn refresh(&mut self, store: &Store, own: i64, now: Timestamp) -> bool {
        if self.read_at.is_some_and(|at| at.elapsed() < FRESH) {
            return true;
        }
        let started = Instant::now();
        let (current, _) = place_of(interval_of(now));
        self.minutes.retain(|(minute, _), _| *minute > current - KEPT_MINUTES);
        // After the clock was set back, the last read is a time in the future.
        let since = self.complete_until.map_or(now - MAX_WINDOW, |until| until.min(now) - OVERLAP);
        let mut since = since;
        for _ in 0..MAX_READS {
            let rows = match store.signals_since(since).await {
                Ok(rows) => rows,
                Err(error) => {
                    tracing::debug!(%error, "failed to read the signals of other gateways");
                    return false;
                }
            };
            let is_last = rows.len() < MAX_SIGNAL_ROWS as usize;
            let last = rows.last().map(|row| row.changed_at);
            for row in rows {
                if row.gateway == own || row.minute <= current - KEPT_MINUTES {
                    continue;
                }
                match serde_json::from_str(&row.payload) {
                    Ok(content) if self.minutes.len() < MAX_MINUTES => {
                        self.minutes.insert((row.minute, row.gateway), content);
                    }
                    Ok(_) => {}
                    Err(error) => {
                        tracing::debug!(%error, minute = row.minute, "a row of the signals cannot be read");
                    }
                }
            }
            if is_last {
                self.complete_until = Some(now);
                self.read_at = Some(started);
                return true;
            }
            // Rows of one time that do not fit are not reached; there are as many as gateways.
            since = last.filter(|last| *last > since).unwrap_or(since + Duration::from_micros(1));
        }
        false
    }
}
