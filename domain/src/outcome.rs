//! The outcome of an attempt: a handler returns it, a worker reports it, and the transition rules apply it.

use std::time::Duration;

use crate::json_text::JsonText;
use crate::strings;

/// The outcome of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The order is complete.
    Completed,
    /// The order is complete, with this result.
    CompletedWith(JsonText),
    /// The attempt failed and may be repeated. The gateway chooses the delay and counts the attempts.
    Retry {
        /// The cause, truncated to 500 characters.
        reason: String,
        /// The error class; see [`Outcome::with_class`].
        class: Option<String>,
        /// The delay that the called service asked for, at most 7 days. Such an attempt is postponed and does not count
        /// as a failure, up to [`MAX_POSTPONEMENTS`](crate::retry::MAX_POSTPONEMENTS) times.
        after: Option<Duration>,
    },
    /// The order failed permanently: another attempt cannot succeed.
    Failed {
        /// The cause, truncated to 500 characters.
        reason: String,
        /// The error class; see [`Outcome::with_class`].
        class: Option<String>,
    },
    /// The worker releases the order because it shuts down. The attempt does not count as a failure.
    ///
    /// A processor reports it without its handler, and treats it as [`Outcome::Retry`] if a handler returns it.
    Released,
}

impl Outcome {
    /// Creates an [`Outcome::Retry`] with the delay of the gateway.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry { reason: reason.into(), class: None, after: None }
    }

    /// Creates an [`Outcome::Failed`].
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::Failed { reason: reason.into(), class: None }
    }

    /// Sets the error class of a failure: a word such as `card_declined`, by which dead letters are selected.
    ///
    /// It has letters, digits and `_ - . :` and is truncated to 64 characters; the default is `error`. Other outcomes
    /// have no class and stay unchanged.
    #[must_use]
    pub fn with_class(self, class: impl Into<String>) -> Self {
        let class = Some(class.into());
        match self {
            Self::Retry { reason, after, .. } => Self::Retry { reason, class, after },
            Self::Failed { reason, .. } => Self::Failed { reason, class },
            Self::Completed | Self::CompletedWith(_) | Self::Released => self,
        }
    }

    /// Truncates the reason to the stored length, so that reports stay small.
    #[must_use]
    pub fn truncated(self) -> Self {
        let cut =
            |reason: String| strings::clean_reason(&reason).unwrap_or_else(|| "no reason given".to_owned());
        match self {
            Self::Retry { reason, class, after } => Self::Retry { reason: cut(reason), class, after },
            Self::Failed { reason, class } => Self::Failed { reason: cut(reason), class },
            Self::Completed | Self::CompletedWith(_) | Self::Released => self,
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
