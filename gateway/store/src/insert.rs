//! Accepts orders.

use std::collections::HashSet;
use std::sync::Arc;

use domain::transition::OrderState;
use domain::{OrderId, Status};

use super::columns::{InsertKind, NewRow};
use super::connection::Connection;
use super::create_request::{CreateRequest, InsertOutcome, NewOrder};
use super::idempotency::{insert_keys, used_keys};
use super::insert_plan::{InsertPlan, Inserted};
use super::pause::paused;
use super::references::Checked;
use super::row_cache::CachedOrder;
use super::rows::{DispatchState, LockedRow};
use super::statement::{Statement, bucketed_chunks};
use super::{Dialect, Error, Shard, columns, event_log, rows};

/// Bytes of line items and metadata after which a statement ends. It is far below the packet limit of a MySQL server (16 MiB in
/// older defaults), even if JSON escapes every character.
const STATEMENT_BYTES: usize = 1024 * 1024;
/// Bytes of a line item beside its name.
const LINE_BYTES: usize = 64;
/// Maximum number of tries to resolve a lost response to COMMIT.
const COMMIT_TRIES: u32 = 3;

impl Shard {
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
        Ok(self.insert_unless_there(requests, Arc::default(), false).await?.outcomes)
    }

    /// As [`Self::insert`], by a plan.
    ///
    /// The caller pushes orders that the queue holds, and sends started ones to their workers.
    ///
    /// # Errors
    /// As [`Self::insert`].
    pub async fn insert_planned(
        &self,
        requests: Arc<[CreateRequest]>,
        plan: Arc<InsertPlan>,
    ) -> Result<Inserted, Error> {
        self.insert_unless_there(requests, plan, false).await
    }

    /// As [`Self::insert`], after a first try with an unknown outcome: committed orders are found by their ids and not
    /// written again.
    ///
    /// # Errors
    /// As [`Self::insert`].
    pub async fn insert_missing(&self, requests: Arc<[CreateRequest]>) -> Result<Vec<InsertOutcome>, Error> {
        Ok(self.insert_unless_there(requests, Arc::default(), true).await?.outcomes)
    }

    /// `unknown` states that the orders may exist.
    async fn insert_unless_there(
        &self,
        requests: Arc<[CreateRequest]>,
        plan: Arc<InsertPlan>,
        mut unknown: bool,
    ) -> Result<Inserted, Error> {
        let (dialect, event_log) = (self.inner.dialect, self.inner.options.event_log);
        let rules = &self.inner.reference_rules;
        let is_placed = self.inner.place.is_some();
        for _ in 0..COMMIT_TRIES {
            let now = self.now();
            let check = unknown;
            let reserved = match is_placed {
                true => Arc::new(self.reserve(&requests, None).await?),
                false => Arc::default(),
            };
            let result = self
                .write(|connection| {
                    let (requests, plan, rules) = (requests.clone(), plan.clone(), rules.clone());
                    let reserved = reserved.clone();
                    Box::pin(async move {
                        let Existing { ids: committed, started: were_started } = if check {
                            existing(connection, dialect, &requests).await?
                        } else {
                            Existing::default()
                        };
                        // The first try has committed all of them, and has decided about their start, or none.
                        let started = if committed.is_empty() {
                            !plan.starts.is_empty() && !paused(connection, dialect.for_share(), now).await?
                        } else {
                            were_started
                        };
                        let mut outcomes = partition_by_key(connection, &requests, &committed).await?;
                        let mut references = Checked::new(connection, dialect, &rules, &requests).await?;
                        if is_placed {
                            references = references.rely_on(&reserved)?;
                            reserved.refuse(&requests, &committed, &mut outcomes);
                        }
                        references.refuse(connection, &requests, &committed, &mut outcomes).await?;
                        let new: Vec<&CreateRequest> = requests
                            .iter()
                            .zip(&outcomes)
                            .filter(|(request, outcome)| {
                                **outcome == InsertOutcome::Inserted && !committed.contains(&request.id())
                            })
                            .map(|(request, _)| request)
                            .collect();
                        insert_keys(connection, &new).await?;
                        references.insert(connection, &new).await?;
                        insert_orders(connection, &new, &plan, started).await?;
                        references.confirm(connection, dialect, &rules).await?;
                        if event_log {
                            let events = new.iter().flat_map(|request| &*request.orders).flat_map(|order| {
                                let start = plan.starts.get(&order.id).filter(|_| started);
                                [Some(order.event()), start.map(|start| start.event(order))]
                            });
                            let events: Vec<_> = events.flatten().map(Arc::new).collect();
                            event_log::append(connection, &events, now).await?;
                        }
                        Ok(Inserted { outcomes, started })
                    })
                })
                .await;
            if is_placed && !matches!(result, Err(Error::CommitUnknown)) {
                let outcomes = result.as_ref().map(|inserted| &*inserted.outcomes).unwrap_or_default();
                let written =
                    requests.iter().zip(outcomes).filter(|(_, outcome)| **outcome == InsertOutcome::Inserted);
                let written: HashSet<OrderId> = written.map(|(request, _)| request.id()).collect();
                self.release(&reserved, |request| written.contains(&request)).await;
            }
            match result {
                Err(Error::Outdated) if is_placed => {}
                Ok(inserted) => {
                    if inserted.started || !plan.visibility_timeout.is_zero() {
                        self.cache_new_orders(&requests, &plan, &inserted);
                    }
                    return Ok(inserted);
                }
                Err(Error::CommitUnknown) => unknown = true,
                // The read failed as well.
                Err(Error::Unavailable(_) | Error::TimedOut | Error::Locked(_)) if unknown => {}
                result => return result,
            }
        }
        // The rule of references changed each time.
        if unknown { Err(Error::CommitUnknown) } else { Err(Error::Outdated) }
    }
}

impl Shard {
    /// Caches new orders that are started or about to be started.
    fn cache_new_orders(&self, requests: &[CreateRequest], plan: &InsertPlan, inserted: &Inserted) {
        let new = requests.iter().zip(&inserted.outcomes);
        let new = new.filter(|(_, outcome)| **outcome == InsertOutcome::Inserted);
        let orders = new.flat_map(|(request, _)| &*request.orders);
        let orders = orders.filter(|order| {
            order.is_enqueued_directly() || (inserted.started && plan.starts.contains_key(&order.id))
        });
        self.inner.row_cache.put(orders.map(|order| {
            let start = plan.starts.get(&order.id).filter(|_| inserted.started);
            let state = start.map(|start| start.state(order)).unwrap_or(OrderState {
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
            });
            CachedOrder {
                locked: LockedRow {
                    id: order.id,
                    tenant: order.tenant_id.clone(),
                    worker: start.and_then(|start| start.worker.clone()),
                    trace: order.trace,
                    state,
                },
                // The end of an attempt does not need the order.
                order: start.is_none().then(|| order.order()),
            }
        }));
    }
}

/// What a try with a lost response has committed.
#[derive(Default)]
struct Existing {
    /// The first orders of the requests.
    ids: HashSet<OrderId>,
    /// Whether some of them were started with their creation. No worker has got them yet.
    started: bool,
}

/// Returns the requests whose first order exists: a try with a lost response has committed them.
async fn existing(
    connection: &mut Connection,
    dialect: Dialect,
    requests: &[CreateRequest],
) -> Result<Existing, Error> {
    let mut found = Existing::default();
    for piece in bucketed_chunks(requests) {
        let mut sql = Statement::new("SELECT id, attempt FROM orders WHERE id");
        sql.push_in(piece.iter().map(|request| request.orders[0].id.as_bytes().as_slice()))
            .push(dialect.for_update());
        for row in sql.fetch(connection).await? {
            found.ids.insert(rows::id(&row, 0)?);
            found.started |= rows::number::<u32>(&row, 1)? > 0;
        }
    }
    Ok(found)
}

/// Separates new requests from repetitions, by their keys.
pub(super) async fn partition_by_key(
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
    plan: &InsertPlan,
    started: bool,
) -> Result<(), Error> {
    let orders = requests.iter().flat_map(|request| &*request.orders);
    let start_of = |order: &NewOrder| plan.starts.get(&order.id).filter(|_| started);
    let (starting, waiting) = orders.partition::<Vec<&NewOrder>, _>(|order| start_of(order).is_some());
    for (orders, is_started) in [(waiting, false), (starting, true)] {
        for piece in statements(&orders) {
            let kind = InsertKind::of(piece, is_started);
            let mut sql = columns::insert(piece.len(), kind);
            for order in piece {
                let start = start_of(order);
                let held = !plan.visibility_timeout.is_zero()
                    && order.is_enqueued_directly()
                    && !plan.starts.contains_key(&order.id);
                let stage = match start {
                    Some(start) => DispatchState::held(start.until),
                    None if held => DispatchState::held(order.not_before + plan.visibility_timeout),
                    None => DispatchState::waiting(order.not_before),
                };
                columns::bind(&mut sql, &NewRow { order, stage, start }, kind);
            }
            sql.execute(connection).await?;
        }
    }
    Ok(())
}

/// Divides the orders into those of one statement each.
fn statements<'o>(orders: &'o [&'o NewOrder]) -> impl Iterator<Item = &'o [&'o NewOrder]> {
    let mut bytes = 0;
    let pieces = orders.chunk_by(move |_, next| {
        bytes += next.line_items.iter().map(|line| line.item.len() + LINE_BYTES).sum::<usize>();
        bytes += next.metadata.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        if bytes > STATEMENT_BYTES {
            bytes = 0;
        }
        bytes > 0
    });
    pieces.flat_map(bucketed_chunks)
}
