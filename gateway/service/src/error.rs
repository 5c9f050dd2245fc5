//! The errors of the use cases. Each API shows them in its own form.

use std::time::Duration;

use domain::transition::Refusal;
use domain::{ErrorCode, InvalidField, MissingScope, OrderId};
use gateway_store::{Error as StoreError, Outage, Unreadable};
use telemetry::Panicked;

use crate::event_log::EventCursor;
use gateway_store::MAX_EVENT_READERS;

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
            Self::RowCount(_) => ErrorCode::InvalidRowCount,
            Self::TooManyOpen { .. } => ErrorCode::QuotaExceeded,
            Self::Refused { refusal, .. } => (*refusal).into(),
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
            | Self::RowCount(_)
            | Self::Refused { .. }
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

    /// Returns the error of a full backlog of requests.
    pub fn overloaded() -> Self {
        Self::Unavailable {
            code: ErrorCode::Overloaded,
            message: "too many requests are waiting; try again in a moment",
            retry_after: Duration::from_secs(1),
        }
    }

    /// Returns the error of a search beyond the maximum number of concurrent ones.
    pub fn too_many_searches() -> Self {
        Self::Unavailable {
            code: ErrorCode::Overloaded,
            message: "too many searches are running; try again in a moment",
            retry_after: Duration::from_secs(1),
        }
    }

    /// Returns the error of a database that cannot be reached or does not respond in time.
    pub fn database_unavailable() -> Self {
        Self::Unavailable {
            code: ErrorCode::DatabaseUnavailable,
            message: "the database cannot be reached; try again in a moment",
            retry_after: Duration::from_secs(2),
        }
    }

    /// Returns the error of a pool without a free connection in time.
    pub fn database_pool_exhausted() -> Self {
        Self::Unavailable {
            code: ErrorCode::DatabasePoolExhausted,
            message: "every connection to the database is in use; try again in a moment",
            retry_after: Duration::from_secs(1),
        }
    }

    /// Returns the error of a database that has reached its connection limit.
    pub fn database_connection_limit() -> Self {
        Self::Unavailable {
            code: ErrorCode::DatabaseConnectionLimit,
            message: "the database takes no more connections; try again in a moment",
            retry_after: Duration::from_secs(2),
        }
    }

    /// Returns the error of a list whose filter leaves too many orders to scan.
    pub fn query_timeout() -> Self {
        Self::Unavailable {
            code: ErrorCode::QueryTimeout,
            message: "scanning the orders that match the other filters takes too long; request fewer of them, such as those \
                      of one customer, of one status or of a shorter time",
            retry_after: Duration::from_secs(5),
        }
    }

    /// Returns the error of a read-only database, usually until another server has taken over.
    pub fn database_read_only() -> Self {
        Self::Unavailable {
            code: ErrorCode::DatabaseReadOnly,
            message: "the database is read-only, as it is while another server takes over; try again in a moment",
            retry_after: Duration::from_secs(2),
        }
    }

    /// Returns the error of a database without free space. Operators have to add some.
    pub fn database_full() -> Self {
        Self::Unavailable {
            code: ErrorCode::DatabaseFull,
            message: "the database has no space left; try again when its operators have made some",
            retry_after: Duration::from_secs(30),
        }
    }

    /// Returns the error of a database that rejects the gateway's user. Operators have to change that.
    pub fn database_access_denied() -> Self {
        Self::Unavailable {
            code: ErrorCode::DatabaseAccessDenied,
            message: "the database refuses the gateway's user or a privilege of it; try again when its operators have \
                      changed that",
            retry_after: Duration::from_secs(30),
        }
    }

    /// Returns the error of a database that has reached its limit of prepared statements.
    pub fn database_statement_limit() -> Self {
        Self::Unavailable {
            code: ErrorCode::DatabaseStatementLimit,
            message: "the database prepares no more statements; try again in a moment",
            retry_after: Duration::from_secs(2),
        }
    }

    /// Returns the error of a statement that the database ended after its time limit.
    pub fn database_statement_timeout() -> Self {
        Self::Unavailable {
            code: ErrorCode::DatabaseStatementTimeout,
            message: "the database ended a statement that took longer than it allows; try again in a moment",
            retry_after: Duration::from_secs(2),
        }
    }

    /// Returns the error of a statement that is too long for the database.
    pub fn database_packet_limit() -> Self {
        Self::Unavailable {
            code: ErrorCode::DatabasePacketLimit,
            message: "the database does not accept a statement of this length; try again with a smaller order, or when \
                      its operators have raised the limit",
            retry_after: Duration::from_secs(30),
        }
    }

    /// Returns the error of missing tables, or of a setting that prevents writes.
    pub fn database_misconfigured() -> Self {
        Self::Unavailable {
            code: ErrorCode::DatabaseMisconfigured,
            message: "the database is not set up for orders; try again when its operators have changed that",
            retry_after: Duration::from_secs(30),
        }
    }

    /// Returns the error of an order that a hanging transaction has locked.
    ///
    /// The lock lasts until the database ends the transaction.
    pub fn order_locked() -> Self {
        Self::Unavailable {
            code: ErrorCode::DatabaseUnavailable,
            message: "the order is locked by a transaction that does not end; try again in a moment",
            retry_after: Duration::from_secs(2),
        }
    }

    /// Returns the error of a gateway that is shutting down.
    pub fn shutting_down() -> Self {
        Self::Unavailable {
            code: ErrorCode::ShuttingDown,
            message: "this gateway is shutting down; try again at another one",
            retry_after: Duration::from_secs(1),
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
