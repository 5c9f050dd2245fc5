//! Changes of existing orders: the batch behind them and what its answers mean.

use domain::transition::{Command, Rules};
use domain::{Order, OrderId, Status};

use super::{Orders, Publisher};
use crate::Error;
use crate::batch::Failure;
use crate::dispatch::Wake;
use crate::store::{Applied, Store};

/// So many creates that wait keep the writers busy until the next ones have been read.
const ENOUGH_WAITING: usize = 128;
/// So many tasks that wait for a thread mean that requests come faster than they are read. A few more
/// wait in the threads' own lines.
const LONG_LINE: usize = 256;

impl Orders {
    /// Refuses a create before any work is spent on it: when it would be refused afterwards anyway, or
    /// when requests come faster than they can be read.
    ///
    /// The second is seen in the line of tasks that wait for a thread. A refusal costs a fraction of a
    /// create, so the line gets shorter and nobody waits for seconds; but as long as the writers would
    /// otherwise run dry, orders are accepted all the same.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(crate) fn has_room(&self) -> Result<(), Error> {
        let (waiting, room) = self.creations.waiting();
        let behind = || tokio::runtime::Handle::current().metrics().global_queue_depth() > LONG_LINE;
        if room == 0 || waiting >= ENOUGH_WAITING && behind() { Err(Error::overloaded()) } else { Ok(()) }
    }

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
            Failure::Overloaded => Error::overloaded(),
            // After a while without an answer the caller may ask again: commands recognise their effect.
            Failure::NotDone | Failure::Unknown => Error::database_unavailable(),
        })?;
        Ok(ids.into_iter().zip(applied).map(|(id, applied)| answer(id, applied?)).collect())
    }
}

/// Flushes a batch of commands and tells the system about the changes.
pub(super) async fn apply_all(
    store: Store,
    rules: Rules,
    wake: Wake,
    publisher: Publisher,
    commands: Vec<(OrderId, Command)>,
) -> Vec<Result<Applied, Error>> {
    let count = commands.len();
    let applied = match store.apply(commands.into(), rules).await {
        Ok(applied) => applied,
        Err(error) => return vec![Err(error.into()); count],
    };
    let mut events = Vec::new();
    for applied in &applied {
        if let Applied::Changed { event, .. } = applied {
            metrics::counter!("order_transitions_total", "status" => event.status.as_str()).increment(1);
            match event.status {
                Status::Processing => wake.started(),
                Status::Pending => wake.due(),
                Status::Completed | Status::Failed | Status::Cancelled => {}
            }
            events.push(event.clone());
        }
    }
    publisher.publish(events);
    applied.into_iter().map(Ok).collect()
}

/// The answer to commands that show the order.
pub(super) fn order(id: OrderId, applied: Applied) -> Result<Order, Error> {
    match applied {
        Applied::Changed { order, .. } | Applied::Unchanged { order } => {
            order.map(|order| *order).ok_or(Error::Internal)
        }
        Applied::Refused(refusal) => Err(Error::Refused { id, refusal }),
        Applied::NotFound => Err(Error::NotFound(id)),
        Applied::Locked => Err(Error::order_locked()),
    }
}

/// The answer to commands that show nothing.
pub(super) fn done(id: OrderId, applied: Applied) -> Result<(), Error> {
    match applied {
        Applied::Changed { .. } | Applied::Unchanged { .. } => Ok(()),
        Applied::Refused(refusal) => Err(Error::Refused { id, refusal }),
        Applied::NotFound => Err(Error::NotFound(id)),
        Applied::Locked => Err(Error::order_locked()),
    }
}
