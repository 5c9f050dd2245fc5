//! Pauses between the attempts to reach a server, and their log lines.

use std::time::Duration;

use domain::{Backoff, RetryPolicy};
use telemetry::LogThrottle;

const DELAYS: RetryPolicy = RetryPolicy { base: Duration::from_millis(250), cap: Duration::from_secs(5) };

/// Pauses that double, and one log line per second.
pub(super) struct ReconnectPause {
    backoff: Backoff,
    log: LogThrottle,
}

impl Default for ReconnectPause {
    fn default() -> Self {
        Self { backoff: Backoff::new(DELAYS), log: LogThrottle::default() }
    }
}

impl ReconnectPause {
    /// Calls `log` unless it was called within the last second.
    pub(super) fn log_throttled(&mut self, log: impl FnOnce()) {
        if self.log.allow().is_some() {
            log();
        }
    }

    pub(super) async fn wait(&mut self) {
        tokio::time::sleep(self.backoff.next_delay()).await;
    }
}
