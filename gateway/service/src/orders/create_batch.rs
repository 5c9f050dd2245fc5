//! Writes a batch of creates in one transaction, or in several if single creates fail.

use std::sync::Arc;
use std::time::Duration;

use domain::OrderId;
use domain::transition::Rules;
use gateway_store::{
    Cause, CreateRequest, Error as StoreError, InsertOutcome, InsertPlan, NewOrder, Outage, Store,
};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::command_batch::{flush_commands, record_changes};
use super::direct_start::{self, DirectStarts};
use super::undeliver::undeliver;
use crate::claims::Claims;
use crate::direct_enqueue::DirectEnqueue;
use crate::error::Error;
use crate::group_commit::FlushAttempt;
use crate::publisher::Publisher;
use crate::signals::Signals;
use crate::spans;
use telemetry::trace;

/// The parts that a batch of creates reports to.
#[derive(Clone)]
pub(super) struct CreateBatch {
    pub(super) store: Store,
    pub(super) rules: Rules,
    pub(super) claims: Claims,
    pub(super) direct_enqueue: DirectEnqueue,
    pub(super) publisher: Publisher,
    pub(super) signals: Signals,
    pub(super) tasks: TaskTracker,
}

impl CreateBatch {
    /// Writes a batch of creates, and reports the new orders to workers, dispatch, subscribers and metrics.
    pub(super) async fn flush(
        self,
        creations: Arc<[CreateRequest]>,
        attempt: FlushAttempt,
    ) -> Vec<Result<InsertOutcome, Error>> {
        let Self { store, rules, claims, direct_enqueue, publisher, signals, tasks } = self;
        let began = trace::now();
        let mut plan = InsertPlan::default();
        let mut starts = DirectStarts::default();
        let mut permit = None;
        if attempt == FlushAttempt::First {
            (plan.starts, starts) =
                DirectStarts::reserve(&claims, &direct_enqueue.lanes, &creations, store.now(), rules.lease);
            permit = direct_enqueue.reserve(&creations, |order| plan.starts.contains_key(&order.id));
            if permit.is_some() {
                plan.visibility_timeout = direct_enqueue.config.visibility_timeout;
            }
        }
        let plan = Arc::new(plan);
        let mut is_started = false;
        let inserted = match attempt {
            FlushAttempt::First => {
                store.insert_planned(creations.clone(), plan.clone()).await.map(|inserted| {
                    is_started = inserted.started;
                    inserted.outcomes
                })
            }
            FlushAttempt::AfterPanic => store.insert_missing(creations.clone()).await,
        };
        let results = match inserted {
            Ok(inserted) => inserted.into_iter().map(Ok).collect(),
            Err(StoreError::Locked(_)) if creations.len() > 1 => {
                permit = None;
                insert_individually(&store, &creations).await
            }
            Err(error) if may_be_caused_by_one(&error) && creations.len() > 1 => {
                permit = None;
                insert_in_halves(&store, &creations).await
            }
            Err(error) => vec![Err(to_create_error(error, creations[0].id())); creations.len()],
        };
        let new = || {
            let creations = creations.iter().zip(&results);
            let new = creations.filter(|(_, result)| matches!(result, Ok(InsertOutcome::Inserted)));
            new.flat_map(|(creation, _)| &*creation.orders)
        };
        let written = new().next().is_some();
        match results.iter().find_map(|result| result.as_ref().err()) {
            _ if written => direct_enqueue.health.record_write(Ok(())),
            Some(error) => direct_enqueue.health.record_write(Err(error)),
            None => {}
        }
        let waits = |order: &&NewOrder| !is_started || !plan.starts.contains_key(&order.id);
        match permit {
            Some(permit) => permit.push(new().filter(|order| !plan.starts.contains_key(&order.id))),
            None => direct_enqueue.wake.due(),
        }
        let of_others = new().filter(waits).filter(|order| !order.kind.is_default());
        of_others.for_each(|order| direct_enqueue.lanes.due(&order.kind));
        let start_of = |order: &NewOrder| plan.starts.get(&order.id).filter(|_| is_started);
        if let Some(began) = began {
            spans::record_insert(began, new());
        }
        let mut started = direct_start::outcomes(new(), start_of);
        if let Some(began) = began {
            spans::record_changes(began, &mut started);
        }
        let mut events: Vec<_> = new().map(|order| Arc::new(order.event())).collect();
        metrics::counter!("orders_created_total").increment(events.len() as u64);
        metrics::counter!("orders_batches_total", "kind" => "create").increment(1);
        metrics::counter!("orders_batch_entries_total", "kind" => "create").increment(creations.len() as u64);
        signals.record(events.iter().map(|event| (&**event, None)));
        events.extend(record_changes(&started, &direct_enqueue, &signals));
        publisher.publish(events);
        let mut undelivered = starts.send(started, &plan);
        if results.iter().any(|result| matches!(result, Err(Error::OutcomeUnknown(_)))) {
            // Orders that were written nevertheless have no worker.
            undelivered.extend(plan.starts.iter().map(|(id, start)| (*id, start.lease)));
        }
        if !undelivered.is_empty() {
            tasks.spawn(async move {
                let write = |commands: Vec<_>| {
                    let (store, direct_enqueue) = (store.clone(), direct_enqueue.clone());
                    let (publisher, signals) = (publisher.clone(), signals.clone());
                    let flush =
                        flush_commands(store, rules, direct_enqueue, publisher, signals, commands.into());
                    async { Ok(flush.await) }
                };
                undeliver(undelivered, rules.lease, write).await;
            });
        }
        results
    }
}

/// Maximum time of inserting creates individually. Each locked key takes a second.
const INSERT_INDIVIDUALLY_FOR: Duration = Duration::from_secs(3);

/// Inserts creates with a key individually, and all others together.
///
/// A key that a hanging transaction has locked therefore delays only its own create. Creates that are not reached in
/// time are not started.
async fn insert_individually(
    store: &Store,
    creations: &[CreateRequest],
) -> Vec<Result<InsertOutcome, Error>> {
    let without_key: Arc<[CreateRequest]> =
        creations.iter().filter(|creation| creation.idempotency.is_none()).cloned().collect();
    let mut together = match store.insert(without_key.clone()).await {
        Ok(inserted) => inserted.into_iter().map(Ok).collect::<Vec<_>>().into_iter(),
        Err(error) => {
            let first = without_key.first().map_or(creations[0].id(), CreateRequest::id);
            vec![Err(to_create_error(error, first)); without_key.len()].into_iter()
        }
    };
    let until = Instant::now() + INSERT_INDIVIDUALLY_FOR;
    let mut results = Vec::with_capacity(creations.len());
    for creation in creations {
        results.push(if creation.idempotency.is_none() {
            together.next().unwrap_or(Err(Error::Internal))
        } else if Instant::now() >= until {
            Err(Error::database_unavailable())
        } else {
            let inserted = store.insert(Arc::new([creation.clone()])).await;
            inserted
                .map_err(|error| to_create_error(error, creation.id()))
                .and_then(|mut inserted| inserted.pop().ok_or(Error::Internal))
        });
    }
    results
}

/// Maximum time of halving a batch that exceeds the time of a statement.
///
/// Callers that time out look their orders up by id.
const HALVED_FOR: Duration = Duration::from_secs(20);

/// Halves the batch until each rejected create is alone, and writes the others.
///
/// The database rejects a create that is too large, violates a constraint or is too slow.
async fn insert_in_halves(store: &Store, creations: &[CreateRequest]) -> Vec<Result<InsertOutcome, Error>> {
    let until = Instant::now() + HALVED_FOR;
    let mut results = Vec::with_capacity(creations.len());
    let mut pieces = vec![creations];
    while let Some(piece) = pieces.pop() {
        match store.insert(piece.into()).await {
            Ok(inserted) => results.extend(inserted.into_iter().map(Ok)),
            Err(error) if may_be_caused_by_one(&error) && piece.len() > 1 && Instant::now() < until => {
                let (first, second) = piece.split_at(piece.len() / 2);
                pieces.extend([second, first]);
            }
            Err(error) => results.extend(vec![Err(to_create_error(error, piece[0].id())); piece.len()]),
        }
    }
    results
}

/// Returns whether a single create can have caused the error of its transaction.
///
/// Nothing was written.
fn may_be_caused_by_one(error: &StoreError) -> bool {
    error.cause().is_some() || matches!(error, StoreError::Unavailable(Outage::StatementTime(_)))
}

fn to_create_error(error: StoreError, first: OrderId) -> Error {
    match error {
        StoreError::CommitUnknown => Error::OutcomeUnknown(first),
        error if error.cause() == Some(Cause::Refused) => {
            tracing::warn!(order_id = %first, %error, "the database refuses an order by a rule of its tables");
            Error::OrderRefused
        }
        error => error.into(),
    }
}
