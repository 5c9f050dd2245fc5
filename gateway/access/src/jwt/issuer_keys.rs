//! The present keys of an issuer.
//!
//! One task reads them: at intervals, on request of the operator, and when a token has an unknown key. The last reason is
//! available to every client, so it leads to one read in [`COOL_DOWN`]. A failed read changes nothing, and keys that
//! cannot be read again are used for [`MAX_AGE`].

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{counter, gauge};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::algorithm::Algorithm;
use super::key_set::{KeySet, PublicKey};
use super::key_source::{KeySource, LoadError, REQUEST_TIMEOUT};

/// Minimum time between two reads that tokens with unknown keys cause, and after a failed read.
pub(crate) const COOL_DOWN: Duration = Duration::from_secs(30);
/// Time for which keys are used that cannot be read again.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// Timeout of a read: the metadata and the keys.
const LOAD_TIMEOUT: Duration = Duration::from_secs(2 * REQUEST_TIMEOUT.as_secs());

/// The reason for which there is no key for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoKey {
    /// The issuer has no such key.
    Unknown,
    /// The keys of the issuer could not be read.
    Unavailable,
}

/// The keys of an issuer, and the task that reads them.
pub(super) struct IssuerKeys {
    source: Box<dyn KeySource>,
    algorithms: Vec<Algorithm>,
    state: watch::Sender<State>,
    wanted: Notify,
}

#[derive(Default)]
struct State {
    keys: Arc<KeySet>,
    /// The last successful read.
    loaded_at: Option<Instant>,
    /// The start of the last read.
    started_at: Option<Instant>,
    is_reading: bool,
    /// Whether the last read failed.
    has_failed: bool,
}

impl IssuerKeys {
    pub(super) fn new(source: Box<dyn KeySource>, algorithms: Vec<Algorithm>) -> Self {
        for outcome in ["success", "failure"] {
            counter!("orders_jwks_reads_total", "outcome" => outcome).absolute(0);
        }
        gauge!("orders_jwks_loaded_timestamp_seconds").set(0.0);
        Self { source, algorithms, state: watch::Sender::new(State::default()), wanted: Notify::new() }
    }

    /// Returns the key of a token. An unknown one may be new, so the keys are read again unless they were just read.
    ///
    /// # Errors
    /// [`NoKey`].
    pub(super) async fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<PublicKey, NoKey> {
        let mut changes = self.state.subscribe();
        let known = self.known(id, algorithm);
        let started_at = {
            let state = self.state.borrow();
            if known.is_ok() || (!state.is_reading && !state.may_start()) {
                return known;
            }
            state.started_at.filter(|_| !state.is_reading)
        };
        self.wanted.notify_one();
        let read = changes.wait_for(|state| {
            !state.is_reading && state.started_at.is_some() && state.started_at != started_at
        });
        // Without the task, at a shutdown, the wait has no other end.
        let _ = timeout(LOAD_TIMEOUT, read).await;
        self.known(id, algorithm)
    }

    fn known(&self, id: Option<&str>, algorithm: Algorithm) -> Result<PublicKey, NoKey> {
        let state = self.state.borrow();
        if state.loaded_at.is_none_or(|at| at.elapsed() >= MAX_AGE) {
            return Err(NoKey::Unavailable);
        }
        state.keys.find(id, algorithm).cloned().ok_or(NoKey::Unknown)
    }

    /// Reads the keys until `stop`. A message of `requests` has them read at once.
    pub(super) async fn run(&self, mut requests: watch::Receiver<()>, stop: &CancellationToken) {
        let mut next = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep_until(next) => {}
                () = self.wanted.notified() => if !self.state.borrow().may_start() { continue },
                () = requested(&mut requests) => {}
            }
            let Some(is_read) = stop.run_until_cancelled(self.read()).await else { return };
            next = Instant::now() + if is_read { self.source.interval() } else { COOL_DOWN };
        }
    }

    /// Reads the keys. Returns whether they could be read.
    async fn read(&self) -> bool {
        self.state.send_modify(|state| {
            state.started_at = Some(Instant::now());
            state.is_reading = true;
        });
        let read = timeout(LOAD_TIMEOUT, self.source.load()).await;
        let read = read.unwrap_or_else(|_| Err(LoadError("the issuer does not respond in time".to_owned())));
        let read = read.and_then(|document| {
            KeySet::parse(&document, &self.algorithms).map_err(|error| LoadError(error.to_string()))
        });
        let is_read = read.is_ok();
        self.state.send_modify(|state| state.finish(read));
        is_read
    }
}

impl State {
    /// Returns whether a token may cause a read.
    fn may_start(&self) -> bool {
        self.started_at.is_none_or(|at| at.elapsed() >= COOL_DOWN)
    }

    fn finish(&mut self, read: Result<KeySet, LoadError>) {
        self.is_reading = false;
        let had_failed = std::mem::replace(&mut self.has_failed, read.is_err());
        let outcome = match read {
            Ok(keys) => {
                let is_new = self.loaded_at.is_none() || keys != *self.keys;
                if is_new && keys.len() == 0 {
                    tracing::warn!(
                        "the token issuer has no key of an accepted algorithm, every token is refused"
                    );
                } else if is_new || had_failed {
                    tracing::info!(keys = keys.len(), "loaded the keys of the token issuer");
                }
                self.keys = Arc::new(keys);
                self.loaded_at = Some(Instant::now());
                gauge!("orders_jwks_loaded_timestamp_seconds").set(unix_seconds());
                "success"
            }
            Err(error) if had_failed => {
                tracing::debug!(%error, "failed to read the keys of the token issuer again");
                "failure"
            }
            Err(error) => {
                let keys = self.keys.len();
                tracing::warn!(%error, keys, "failed to read the keys of the token issuer, the loaded keys stay in use");
                "failure"
            }
        };
        counter!("orders_jwks_reads_total", "outcome" => outcome).increment(1);
    }
}

fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Waits for a request. Without a sender there is none.
async fn requested(requests: &mut watch::Receiver<()>) {
    if requests.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_documented() {
        limits_page::row(
            "minimum time between two reads of an issuer's keys because of tokens with an unknown key",
            &limits_page::time(COOL_DOWN),
        );
        limits_page::row(
            "time for which an issuer's keys are used that cannot be read again",
            &limits_page::time(MAX_AGE),
        );
    }
}
