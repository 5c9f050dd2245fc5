//! Accepting orders.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use domain::transition::OrderState;
use domain::{OrderId, Status};

use super::columns::NewRow;
use super::connection::Connection;
use super::creation::{Creation, Inserted, NewOrder};
use super::idempotency::{insert_keys, used_keys};
use super::recent::CachedOrder;
use super::rows::{Locked, Stage};
use super::statement::{Statement, pieces};
use super::{Dialect, Error, Store, columns, rows};

/// A statement ends after about so many bytes of line items, far below what a MySQL server takes in
/// one packet (16 MiB in older defaults), even if every character of theirs has to be escaped in JSON.
const STATEMENT_BYTES: usize = 1024 * 1024;
/// What a line item takes beside its name.
const LINE_BYTES: usize = 64;
/// How often the outcome of a lost COMMIT is looked up or the insert repeated.
const COMMIT_TRIES: u32 = 3;

impl Store {
    /// Writes the orders, which are their first events as well, and the idempotency keys, all in one
    /// transaction. New
    /// orders are due at once, or at the time for which they are scheduled. Says what became of each
    /// creation.
    ///
    /// When the answer to COMMIT is lost the orders are looked up by their ids, and written again if
    /// they are not there. The look-up waits for a transaction that is still under way.
    ///
    /// # Errors
    /// [`Error::CommitUnknown`] when that did not help; then the orders are there or not. Every
    /// other error means that they are not.
    pub async fn insert(&self, creations: Arc<[Creation]>) -> Result<Vec<Inserted>, Error> {
        self.insert_taken(creations, Duration::ZERO).await
    }

    /// As [`Self::insert`], but as if [`Self::take_due`] had taken those that can be started at once: the
    /// caller pushes them to the queue, which holds them until `guard` is over.
    ///
    /// # Errors
    /// As [`Self::insert`].
    pub async fn insert_taken(
        &self,
        creations: Arc<[Creation]>,
        guard: Duration,
    ) -> Result<Vec<Inserted>, Error> {
        self.insert_unless_there(creations, guard, false).await
    }

    /// As [`Self::insert`], after a first try with an unknown end: what that has committed is looked up
    /// by its ids and not written again.
    ///
    /// # Errors
    /// As [`Self::insert`].
    pub async fn insert_missing(&self, creations: Arc<[Creation]>) -> Result<Vec<Inserted>, Error> {
        self.insert_unless_there(creations, Duration::ZERO, true).await
    }

    /// `unknown` says that the orders may be there already.
    async fn insert_unless_there(
        &self,
        creations: Arc<[Creation]>,
        guard: Duration,
        mut unknown: bool,
    ) -> Result<Vec<Inserted>, Error> {
        let dialect = self.inner.dialect;
        for _ in 0..COMMIT_TRIES {
            let check = unknown;
            let result = self
                .write(|connection| {
                    let creations = creations.clone();
                    Box::pin(async move {
                        let committed = if check {
                            existing(connection, dialect, &creations).await?
                        } else {
                            HashSet::new()
                        };
                        let inserted = sort_out(connection, &creations, &committed).await?;
                        let new: Vec<&Creation> = creations
                            .iter()
                            .zip(&inserted)
                            .filter(|(creation, inserted)| {
                                **inserted == Inserted::New && !committed.contains(&creation.id())
                            })
                            .map(|(creation, _)| creation)
                            .collect();
                        insert_keys(connection, &new).await?;
                        insert_orders(connection, &new, guard).await?;
                        Ok(inserted)
                    })
                })
                .await;
            match result {
                Ok(inserted) => {
                    if !guard.is_zero() {
                        self.remember(&creations, &inserted);
                    }
                    return Ok(inserted);
                }
                Err(Error::CommitUnknown) => unknown = true,
                // Not even the look-up worked.
                Err(Error::Unavailable(_) | Error::TimedOut | Error::Locked(_)) if unknown => {}
                result => return result,
            }
        }
        Err(Error::CommitUnknown)
    }
}

impl Store {
    /// Keeps new orders that are about to be started.
    fn remember(&self, creations: &[Creation], inserted: &[Inserted]) {
        let new = creations.iter().zip(inserted).filter(|(_, inserted)| **inserted == Inserted::New);
        let orders = new.flat_map(|(creation, _)| &*creation.orders).filter(|order| order.starts_at_once());
        self.inner.recent.put(orders.map(|order| CachedOrder {
            locked: Locked {
                id: order.id,
                state: OrderState {
                    status: Status::Pending,
                    version: 1,
                    attempt: 0,
                    failures: 0,
                    max_attempts: order.max_attempts,
                    lease: None,
                    due_at: None,
                    not_before: order.not_before,
                    process_after: None,
                    updated_at: order.created_at,
                },
            },
            order: Some(order.order()),
        }));
    }
}

/// Those of the creations that are there, by their first order: committed by a try whose answer was
/// lost.
async fn existing(
    connection: &mut Connection,
    dialect: Dialect,
    creations: &[Creation],
) -> Result<HashSet<OrderId>, Error> {
    let mut found = HashSet::new();
    for piece in pieces(creations) {
        let mut sql = Statement::new("SELECT id FROM orders WHERE id");
        sql.within(piece.iter().map(|creation| creation.orders[0].id.as_bytes().as_slice()))
            .push(dialect.for_update());
        for row in sql.fetch(connection).await? {
            found.insert(rows::id(&row, 0)?);
        }
    }
    Ok(found)
}

/// Tells new creations from repetitions, by their keys.
async fn sort_out(
    connection: &mut Connection,
    creations: &[Creation],
    committed: &HashSet<OrderId>,
) -> Result<Vec<Inserted>, Error> {
    let undecided = creations.iter().filter(|creation| !committed.contains(&creation.id()));
    let keys = undecided.filter_map(|creation| creation.idempotency.as_ref());
    let mut used = used_keys(connection, keys).await?;
    let mut inserted = Vec::with_capacity(creations.len());
    for creation in creations {
        inserted.push(match &creation.idempotency {
            Some(idempotency) if !committed.contains(&creation.id()) => {
                match used.get(idempotency.key.as_bytes()) {
                    Some((hash, id)) if *hash == idempotency.request_hash => Inserted::Before(*id),
                    Some(_) => Inserted::KeyReused,
                    None => {
                        // The same key may come again in this very batch.
                        let key = idempotency.key.as_bytes().to_vec();
                        used.insert(key, (idempotency.request_hash, creation.id()));
                        Inserted::New
                    }
                }
            }
            Some(_) | None => Inserted::New,
        });
    }
    Ok(inserted)
}

pub(super) async fn insert_orders(
    connection: &mut Connection,
    creations: &[&Creation],
    guard: Duration,
) -> Result<(), Error> {
    let orders: Vec<&NewOrder> = creations.iter().flat_map(|creation| &*creation.orders).collect();
    let mut bytes = 0;
    let statements = orders.chunk_by(|_, next| {
        bytes += next.line_items.iter().map(|line| line.item.len() + LINE_BYTES).sum::<usize>();
        if bytes > STATEMENT_BYTES {
            bytes = 0;
        }
        bytes > 0
    });
    for piece in statements.flat_map(pieces) {
        let mut sql = columns::insert(piece.len());
        for order in piece {
            let start = order.not_before;
            let taken = !guard.is_zero() && order.starts_at_once();
            let stage = if taken { Stage::held(start + guard) } else { Stage::waiting(start) };
            columns::bind(&mut sql, &NewRow { order, stage });
        }
        sql.execute(connection).await?;
    }
    Ok(())
}
