//! The port for the work itself: what is done with an order.
//!
//! ```
//! use processor::{Attempt, CancellationToken, OrderHandler, Verdict, async_trait};
//!
//! /// Books a shipment for each order.
//! struct Shipping;
//!
//! #[async_trait]
//! impl OrderHandler for Shipping {
//!     async fn handle(&self, attempt: Attempt, _cancelled: CancellationToken) -> Verdict {
//!         match attempt.order.customer.as_deref() {
//!             None => Verdict::failed("an order without a customer cannot be shipped"),
//!             // … book it here, with `attempt.idempotency_key()` …
//!             Some(_customer) => Verdict::Completed,
//!         }
//!     }
//! }
//! ```

use std::time::Duration;

use async_trait::async_trait;
use domain::transition::Outcome;
use domain::{LeaseToken, Order, text};
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
/// [`Verdict::Retry`]; so does a panic, which never harms other orders. A handler is stopped at its
/// next `.await`, so work that blocks its thread belongs into `tokio::task::spawn_blocking`.
#[async_trait]
pub trait OrderHandler: Send + Sync + 'static {
    /// Handles one attempt of one order and says how it went.
    ///
    /// `cancelled` fires when the result is no longer wanted: the order was cancelled, its lease is
    /// lost, the attempt's time is up, or the processor ends. A handler may ignore it. One that
    /// looks at it gets five seconds to leave things tidy (none when the processor ends); then it is
    /// dropped. What it answers after that signal is not reported.
    async fn handle(&self, attempt: Attempt, cancelled: CancellationToken) -> Verdict;
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

/// How an attempt went, in its handler's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The order is done.
    Completed,
    /// It failed and may be tried again; the gateway decides when, and whether any attempt is left.
    Retry {
        /// What went wrong. At most 500 characters are kept.
        reason: String,
        /// What kind of thing went wrong; see [`Verdict::with_class`].
        class: Option<String>,
        /// How long the other side asked to be left alone; at most 7 days. Such an attempt is postponed and does not count
        /// as a failure, up to 100 times.
        after: Option<Duration>,
    },
    /// It failed for good; trying again would not help.
    Failed {
        /// What went wrong. At most 500 characters are kept.
        reason: String,
        /// What kind of thing went wrong; see [`Verdict::with_class`].
        class: Option<String>,
    },
}

impl Verdict {
    /// [`Verdict::Retry`] with the gateway's own backoff.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry { reason: reason.into(), class: None, after: None }
    }

    /// [`Verdict::Failed`].
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::Failed { reason: reason.into(), class: None }
    }

    /// The same failure with a class: one word for machines such as `card_declined`, by which dead
    /// letters are found and redriven together. Letters, digits and `_ - . :`; at most 64 characters
    /// are kept. Without one it is `error`. A completed order has none.
    #[must_use]
    pub fn with_class(self, class: impl Into<String>) -> Self {
        let class = Some(class.into());
        match self {
            Self::Completed => Self::Completed,
            Self::Retry { reason, after, .. } => Self::Retry { reason, class, after },
            Self::Failed { reason, .. } => Self::Failed { reason, class },
        }
    }
}

/// As it is reported: reasons are cut to what is kept anyway, so that reports stay small.
impl From<Verdict> for Outcome {
    fn from(verdict: Verdict) -> Self {
        let cut = |reason: String| text::reason(&reason).unwrap_or_else(|| "no reason given".to_owned());
        match verdict {
            Verdict::Completed => Self::Completed,
            Verdict::Retry { reason, class, after } => Self::Retry { reason: cut(reason), class, after },
            Verdict::Failed { reason, class } => Self::Failed { reason: cut(reason), class },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_cut_before_they_are_sent() {
        let outcome = Outcome::from(Verdict::failed("x".repeat(2_000)));
        assert_eq!(outcome, Outcome::Failed { reason: "x".repeat(text::MAX_REASON), class: None });
        let outcome = Outcome::from(Verdict::retry(" ").with_class("busy"));
        let class = Some("busy".to_owned());
        assert_eq!(outcome, Outcome::Retry { reason: "no reason given".to_owned(), class, after: None });
    }
}
