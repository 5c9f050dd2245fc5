//! What a database error means for the caller.

use sqlx::mysql::MySqlDatabaseError;

use super::error_codes::{Kind, kind};

/// Why a piece of work on the database did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Two transactions were in each other's way; this one was rolled back and may be repeated.
    #[error("conflict with another transaction: {0}")]
    Conflict(#[source] sqlx::Error),
    /// A row stayed locked by another transaction for too long; this one was rolled back.
    #[error("a row is locked by another transaction: {0}")]
    Locked(#[source] sqlx::Error),
    /// The database as a whole does not do its work. Nothing was written.
    #[error("the database is unavailable: {0}")]
    Unavailable(#[source] Outage),
    /// It did not answer in time, before anything was committed.
    #[error("the database did not answer in time")]
    TimedOut,
    /// It answers, but there was too much to read through for what was asked.
    #[error("reading through the orders took too long")]
    TooMuchToRead,
    /// As many searches run as may.
    #[error("too many searches are running")]
    TooManySearches,
    /// An order is not as it was when it was decided about; nothing was written.
    #[error("an order has changed since it was decided about")]
    Outdated,
    /// COMMIT was sent and its answer never came: it was done, or it was not.
    #[error("the answer to COMMIT was lost")]
    CommitUnknown,
    /// The database refused a statement or returned something unexpected: a defect.
    #[error("unexpected: {0}")]
    Defect(#[source] sqlx::Error),
    /// A row that this program did not write, or wrote wrongly.
    #[error("a row cannot be understood: {0}")]
    Row(String),
    /// An order with so many bytes does not fit into a message.
    #[error("the order is too large: {0} bytes")]
    TooLarge(usize),
}

impl Error {
    /// Whether the connection cannot be used again: an answer may still come, the server has closed it or leads
    /// nowhere, or it holds statements that the server has to give up.
    pub(super) fn ends_connection(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::TimedOut | Self::CommitUnknown => true,
            // Needs to prepare its statements again.
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

    /// Whether it is about the database as a whole, and not about one statement.
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

/// What keeps the database from doing its work.
#[derive(Debug, thiserror::Error)]
pub enum Outage {
    /// Every connection of the pool was in use for too long, while the database answered others.
    #[error("no connection became free in time")]
    PoolExhausted,
    /// The server has as many connections as it takes, from everybody or from this user.
    #[error("it takes no more connections: {0}")]
    ConnectionLimit(#[source] sqlx::Error),
    /// It takes no changes: a replica, perhaps since a moment ago.
    #[error("it is read-only: {0}")]
    ReadOnly(#[source] sqlx::Error),
    /// There is no space left for another row.
    #[error("it has no space left: {0}")]
    Full(#[source] sqlx::Error),
    /// It refuses this user: a privilege is missing, or the password is no longer right.
    #[error("it refuses the user: {0}")]
    Denied(#[source] sqlx::Error),
    /// It has as many prepared statements as it takes (`max_prepared_stmt_count`).
    #[error("it prepares no more statements: {0}")]
    StatementLimit(#[source] sqlx::Error),
    /// It ended a statement that ran for longer than it allows.
    #[error("it ended a statement that took too long: {0}")]
    StatementTime(#[source] sqlx::Error),
    /// A statement is longer than it accepts (`max_allowed_packet`).
    #[error("it does not accept a statement of this length: {0}")]
    PacketLimit(#[source] sqlx::Error),
    /// It has a setting with which nothing can be written, or tables are missing.
    #[error("it is not set up for orders: {0}")]
    Misconfigured(#[source] sqlx::Error),
    /// It cannot be reached, breaks off, or is starting or stopping.
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
            // A new connection was not possible with the URL as it is: the server asks for another kind of login.
            sqlx::Error::Configuration(_) => Self::Unavailable(Outage::Denied(error)),
            _ => Self::Defect(error),
        }
    }
}

/// What an error in answer to COMMIT means. Only a few codes say that nothing was committed; after any other, such
/// as the end of the server or an error of the log, it may have been.
pub(super) fn of_commit(error: sqlx::Error) -> Error {
    match Error::from(error) {
        // The transaction is the connection's, which is given up, and is rolled back with it.
        Error::Conflict(error) | Error::Locked(error) => Error::Conflict(error),
        Error::Unavailable(outage @ (Outage::ReadOnly(_) | Outage::Full(_))) => Error::Unavailable(outage),
        _ => Error::CommitUnknown,
    }
}

/// The server's number of an error of MySQL or MariaDB.
pub(super) fn number(error: &sqlx::Error) -> Option<u16> {
    Some(error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>()?.number())
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection, SqliteConnection};

    use super::*;

    #[tokio::test]
    async fn sqlite_says_when_it_is_full_or_read_only() {
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
