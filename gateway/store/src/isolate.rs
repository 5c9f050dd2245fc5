//! Keeps the defect of one row from failing a statement, a transaction or a loop.
//!
//! Each row is decoded separately, so an order with an unusable row ([`Unreadable`]) does not affect the others. A
//! statement over many rows that fails because of a row is repeated for halves of them until the failing rows are alone
//! ([`select_orders`], [`update_orders`]); the gateway's service halves whole transactions. An error that concerns the
//! database as a whole never counts as that of a row ([`cause`]): otherwise an outage would park every order.

use std::fmt;

use domain::OrderId;
use sqlx::error::DatabaseError;
use sqlx::mysql::MySqlDatabaseError;

use super::columns::{OrderRow, Selection};
use super::connection::Connection;
use super::row::Row;
use super::statement::{MAX_ROWS_PER_STATEMENT, Statement};
use super::{Error, Outage};

/// Maximum size of an order that a worker receives, in bytes as [`domain::Order::approximate_bytes`] counts. It fits
/// into a gRPC message of 4 MiB. New orders are far smaller.
pub const LARGEST_ORDER: usize = 3 * 1024 * 1024;

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

fn cause(error: &Error) -> Option<Cause> {
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

/// Rows of orders, and the ids of rows that cannot be received.
pub(super) struct Rows {
    selection: &'static Selection,
    rows: Vec<Row>,
    pub(super) unreadable: Vec<Unreadable>,
}

impl Rows {
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = OrderRow<'_>> {
        self.rows.iter().map(|row| self.selection.of(row))
    }
}

/// Reads the rows of orders: `SELECT selection FROM orders WHERE id IN (…)` and `follows`.
pub(super) async fn select_orders(
    connection: &mut Connection,
    selection: &'static Selection,
    ids: &[OrderId],
    follows: &str,
) -> Result<Rows, Error> {
    let mut all = Rows { selection, rows: Vec::new(), unreadable: Vec::new() };
    let mut pieces: Vec<&[OrderId]> = ids.chunks(MAX_ROWS_PER_STATEMENT).rev().collect();
    while let Some(piece) = pieces.pop() {
        let mut sql = Statement::new("SELECT ");
        selection.push(&mut sql);
        sql.push(" FROM orders WHERE id").push_in_padded(piece.iter().copied()).push(follows);
        match sql.fetch(connection).await {
            Ok(rows) => all.rows.extend(rows),
            Err(error) if cause(&error).is_none() => return Err(error),
            Err(error) if piece.len() == 1 => all.unreadable.push(Unreadable::new(piece[0], &error)),
            Err(_) => pieces.extend(halves(piece)),
        }
    }
    Ok(all)
}

/// Executes a statement for orders, in as few chunks as possible.
///
/// Returns the number of changed rows, and the orders for which the database refuses the statement. These are
/// unchanged, and the transaction continues.
pub(super) async fn update_orders(
    connection: &mut Connection,
    ids: &[OrderId],
    statement: impl Fn(&[OrderId]) -> Statement<'static>,
) -> Result<(u64, Vec<Unreadable>), Error> {
    let (mut changed, mut refused) = (0, Vec::new());
    let mut pieces: Vec<&[OrderId]> = ids.chunks(MAX_ROWS_PER_STATEMENT).rev().collect();
    while let Some(piece) = pieces.pop() {
        match statement(piece).execute(connection).await {
            Ok(rows) => changed += rows,
            Err(error) if cause(&error).is_none() => return Err(error),
            Err(error) if piece.len() == 1 => refused.push(Unreadable::new(piece[0], &error)),
            Err(_) => pieces.extend(halves(piece)),
        }
    }
    Ok((changed, refused))
}

/// Returns the halves, the second one first, because chunks are taken from the end.
fn halves(piece: &[OrderId]) -> [&[OrderId]; 2] {
    let (first, second) = piece.split_at(piece.len() / 2);
    [second, first]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_documented() {
        let largest = limits_page::bytes(LARGEST_ORDER);
        limits_page::row("size of an order sent to a worker", &largest);
    }

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
