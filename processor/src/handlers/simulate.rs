use std::time::Duration;

use async_trait::async_trait;
use domain::Outcome;
use tokio_util::sync::CancellationToken;

use crate::handler::{Attempt, OrderHandler};

/// The interval of reports of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// Waits for a random time and completes the order, for trials and measurements. Reports its progress once a second.
#[derive(Clone, Debug)]
pub struct Simulate {
    /// The minimum duration of an attempt.
    pub min: Duration,
    /// The maximum duration of an attempt, drawn evenly; `min` applies if this is less. If both are zero, the handler
    /// returns without a timer.
    pub max: Duration,
    /// The share of attempts that fail and may be repeated, from 0 to 1.
    pub failure_rate: f64,
}

impl Default for Simulate {
    fn default() -> Self {
        Self { min: Duration::from_millis(500), max: Duration::from_secs(2), failure_rate: 0.0 }
    }
}

#[async_trait]
impl OrderHandler for Simulate {
    async fn handle(&self, attempt: Attempt, cancelled: CancellationToken) -> Outcome {
        let span = self.max.saturating_sub(self.min);
        let wait = self.min + span.mul_f64(rand::random());
        let mut left = wait;
        while !left.is_zero() {
            let part = left.min(PROGRESS_INTERVAL);
            if cancelled.run_until_cancelled(tokio::time::sleep(part)).await.is_none() {
                return Outcome::retry("stopped");
            }
            left -= part;
            if !left.is_zero() {
                let done = 100.0 * (1.0 - left.as_secs_f64() / wait.as_secs_f64());
                attempt.report_progress(Some(done as u8), "simulated work");
            }
        }
        if rand::random::<f64>() < self.failure_rate {
            return Outcome::retry("simulated failure").with_class("simulated");
        }
        Outcome::Completed
    }
}
