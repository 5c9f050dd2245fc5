//! The errors of the use cases. Each API shows them in its own form.

use std::fmt;
use std::time::Duration;

use domain::transition::Refusal;
use domain::{ErrorCode, InvalidField, MAX_NOTES, MissingScope, OrderId, Status};
use gateway_store::{Error as StoreError, Outage, Unreadable};
use telemetry::Panicked;

use crate::event_log::EventCursor;
use gateway_store::MAX_EVENT_READERS;

/// An external reference that is unique for the tenant and that another order has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ReferenceTaken {
    /// The reference.
    pub reference: String,
    /// The order that has it. `None` for an earlier row of the same request.
    pub order: Option<OrderId>,
}

impl fmt::Display for ReferenceTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the external reference {:?} is taken by ", self.reference)?;
        match self.order {
            Some(order) => write!(f, "order {order}"),
            None => f.write_str("an earlier row of the request"),
        }
    }
}

/// The error of a use case. Clients may see its message; details for operators are logged at their source.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The order does not exist.
    #[error("there is no order {0}")]
    NotFound(OrderId),
    /// The caller lacks a scope.
    #[error(transparent)]
    Forbidden(#[from] MissingScope),
    /// The draft of an order has invalid fields.
    #[error("{}", join(.0))]
    Invalid(Vec<InvalidField>),
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used before, for another order; use a new key for a new order")]
    KeyReused,
    /// The external reference is unique for the tenant, and another order has it.
    #[error("{0}; a repetition of the same create needs its Idempotency-Key")]
    ReferenceTaken(ReferenceTaken),
    /// A bulk create has an invalid number of rows.
    #[error("1 to {max} orders can be created at once, there are {0}", max = crate::config::MAX_ROWS)]
    RowCount(usize),
    /// The tenant has its maximum number of orders that are not final. Nothing was changed.
    #[error(
        "the tenant may have {max} orders that are not final, and {orders} more would exceed it: send the request again \
         when some are final"
    )]
    TooManyOpen {
        /// The maximum of the tenant.
        max: u32,
        /// The orders of the request.
        orders: u32,
        /// When to retry.
        wait: Duration,
    },
    /// The status of the order does not permit the command.
    #[error("{refusal}")]
    Refused {
        /// The order.
        id: OrderId,
        /// The reason.
        refusal: Refusal,
    },
    /// The order was started, so it cannot be replaced.
    #[error("the order is {status} and was started: only orders that no worker has started can be replaced")]
    Started {
        /// The order.
        id: OrderId,
        /// Its status.
        status: Status,
    },
    /// The order has none of the expected sequences.
    #[error("the order has changed: its sequence is now {sequence}; read it and send the request again")]
    OrderChanged {
        /// The order.
        id: OrderId,
        /// Its present sequence.
        sequence: u32,
    },
    /// The order has the maximum number of notes.
    #[error("order {0} has {MAX_NOTES} notes, which is the limit")]
    NoteLimit(OrderId),
    /// The metadata of the order has none of the expected versions.
    #[error(
        "the metadata of the order has changed: its version is now {version}; read it and send the change again"
    )]
    MetadataChanged {
        /// The order.
        id: OrderId,
        /// Its present version.
        version: String,
    },
    /// A required part is unavailable or overloaded. Nothing was changed.
    #[error("{message}")]
    Unavailable {
        /// `overloaded`, `database_…`, `shutting_down`.
        code: ErrorCode,
        /// The message for clients.
        message: &'static str,
        /// When to retry.
        retry_after: Duration,
    },
    /// The outcome of the COMMIT is unknown; if it succeeded, the order has this id.
    #[error(
        "the connection to the database broke while it was recording order {0}: send the request again with the same \
         Idempotency-Key to learn the outcome, or without one look for the order first"
    )]
    OutcomeUnknown(OrderId),
    /// The event log no longer has the events after a cursor.
    #[error(
        "the event log does not have the events after this cursor: they are older than its retention, cannot be read, or the \
         database was replaced; continue after the oldest cursor, {0}"
    )]
    CursorExpired(EventCursor),
    /// The event log is off.
    #[error("the gateway has no event log: its operators have turned it off")]
    EventLogDisabled,
    /// A named reader has committed a later cursor than the given one.
    #[error(
        "the reader has already committed the later cursor {0}: another process may use the same name; set rewind to read \
         events again"
    )]
    ReaderBehind(EventCursor),
    /// The tenant has too many named readers.
    #[error("there are {MAX_EVENT_READERS} named readers, which is the limit: remove one with RemoveReader")]
    ReaderLimit,
    /// Another process has the lease of a named reader, for this long.
    #[error(
        "another process has the lease of the reader for {} ms, unless it renews it: one process at a time uses a name",
        .0.as_millis()
    )]
    ReaderLeased(Duration),
    /// The process no longer has the lease of a named reader.
    #[error(
        "this holder does not have the lease of the reader: it has ended, and another process may continue; take it with Read"
    )]
    StaleReaderLease,
    /// The stored row of the order is invalid; other orders are not affected.
    #[error("order {id} cannot be read ({detail}); its operators have to repair it")]
    Unreadable {
        /// The order.
        id: OrderId,
        /// The violated column or rule.
        detail: String,
    },
    /// The database rejects the order by a constraint or a trigger that was added to the tables.
    #[error(
        "the database refuses this order by a rule that was added to its tables; it is not stored, and the same request \
         is refused again"
    )]
    OrderRefused,
    /// A defect of the gateway. The log contains the details.
    #[error("an internal error; it has been logged")]
    Internal,
}

impl From<Panicked> for Error {
    fn from(Panicked: Panicked) -> Self {
        Self::Internal
    }
}

impl Error {
    /// Returns the code of the error, the same on every API.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound(_) => ErrorCode::OrderNotFound,
            Self::Forbidden(_) => ErrorCode::Forbidden,
            Self::Invalid(_) => ErrorCode::InvalidOrder,
            Self::KeyReused => ErrorCode::IdempotencyKeyReused,
            Self::ReferenceTaken(_) => ErrorCode::ReferenceTaken,
            Self::RowCount(_) => ErrorCode::InvalidRowCount,
            Self::TooManyOpen { .. } => ErrorCode::QuotaExceeded,
            Self::Refused { refusal, .. } => (*refusal).into(),
            Self::Started { .. } => ErrorCode::OrderStarted,
            Self::OrderChanged { .. } => ErrorCode::OrderChanged,
            Self::NoteLimit(_) => ErrorCode::NoteLimit,
            Self::MetadataChanged { .. } => ErrorCode::MetadataChanged,
            Self::Unavailable { code, .. } => *code,
            Self::OutcomeUnknown(_) => ErrorCode::OutcomeUnknown,
            Self::CursorExpired(_) => ErrorCode::CursorExpired,
            Self::EventLogDisabled => ErrorCode::EventLogDisabled,
            Self::ReaderBehind(_) => ErrorCode::ReaderBehind,
            Self::ReaderLimit => ErrorCode::ReaderLimit,
            Self::ReaderLeased(_) => ErrorCode::ReaderLeased,
            Self::StaleReaderLease => ErrorCode::StaleReaderLease,
            Self::Unreadable { .. } => ErrorCode::OrderUnreadable,
            Self::OrderRefused => ErrorCode::OrderRefused,
            Self::Internal => ErrorCode::InternalError,
        }
    }

    /// Returns the delay before a retry, for errors that can be retried.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after, .. } => Some(*retry_after),
            Self::TooManyOpen { wait, .. } | Self::ReaderLeased(wait) => Some(*wait),
            Self::OutcomeUnknown(_) => Some(Duration::from_secs(2)),
            Self::NotFound(_)
            | Self::Forbidden(_)
            | Self::Invalid(_)
            | Self::KeyReused
            | Self::ReferenceTaken(_)
            | Self::RowCount(_)
            | Self::Refused { .. }
            | Self::Started { .. }
            | Self::OrderChanged { .. }
            | Self::NoteLimit(_)
            | Self::MetadataChanged { .. }
            | Self::CursorExpired(_)
            | Self::EventLogDisabled
            | Self::ReaderBehind(_)
            | Self::ReaderLimit
            | Self::StaleReaderLease
            | Self::Unreadable { .. }
            | Self::OrderRefused
            | Self::Internal => None,
        }
    }
}

fn join(problems: &[InvalidField]) -> String {
    let messages: Vec<String> = problems.iter().map(ToString::to_string).collect();
    messages.join("; ")
}

/// Clients receive the short form. Defects are logged here with their details, because no caller knows more; the store
/// logs outages of the database, rate limited.
impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(Outage::PoolExhausted) => Self::database_pool_exhausted(),
            StoreError::Unavailable(Outage::ConnectionLimit(_)) => Self::database_connection_limit(),
            StoreError::Unavailable(Outage::ReadOnly(_)) => Self::database_read_only(),
            StoreError::Unavailable(Outage::Full(_)) => Self::database_full(),
            StoreError::Unavailable(Outage::Denied(_)) => Self::database_access_denied(),
            StoreError::Unavailable(Outage::StatementLimit(_)) => Self::database_statement_limit(),
            StoreError::Unavailable(Outage::StatementTime(_)) => Self::database_statement_timeout(),
            StoreError::Unavailable(Outage::PacketLimit(_)) => Self::database_packet_limit(),
            StoreError::Unavailable(Outage::Misconfigured(_)) => Self::database_misconfigured(),
            StoreError::Unavailable(Outage::Away(_))
            | StoreError::Conflict(_)
            | StoreError::Locked(_)
            | StoreError::TimedOut
            | StoreError::CommitUnknown => Self::database_unavailable(),
            StoreError::TooMuchToRead => Self::query_timeout(),
            StoreError::TooManySearches => Self::too_many_searches(),
            StoreError::Outdated | StoreError::Defect(_) | StoreError::Row(_) | StoreError::TooLarge(_) => {
                tracing::error!(%error, "database error");
                Self::Internal
            }
        }
    }
}

impl From<Unreadable> for Error {
    fn from(Unreadable { order_id, detail, .. }: Unreadable) -> Self {
        Self::Unreadable { id: order_id, detail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_scan_is_a_query_timeout() {
        assert_eq!(Error::from(StoreError::TooMuchToRead).code(), ErrorCode::QueryTimeout);
    }
}
