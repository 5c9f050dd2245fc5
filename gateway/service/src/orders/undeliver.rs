//! Ends attempts whose jobs did not reach a worker.

use std::time::Duration;

use domain::transition::Command;
use domain::{Backoff, LeaseToken, OrderId, RetryPolicy};
use gateway_store::CommandOutcome;
use tokio::time::Instant;

use crate::error::Error;

/// Delays between tries to write.
const RETRY_DELAYS: RetryPolicy =
    RetryPolicy { base: Duration::from_millis(100), cap: Duration::from_secs(2) };

/// Ends attempts, which do not count. Repeats writes that the database does not decide until the leases have expired.
pub(super) async fn undeliver<F>(
    mut leases: Vec<(OrderId, LeaseToken)>,
    lease: Duration,
    write: impl Fn(Vec<(OrderId, Command)>) -> F,
) where
    F: Future<Output = Result<Vec<Result<CommandOutcome, Error>>, Error>>,
{
    let until = Instant::now() + lease;
    let mut backoff = Backoff::new(RETRY_DELAYS);
    while !leases.is_empty() {
        let commands = leases.iter().map(|(id, lease)| (*id, Command::Undeliver { lease: *lease })).collect();
        match write(commands).await {
            Ok(results) => {
                let undecided = leases.into_iter().zip(results);
                let undecided =
                    undecided.filter(|(_, result)| matches!(result, Err(Error::Unavailable { .. })));
                leases = undecided.map(|(lease, _)| lease).collect();
            }
            Err(Error::Unavailable { .. }) => {}
            Err(error) => {
                tracing::warn!(%error, "failed to end undelivered attempts, they end with their leases");
                return;
            }
        }
        let delay = backoff.next_delay();
        if leases.is_empty() || Instant::now() + delay >= until {
            return;
        }
        tokio::time::sleep(delay).await;
    }
}
