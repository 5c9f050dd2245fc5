//! Changes of existing orders: the batch behind them and what its answers mean.
//!
//! A batch that fails because of one of its orders is halved until that order is alone, so it fails for this
//! order only. The order is parked (`store::park`) and its command answered as `order_unreadable`, which is final
//! for a worker: it frees its slot.

use std::sync::Arc;
use std::time::Duration;

use domain::transition::{Command, Rules};
use domain::{Order, OrderEvent, OrderId, Status};
use tokio::time::Instant;

use super::{Orders, Publisher};
use crate::Error;
use crate::batch::Failure;
use crate::panics::{self, Panicked};
use crate::shortcut::Shortcut;
use crate::store::{Applied, Cause, Error as StoreError, Outage, Store, Unreadable};

impl Orders {
    /// One command whose answer is the order.
    pub(super) async fn change(&self, id: OrderId, command: Command) -> Result<Order, Error> {
        self.apply(vec![(id, command)], order).await?.pop().ok_or(Error::Internal)?
    }

    /// Many commands in one group.
    pub(super) async fn apply<T>(
        &self,
        commands: Vec<(OrderId, Command)>,
        answer: impl Fn(OrderId, Applied) -> Result<T, Error>,
    ) -> Result<Vec<Result<T, Error>>, Error> {
        let ids: Vec<OrderId> = commands.iter().map(|(id, _)| *id).collect();
        let applied = self.transitions.submit(commands).await.map_err(|failure| match failure {
            Failure::Overloaded => self.too_late(),
            // After a while without an answer the caller may ask again: commands recognise their effect.
            Failure::NotDone => self.too_late(),
            Failure::Unknown => Error::database_unavailable(),
            Failure::Panicked => Error::Internal,
        })?;
        Ok(ids.into_iter().zip(applied).map(|(id, applied)| answer(id, applied?)).collect())
    }
}

/// How long a batch is halved that does not meet its deadline. Its callers have given up long before; what is
/// done until then is what they find done when they ask again.
const HALVED_FOR: Duration = Duration::from_secs(20);

/// Flushes a batch of commands and tells the system about the changes.
pub(super) async fn apply_all(
    store: Store,
    rules: Rules,
    shortcut: Shortcut,
    publisher: Publisher,
    commands: Arc<[(OrderId, Command)]>,
) -> Vec<Result<Applied, Error>> {
    let results = apply_isolated(&store, rules, commands).await;
    if let Some(Err(error)) = results.iter().find(|result| result.is_err()) {
        shortcut.vitals.wrote(Err(error));
    }
    let mut events = Vec::new();
    for applied in results.iter().flatten() {
        if let Applied::Changed { event, error_class, .. } = applied {
            match event.status {
                Status::Processing => shortcut.wake.started(),
                Status::Pending => shortcut.wake.due(),
                Status::Failed => shortcut.vitals.failed().note(event, error_class.as_deref()),
                Status::Completed | Status::Cancelled => {}
            }
            events.push(event.clone());
        }
    }
    if !events.is_empty() {
        shortcut.vitals.wrote(Ok(()));
    }
    for status in Status::ALL {
        let count = events.iter().filter(|event: &&Arc<OrderEvent>| event.status == status).count() as u64;
        if count > 0 {
            metrics::counter!("orders_transitions_total", "status" => status.as_str()).increment(count);
        }
    }
    publisher.publish(events);
    results
}

/// Carries out the commands in one transaction or, when that fails because of single orders, in several. Parks
/// the orders that cannot be changed.
async fn apply_isolated(
    store: &Store,
    rules: Rules,
    commands: Arc<[(OrderId, Command)]>,
) -> Vec<Result<Applied, Error>> {
    let until = Instant::now() + HALVED_FOR;
    let mut results = Vec::with_capacity(commands.len());
    // From the end, the next piece is the last one.
    let mut pieces = vec![commands];
    while let Some(piece) = pieces.pop() {
        match panics::contained("batch", store.apply(piece.clone(), rules)).await {
            Ok(Ok(applied)) => results.extend(applied.into_iter().map(Ok)),
            failed if piece.len() > 1 && may_be_halved(store, &failed, until).await => {
                let (first, second) = piece.split_at(piece.len() / 2);
                pieces.extend([second.into(), first.into()]);
            }
            Ok(Err(error)) => match (error.cause(), &*piece) {
                (Some(cause), [(order_id, _)]) => {
                    let detail = error.to_string();
                    results.push(Ok(Applied::Unreadable(Unreadable { order_id: *order_id, cause, detail })));
                }
                _ => results.extend(vec![Err(error.into()); piece.len()]),
            },
            Err(Panicked) => results.extend(piece.iter().map(|(order_id, _)| {
                let detail = "the gateway panics when it handles the order".to_owned();
                Ok(Applied::Unreadable(Unreadable { order_id: *order_id, cause: Cause::Defect, detail }))
            })),
        }
    }
    park(store, &results).await;
    results
}

/// Whether halves of a batch may succeed where all of it has failed: one of its orders is the reason, or the
/// database answers and the batch was too much for its deadline.
async fn may_be_halved<T>(
    store: &Store,
    failed: &Result<Result<T, StoreError>, Panicked>,
    until: Instant,
) -> bool {
    match failed {
        Ok(Ok(_)) => false,
        Err(Panicked) => true,
        Ok(Err(StoreError::TimedOut | StoreError::Unavailable(Outage::StatementTime(_)))) => {
            Instant::now() < until && store.refresh_clock().await.is_ok()
        }
        Ok(Err(error)) => error.cause().is_some(),
    }
}

async fn park(store: &Store, results: &[Result<Applied, Error>]) {
    let unreadable: Vec<Unreadable> = results
        .iter()
        .filter_map(|result| match result {
            Ok(Applied::Unreadable(unreadable)) => Some(unreadable.clone()),
            _ => None,
        })
        .collect();
    if let Err(error) = store.park(&unreadable).await {
        tracing::debug!(%error, "orders that cannot be processed are tried again sooner");
    }
}

/// The answer to commands that show the order.
pub(super) fn order(id: OrderId, applied: Applied) -> Result<Order, Error> {
    match applied {
        Applied::Changed { order, .. } | Applied::Unchanged { order } => {
            order.map(Arc::unwrap_or_clone).ok_or(Error::Internal)
        }
        Applied::Refused(refusal) => Err(Error::Refused { id, refusal }),
        Applied::NotFound => Err(Error::NotFound(id)),
        Applied::Locked => Err(Error::order_locked()),
        Applied::Unreadable(unreadable) => Err(unreadable.into()),
        // Only a start that limits the size is answered so, and it has an answer of its own.
        Applied::TooLarge(_) => Err(Error::Internal),
    }
}

/// What became of a start.
#[derive(Debug)]
pub(crate) enum Started {
    /// The order is started.
    Order(Box<Order>),
    /// The order has so many bytes, more than the start allows. It is as it was.
    TooLarge(usize),
}

/// The answer to starts that limit the size of the order.
pub(super) fn started(id: OrderId, applied: Applied) -> Result<Started, Error> {
    match applied {
        Applied::TooLarge(bytes) => Ok(Started::TooLarge(bytes)),
        applied => order(id, applied).map(|order| Started::Order(Box::new(order))),
    }
}

/// The answer to commands that show nothing.
pub(super) fn done(id: OrderId, applied: Applied) -> Result<(), Error> {
    match applied {
        Applied::Changed { .. } | Applied::Unchanged { .. } => Ok(()),
        Applied::Refused(refusal) => Err(Error::Refused { id, refusal }),
        Applied::NotFound => Err(Error::NotFound(id)),
        Applied::Locked => Err(Error::order_locked()),
        Applied::Unreadable(unreadable) => Err(unreadable.into()),
        // Only a start that limits the size is answered so, and it has an answer of its own.
        Applied::TooLarge(_) => Err(Error::Internal),
    }
}

#[cfg(test)]
mod tests {
    use domain::retry::{LONGEST_POSTPONEMENT, MAX_POSTPONEMENTS};

    use crate::limits_page::{row, time};

    #[test]
    fn the_limits_are_documented() {
        let postponements = MAX_POSTPONEMENTS.to_string();
        row("postponements of an order (`Retry-After`) that do not count as failures", &postponements);
        row("longest wait that the other side can ask for", &time(LONGEST_POSTPONEMENT));
    }
}
