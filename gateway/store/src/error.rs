//! What a database error means for the caller.

use sqlx::mysql::MySqlDatabaseError;

use super::error_codes::{Kind, kind};

/// Why work on the database failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Two transactions conflicted; this one was rolled back and can be repeated.
    #[error("conflict with another transaction: {0}")]
    Conflict(#[source] sqlx::Error),
    /// Another transaction kept a row locked for too long; this one was rolled back.
    #[error("a row is locked by another transaction: {0}")]
    Locked(#[source] sqlx::Error),
    /// The database as a whole does not work. Nothing was written.
    #[error("the database is unavailable: {0}")]
    Unavailable(#[source] Outage),
    /// It did not respond in time, before anything was committed.
    #[error("the database did not answer in time")]
    TimedOut,
    /// It responds, but the request has too much to read.
    #[error("reading through the orders took too long")]
    TooMuchToRead,
    /// The maximum number of searches is running.
    #[error("too many searches are running")]
    TooManySearches,
    /// An order has changed since it was decided about; nothing was written.
    #[error("an order has changed since it was decided about")]
    Outdated,
    /// COMMIT was sent and its response was lost: it was executed, or it was not.
    #[error("the answer to COMMIT was lost")]
    CommitUnknown,
    /// The database refused a statement or returned something unexpected: a defect.
    #[error("unexpected: {0}")]
    Defect(#[source] sqlx::Error),
    /// A row that this program did not write, or wrote incorrectly.
    #[error("a row cannot be understood: {0}")]
    Row(String),
    /// An order with this number of bytes does not fit into a message.
    #[error("the order is too large: {0} bytes")]
    TooLarge(usize),
}

impl Error {
    /// Returns whether the connection cannot be used again.
    ///
    /// A response may still arrive, the server has closed the connection or is unreachable, or it holds statements that
    /// the server must release.
    pub(super) fn ends_connection(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::TimedOut | Self::CommitUnknown => true,
            // It has to prepare its statements again.
            Self::Conflict(error) => number(error) == Some(1615),
            Self::Locked(_)
            | Self::TooMuchToRead
            | Self::TooManySearches
            | Self::Outdated
            | Self::Defect(_)
            | Self::Row(_)
            | Self::TooLarge(_) => false,
        }
    }

    /// Returns whether the error concerns the database as a whole, not one statement.
    pub(super) fn is_outage(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::TimedOut | Self::CommitUnknown => true,
            Self::Conflict(_)
            | Self::Locked(_)
            | Self::TooMuchToRead
            | Self::TooManySearches
            | Self::Outdated
            | Self::Defect(_)
            | Self::Row(_)
            | Self::TooLarge(_) => false,
        }
    }
}

/// Why the database does not work.
#[derive(Debug, thiserror::Error)]
pub enum Outage {
    /// Every connection of the pool was in use for too long, while the database responded to others.
    #[error("no connection became free in time")]
    PoolExhausted,
    /// The server has its maximum number of connections, in total or of this user.
    #[error("it takes no more connections: {0}")]
    ConnectionLimit(#[source] sqlx::Error),
    /// It accepts no changes: a replica, perhaps since a short time ago.
    #[error("it is read-only: {0}")]
    ReadOnly(#[source] sqlx::Error),
    /// It has no space for another row.
    #[error("it has no space left: {0}")]
    Full(#[source] sqlx::Error),
    /// It refuses this user: a privilege is missing, or the password is no longer valid.
    #[error("it refuses the user: {0}")]
    Denied(#[source] sqlx::Error),
    /// It has its maximum number of prepared statements (`max_prepared_stmt_count`).
    #[error("it prepares no more statements: {0}")]
    StatementLimit(#[source] sqlx::Error),
    /// It ended a statement that ran for longer than it allows.
    #[error("it ended a statement that took too long: {0}")]
    StatementTime(#[source] sqlx::Error),
    /// A statement is longer than it accepts (`max_allowed_packet`).
    #[error("it does not accept a statement of this length: {0}")]
    PacketLimit(#[source] sqlx::Error),
    /// It has a setting that prevents writes, or tables are missing.
    #[error("it is not set up for orders: {0}")]
    Misconfigured(#[source] sqlx::Error),
    /// It cannot be reached, disconnects, or is starting or stopping.
    #[error("{0}")]
    Away(#[source] sqlx::Error),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => match kind(database.as_ref()) {
                Kind::Conflict => Self::Conflict(error),
                Kind::Locked => Self::Locked(error),
                Kind::ConnectionLimit => Self::Unavailable(Outage::ConnectionLimit(error)),
                Kind::ReadOnly => Self::Unavailable(Outage::ReadOnly(error)),
                Kind::Full => Self::Unavailable(Outage::Full(error)),
                Kind::Denied => Self::Unavailable(Outage::Denied(error)),
                Kind::StatementLimit => Self::Unavailable(Outage::StatementLimit(error)),
                Kind::StatementTime => Self::Unavailable(Outage::StatementTime(error)),
                Kind::PacketLimit => Self::Unavailable(Outage::PacketLimit(error)),
                Kind::Misconfigured => Self::Unavailable(Outage::Misconfigured(error)),
                Kind::Away => Self::Unavailable(Outage::Away(error)),
                Kind::Defect => Self::Defect(error),
            },
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(Outage::Away(error)),
            // A new connection was not possible with the URL: the server requires another kind of login.
            sqlx::Error::Configuration(_) => Self::Unavailable(Outage::Denied(error)),
            _ => Self::Defect(error),
        }
    }
}

/// Converts an error of COMMIT.
///
/// Only a few codes mean that nothing was committed. After any other, such as the end of the server or an error of the
/// log, the transaction may be committed.
pub(super) fn of_commit(error: sqlx::Error) -> Error {
    match Error::from(error) {
        // The transaction belongs to the connection, which is closed, and is rolled back with it.
        Error::Conflict(error) | Error::Locked(error) => Error::Conflict(error),
        Error::Unavailable(outage @ (Outage::ReadOnly(_) | Outage::Full(_))) => Error::Unavailable(outage),
        _ => Error::CommitUnknown,
    }
}

/// Returns the number of an error of MySQL or MariaDB.
pub(super) fn number(error: &sqlx::Error) -> Option<u16> {
    Some(error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>()?.number())
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection, SqliteConnection};

    use super::*;

    #[tokio::test]
    async fn a_full_and_a_read_only_sqlite_file_are_distinguished() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let setup = "CREATE TABLE t (x BLOB); PRAGMA max_page_count = 2";
        sqlx::raw_sql(setup).execute(&mut connection).await.unwrap();
        let insert = "INSERT INTO t VALUES (zeroblob(100000))";
        let full: Error = sqlx::raw_sql(insert).execute(&mut connection).await.unwrap_err().into();
        assert!(matches!(full, Error::Unavailable(Outage::Full(_))), "{full:?}");
        sqlx::raw_sql("PRAGMA query_only = 1").execute(&mut connection).await.unwrap();
        let refused: Error = sqlx::raw_sql(insert).execute(&mut connection).await.unwrap_err().into();
        assert!(matches!(refused, Error::Unavailable(Outage::ReadOnly(_))), "{refused:?}");
    }
}
