//! The runs of the handler for one event, until it succeeds.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::SystemTime;

use domain::Backoff;
use futures_util::FutureExt;
use futures_util::future::Either;
use telemetry::trace::{self, Span, SpanKind};
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
        let mut span = trace::span(SpanKind::Consumer, "handle event", event.trace);
        let handled = match span.as_ref().and_then(Span::context) {
            None => Either::Left(handled),
            Some(context) => Either::Right(trace::scope(context, handled)),
        };
        let handled = handled.await;
        if let Some(span) = &mut span {
            span.set("orders.id", event.order_id.to_string());
            span.set("orders.event.id", event.id.clone());
            span.set("orders.event.type", event.kind.as_str());
            if !matches!(handled, Ok(Ok(()))) {
                span.fail("the handler failed");
            }
        }
        drop(span);
        let Retry { reason, after } = match handled {
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
