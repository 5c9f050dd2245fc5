//! How an attempt ended: what a handler returns, a worker reports and the transition rules decide about.

use std::time::Duration;

use crate::strings;

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The order is done.
    Completed,
    /// The attempt failed and may be repeated. The gateway decides when, and whether an attempt is left.
    Retry {
        /// The cause. At most 500 characters are kept.
        reason: String,
        /// The kind of failure; see [`Outcome::with_class`].
        class: Option<String>,
        /// The wait that the other side asked for, at most 7 days. Such an attempt is postponed and does not count as a
        /// failure, up to [`MAX_POSTPONEMENTS`](crate::retry::MAX_POSTPONEMENTS) times.
        after: Option<Duration>,
    },
    /// The order failed permanently: another attempt would not help.
    Failed {
        /// The cause. At most 500 characters are kept.
        reason: String,
        /// The kind of failure; see [`Outcome::with_class`].
        class: Option<String>,
    },
    /// The worker gives the order back, because it shuts down. The attempt is not a failure. A processor does this by
    /// itself, and takes it from a handler for a [`Outcome::Retry`].
    Released,
}

impl Outcome {
    /// [`Outcome::Retry`] with the backoff of the gateway.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry { reason: reason.into(), class: None, after: None }
    }

    /// [`Outcome::Failed`].
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::Failed { reason: reason.into(), class: None }
    }

    /// The same failure with an error class: one word for programs such as `card_declined`, by which dead letters are
    /// found and redriven together. Letters, digits and `_ - . :`; at most 64 characters are kept. Without one it is
    /// `error`. An outcome that is no failure has none.
    #[must_use]
    pub fn with_class(self, class: impl Into<String>) -> Self {
        let class = Some(class.into());
        match self {
            Self::Retry { reason, after, .. } => Self::Retry { reason, class, after },
            Self::Failed { reason, .. } => Self::Failed { reason, class },
            Self::Completed | Self::Released => self,
        }
    }

    /// The same outcome with its reason truncated to what is kept, so that reports stay small.
    #[must_use]
    pub fn truncated(self) -> Self {
        let cut =
            |reason: String| strings::clean_reason(&reason).unwrap_or_else(|| "no reason given".to_owned());
        match self {
            Self::Retry { reason, class, after } => Self::Retry { reason: cut(reason), class, after },
            Self::Failed { reason, class } => Self::Failed { reason: cut(reason), class },
            Self::Completed | Self::Released => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_truncated() {
        let outcome = Outcome::failed("x".repeat(2_000)).truncated();
        assert_eq!(outcome, Outcome::failed("x".repeat(strings::MAX_REASON)));
        let outcome = Outcome::retry(" ").with_class("busy").truncated();
        assert_eq!(outcome, Outcome::retry("no reason given").with_class("busy"));
    }

    #[test]
    fn only_failures_have_a_class() {
        for outcome in [Outcome::Completed, Outcome::Released] {
            assert_eq!(outcome.clone().with_class("busy").truncated(), outcome);
        }
        let after = Some(Duration::from_secs(9));
        let postponed = Outcome::Retry { reason: "x".into(), class: None, after }.with_class("busy");
        assert_eq!(postponed, Outcome::Retry { reason: "x".into(), class: Some("busy".into()), after });
    }
}
