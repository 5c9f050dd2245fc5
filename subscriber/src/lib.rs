//! A subscriber: reads the event log of the gateways, and calls a handler for each event, in the order of the log.
//!
//! Start reading at [`run`], then `worker` (the loop over leases, pages and events), `session` (one lease: commits and
//! renewals), `run_handler` (one event, until its handler succeeds), `calls` (the calls to the gateways, across reconnects)
//! and `event` (the JSON of an event).
//! Users implement [`EventHandler`].
//!
//! The gateway stores the cursor up to which the events are applied. The subscriber stores nothing: after its end, another
//! process with the same reader name continues there.

mod calls;
mod config;
mod delivery;
mod error;
mod event;
pub mod handler;
mod health;
mod metrics;
mod retry;
mod run_handler;
mod session;
mod worker;

use std::sync::Arc;

pub use async_trait::async_trait;
pub use config::{Config, OnExpired, Start};
pub use delivery::Delivery;
pub use domain::{Currency, EventType, EventTypes, Money, OrderId, RetryPolicy, Status, Timestamp};
pub use error::Error;
pub use event::{Event, LineItem, OrderContent};
pub use handler::EventHandler;
pub use health::SubscriberHealth;
pub use retry::Retry;
pub use secrecy::SecretString;
pub use tls::ClientTls;
pub use tokio_util::sync::CancellationToken;

/// Returns the name, type and help of every metric of a subscriber.
pub fn declared_metrics() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    metrics::METRICS.into_iter()
}

/// Handles events until `shutdown` is ready, then commits the cursor and returns.
///
/// An unavailable gateway does not end it, and neither does a handler that fails: both are retried without end, and no event
/// is skipped. While another process has the lease of the reader, it waits, and takes over when that process ends.
///
/// At shutdown, the running handler gets [`Config::shutdown_timeout`] to finish. Then the cursor after the last applied
/// event is committed and the lease ends, so that another process continues immediately.
///
/// Dropping the future stops the handler at its next await point. The events since the last commit are then delivered again.
///
/// # Errors
/// [`Error::Invalid`] for an invalid setting, and [`Error::Refused`], [`Error::Expired`] and [`Error::Unreadable`], which
/// need a decision of an operator.
pub async fn run(
    config: Config,
    handler: Arc<dyn EventHandler>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    config.check()?;
    metrics::describe(&config.reader);
    let calls = calls::Calls::new(&config)?;
    worker::Worker::new(config, calls, handler).run(shutdown).await
}
