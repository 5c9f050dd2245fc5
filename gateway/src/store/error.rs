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
    /// The database is away, full, read-only or out of connections. Nothing was written.
    #[error("the database is unavailable: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// It did not answer in time, before anything was committed.
    #[error("the database did not answer in time")]
    TimedOut,
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
            Self::Conflict(_) | Self::Locked(_) | Self::Defect(_) | Self::Row(_) => false,
        }
    }
}

/// Deadlock, and (MariaDB) a row that changed since it was read.
const CONFLICTS: [u16; 2] = [1213, 1020];
/// Lock wait timeout.
const LOCKED: u16 = 1205;
/// Too many connections, shutting down, table full, disk full, read-only (by option, by mode, by
/// transaction), killed, closed after being idle.
const UNAVAILABLE: [u16; 12] = [1040, 1053, 1114, 1021, 1290, 1836, 1792, 1203, 1317, 3024, 1927, 4031];
/// SQLite: busy, locked.
const SQLITE_CONFLICTS: [i32; 2] = [5, 6];
/// SQLite: read-only, I/O error, full, cannot open.
const SQLITE_UNAVAILABLE: [i32; 4] = [8, 10, 13, 14];

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => match kind(database.as_ref()) {
                Kind::Conflict => Self::Conflict(error),
                Kind::Locked => Self::Locked(error),
                Kind::Unavailable => Self::Unavailable(error),
                Kind::Defect => Self::Defect(error),
            },
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error),
            _ => Self::Defect(error),
        }
    }
}

enum Kind {
    Conflict,
    Locked,
    Unavailable,
    Defect,
}

fn kind(error: &(dyn DatabaseError + 'static)) -> Kind {
    if let Some(mysql) = error.try_downcast_ref::<MySqlDatabaseError>() {
        let number = mysql.number();
        return if CONFLICTS.contains(&number) {
            Kind::Conflict
        } else if number == LOCKED {
            Kind::Locked
        } else if UNAVAILABLE.contains(&number) {
            Kind::Unavailable
        } else {
            Kind::Defect
        };
    }
    // SQLite: the extended code; its lowest byte is the primary one.
    let code = error.code().and_then(|code| code.parse::<i32>().ok()).map(|code| code & 0xff);
    match code {
        Some(code) if SQLITE_CONFLICTS.contains(&code) => Kind::Conflict,
        Some(code) if SQLITE_UNAVAILABLE.contains(&code) => Kind::Unavailable,
        _ => Kind::Defect,
    }
}

/// For clients: the short form. Of defects the long one goes to the log here, because nobody above
/// knows more; that the database is away is logged by the store, once for many.
impl From<Error> for crate::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Conflict(_)
            | Error::Locked(_)
            | Error::Unavailable(_)
            | Error::TimedOut
            | Error::CommitUnknown => Self::database_unavailable(),
            Error::Defect(_) | Error::Row(_) => {
                tracing::error!(%error, "database");
                Self::Internal
            }
        }
    }
}
