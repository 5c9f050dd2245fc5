//! Which statuses there are, and which changes between them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where an order is in its life. The same words are used in every API, table and log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Accepted; waits for a worker, for a retry or for its time.
    Pending,
    /// A worker holds a lease and runs an attempt.
    Processing,
    /// Done. Final.
    Completed,
    /// Out of attempts, or failed for good: a dead letter. Final until it is redriven.
    Failed,
    /// Called off before it was done. Final.
    Cancelled,
}

/// The text is not a status.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("is not a status: expected pending, processing, completed, failed or cancelled")]
pub struct InvalidStatus;

/// Every change of status that exists. Whatever is not listed here cannot happen.
pub const TRANSITIONS: &[(Status, Status)] = &[
    (Status::Pending, Status::Processing),   // started
    (Status::Pending, Status::Cancelled),    // cancelled before it was started
    (Status::Pending, Status::Failed),       // marked as failed by an operator, because it cannot be read
    (Status::Processing, Status::Completed), // finished
    (Status::Processing, Status::Pending),   // to be retried, or given back by its worker
    (Status::Processing, Status::Failed),    // out of attempts, or failed for good
    (Status::Processing, Status::Cancelled), // cancelled while it ran
    (Status::Failed, Status::Pending),       // redriven
];

impl Status {
    /// Every status, in the order of an order's life.
    pub const ALL: [Self; 5] =
        [Self::Pending, Self::Processing, Self::Completed, Self::Failed, Self::Cancelled];

    /// The lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing happens to the order any more by itself.
    pub fn is_final(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Cancelled => true,
            Self::Pending | Self::Processing => false,
        }
    }

    /// Whether the change from `self` to `next` is in [`TRANSITIONS`].
    pub fn may_become(self, next: Self) -> bool {
        TRANSITIONS.contains(&(self, next))
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Status {
    type Err = InvalidStatus;

    fn from_str(text: &str) -> Result<Self, InvalidStatus> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or(InvalidStatus)
    }
}
