//! Keeps the defect of one row from failing a statement, a transaction or a loop.
//!
//! Each row is decoded separately, so an order with an unusable row ([`Unreadable`]) does not affect the others. A
//! statement over many rows that fails because of a row is repeated for halves of them until the failing rows are alone
//! ([`select_orders`], [`update_orders`]); the gateway's service halves whole transactions. An error that concerns the
//! database as a whole never counts as that of a row ([`cause`]): otherwise an outage would park every order.

use domain::OrderId;
use futures_util::TryStreamExt;

use super::Error;
use super::columns::{OrderRow, Selection};
use super::connection::Connection;
use super::owner::Owner;
use super::row::Row;
use super::statement::{MAX_ROWS_PER_STATEMENT, Statement};
use super::unreadable::{Unreadable, cause};

/// Maximum size of an order that a worker receives, in bytes as [`domain::Order::approximate_bytes`] counts. It fits
/// into a gRPC message of 4 MiB. New orders are far smaller.
pub const LARGEST_ORDER: usize = 3 * 1024 * 1024;

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

/// Reads the rows of orders: `SELECT selection FROM orders WHERE id IN (…)`, their owner, and `follows`.
pub(super) async fn select_orders(
    connection: &mut Connection,
    selection: &'static Selection,
    ids: &[OrderId],
    owner: &Owner,
    follows: &str,
) -> Result<Rows, Error> {
    let (rows, unreadable) = read_rows(connection, selection, ids, owner, follows, Ok).await?;
    Ok(Rows { selection, rows, unreadable })
}

/// As [`select_orders`], and decodes each row when it arrives, so that this process does not hold large orders twice.
pub(super) async fn decode_orders<T>(
    connection: &mut Connection,
    selection: &'static Selection,
    ids: &[OrderId],
    owner: &Owner,
    decode: impl Fn(&OrderRow<'_>) -> Result<T, Error>,
) -> Result<(Vec<T>, Vec<Unreadable>), Error> {
    read_rows(connection, selection, ids, owner, "", |row| decode(&selection.of(&row))).await
}

/// Reads the rows of orders one by one. Returns what `decode` makes of them, and the rows that cannot be received.
async fn read_rows<T>(
    connection: &mut Connection,
    selection: &'static Selection,
    ids: &[OrderId],
    owner: &Owner,
    follows: &str,
    decode: impl Fn(Row) -> Result<T, Error>,
) -> Result<(Vec<T>, Vec<Unreadable>), Error> {
    let (mut decoded, mut unreadable) = (Vec::with_capacity(ids.len()), Vec::new());
    let mut pieces: Vec<&[OrderId]> = ids.chunks(MAX_ROWS_PER_STATEMENT).rev().collect();
    while let Some(piece) = pieces.pop() {
        let mut sql = Statement::new("SELECT ");
        selection.push(&mut sql);
        sql.push(" FROM orders WHERE id").push_in_padded(piece.iter().copied());
        owner.push(&mut sql);
        sql.push(follows);
        let complete = decoded.len();
        let mut rows = sql.stream(connection);
        let failed = loop {
            match rows.try_next().await {
                Ok(Some(row)) => decoded.push(decode(row)?),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        let Some(error) = failed else { continue };
        if cause(&error).is_none() {
            return Err(error);
        }
        decoded.truncate(complete);
        match piece {
            [id] => unreadable.push(Unreadable::new(*id, &error)),
            _ => pieces.extend(halves(piece)),
        }
    }
    Ok((decoded, unreadable))
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
}
