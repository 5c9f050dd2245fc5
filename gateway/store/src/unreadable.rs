//! Orders whose rows cannot be used, and the errors that are the defect of a single row.
//!
//! An error that concerns the database as a whole never counts as that of a row ([`cause`]): otherwise an outage would
//! park every order.

use std::fmt;

use domain::OrderId;
use sqlx::error::DatabaseError;
use sqlx::mysql::MySqlDatabaseError;
use telemetry::LogThrottle;

use super::{Error, Outage};

/// An order whose row cannot be used. It affects no other order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The order.
    pub order_id: OrderId,
    /// The kind of defect.
    pub cause: Cause,
    /// The column or rule, for operators.
    pub detail: String,
}

/// The kinds of defects of a row; also the label of the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A column has an unknown value or one of the wrong type.
    Undecodable,
    /// The row and its events, or two columns of the row, contradict each other.
    Contradiction,
    /// The row does not fit into a packet of the database or into a message.
    TooLarge,
    /// The database refuses the change of this row, because of a constraint or a trigger.
    Refused,
    /// The gateway panics when it handles the order.
    Defect,
    /// A change of the row takes longer than a transaction may, while other changes do not.
    TooSlow,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 6] =
        [Self::Undecodable, Self::Contradiction, Self::TooLarge, Self::Refused, Self::Defect, Self::TooSlow];

    /// Returns the name for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::Contradiction => "contradiction",
            Self::TooLarge => "too_large",
            Self::Refused => "refused",
            Self::Defect => "defect",
            Self::TooSlow => "too_slow",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Unreadable {
    /// Creates it from the order and the error of its row.
    pub(super) fn new(order_id: OrderId, error: &Error) -> Self {
        let cause = cause(error).unwrap_or(Cause::Undecodable);
        let detail = match error {
            Error::Row(text) => text.clone(),
            other => other.to_string(),
        };
        Self { order_id, cause, detail }
    }
}

impl Error {
    /// Returns the defect of a single row that explains the error.
    ///
    /// `None` when the error concerns the statement or the database, whatever rows are named. A packet that is too
    /// large ends the connection as well, so the transaction can be repeated, and not the statement.
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Self::Unavailable(Outage::PacketLimit(_)) => Some(Cause::TooLarge),
            other => cause(other),
        }
    }
}

/// MySQL and MariaDB: CHECK violated (two codes), the column is too short, out of range, not a number, not of the
/// character set, NULL where none is permitted, a foreign key.
const REFUSED: [u16; 11] = [3819, 4025, 1406, 1264, 1366, 1265, 1048, 1451, 1452, 1644, 1690];
/// The key exists already.
const DUPLICATE: u16 = 1062;
/// SQLite: too big, constraint, datatype mismatch.
const SQLITE_TOO_BIG: i32 = 18;
const SQLITE_REFUSED: [i32; 2] = [19, 20];

pub(super) fn cause(error: &Error) -> Option<Cause> {
    match error {
        Error::Row(_) | Error::Defect(sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)) => {
            Some(Cause::Undecodable)
        }
        // The locked row has values that its own UPDATE does not find.
        Error::Outdated => Some(Cause::Contradiction),
        Error::TooLarge(_) => Some(Cause::TooLarge),
        Error::Defect(error) => error.as_database_error().and_then(of_database),
        Error::Conflict(_)
        | Error::Locked(_)
        | Error::Unavailable(_)
        | Error::TimedOut
        | Error::TooMuchToRead
        | Error::TooManySearches
        | Error::CommitUnknown => None,
    }
}

fn of_database(error: &(dyn DatabaseError + 'static)) -> Option<Cause> {
    if error.is_unique_violation() {
        return Some(Cause::Contradiction);
    }
    if let Some(mysql) = error.try_downcast_ref::<MySqlDatabaseError>() {
        return match mysql.number() {
            DUPLICATE => Some(Cause::Contradiction),
            number if REFUSED.contains(&number) => Some(Cause::Refused),
            _ => None,
        };
    }
    match error.code().and_then(|code| code.parse::<i32>().ok()).map(|code| code & 0xff) {
        Some(SQLITE_TOO_BIG) => Some(Cause::TooLarge),
        Some(code) if SQLITE_REFUSED.contains(&code) => Some(Cause::Refused),
        _ => None,
    }
}

/// Limits the log lines about parked orders, for each cause separately.
#[derive(Default)]
pub(super) struct ParkingLog(pub(super) [LogThrottle; Cause::ALL.len()]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_no_defect_of_a_row() {
        let away = || Error::from(sqlx::Error::PoolTimedOut);
        for error in [away(), Error::TimedOut, Error::CommitUnknown] {
            assert_eq!(error.cause(), None, "{error}");
        }
        assert_eq!(Error::Defect(sqlx::Error::RowNotFound).cause(), None);
        assert_eq!(Error::Row("x".into()).cause(), Some(Cause::Undecodable));
        assert_eq!(Error::Outdated.cause(), Some(Cause::Contradiction));
    }
}
