//! Pauses between the attempts to reach a server, and their log lines.

use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// Minimum interval between two log lines.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Pauses that double, and log lines at a limited rate.
pub(super) struct ReconnectPause {
    pause: Duration,
    logged: Option<Instant>,
}

impl Default for ReconnectPause {
    fn default() -> Self {
        Self { pause: FIRST_PAUSE, logged: None }
    }
}

impl ReconnectPause {
    /// Calls `log` unless it was called within the last second.
    pub(super) fn log_throttled(&mut self, log: impl FnOnce()) {
        if self.logged.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
            self.logged = Some(Instant::now());
            log();
        }
    }

    pub(super) async fn wait(&mut self) {
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(MAX_PAUSE);
    }
}
