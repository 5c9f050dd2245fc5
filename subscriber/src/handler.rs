//! The port for the handling of an event.
//!
//! ```
//! use subscriber::{Delivery, Event, EventHandler, EventType, Retry, async_trait};
//!
//! /// Tells the warehouse about each cancelled order.
//! struct Warehouse;
//!
//! #[async_trait]
//! impl EventHandler for Warehouse {
//!     async fn handle(&self, event: &Event, _delivery: &Delivery) -> Result<(), Retry> {
//!         if event.kind == EventType::Cancelled {
//!             let order = event.order.as_ref().ok_or_else(|| Retry::new("the order was removed"))?;
//!             // … release the items of `order` here, with `event.id` as the idempotency key …
//!             println!("release {} line items", order.line_items.len());
//!         }
//!         Ok(())
//!     }
//! }
//! ```

use async_trait::async_trait;

use crate::delivery::Delivery;
use crate::event::Event;
use crate::retry::Retry;

/// Handles the events of the event log.
///
/// The events come one at a time, in the order of the log. The next one comes after `Ok`.
///
/// **At least once.** An event is delivered again if the handler fails, if the process ends before the next commit, and if
/// the lease of the reader is lost. An effect that must happen exactly once needs [`Event::id`] as its unique key, in the
/// transaction of the effect. An effect that cannot have a key, such as an e-mail, uses [`Delivery::mark`], and then happens
/// at most once.
///
/// **Limits.** A handler that fails is repeated without end, and later events wait: an event is never skipped. So does one
/// that panics. A handler is stopped at its next `.await`, so work that blocks its thread belongs in
/// `tokio::task::spawn_blocking`.
#[async_trait]
pub trait EventHandler: Send + Sync + 'static {
    /// Handles one event.
    ///
    /// # Errors
    /// [`Retry`] to get the same event again after a delay.
    async fn handle(&self, event: &Event, delivery: &Delivery) -> Result<(), Retry>;
}
