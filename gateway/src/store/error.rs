//! What a database error means for the caller.

use sqlx::error::DatabaseError;
use sqlx::mysql::MySqlDatabaseError;

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
}

impl Error {
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
            | Self::Row(_) => false,
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
    /// It cannot be reached, breaks off, or is starting or stopping.
    #[error("{0}")]
    Away(#[source] sqlx::Error),
}

/// Deadlock, and (MariaDB) a row that changed since it was read.
const CONFLICTS: [u16; 2] = [1213, 1020];
/// Lock wait timeout.
const LOCKED: u16 = 1205;
/// Too many connections: of the server, of the user (two ways to say it); no thread for one more.
const CONNECTION_LIMIT: [u16; 4] = [1040, 1203, 1226, 1135];
/// Read-only: by option, by mode, by transaction, the table, InnoDB.
const READ_ONLY: [u16; 5] = [1290, 1836, 1792, 1036, 1874];
/// Table full, disk full (two ways to say it).
const FULL: [u16; 3] = [1114, 1021, 20];
/// A file cannot be written (two ways to say it), "got error … from storage engine": what is wrong with
/// the disk is in the text.
const DISK: [u16; 3] = [3, 1026, 1030];
/// How a text says that the disk, or the server's share of it, is full.
const NO_SPACE: [&str; 6] =
    ["Errcode: 28 ", "errno: 28 ", "error 28 ", "Errcode: 122 ", "errno: 122 ", "error 122 "];
/// Shutting down, killed, took too long, connection killed, closed after being idle.
const AWAY: [u16; 5] = [1053, 1317, 3024, 1927, 4031];
/// SQLite: busy, locked.
const SQLITE_CONFLICTS: [i32; 2] = [5, 6];
/// SQLite: read-only.
const SQLITE_READ_ONLY: i32 = 8;
/// SQLite: the disk, or the largest size of the file, is full.
const SQLITE_FULL: i32 = 13;
/// SQLite: I/O error, cannot open.
const SQLITE_AWAY: [i32; 2] = [10, 14];

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => match kind(database.as_ref()) {
                Kind::Conflict => Self::Conflict(error),
                Kind::Locked => Self::Locked(error),
                Kind::ConnectionLimit => Self::Unavailable(Outage::ConnectionLimit(error)),
                Kind::ReadOnly => Self::Unavailable(Outage::ReadOnly(error)),
                Kind::Full => Self::Unavailable(Outage::Full(error)),
                Kind::Away => Self::Unavailable(Outage::Away(error)),
                Kind::Defect => Self::Defect(error),
            },
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(Outage::Away(error)),
            _ => Self::Defect(error),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Conflict,
    Locked,
    ConnectionLimit,
    ReadOnly,
    Full,
    Away,
    Defect,
}

fn kind(error: &(dyn DatabaseError + 'static)) -> Kind {
    if let Some(mysql) = error.try_downcast_ref::<MySqlDatabaseError>() {
        return mysql_kind(mysql.number(), mysql.message());
    }
    // SQLite: the extended code; its lowest byte is the primary one.
    let code = error.code().and_then(|code| code.parse::<i32>().ok()).map(|code| code & 0xff);
    match code {
        Some(code) if SQLITE_CONFLICTS.contains(&code) => Kind::Conflict,
        Some(SQLITE_READ_ONLY) => Kind::ReadOnly,
        Some(SQLITE_FULL) => Kind::Full,
        Some(code) if SQLITE_AWAY.contains(&code) => Kind::Away,
        _ => Kind::Defect,
    }
}

fn mysql_kind(number: u16, message: &str) -> Kind {
    match number {
        LOCKED => Kind::Locked,
        number if CONFLICTS.contains(&number) => Kind::Conflict,
        number if CONNECTION_LIMIT.contains(&number) => Kind::ConnectionLimit,
        number if READ_ONLY.contains(&number) => Kind::ReadOnly,
        number if FULL.contains(&number) => Kind::Full,
        number if DISK.contains(&number) => {
            if NO_SPACE.iter().any(|text| message.contains(text)) {
                Kind::Full
            } else {
                Kind::Away
            }
        }
        number if AWAY.contains(&number) => Kind::Away,
        _ => Kind::Defect,
    }
}

/// For clients: the short form. Of defects the long one goes to the log here, because nobody above
/// knows more; that the database is away is logged by the store, once for many.
impl From<Error> for crate::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable(Outage::PoolExhausted) => Self::database_pool_exhausted(),
            Error::Unavailable(Outage::ConnectionLimit(_)) => Self::database_connection_limit(),
            Error::Unavailable(Outage::ReadOnly(_)) => Self::database_read_only(),
            Error::Unavailable(Outage::Full(_)) => Self::database_full(),
            Error::Unavailable(Outage::Away(_))
            | Error::Conflict(_)
            | Error::Locked(_)
            | Error::TimedOut
            | Error::CommitUnknown => Self::database_unavailable(),
            Error::TooMuchToRead => Self::query_timeout(),
            Error::TooManySearches => Self::too_many_searches(),
            Error::Outdated | Error::Defect(_) | Error::Row(_) => {
                tracing::error!(%error, "database");
                Self::Internal
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection, SqliteConnection};

    use super::*;

    /// The texts are MariaDB's own.
    #[test]
    fn a_full_disk_is_told_from_a_broken_one() {
        for (number, text, kind) in [
            (1114, "The table 'orders' is full", Kind::Full),
            (1021, "Disk full (/tmp/#sql); waiting for someone to free some space...", Kind::Full),
            (3, "Error writing file '/tmp/ML' (Errcode: 28 \"No space left on device\")", Kind::Full),
            (3, "Error writing file '/tmp/ML' (Errcode: 5 \"Input/output error\")", Kind::Away),
            (1026, "Error writing file 'binlog' (errno: 28 \"No space left on device\")", Kind::Full),
            (1030, "Got error 28 \"No space left on device\" from storage engine InnoDB", Kind::Full),
            (1030, "Got error 122 \"Disk quota exceeded\" from storage engine InnoDB", Kind::Full),
            (1030, "Got error 128 \"Out of memory in engine\" from storage engine InnoDB", Kind::Away),
        ] {
            assert_eq!(mysql_kind(number, text), kind, "{number} {text}");
        }
    }

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
