//! The processor: pulls jobs from the queue, starts the orders at a gateway, runs a handler for each and reports outcomes.
//!
//! Start reading at [`run`], then `worker` (the loop and the shutdown), `slots` (the orders in the processor),
//! `gateway_client` (requests, across reconnects), `gateway_connection` (one stream) and `run_handler` (one run of the
//! handler). Users implement [`OrderHandler`]; [`handlers`] has two implementations.
//!
//! The processor knows no database and stores nothing. A job that it loses is pushed again, and an order whose attempt it
//! loses is retried after its lease expires.

mod attempt_span;
mod claim_stream;
mod claim_worker;
mod config;
mod error;
mod gateway_client;
mod gateway_connection;
pub mod handler;
mod handler_reports;
pub mod handlers;
mod health;
mod metrics;
mod requests;
mod run_handler;
mod slots;
mod worker;

use std::sync::Arc;

use tokio::task::JoinSet;

pub use async_trait::async_trait;
pub use config::Config;
pub use domain::{JsonText, Kinds, Outcome};
pub use error::Error;
pub use handler::{Attempt, OrderHandler};
pub use handler_reports::CheckpointError;
pub use health::ProcessorHealth;
pub use secrecy::SecretString;
pub use tokio_util::sync::CancellationToken;

/// Returns the name, type and help of every metric of a processor.
pub fn declared_metrics() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    metrics::METRICS.into_iter()
}

/// Processes orders until `shutdown` is ready, then drains and returns. Without a queue the gateways assign the orders.
///
/// An unavailable gateway or queue does not end it: both are retried without end. The drain has these steps:
///
/// 1. Nothing is pulled or started.
/// 2. Running handlers get [`Config::shutdown_timeout`] to finish, and their outcomes are reported.
/// 3. Handlers that still run are stopped and their orders released, which does not count as a failure.
/// 4. Reports without acknowledgement get [`Config::report_timeout`] more.
///
/// The remaining orders are retried after their leases expire. A processor and a gateway in one process shut down in this
/// order, so that the reports still reach the gateway.
///
/// Dropping the future stops every handler at its next await point and reports nothing.
///
/// # Errors
/// [`Error::Invalid`] for an invalid setting, before anything is started. [`Error::Refused`] if the gateways assign the
/// orders, and refuse the credential at the first connect.
pub async fn run(
    config: Config,
    queue: Option<Arc<dyn broker::Queue>>,
    handler: Arc<dyn OrderHandler>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    config.check()?;
    metrics::describe();
    let gateways = gateway_connection::Gateways::new(&config)?;
    let (worker_id, health) = (config.worker_id.clone(), config.health.clone());
    let Some(queue) = queue else {
        let streams = claim_stream::ClaimStreams::new(gateways);
        // A task, so that it shares a thread with the connection. Dropping the set ends it.
        let mut worker = JoinSet::new();
        worker.spawn(claim_worker::ClaimWorker::new(config, streams, handler).run(shutdown));
        return match worker.join_next().await {
            Some(Ok(ended)) => ended,
            Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Some(Err(_)) | None => Ok(()),
        };
    };
    let worker = worker::Worker::new(config, gateways, handler);
    tokio::select! {
        () = worker.run(&*queue, shutdown) => {}
        () = health.keep_registered(&*queue, &worker_id) => {}
    }
    ProcessorHealth::deregister(&*queue, &worker_id).await;
    Ok(())
}
