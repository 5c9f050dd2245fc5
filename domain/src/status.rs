//! The statuses of an order, and the possible changes between them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The status of an order. Every API, table and log uses the same words.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Accepted; waits for a worker, a retry or its schedule.
    Pending,
    /// A worker holds a lease and runs an attempt.
    Processing,
    /// Completed. Final.
    Completed,
    /// A dead letter: its attempts are used up, or it failed permanently. Final until it is redriven.
    Failed,
    /// Cancelled before its completion. Final.
    Cancelled,
}

/// The string is not a status.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("is not a status: expected pending, processing, completed, failed or cancelled")]
pub struct InvalidStatus;

/// All status changes. A change that is not listed is impossible.
pub const TRANSITIONS: &[(Status, Status)] = &[
    (Status::Pending, Status::Processing),   // started
    (Status::Pending, Status::Cancelled),    // cancelled before it was started
    (Status::Pending, Status::Failed),       // marked as failed by an operator, because it cannot be read
    (Status::Processing, Status::Completed), // finished
    (Status::Processing, Status::Pending),   // to be retried, or released by its worker
    (Status::Processing, Status::Failed),    // attempts used up, or failed permanently
    (Status::Processing, Status::Cancelled), // cancelled while it was processed
    (Status::Failed, Status::Pending),       // redriven
];

impl Status {
    /// All statuses, in the order of the lifecycle.
    pub const ALL: [Self; 5] =
        [Self::Pending, Self::Processing, Self::Completed, Self::Failed, Self::Cancelled];

    /// Returns the lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns whether the order changes only on a client's request.
    pub fn is_final(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Cancelled => true,
            Self::Pending | Self::Processing => false,
        }
    }

    /// Returns whether the change from `self` to `next` is in [`TRANSITIONS`].
    pub fn can_become(self, next: Self) -> bool {
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

    fn from_str(string: &str) -> Result<Self, InvalidStatus> {
        Self::ALL.into_iter().find(|status| status.as_str() == string).ok_or(InvalidStatus)
    }
}
