//! Removes old attempts and failed messages, and reports the state of the endpoints as metrics.

use std::time::Duration;

use domain::{EndpointId, EndpointState};
use gateway_store::{Error as StoreError, LogLag};
use tokio_util::sync::CancellationToken;

use crate::Webhooks;

/// Interval of a pass.
const INTERVAL: Duration = Duration::from_secs(15);
/// Passes between two removals.
const PASSES: u32 = 4;
/// Time for which attempts are kept.
const RETAIN_ATTEMPTS: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Time for which failed messages are kept.
const RETAIN_FAILED: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Maximum number of successful attempts of an endpoint.
const MAX_SUCCESSES: u32 = 1_000;
/// Maximum number of failed attempts of an endpoint.
const MAX_FAILURES: u32 = 10_000;

impl Webhooks {
    /// Runs until `stop`.
    pub async fn keep_house(self, stop: CancellationToken) {
        for pass in 0_u32.. {
            if let Err(error) = self.observe().await {
                tracing::debug!(%error, "failed to read the state of webhook endpoints");
            }
            if pass % PASSES == PASSES - 1
                && let Err(error) = self.prune(&stop).await
            {
                tracing::debug!(%error, "failed to remove old webhook attempts, trying again later");
            }
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn observe(&self) -> Result<(), StoreError> {
        let store = &self.0.store;
        let states = store.webhook_endpoint_states().await?;
        for state in EndpointState::ALL {
            let count = states.iter().find(|(found, _)| found == state).map_or(0, |(_, count)| *count);
            metrics::gauge!("orders_webhook_endpoints", "state" => state.as_str()).set(count as f64);
        }
        let counts = store.webhook_message_counts(None).await?;
        metrics::gauge!("orders_webhook_messages", "state" => "waiting").set(counts.waiting as f64);
        metrics::gauge!("orders_webhook_messages", "state" => "failed").set(counts.failed as f64);
        let lag = match store.lowest_webhook_position().await? {
            Some(position) => store.event_log_lag(position).await?,
            None => LogLag::default(),
        };
        metrics::gauge!("orders_webhook_lag_events").set(lag.events as f64);
        metrics::gauge!("orders_webhook_lag_seconds").set(lag.age.as_secs_f64());
        Ok(())
    }

    async fn prune(&self, stop: &CancellationToken) -> Result<(), StoreError> {
        let store = &self.0.store;
        while store.prune_webhook_attempts(store.now() - RETAIN_ATTEMPTS).await? && !stop.is_cancelled() {}
        while store.prune_webhook_messages(store.now() - RETAIN_FAILED).await? && !stop.is_cancelled() {}
        for id in store.webhook_endpoint_ids().await? {
            if stop.is_cancelled() {
                return Ok(());
            }
            self.trim(id, stop).await?;
        }
        Ok(())
    }

    async fn trim(&self, id: EndpointId, stop: &CancellationToken) -> Result<(), StoreError> {
        let store = &self.0.store;
        for (succeeded, kept) in [(true, MAX_SUCCESSES), (false, MAX_FAILURES)] {
            while store.trim_webhook_attempts(id, succeeded, kept).await? && !stop.is_cancelled() {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_documented() {
        let (successes, failures) =
            (limits_page::count(MAX_SUCCESSES as usize), limits_page::count(MAX_FAILURES as usize));
        let days = |time: Duration| time.as_secs() / 86_400;
        limits_page::row(
            "attempts of a webhook endpoint that are kept: successful; failed; time",
            &format!("{successes}; {failures}; {} days", days(RETAIN_ATTEMPTS)),
        );
        limits_page::row("failed webhook messages that are kept", &format!("{} days", days(RETAIN_FAILED)));
    }
}
