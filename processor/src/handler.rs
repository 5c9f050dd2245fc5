//! The port for the work itself: what is done with an order.
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
use domain::{LeaseToken, Order, Outcome};
use tokio_util::sync::CancellationToken;

/// What is done with an order.
///
/// One handler serves all attempts of a processor at the same time, up to
/// [`Config::concurrency`](crate::Config::concurrency).
///
/// **At least once.** An order is handled again when its processor dies, when its lease is lost
/// because no gateway could be reached for a while, and when the handler says so. What must not
/// happen twice needs a key on the other side: [`Attempt::idempotency_key`], which is the same for all attempts of the
/// order.
///
/// **Limits.** An attempt that takes longer than
/// [`Config::attempt_timeout`](crate::Config::attempt_timeout) is stopped and counts as
/// [`Outcome::Retry`]; so does a panic, which never harms other orders. A handler is stopped at its
/// next `.await`, so work that blocks its thread belongs into `tokio::task::spawn_blocking`.
#[async_trait]
pub trait OrderHandler: Send + Sync + 'static {
    /// Handles one attempt of one order and says how it went.
    ///
    /// `cancelled` fires when the result is no longer wanted: the order was cancelled, its lease is
    /// lost, the attempt's time is up, or the processor ends. A handler may ignore it. One that
    /// looks at it gets five seconds to leave things tidy (none when the processor ends); then it is
    /// dropped. Its outcome after that signal is dropped too, except a completion within the five seconds after the
    /// attempt's time was up: that is reported.
    async fn handle(&self, attempt: Attempt, cancelled: CancellationToken) -> Outcome;
}

/// One execution of one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The order as it was when the attempt started; its status is `processing`. The tenant is not
    /// known to processors and always the default one.
    pub order: Order,
    /// The lease under which the attempt runs.
    pub lease: LeaseToken,
}

impl Attempt {
    /// The number of this attempt, from 1.
    pub fn number(&self) -> u32 {
        self.order.attempt
    }

    /// A text that is the same for all attempts of the order, and for no other order: its id.
    pub fn idempotency_key(&self) -> String {
        self.order.id.to_string()
    }
}
