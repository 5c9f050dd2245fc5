//! Long polling: responses that wait for an event, for clients that cannot stream.

use std::sync::Arc;
use std::time::Duration;

use domain::{OrderId, Principal};
use futures_util::StreamExt;

use super::api_error::ApiError;
use crate::RestState;
use gateway_http::auth::Credential;
use gateway_http::query::Query;
use gateway_http::streams::{Client, StreamKind};
use gateway_service::feed::WatchFrom;

/// The kind of an open stream.
pub(super) const LONG_POLL: StreamKind = StreamKind::new("long_poll");

/// Default wait, if the client sends no `timeout`.
pub(super) const DEFAULT: Duration = Duration::from_secs(30);
/// Maximum wait. Common proxies close a connection that is silent for a minute, so the response is sent earlier.
pub(super) const LONGEST: Duration = Duration::from_secs(55);
/// Maximum value of `timeout`, in seconds. The wait is limited to [`LONGEST`].
const MAX_TIMEOUT_S: u64 = 60;

/// Parses the parameter `timeout`, limited to [`LONGEST`].
pub(super) fn timeout(query: &mut Query<'_>) -> Option<Duration> {
    seconds(query, "timeout")
}

/// Parses a parameter with a wait, limited to [`LONGEST`].
pub(super) fn seconds(query: &mut Query<'_>, name: &'static str) -> Option<Duration> {
    let text = query.one(name)?;
    let seconds = text.parse().ok().filter(|seconds| *seconds <= MAX_TIMEOUT_S);
    if seconds.is_none() {
        query.add(name, format!("must be a whole number of seconds from 0 to {MAX_TIMEOUT_S}"));
    }
    seconds.map(|seconds| Duration::from_secs(seconds).min(LONGEST))
}

/// The caller of a long poll.
pub(super) struct Waiter<'a> {
    pub(super) principal: &'a Arc<Principal>,
    /// The wait ends with it.
    pub(super) credential: Credential,
    pub(super) client: Client,
}

/// Waits until the order has the event `wanted`, or cannot have it any more.
///
/// The wait ends after `longest`, and when the gateway shuts down.
///
/// # Errors
/// If the order does not exist or is unreadable, if too many streams are open, and when the credential ends.
pub(super) async fn for_sequence(
    state: &RestState,
    Waiter { principal, credential, client }: Waiter<'_>,
    id: OrderId,
    wanted: u32,
    longest: Duration,
) -> Result<(), ApiError> {
    let _open = state.context.streams.open(LONG_POLL, client.0, Some(principal))?;
    let mut events = state.feed.watch(principal, id, WatchFrom::After(wanted.saturating_sub(1))).await?;
    tokio::select! {
        first = events.next() => Ok(first.transpose().map(|_| ())?),
        () = tokio::time::sleep(longest) => Ok(()),
        () = state.context.drain_signal() => Ok(()),
        problem = state.context.auth.clone().until_ended(credential) => Err(problem.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_documented() {
        let time = limits_page::time;
        limits_page::row("wait of a long poll", &format!("{}, at most {}", time(DEFAULT), time(LONGEST)));
    }
}
