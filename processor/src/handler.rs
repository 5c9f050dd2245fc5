//! The port for the processing of an order.
//!
//! ```
//! use processor::{Attempt, CancellationToken, OrderHandler, Outcome, async_trait};
//!
//! /// Books a shipment for each order.
//! struct Shipping;
//!
//! #[async_trait]
//! impl OrderHandler for Shipping {
//!     async fn handle(&self, attempt: Attempt, _cancelled: CancellationToken) -> Outcome {
//!         match attempt.order.customer.as_deref() {
//!             None => Outcome::failed("an order without a customer cannot be shipped"),
//!             // … book it here, with `attempt.idempotency_key()` …
//!             Some(_customer) => Outcome::Completed,
//!         }
//!     }
//! }
//! ```

use async_trait::async_trait;
use domain::{JsonText, LeaseToken, Order, Outcome, TraceContext};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::handler_reports::{CheckpointError, ReportSender};
use crate::requests::LeaseKey;

/// Processes orders.
///
/// One handler runs all concurrent attempts of a processor, up to [`Config::concurrency`](crate::Config::concurrency).
///
/// **At least once.** An order is handled again if its processor crashes, if its lease is lost because no gateway was
/// reachable, and if the handler returns [`Outcome::Retry`]. An effect that must not happen twice needs a key at the
/// called service: [`Attempt::idempotency_key`], which is the same for all attempts of the order.
///
/// **Limits.** An attempt that takes longer than [`Config::attempt_timeout`](crate::Config::attempt_timeout) is stopped
/// and counts as [`Outcome::Retry`]. So does a panic, which does not affect other orders. A handler is stopped at its next
/// `.await`, so work that blocks its thread belongs in `tokio::task::spawn_blocking`.
#[async_trait]
pub trait OrderHandler: Send + Sync + 'static {
    /// Handles one attempt of one order and returns its outcome.
    ///
    /// `cancelled` fires if the outcome is no longer needed: the order was cancelled, its lease was lost, the attempt
    /// reached its time limit, or the processor ends. A handler may ignore it. After the signal, the handler has five
    /// seconds for cleanup (none if the processor ends); then it is dropped. Its outcome after the signal is discarded,
    /// with one exception: a completion within five seconds after the time limit is reported.
    async fn handle(&self, attempt: Attempt, cancelled: CancellationToken) -> Outcome;
}

/// One execution of one order.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The order at the start of the attempt; its status is `processing`. Processors do not know the tenant, which is
    /// always the default one.
    pub order: Order,
    /// The lease token of the attempt.
    pub lease: LeaseToken,
    /// The span of the handler, if the trace of the order is recorded.
    ///
    /// Its text is the header `traceparent` for what the handler calls. With the crate `opentelemetry`, it is the current
    /// context as well.
    pub trace: Option<TraceContext>,
    /// The latest checkpoint of the order, from which this attempt continues; `None` before the first one.
    pub checkpoint: Option<JsonText>,
    pub(crate) reports: ReportSender,
}

impl Attempt {
    /// Creates an attempt that no gateway knows, for tests of handlers. Its progress is dropped and its checkpoints are
    /// refused.
    pub fn new(order: Order, lease: LeaseToken) -> Self {
        Self { order, lease, trace: None, checkpoint: None, reports: ReportSender::default() }
    }

    /// Shows subscribers how far the attempt is: a percentage, and a note of at most 200 characters.
    ///
    /// It is not stored. The gateway publishes the latest one of an order once a second, and the processor drops some if
    /// handlers report faster than the connection takes them.
    pub fn report_progress(&self, percent: Option<u8>, note: impl Into<String>) {
        self.reports.progress(self.key(), percent, note.into());
    }

    /// Stores a state from which a later attempt of the order continues, and waits until it is stored. It replaces the
    /// earlier one. Its JSON has at most 64 KiB.
    ///
    /// While no gateway is reachable it waits.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub async fn save_checkpoint(&self, state: &impl Serialize) -> Result<(), CheckpointError> {
        let json = JsonText::of(state).map_err(CheckpointError::Invalid)?;
        self.reports.checkpoint(self.key(), json).await
    }

    fn key(&self) -> LeaseKey {
        LeaseKey { order_id: self.order.id, token: self.lease }
    }

    /// Returns the number of this attempt, from 1.
    pub fn number(&self) -> u32 {
        self.order.attempt
    }

    /// Returns a string that is the same for all attempts of the order, and unique to it: its id.
    pub fn idempotency_key(&self) -> String {
        self.order.id.to_string()
    }
}
