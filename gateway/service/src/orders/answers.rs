//! What the outcome of a command means for its caller.

use std::sync::Arc;

use domain::{Order, OrderId};
use gateway_store::Applied;

use crate::error::Error;

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
        // Only starts with a size limit have this outcome; `started` handles them.
        Applied::TooLarge(_) => Err(Error::Internal),
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
        // Only starts with a size limit have this outcome; `started` handles them.
        Applied::TooLarge(_) => Err(Error::Internal),
    }
}
