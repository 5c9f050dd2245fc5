//! The ids that the log lines of a task state beside their own fields.
//!
//! The fields of a span of `tracing` are formatted when the span begins, which costs 2 to 3 µs for each attempt of an order,
//! although most attempts log nothing. These ids are formatted when a line is written.

use std::future::Future;
use std::sync::Arc;

use domain::{OrderId, TraceContext};

tokio::task_local! {
    static IDS: LogIds;
}

/// What the log lines of an attempt state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogIds {
    /// The order.
    pub order_id: OrderId,
    /// The number of the attempt.
    pub attempt: u32,
    /// The worker.
    pub worker: Arc<str>,
    /// The trace of the order, if it is recorded.
    pub trace: Option<TraceContext>,
}

impl LogIds {
    /// Runs a future whose log lines state the ids.
    pub fn scope<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        IDS.scope(self, future)
    }

    /// Returns the ids of the task that runs.
    pub fn current() -> Option<Self> {
        IDS.try_with(Self::clone).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ids_belong_to_their_task() {
        let order_id: OrderId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let ids = LogIds { order_id, attempt: 2, worker: "packer-1".into(), trace: None };
        let seen = ids.clone().scope(async {
            tokio::task::yield_now().await;
            LogIds::current()
        });
        assert_eq!(seen.await, Some(ids));
        assert_eq!(LogIds::current(), None);
    }
}
