//! Reading and locking the rows of a batch of commands.

use std::collections::HashSet;
use std::sync::Arc;

use domain::transition::Command;
use domain::{Order, OrderId, OrderMap, Status, Timestamp};

use crate::columns::{Column, OrderRow};
use crate::connection::Connection;
use crate::isolate::{LARGEST_ORDER, select_orders};
use crate::owner::Owner;
use crate::park::is_parked;
use crate::row_cache::CachedOrder;
use crate::statement::{Statement, bucketed_chunks};
use crate::unreadable::Unreadable;
use crate::{Error, columns, rows};

/// Orders of a batch that need special treatment.
#[derive(Default)]
pub(super) struct Obstacles {
    /// The unreadable ones.
    pub(super) unreadable: OrderMap<Unreadable>,
    /// Parked pending ones, with the end of the parking. A remaining job of such an order starts nothing.
    pub(super) parked: OrderMap<Timestamp>,
}

/// Reads and locks the orders that are not in `orders` yet.
///
/// An unreadable order whose state can be read is added to `orders` as well, for commands that need no more.
pub(super) async fn lock(
    connection: &mut Connection,
    commands: &[(OrderId, Command)],
    for_update: &str,
    orders: &mut OrderMap<CachedOrder>,
) -> Result<Obstacles, Error> {
    let whole = commands.iter().any(|(_, command)| wants_order(command));
    // Rows are locked in the order of their ids, so that two transactions do not deadlock.
    let mut ids: Vec<OrderId> =
        commands.iter().map(|(id, _)| *id).filter(|id| !orders.contains_key(id)).collect();
    ids.sort_unstable();
    ids.dedup();
    let columns = if whole { &columns::ORDER } else { &columns::STATE };
    let rows = select_orders(connection, columns, &ids, &Owner::Any, for_update).await?;
    let mut all = OrderMap::default();
    let mut parked = OrderMap::default();
    for row in rows.iter() {
        let id = row.id()?;
        match columns::state(&row) {
            Ok(locked) => {
                if locked.state.status == Status::Pending && row.get(Column::DueAt).is_ok_and(is_parked) {
                    parked.insert(id, row.time(Column::HeldUntil)?);
                }
                let order = whole.then(|| whole_order(&row));
                let order = order.transpose().unwrap_or_else(|error| {
                    all.insert(id, Unreadable::new(id, &error));
                    None
                });
                orders.insert(id, CachedOrder { locked, order });
            }
            Err(error) => {
                all.insert(id, Unreadable::new(id, &error));
            }
        }
    }
    all.extend(rows.unreadable.into_iter().map(|one| (one.order_id, one)));
    Ok(Obstacles { unreadable: all, parked })
}

fn whole_order(row: &OrderRow<'_>) -> Result<Arc<Order>, Error> {
    let order = columns::order(row)?;
    match order.approximate_bytes() {
        bytes if bytes > LARGEST_ORDER => Err(Error::TooLarge(bytes)),
        _ => Ok(Arc::new(order)),
    }
}

/// Returns the orders that exist and were skipped, because another transaction has locked them.
pub(super) async fn skipped_rows(
    connection: &mut Connection,
    commands: &[(OrderId, Command)],
    orders: &OrderMap<CachedOrder>,
    unreadable: &OrderMap<Unreadable>,
) -> Result<HashSet<OrderId>, Error> {
    let known = |id: &OrderId| orders.contains_key(id) || unreadable.contains_key(id);
    let missing: HashSet<OrderId> = commands.iter().map(|(id, _)| *id).filter(|id| !known(id)).collect();
    let missing = Vec::from_iter(missing);
    let mut found = HashSet::new();
    for piece in bucketed_chunks(&missing) {
        let mut sql = Statement::new("SELECT id FROM orders WHERE id");
        sql.push_in(piece.iter().copied());
        for row in sql.fetch(connection).await? {
            found.insert(rows::id(&row, 0)?);
        }
    }
    Ok(found)
}

/// Returns whether the outcome of a command contains the order.
pub(super) fn wants_order(command: &Command) -> bool {
    match command {
        Command::Start { .. } | Command::Cancel { .. } | Command::Redrive { .. } => true,
        Command::Heartbeat { .. }
        | Command::Checkpoint { .. }
        | Command::Finish { .. }
        | Command::Expire
        | Command::Undeliver { .. } => false,
    }
}
