use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::{Attempt, OrderHandler, Outcome};

/// Does nothing, and takes its time for it. For trying the system out and for measuring it.
#[derive(Clone, Debug)]
pub struct Simulate {
    /// The shortest time an attempt takes.
    pub min: Duration,
    /// The longest time; drawn evenly. `min` counts when this is less. With both zero there is no
    /// wait at all, not even a timer.
    pub max: Duration,
    /// The share of attempts that fail and may be repeated: 0 for none, 1 for all.
    pub failure_rate: f64,
}

impl Default for Simulate {
    fn default() -> Self {
        Self { min: Duration::from_millis(500), max: Duration::from_secs(2), failure_rate: 0.0 }
    }
}

#[async_trait]
impl OrderHandler for Simulate {
    async fn handle(&self, _attempt: Attempt, cancelled: CancellationToken) -> Outcome {
        let span = self.max.saturating_sub(self.min);
        let wait = self.min + span.mul_f64(rand::random());
        if !wait.is_zero() && cancelled.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
            return Outcome::retry("stopped");
        }
        if rand::random::<f64>() < self.failure_rate {
            return Outcome::retry("simulated failure").with_class("simulated");
        }
        Outcome::Completed
    }
}
