//! Converts the outcome of a command to the result of its caller.

use std::sync::Arc;

use domain::{Order, OrderId, TraceContext};
use gateway_store::CommandOutcome;

use crate::error::Error;

/// Returns the order that a command has changed.
pub(super) fn expect_order(id: OrderId, applied: CommandOutcome) -> Result<Order, Error> {
    match applied {
        CommandOutcome::Changed { order, .. } | CommandOutcome::Unchanged { order } => {
            order.map(Arc::unwrap_or_clone).ok_or(Error::Internal)
        }
        CommandOutcome::Refused(refusal) => Err(Error::Refused { id, refusal }),
        CommandOutcome::NotFound => Err(Error::NotFound(id)),
        CommandOutcome::Locked => Err(Error::order_locked()),
        CommandOutcome::Unreadable(unreadable) => Err(unreadable.into()),
        // Only starts with a size limit have this outcome; `expect_started` handles them.
        CommandOutcome::TooLarge(_) => Err(Error::Internal),
    }
}

/// The outcome of a start.
#[derive(Debug)]
pub enum StartOutcome {
    /// The order was started.
    Order {
        /// The order.
        order: Box<Order>,
        /// The span of its start, if its trace is recorded.
        trace: Option<TraceContext>,
    },
    /// The order was not started, because it has this number of bytes, which exceeds the limit.
    TooLarge(usize),
}

/// Returns the outcome of a start with a size limit.
pub(super) fn expect_started(id: OrderId, applied: CommandOutcome) -> Result<StartOutcome, Error> {
    match applied {
        CommandOutcome::TooLarge(bytes) => Ok(StartOutcome::TooLarge(bytes)),
        applied => {
            let started = match &applied {
                CommandOutcome::Changed { trace, .. } => *trace,
                _ => None,
            };
            let order = expect_order(id, applied)?;
            Ok(StartOutcome::Order { trace: started.or(order.trace), order: Box::new(order) })
        }
    }
}

/// Returns whether a command succeeded.
pub(super) fn expect_done(id: OrderId, applied: CommandOutcome) -> Result<(), Error> {
    match applied {
        CommandOutcome::Changed { .. } | CommandOutcome::Unchanged { .. } => Ok(()),
        CommandOutcome::Refused(refusal) => Err(Error::Refused { id, refusal }),
        CommandOutcome::NotFound => Err(Error::NotFound(id)),
        CommandOutcome::Locked => Err(Error::order_locked()),
        CommandOutcome::Unreadable(unreadable) => Err(unreadable.into()),
        // Only starts with a size limit have this outcome; `expect_started` handles them.
        CommandOutcome::TooLarge(_) => Err(Error::Internal),
    }
}
