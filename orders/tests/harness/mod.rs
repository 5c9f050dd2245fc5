//! Starts and stops the program, and speaks to it in verbs.

mod api;
mod process;
mod servers;
mod stack;
mod watch;

use std::future::Future;
use std::time::Duration;

pub(crate) use api::{Api, id};
pub(crate) use process::{Process, bound, command, run, script};
pub(crate) use servers::{Servers, redis_url};
pub(crate) use stack::{Stack, Stop, base_url, gateway, grpc_addr};
pub(crate) use watch::follow;

/// How long anything may take that is not wrong. Generous, because the machine may be busy; nothing
/// waits for it unless it fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Waits for an event, as long as [`DEADLINE`]; `what` completes "in vain: …".
pub(crate) async fn within<T>(what: &str, event: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, event).await {
        Ok(value) => value,
        Err(_) => panic!("waited {} s in vain: {what}", DEADLINE.as_secs()),
    }
}

/// Asks again and again until there is an answer, as long as [`DEADLINE`].
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    within(what, async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
}
