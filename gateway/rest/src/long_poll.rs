//! Long polling: an answer that waits for news, for clients that can do nothing but ask.

use std::time::Duration;

use domain::OrderId;
use futures_util::StreamExt;

use super::api_error::ApiError;
use crate::RestState;
use gateway_http::query::Query;
use gateway_http::streams::{Client, StreamKind};
use gateway_service::feed::WatchFrom;

/// The kind of an open stream.
const LONG_POLL: StreamKind = StreamKind::new("long_poll");

/// How long an answer waits when the client does not say.
pub(super) const DEFAULT: Duration = Duration::from_secs(30);
/// Longest wait. Common proxies cut a connection that is silent for a minute, so the response comes earlier.
pub(super) const LONGEST: Duration = Duration::from_secs(55);
/// Longest wait that a client may ask for, in seconds. It is cut to [`LONGEST`].
const MAX_TIMEOUT_S: u64 = 60;

/// The parameter `timeout`, at most [`LONGEST`].
pub(super) fn timeout(query: &mut Query<'_>) -> Option<Duration> {
    let text = query.one("timeout")?;
    let seconds = text.parse().ok().filter(|seconds| *seconds <= MAX_TIMEOUT_S);
    if seconds.is_none() {
        query.add("timeout", format!("must be a whole number of seconds from 0 to {MAX_TIMEOUT_S}"));
    }
    seconds.map(|seconds| Duration::from_secs(seconds).min(LONGEST))
}

/// Waits until the order has an event with the sequence `wanted`, or can have none any more. Gives up
/// after `longest`, and when the gateway shuts down.
///
/// # Errors
/// When there is no such order, it cannot be read, or too many streams are open.
pub(super) async fn for_sequence(
    state: &RestState,
    client: Client,
    id: OrderId,
    wanted: u32,
    longest: Duration,
) -> Result<(), ApiError> {
    let _open = state.context.streams.open(LONG_POLL, client.0)?;
    let mut events = state.feed.watch(id, WatchFrom::After(wanted.saturating_sub(1))).await?;
    tokio::select! {
        first = events.next() => Ok(first.transpose().map(|_| ())?),
        () = tokio::time::sleep(longest) => Ok(()),
        () = state.context.drain_signal() => Ok(()),
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
