//! One run of the handler, which ends whatever the handler does short of blocking its thread.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::select;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{Attempt, OrderHandler, Outcome};

/// A handler that was told to stop may tidy up for so long.
const TIDY_UP: Duration = Duration::from_secs(5);

/// Runs `handler` for `attempt` until it answers, panics, or has taken `limit`. `None` when
/// `cancelled` fired first and the result is not wanted.
pub(crate) async fn run(
    handler: Arc<dyn OrderHandler>,
    attempt: Attempt,
    cancelled: CancellationToken,
    limit: Duration,
) -> Option<Outcome> {
    // The call itself is inside, so that a panic before the first await is caught as well.
    let work = async { handler.handle(attempt, cancelled.clone()).await };
    let mut work = pin!(AssertUnwindSafe(work).catch_unwind());
    select! {
        // Work first: a handler that never waits costs neither a timer nor a waker.
        biased;
        outcome = &mut work => Some(match outcome {
            // Only a processor that shuts down gives orders back: from a handler it would be an endless loop.
            Ok(Outcome::Released) => Outcome::retry("the handler gave the order back").with_class("handler_released"),
            Ok(outcome) => outcome,
            Err(panic) => panicked(&*panic),
        }),
        () = cancelled.cancelled() => {
            // What it says now is not wanted, and neither is what it panics with.
            let _ = timeout(TIDY_UP, work).await;
            None
        }
        () = sleep(limit) => {
            cancelled.cancel();
            match timeout(TIDY_UP, work).await {
                // It was done after all while it was told to stop.
                Ok(Ok(Outcome::Completed)) => Some(Outcome::Completed),
                _ => {
                    let reason = format!("the attempt took longer than {limit:?} and was stopped");
                    Some(Outcome::retry(reason).with_class("attempt_timeout"))
                }
            }
        }
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Outcome {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    Outcome::retry(format!("the handler panicked: {message}")).with_class("handler_panicked")
}
