//! The errors of requests that can be repeated later.

use std::time::Duration;

use domain::ErrorCode;

use crate::error::Error;

impl Error {
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
