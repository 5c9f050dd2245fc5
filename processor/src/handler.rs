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
use domain::{LeaseToken, Order, Outcome, TraceContext};
use tokio_util::sync::CancellationToken;

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
#[derive(Clone, Debug, PartialEq, Eq)]
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
}

impl Attempt {
    /// Returns the number of this attempt, from 1.
    pub fn number(&self) -> u32 {
        self.order.attempt
    }

    /// Returns a string that is the same for all attempts of the order, and unique to it: its id.
    pub fn idempotency_key(&self) -> String {
        self.order.id.to_string()
    }
}
