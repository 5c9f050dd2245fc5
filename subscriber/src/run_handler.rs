//! The runs of the handler for one event, until it succeeds.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::SystemTime;

use domain::Backoff;
use futures_util::FutureExt;
use tokio::select;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::delivery::Delivery;
use crate::event::Event;
use crate::handler::EventHandler;
use crate::metrics;
use crate::retry::Retry;
use crate::session::Session;

/// Calls the handler until it succeeds. Returns `false` if the subscriber stops before.
pub(crate) async fn run_handler(
    config: &Config,
    handler: &dyn EventHandler,
    event: &Event,
    session: &Arc<Session>,
    stop: &CancellationToken,
) -> bool {
    let delivery = Delivery::new(event, session.clone(), stop.clone());
    let mut backoff = Backoff::new(config.retry);
    while !stop.is_cancelled() {
        metrics::set_lag(&config.reader, age_in_seconds(event));
        // The call is inside the future, so that a panic before the first await is caught as well.
        let handled = AssertUnwindSafe(async { handler.handle(event, &delivery).await }).catch_unwind();
        let Retry { reason, after } = match handled.await {
            Ok(Ok(())) => {
                metrics::count_event(&config.reader, "applied");
                return true;
            }
            Ok(Err(retry)) => retry,
            Err(panic) => {
                telemetry::panics::record("event handler", &*panic);
                Retry::new("the handler panicked")
            }
        };
        metrics::count_event(&config.reader, "retried");
        let delay = backoff.next_delay();
        let delay = after.unwrap_or(delay);
        let failures = backoff.failures();
        tracing::warn!(
            event = event.id,
            reason,
            failures,
            ?delay,
            "the handler of an event failed, retrying"
        );
        select! {
            () = sleep(delay) => {}
            () = stop.cancelled() => return false,
        }
    }
    false
}

/// The age by the clock of this machine.
fn age_in_seconds(event: &Event) -> f64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (now.as_secs_f64() - event.timestamp.as_micros() as f64 / 1e6).max(0.0)
}
