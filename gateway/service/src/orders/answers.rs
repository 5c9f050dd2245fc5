//! What the outcome of a command means for its caller.

use std::sync::Arc;

use domain::{Order, OrderId};
use gateway_store::CommandOutcome;

use crate::error::Error;

/// The answer to commands that show the order.
pub(super) fn order(id: OrderId, applied: CommandOutcome) -> Result<Order, Error> {
    match applied {
        CommandOutcome::Changed { order, .. } | CommandOutcome::Unchanged { order } => {
            order.map(Arc::unwrap_or_clone).ok_or(Error::Internal)
        }
        CommandOutcome::Refused(refusal) => Err(Error::Refused { id, refusal }),
        CommandOutcome::NotFound => Err(Error::NotFound(id)),
        CommandOutcome::Locked => Err(Error::order_locked()),
        CommandOutcome::Unreadable(unreadable) => Err(unreadable.into()),
        // Only starts with a size limit have this outcome; `started` handles them.
        CommandOutcome::TooLarge(_) => Err(Error::Internal),
    }
}

/// What became of a start.
#[derive(Debug)]
pub enum Started {
    /// The order is started.
    Order(Box<Order>),
    /// The order has so many bytes, more than the start allows. It is as it was.
    TooLarge(usize),
}

/// The answer to starts that limit the size of the order.
pub(super) fn started(id: OrderId, applied: CommandOutcome) -> Result<Started, Error> {
    match applied {
        CommandOutcome::TooLarge(bytes) => Ok(Started::TooLarge(bytes)),
        applied => order(id, applied).map(|order| Started::Order(Box::new(order))),
    }
}

/// The answer to commands that show nothing.
pub(super) fn done(id: OrderId, applied: CommandOutcome) -> Result<(), Error> {
    match applied {
        CommandOutcome::Changed { .. } | CommandOutcome::Unchanged { .. } => Ok(()),
        CommandOutcome::Refused(refusal) => Err(Error::Refused { id, refusal }),
        CommandOutcome::NotFound => Err(Error::NotFound(id)),
        CommandOutcome::Locked => Err(Error::order_locked()),
        CommandOutcome::Unreadable(unreadable) => Err(unreadable.into()),
        // Only starts with a size limit have this outcome; `started` handles them.
        CommandOutcome::TooLarge(_) => Err(Error::Internal),
    }
}
