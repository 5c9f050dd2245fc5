//! Keeps the defect of one row from becoming the failure of a statement, a transaction or a loop.
//!
//! A row is decoded on its own, so an order whose row cannot be used ([`Unreadable`]) leaves the others as
//! they are. A statement over many rows that fails because of a row is repeated for halves of them until the
//! failing rows are alone ([`select_orders`], [`update_orders`]); whole transactions are halved by
//! `orders::transitions`. Errors that concern the database as a whole are never taken for those of a row
//! ([`cause`]): otherwise an outage would park every order.

use std::fmt;

use domain::OrderId;
use sqlx::error::DatabaseError;
use sqlx::mysql::MySqlDatabaseError;

use super::columns::{OrderRow, Selection};
use super::connection::Connection;
use super::row::Row;
use super::statement::{MAX_ROWS_PER_STATEMENT, Statement};
use super::{Error, Outage};

/// The largest order that is handed to a worker, in bytes as [`domain::Order::approximate_bytes`] counts. It
/// fits into a gRPC message of 4 MiB. Orders that are created are far smaller.
pub const LARGEST_ORDER: usize = 3 * 1024 * 1024;

/// An order whose row cannot be used. It concerns no other order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The order.
    pub order_id: OrderId,
    /// What kind of defect it is.
    pub cause: Cause,
    /// Which column or rule it is about, for operators.
    pub detail: String,
}

/// The kinds of defects of a row; also the label of the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A column has a value that this version does not know or that has the wrong type.
    Undecodable,
    /// The row and its events, or two columns of the row, contradict each other.
    Contradiction,
    /// It does not fit into a packet of the database or into a message.
    TooLarge,
    /// The database refuses the change of this row, because of a constraint or a trigger.
    Refused,
    /// The gateway panics when it handles the order.
    Defect,
    /// A change of the row takes longer than a transaction may, while changes of others do not.
    TooSlow,
}

impl Cause {
    /// Every cause there is.
    pub const ALL: [Self; 6] =
        [Self::Undecodable, Self::Contradiction, Self::TooLarge, Self::Refused, Self::Defect, Self::TooSlow];

    /// The word for machines.
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
    /// The order and the error that its row has caused.
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
    /// The defect of a single row that explains the error; `None` when the error concerns the statement or the
    /// database, whatever rows are named. A packet that is too large ends the connection as well, so the transaction
    /// is what can be repeated, and not the statement.
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Self::Unavailable(Outage::PacketLimit(_)) => Some(Cause::TooLarge),
            other => cause(other),
        }
    }
}

/// MySQL and MariaDB: CHECK violated (two numbers), the column is too short, out of range, not a number, not of
/// the character set, NULL where none may be, a foreign key.
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
        // Under its lock the row says something that its own UPDATE does not find.
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

/// Rows by the ids of their orders, and the ids whose rows cannot even be received.
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

/// Reads the rows of orders: `SELECT selection FROM orders WHERE id IN (…)` and what follows.
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

/// Executes a statement for orders, in as few pieces as work. Returns how many rows it has changed, and the
/// orders for which the database refuses it; these are unchanged, and the transaction goes on.
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

/// The second half comes first, because pieces are taken from the end.
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
    fn an_outage_is_never_the_defect_of_a_row() {
        let away = || Error::from(sqlx::Error::PoolTimedOut);
        for error in [away(), Error::TimedOut, Error::CommitUnknown] {
            assert_eq!(error.cause(), None, "{error}");
        }
        assert_eq!(Error::Defect(sqlx::Error::RowNotFound).cause(), None);
        assert_eq!(Error::Row("x".into()).cause(), Some(Cause::Undecodable));
        assert_eq!(Error::Outdated.cause(), Some(Cause::Contradiction));
    }
}
