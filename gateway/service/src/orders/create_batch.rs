//! Writes a batch of creates in one transaction, or in several if single creates fail.

use std::sync::Arc;
use std::time::Duration;

use domain::OrderId;
use gateway_store::{Cause, CreateRequest, Error as StoreError, InsertOutcome, Outage, Store};
use tokio::time::Instant;

use crate::direct_enqueue::DirectEnqueue;
use crate::error::Error;
use crate::group_commit::FlushAttempt;
use crate::publisher::Publisher;
use crate::signals::Signals;
use crate::spans;
use telemetry::trace;

/// Writes a batch of creates, and reports the new orders to dispatch, subscribers and metrics.
pub(super) async fn flush_creates(
    store: Store,
    direct_enqueue: DirectEnqueue,
    publisher: Publisher,
    signals: Signals,
    creations: Arc<[CreateRequest]>,
    attempt: FlushAttempt,
) -> Vec<Result<InsertOutcome, Error>> {
    let began = trace::now();
    let mut permit = if attempt == FlushAttempt::First { direct_enqueue.reserve(&creations) } else { None };
    let inserted = match (&permit, attempt) {
        (Some(_), _) => {
            store.insert_claimed(creations.clone(), direct_enqueue.config.visibility_timeout).await
        }
        (None, FlushAttempt::First) => store.insert(creations.clone()).await,
        (None, FlushAttempt::AfterPanic) => store.insert_missing(creations.clone()).await,
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
    match permit {
        Some(permit) => permit.push(new()),
        None => direct_enqueue.wake.due(),
    }
    if let Some(began) = began {
        spans::record_insert(began, new());
    }
    let events: Vec<_> = new().map(|order| Arc::new(order.event())).collect();
    metrics::counter!("orders_created_total").increment(events.len() as u64);
    metrics::counter!("orders_batches_total", "kind" => "create").increment(1);
    metrics::counter!("orders_batch_entries_total", "kind" => "create").increment(creations.len() as u64);
    signals.record(events.iter().map(|event| (&**event, None)));
    publisher.publish(events);
    results
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
