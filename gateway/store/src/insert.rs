//! Accepts orders.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use domain::transition::OrderState;
use domain::{OrderId, Status};

use super::columns::NewRow;
use super::connection::Connection;
use super::create_request::{CreateRequest, InsertOutcome, NewOrder};
use super::idempotency::{insert_keys, used_keys};
use super::row_cache::CachedOrder;
use super::rows::{DispatchState, LockedRow};
use super::statement::{Statement, bucketed_chunks};
use super::{Dialect, Error, Store, columns, event_log, rows};

/// Bytes of line items after which a statement ends. It is far below the packet limit of a MySQL server (16 MiB in
/// older defaults), even if JSON escapes every character.
const STATEMENT_BYTES: usize = 1024 * 1024;
/// Bytes of a line item beside its name.
const LINE_BYTES: usize = 64;
/// Maximum number of tries to resolve a lost response to COMMIT.
const COMMIT_TRIES: u32 = 3;

impl Store {
    /// Writes the orders, which are their first events as well, and the idempotency keys, all in one transaction.
    ///
    /// New orders are due at once, or at the time for which they are scheduled. Returns the outcome of each request.
    ///
    /// When the response to COMMIT is lost, the store reads the orders by their ids, and writes them again if they are
    /// missing. The read waits for a transaction that is still in progress.
    ///
    /// # Errors
    /// [`Error::CommitUnknown`] when that did not help; then the orders are there or not. Every
    /// other error means that they are not.
    pub async fn insert(&self, requests: Arc<[CreateRequest]>) -> Result<Vec<InsertOutcome>, Error> {
        self.insert_claimed(requests, Duration::ZERO).await
    }

    /// As [`Self::insert`], as if [`Self::claim_fairly`] had claimed the orders that can be started at once.
    ///
    /// The caller pushes them to the queue, which holds them until `visibility_timeout` is over.
    ///
    /// # Errors
    /// As [`Self::insert`].
    pub async fn insert_claimed(
        &self,
        requests: Arc<[CreateRequest]>,
        visibility_timeout: Duration,
    ) -> Result<Vec<InsertOutcome>, Error> {
        self.insert_unless_there(requests, visibility_timeout, false).await
    }

    /// As [`Self::insert`], after a first try with an unknown outcome: committed orders are found by their ids and not
    /// written again.
    ///
    /// # Errors
    /// As [`Self::insert`].
    pub async fn insert_missing(&self, requests: Arc<[CreateRequest]>) -> Result<Vec<InsertOutcome>, Error> {
        self.insert_unless_there(requests, Duration::ZERO, true).await
    }

    /// `unknown` states that the orders may exist.
    async fn insert_unless_there(
        &self,
        requests: Arc<[CreateRequest]>,
        visibility_timeout: Duration,
        mut unknown: bool,
    ) -> Result<Vec<InsertOutcome>, Error> {
        let (dialect, event_log) = (self.inner.dialect, self.inner.options.event_log);
        for _ in 0..COMMIT_TRIES {
            let now = self.now();
            let check = unknown;
            let result = self
                .write(|connection| {
                    let requests = requests.clone();
                    Box::pin(async move {
                        let committed = if check {
                            existing(connection, dialect, &requests).await?
                        } else {
                            HashSet::new()
                        };
                        let inserted = partition_by_key(connection, &requests, &committed).await?;
                        let new: Vec<&CreateRequest> = requests
                            .iter()
                            .zip(&inserted)
                            .filter(|(request, inserted)| {
                                **inserted == InsertOutcome::Inserted && !committed.contains(&request.id())
                            })
                            .map(|(request, _)| request)
                            .collect();
                        insert_keys(connection, &new).await?;
                        insert_orders(connection, &new, visibility_timeout).await?;
                        if event_log {
                            let orders = new.iter().flat_map(|request| &*request.orders);
                            let events: Vec<_> = orders.map(|order| Arc::new(order.event())).collect();
                            event_log::append(connection, &events, now).await?;
                        }
                        Ok(inserted)
                    })
                })
                .await;
            match result {
                Ok(inserted) => {
                    if !visibility_timeout.is_zero() {
                        self.cache_new_orders(&requests, &inserted);
                    }
                    return Ok(inserted);
                }
                Err(Error::CommitUnknown) => unknown = true,
                // The read failed as well.
                Err(Error::Unavailable(_) | Error::TimedOut | Error::Locked(_)) if unknown => {}
                result => return result,
            }
        }
        Err(Error::CommitUnknown)
    }
}

impl Store {
    /// Caches new orders that are about to be started.
    fn cache_new_orders(&self, requests: &[CreateRequest], inserted: &[InsertOutcome]) {
        let new = requests.iter().zip(inserted).filter(|(_, inserted)| **inserted == InsertOutcome::Inserted);
        let orders = new.flat_map(|(request, _)| &*request.orders).filter(|order| order.starts_at_once());
        self.inner.row_cache.put(orders.map(|order| CachedOrder {
            locked: LockedRow {
                id: order.id,
                tenant: order.tenant_id.clone(),
                worker: None,
                trace: order.trace,
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

/// Returns the requests whose first order exists: a try with a lost response has committed them.
async fn existing(
    connection: &mut Connection,
    dialect: Dialect,
    requests: &[CreateRequest],
) -> Result<HashSet<OrderId>, Error> {
    let mut found = HashSet::new();
    for piece in bucketed_chunks(requests) {
        let mut sql = Statement::new("SELECT id FROM orders WHERE id");
        sql.push_in(piece.iter().map(|request| request.orders[0].id.as_bytes().as_slice()))
            .push(dialect.for_update());
        for row in sql.fetch(connection).await? {
            found.insert(rows::id(&row, 0)?);
        }
    }
    Ok(found)
}

/// Separates new requests from repetitions, by their keys.
async fn partition_by_key(
    connection: &mut Connection,
    requests: &[CreateRequest],
    committed: &HashSet<OrderId>,
) -> Result<Vec<InsertOutcome>, Error> {
    let undecided = requests.iter().filter(|request| !committed.contains(&request.id()));
    let mut used = used_keys(connection, undecided).await?;
    let mut inserted = Vec::with_capacity(requests.len());
    for request in requests {
        inserted.push(match &request.idempotency {
            Some(idempotency) if !committed.contains(&request.id()) => {
                match used.get(request.tenant(), &idempotency.key) {
                    Some((hash, id)) if *hash == idempotency.request_hash => InsertOutcome::Replayed(*id),
                    Some(_) => InsertOutcome::KeyConflict,
                    None => {
                        // The same key may occur again in this batch.
                        let (key, hash) = (idempotency.key.as_bytes(), idempotency.request_hash);
                        used.insert(request.tenant(), key, hash, request.id());
                        InsertOutcome::Inserted
                    }
                }
            }
            Some(_) | None => InsertOutcome::Inserted,
        });
    }
    Ok(inserted)
}

pub(super) async fn insert_orders(
    connection: &mut Connection,
    requests: &[&CreateRequest],
    visibility_timeout: Duration,
) -> Result<(), Error> {
    let orders: Vec<&NewOrder> = requests.iter().flat_map(|request| &*request.orders).collect();
    let mut bytes = 0;
    let statements = orders.chunk_by(|_, next| {
        bytes += next.line_items.iter().map(|line| line.item.len() + LINE_BYTES).sum::<usize>();
        if bytes > STATEMENT_BYTES {
            bytes = 0;
        }
        bytes > 0
    });
    for piece in statements.flat_map(bucketed_chunks) {
        let mut sql = columns::insert(piece.len());
        for order in piece {
            let start = order.not_before;
            let claimed = !visibility_timeout.is_zero() && order.starts_at_once();
            let stage = if claimed {
                DispatchState::held(start + visibility_timeout)
            } else {
                DispatchState::waiting(start)
            };
            columns::bind(&mut sql, &NewRow { order, stage });
        }
        sql.execute(connection).await?;
    }
    Ok(())
}
