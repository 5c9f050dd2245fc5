//! Carries out a batch of commands on existing orders in one transaction.
//!
//! A batch that fails because of one order is halved until that order is alone, so that only its command fails. The
//! order is parked (`store::park`) and its command returns `order_unreadable`, which is final for a worker: it frees
//! its slot.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use domain::transition::{Command, Rules};
use domain::{OrderEvent, OrderId, Status};
use tokio::time::Instant;

use crate::attempt_metrics;
use crate::direct_enqueue::DirectEnqueue;
use crate::error::Error;
use crate::publisher::Publisher;
use crate::signals::Signals;
use crate::spans;
use gateway_store::{Cause, CommandOutcome, Error as StoreError, Outage, Probe, Store, Unreadable};
use telemetry::panics::{self, Panicked};
use telemetry::trace;

/// Maximum time of halving a batch that exceeds its deadline.
///
/// Its callers have timed out long before. When they repeat their commands, they find those that were carried out.
const HALVED_FOR: Duration = Duration::from_secs(20);

/// Carries out a batch of commands, and reports the changes to dispatch, subscribers and metrics.
pub(super) async fn flush_commands(
    store: Store,
    rules: Rules,
    direct_enqueue: DirectEnqueue,
    publisher: Publisher,
    signals: Signals,
    commands: Arc<[(OrderId, Command)]>,
) -> Vec<Result<CommandOutcome, Error>> {
    metrics::counter!("orders_batches_total", "kind" => "command").increment(1);
    metrics::counter!("orders_batch_entries_total", "kind" => "command").increment(commands.len() as u64);
    let began = trace::now();
    let mut results = apply_and_park(&store, rules, commands).await;
    if let Some(began) = began {
        spans::record_changes(began, &mut results);
    }
    if let Some(Err(error)) = results.iter().find(|result| result.is_err()) {
        direct_enqueue.health.record_write(Err(error));
    }
    let events = record_changes(&results, &direct_enqueue, &signals);
    if !events.is_empty() {
        direct_enqueue.health.record_write(Ok(()));
    }
    publisher.publish(events);
    results
}

/// Reports changes to dispatch, statistics and metrics, and returns their events.
pub(super) fn record_changes(
    results: &[Result<CommandOutcome, Error>],
    direct_enqueue: &DirectEnqueue,
    signals: &Signals,
) -> Vec<Arc<OrderEvent>> {
    let (mut events, mut times) = (Vec::new(), Vec::new());
    for applied in results.iter().flatten() {
        if let CommandOutcome::Changed { event, order, error_class, elapsed, worker, trace } = applied {
            attempt_metrics::record(event, order.as_deref(), *elapsed);
            times.push(*elapsed);
            match event.status {
                Status::Processing => direct_enqueue.wake.started(),
                Status::Pending => direct_enqueue.wake.due(),
                Status::Failed => direct_enqueue.health.failed_orders().record(
                    event,
                    error_class.as_deref(),
                    worker.as_ref(),
                    *trace,
                ),
                Status::Completed | Status::Cancelled => {}
            }
            events.push(event.clone());
        }
    }
    for status in Status::ALL {
        let count = events.iter().filter(|event: &&Arc<OrderEvent>| event.status == status).count() as u64;
        if count > 0 {
            metrics::counter!("orders_transitions_total", "status" => status.as_str()).increment(count);
        }
    }
    signals.record(events.iter().map(Arc::as_ref).zip(times));
    events
}

/// Carries out the commands in one transaction or, when single orders fail, in several. Parks orders that cannot be
/// changed.
async fn apply_and_park(
    store: &Store,
    rules: Rules,
    commands: Arc<[(OrderId, Command)]>,
) -> Vec<Result<CommandOutcome, Error>> {
    let apply = |piece| store.apply(piece, rules);
    let answers = || async { store.refresh_clock().await.is_ok() };
    let writes = || async { store.probe(Probe::Commit).await.is_ok() };
    let results = apply_in_halves(commands, apply, answers, writes).await;
    park(store, &results).await;
    results
}

/// Halves a failed batch until each failing order is alone. `answers` returns whether the database responds, `writes`
/// whether it accepts a write to another row.
async fn apply_in_halves<A, B, C>(
    commands: Arc<[(OrderId, Command)]>,
    apply: impl Fn(Arc<[(OrderId, Command)]>) -> A,
    answers: impl Fn() -> B,
    writes: impl Fn() -> C,
) -> Vec<Result<CommandOutcome, Error>>
where
    A: Future<Output = Result<Vec<CommandOutcome>, StoreError>>,
    B: Future<Output = bool>,
    C: Future<Output = bool>,
{
    let until = Instant::now() + HALVED_FOR;
    let unreadable =
        |order_id, cause, detail| Ok(CommandOutcome::Unreadable(Unreadable { order_id, cause, detail }));
    let mut results = Vec::with_capacity(commands.len());
    // Indexes into `results` of commands that exceed their time although they are alone.
    let mut slow = Vec::new();
    // A stack: the next piece is the last one.
    let mut pieces = vec![commands.clone()];
    while let Some(piece) = pieces.pop() {
        match panics::catch_async("batch", apply(piece.clone())).await {
            Ok(Ok(applied)) => results.extend(applied.into_iter().map(Ok)),
            failed if piece.len() > 1 && may_be_halved(&failed, &answers, until).await => {
                let (first, second) = piece.split_at(piece.len() / 2);
                pieces.extend([second.into(), first.into()]);
            }
            Ok(Err(error)) => match (error.cause(), &*piece) {
                (Some(cause), [(order_id, _)]) => {
                    results.push(unreadable(*order_id, cause, error.to_string()));
                }
                _ => {
                    if piece.len() == 1 && is_slow(&error) && Instant::now() < until {
                        slow.push(results.len());
                    }
                    results.extend(vec![Err(error.into()); piece.len()]);
                }
            },
            Err(Panicked) => results.extend(piece.iter().map(|(order_id, _)| {
                let detail = "the gateway panics when it handles the order".to_owned();
                unreadable(*order_id, Cause::Defect, detail)
            })),
        }
    }
    // A short delay of the database must not park an order: the order has to be slow again, after a write to another
    // row was not.
    if !slow.is_empty() && writes().await {
        for index in slow {
            let command = &commands[index..=index];
            match panics::catch_async("batch", apply(command.into())).await {
                Ok(Err(error)) if is_slow(&error) => {
                    results[index] = unreadable(command[0].0, Cause::TooSlow, error.to_string());
                }
                Ok(Ok(applied)) => results.splice(index..=index, applied.into_iter().map(Ok)).for_each(drop),
                Ok(Err(_)) | Err(Panicked) => {}
            }
        }
    }
    results
}

fn is_slow(error: &StoreError) -> bool {
    matches!(error, StoreError::TimedOut | StoreError::Unavailable(Outage::StatementTime(_)))
}

/// Returns whether halves of a failed batch can succeed.
///
/// They can if one order caused the error, or if the database responds and the batch exceeded its deadline.
async fn may_be_halved<T, B: Future<Output = bool>>(
    failed: &Result<Result<T, StoreError>, Panicked>,
    answers: impl Fn() -> B,
    until: Instant,
) -> bool {
    match failed {
        Ok(Ok(_)) => false,
        Err(Panicked) => true,
        Ok(Err(error)) if is_slow(error) => Instant::now() < until && answers().await,
        Ok(Err(error)) => error.cause().is_some(),
    }
}

async fn park(store: &Store, results: &[Result<CommandOutcome, Error>]) {
    let unreadable: Vec<Unreadable> = results
        .iter()
        .filter_map(|result| match result {
            Ok(CommandOutcome::Unreadable(unreadable)) => Some(unreadable.clone()),
            _ => None,
        })
        .collect();
    if let Err(error) = store.park(&unreadable).await {
        tracing::debug!(%error, "failed to park orders, they are retried earlier");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicU32, Ordering};

    use domain::LeaseToken;
    use domain::retry::{MAX_POSTPONEMENT, MAX_POSTPONEMENTS};
    use domain::transition::MAX_UNDELIVERED;

    use super::*;
    use limits_page::{row, time};

    #[test]
    fn the_limits_are_documented() {
        let postponements = MAX_POSTPONEMENTS.to_string();
        row("postponements of an order (`Retry-After`) that do not count as failures", &postponements);
        row(
            "attempts of an order that do not count because their jobs reached no worker",
            &MAX_UNDELIVERED.to_string(),
        );
        row("maximum delay that a called service can ask for", &time(MAX_POSTPONEMENT));
    }

    fn starts(count: u8) -> Arc<[(OrderId, Command)]> {
        let command = |n| (OrderId::from_bytes([n; 16]), Command::start(LeaseToken::random()));
        (0..count).map(command).collect()
    }

    fn done(piece: &[(OrderId, Command)]) -> Result<Vec<CommandOutcome>, StoreError> {
        Ok(piece.iter().map(|_| CommandOutcome::Unchanged { order: None }).collect())
    }

    /// Returns the causes of parked orders by their index in the batch.
    fn parked(results: &[Result<CommandOutcome, Error>]) -> Vec<(usize, Cause)> {
        let parked = results.iter().enumerate().filter_map(|(n, result)| match result {
            Ok(CommandOutcome::Unreadable(one)) => Some((n, one.cause)),
            _ => None,
        });
        parked.collect()
    }

    async fn yes() -> bool {
        true
    }

    #[tokio::test]
    async fn panic_parks_only_its_order() {
        let commands = starts(16);
        let bad = BTreeSet::from([commands[3].0, commands[12].0]);
        let apply = |piece: Arc<[(OrderId, Command)]>| {
            let bad = &bad;
            async move {
                assert!(!piece.iter().any(|(id, _)| bad.contains(id)), "a defect");
                done(&piece)
            }
        };
        let results = apply_in_halves(commands, apply, yes, yes).await;
        assert_eq!(parked(&results), [(3, Cause::Defect), (12, Cause::Defect)]);
        assert_eq!(
            results.iter().filter(|result| matches!(result, Ok(CommandOutcome::Unchanged { .. }))).count(),
            14
        );
    }

    #[tokio::test(start_paused = true)]
    async fn order_that_exceeds_its_time_is_parked() {
        let commands = starts(16);
        let slow = commands[5].0;
        let apply = |piece: Arc<[(OrderId, Command)]>| async move {
            if piece.iter().any(|(id, _)| *id == slow) {
                tokio::time::sleep(Duration::from_secs(1)).await;
                return Err(StoreError::TimedOut);
            }
            done(&piece)
        };
        let results = apply_in_halves(commands.clone(), apply, yes, yes).await;
        assert_eq!(parked(&results), [(5, Cause::TooSlow)]);
        assert_eq!(
            results.iter().filter(|result| matches!(result, Ok(CommandOutcome::Unchanged { .. }))).count(),
            15
        );
        // While the database accepts no other write either, the order is not parked.
        let results = apply_in_halves(commands.clone(), apply, yes, || async { false }).await;
        assert_eq!(parked(&results), []);
        assert!(matches!(results[5], Err(Error::Unavailable { .. })), "{:?}", results[5]);
        // Nor after a delay of the database that ends meanwhile.
        let pauses = AtomicU32::new(1);
        let apply = |piece: Arc<[(OrderId, Command)]>| {
            let slow = pauses.fetch_sub(1, Ordering::Relaxed) == 1;
            async move { if slow { Err(StoreError::TimedOut) } else { done(&piece) } }
        };
        let results = apply_in_halves(commands[..1].into(), apply, yes, yes).await;
        assert!(matches!(results[..], [Ok(CommandOutcome::Unchanged { .. })]), "{results:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn batch_is_not_halved_while_the_database_is_unavailable() {
        let attempts = AtomicU32::new(0);
        let apply = |_| {
            attempts.fetch_add(1, Ordering::Relaxed);
            async { Err(StoreError::TimedOut) }
        };
        let results = apply_in_halves(starts(16), apply, || async { false }, yes).await;
        assert_eq!(attempts.load(Ordering::Relaxed), 1);
        assert!(results.iter().all(|result| matches!(result, Err(Error::Unavailable { .. }))));
        // Halving ends after a limit when the database responds but meets no deadline.
        let apply = |_| async {
            tokio::time::sleep(Duration::from_secs(4)).await;
            Err(StoreError::TimedOut)
        };
        let begin = Instant::now();
        let results = apply_in_halves(starts(255), apply, yes, yes).await;
        assert!(begin.elapsed() < HALVED_FOR + Duration::from_secs(60), "{:?}", begin.elapsed());
        assert!(results.iter().all(|result| matches!(result, Err(Error::Unavailable { .. }))));
    }
}
