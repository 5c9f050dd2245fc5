//! Results and checkpoints: JSON that workers produce, in a separate table. Orders without them cost nothing.
//!
//! They are written in the transaction of the report. The checkpoint of an order is removed by its result.

use domain::transition::Command;
use domain::{JsonText, OrderId, OrderMap, Outcome};

use super::connection::Connection;
use super::statement::{Statement, bucketed_chunks, padded_chunks};
use super::{Error, Shard, rows};

/// The length of the JSON after which a statement ends. It may exceed it by one output.
const STATEMENT_BYTES: usize = 512 * 1024;

/// What the worker of an order has produced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outputs {
    /// The state from which the next attempt continues.
    pub checkpoint: Option<JsonText>,
    /// The result of the order.
    pub result: Option<JsonText>,
}

/// An output that a transaction writes.
pub(super) struct Output {
    id: OrderId,
    column: &'static str,
    text: JsonText,
}

impl Output {
    /// Returns the output of a command.
    pub(super) fn of_command(id: OrderId, command: &Command) -> Option<Self> {
        let (column, text) = match command {
            Command::Finish { outcome: Outcome::CompletedWith(result), .. } => ("result", result),
            Command::Checkpoint { checkpoint, .. } => ("checkpoint", checkpoint),
            _ => return None,
        };
        Some(Self { id, column, text: text.clone() })
    }
}

/// Writes outputs of orders whose rows the transaction has locked. A later one replaces an earlier one.
pub(super) async fn write(connection: &mut Connection, outputs: Vec<Output>) -> Result<(), Error> {
    let mut latest = OrderMap::default();
    for output in outputs {
        latest.insert(output.id, output);
    }
    for column in ["checkpoint", "result"] {
        let mut of_column: Vec<_> = latest.values().filter(|output| output.column == column).collect();
        of_column.sort_unstable_by_key(|output| output.id);
        let mut rest = &of_column[..];
        while !rest.is_empty() {
            let mut bytes = 0;
            let fitting = rest.iter().take_while(|output| {
                let fits = bytes < STATEMENT_BYTES;
                bytes += output.text.as_str().len();
                fits
            });
            let (fitting, further) = rest.split_at(fitting.count());
            for piece in bucketed_chunks(fitting) {
                let mut sql = Statement::new("REPLACE INTO order_outputs (order_id, ");
                sql.push(column).push(") VALUES ").rows(piece.len(), "(?,?)");
                for output in piece {
                    sql.bind(output.id).bind(output.text.as_str());
                }
                sql.execute(connection).await?;
            }
            rest = further;
        }
    }
    Ok(())
}

impl Shard {
    /// Returns the outputs of those of the orders that have some.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn outputs(&self, ids: &[OrderId]) -> Result<OrderMap<Outputs>, Error> {
        if ids.is_empty() {
            return Ok(OrderMap::default());
        }
        let ids = ids.to_vec();
        self.read(move |connection| {
            Box::pin(async move {
                let mut found = OrderMap::default();
                for piece in padded_chunks(&ids) {
                    let mut sql = Statement::new(
                        "SELECT order_id, checkpoint, result FROM order_outputs WHERE order_id",
                    );
                    sql.push_in(piece.iter().copied());
                    for row in sql.fetch(connection).await? {
                        let text = |column| row.get::<Option<&str>>(column);
                        let (checkpoint, result) = (text(1)?, text(2)?);
                        // Another client of the database has changed it: the order has no such output.
                        let parse = |text: &str| JsonText::parse(text).ok();
                        let outputs = Outputs {
                            checkpoint: checkpoint.and_then(parse),
                            result: result.and_then(parse),
                        };
                        found.insert(rows::id(&row, 0)?, outputs);
                    }
                }
                Ok(found)
            })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_documented() {
        use limits_page::{bytes, row};
        row("result or checkpoint of an order", &bytes(domain::MAX_OUTPUT_BYTES));
        row("results and checkpoints of a statement, and one more", &bytes(STATEMENT_BYTES));
    }
}
