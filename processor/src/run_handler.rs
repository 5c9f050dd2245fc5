//! One run of the handler. It ends regardless of the handler's behaviour, unless the handler blocks its thread.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use domain::Outcome;
use futures_util::FutureExt;
use tokio::select;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::handler::{Attempt, OrderHandler};

/// The time for cleanup of a handler whose token was cancelled.
const CANCEL_GRACE: Duration = Duration::from_secs(5);

/// Runs `handler` for `attempt` until it returns, panics, or reaches `time_limit`.
/// `None` if `cancelled` fired first and the outcome is not needed.
pub(crate) async fn run_handler(
    handler: Arc<dyn OrderHandler>,
    attempt: Box<Attempt>,
    cancelled: CancellationToken,
    time_limit: Duration,
) -> Option<Outcome> {
    // The call is inside the future, so that a panic before the first await is caught as well.
    let work = async { handler.handle(*attempt, cancelled.clone()).await };
    let mut work = pin!(AssertUnwindSafe(work).catch_unwind());
    select! {
        // The handler is polled first: one that never waits costs neither a timer nor a waker.
        biased;
        outcome = &mut work => Some(match outcome {
            // Only a processor that shuts down releases orders; a handler that does it would cause an endless loop.
            Ok(Outcome::Released) => Outcome::retry("the handler gave the order back").with_class("handler_released"),
            Ok(outcome) => outcome,
            Err(panic) => panic_outcome(&*panic),
        }),
        () = cancelled.cancelled() => {
            // Its outcome or panic is not needed.
            let _ = timeout(CANCEL_GRACE, work).await;
            None
        }
        () = sleep(time_limit) => {
            cancelled.cancel();
            match timeout(CANCEL_GRACE, work).await {
                // The handler completed the order while it was being stopped.
                Ok(Ok(outcome @ (Outcome::Completed | Outcome::CompletedWith(_)))) => Some(outcome),
                _ => {
                    let reason = format!("the attempt took longer than {time_limit:?} and was stopped");
                    Some(Outcome::retry(reason).with_class("attempt_timeout"))
                }
            }
        }
    }
}

fn panic_outcome(panic: &(dyn Any + Send)) -> Outcome {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    Outcome::retry(format!("the handler panicked: {message}")).with_class("handler_panicked")
}
