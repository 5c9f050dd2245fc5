//! Changes of existing orders: the batch behind them and what its answers mean.

use std::sync::Arc;

use domain::transition::{Command, Rules};
use domain::{Order, OrderEvent, OrderId, Status};

use super::{Orders, Publisher};
use crate::Error;
use crate::batch::Failure;
use crate::shortcut::Shortcut;
use crate::store::{Applied, Store};

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

/// Flushes a batch of commands and tells the system about the changes.
pub(super) async fn apply_all(
    store: Store,
    rules: Rules,
    shortcut: Shortcut,
    publisher: Publisher,
    commands: Arc<[(OrderId, Command)]>,
) -> Vec<Result<Applied, Error>> {
    let count = commands.len();
    let applied = match store.apply(commands, rules).await {
        Ok(applied) => applied,
        Err(error) => {
            let error = Error::from(error);
            shortcut.vitals.wrote(Err(&error));
            return vec![Err(error); count];
        }
    };
    let mut events = Vec::new();
    for applied in &applied {
        if let Applied::Changed { event, .. } = applied {
            match event.status {
                Status::Processing => shortcut.wake.started(),
                Status::Pending => shortcut.wake.due(),
                Status::Completed | Status::Failed | Status::Cancelled => {}
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
            metrics::counter!("order_transitions_total", "status" => status.as_str()).increment(count);
        }
    }
    publisher.publish(events);
    applied.into_iter().map(Ok).collect()
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
