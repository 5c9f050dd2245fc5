//! The processor: takes hints from the queue, starts the orders at a gateway, runs a handler for
//! each and reports how it went.
//!
//! Start reading at [`run`], then `worker` (the loop and the shutdown), `slots` (the orders in hand),
//! `client` (the stream to a gateway, which outlives the connections below it) and `attempt` (one
//! run of the handler). Users plug in at [`OrderHandler`]; [`handlers`] has two to start with.
//!
//! The processor knows no database and keeps nothing: a hint that it loses is pushed again, an
//! attempt that it loses comes back when its lease runs out.

mod attempt;
mod backoff;
mod client;
mod config;
mod connect;
mod error;
pub mod handler;
pub mod handlers;
mod health;
mod metrics;
mod slots;
mod worker;

use std::sync::Arc;

pub use async_trait::async_trait;
pub use config::Config;
pub use domain::Outcome;
pub use error::Error;
pub use handler::{Attempt, OrderHandler};
pub use health::ProcessorHealth;
pub use tokio_util::sync::CancellationToken;

/// Every metric of a processor: its name, its type and its help.
pub fn declared_metrics() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    metrics::METRICS.into_iter()
}

/// Processes orders until `shutdown` is ready, then drains and returns.
///
/// Neither a gateway nor a queue that is away ends it: both are tried again for ever. The drain:
/// nothing new is pulled or started; running handlers get [`Config::shutdown_timeout`] to finish and are
/// reported as ever; those that still run are then stopped and their orders given back, which costs
/// them no attempt; reports that are not acknowledged get [`Config::report_timeout`] more. Whatever is
/// left after that comes back when its lease runs out. A processor and a gateway in one process
/// shut down in this order, so that the reports still find the gateway.
///
/// Dropping the future stops every handler at its next await point and reports nothing.
///
/// # Errors
/// [`Error::Invalid`] for a setting that cannot work; nothing has been started then.
pub async fn run(
    config: Config,
    queue: Arc<dyn broker::Queue>,
    handler: Arc<dyn OrderHandler>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    config.check()?;
    metrics::describe();
    let gateways = connect::Gateways::new(&config)?;
    let (worker_id, health) = (config.worker_id.clone(), config.health.clone());
    let worker = worker::Worker::new(config, gateways, handler);
    tokio::select! {
        () = worker.run(&*queue, shutdown) => {}
        () = health.keep_registered(&*queue, &worker_id) => {}
    }
    ProcessorHealth::deregister(&*queue, &worker_id).await;
    Ok(())
}
