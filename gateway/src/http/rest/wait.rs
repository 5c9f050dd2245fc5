//! Long polling: an answer that waits for news, for clients that can do nothing but ask.

use std::time::Duration;

use domain::OrderId;
use futures_util::StreamExt;

use crate::feed::Cursor;
use crate::http::query::Query;
use crate::{App, Error};

/// How long an answer waits when the client does not say.
pub(super) const DEFAULT: Duration = Duration::from_secs(30);
/// Longest wait for an answer; proxies cut connections that are silent for a minute.
pub(super) const LONGEST: Duration = Duration::from_secs(60);

/// The parameter `timeout`.
pub(super) fn timeout(query: &mut Query<'_>) -> Option<Duration> {
    let text = query.one("timeout")?;
    let seconds = text.parse().ok().map(Duration::from_secs).filter(|wait| *wait <= LONGEST);
    if seconds.is_none() {
        query.add("timeout", format!("must be a whole number of seconds from 0 to {}", LONGEST.as_secs()));
    }
    seconds
}

/// Waits until the order has an event with the sequence `wanted`, or can have none any more. Gives up
/// after `longest`, and when the gateway shuts down.
///
/// # Errors
/// [`Error::NotFound`] and [`Error::Unavailable`].
pub(super) async fn for_sequence(
    app: &App,
    id: OrderId,
    wanted: u32,
    longest: Duration,
) -> Result<(), Error> {
    let mut events = app.feed.watch(id, Cursor::After(wanted.saturating_sub(1))).await?;
    tokio::select! {
        first = events.next() => first.transpose().map(|_| ()),
        () = tokio::time::sleep(longest) => Ok(()),
        () = app.leaving() => Ok(()),
    }
}
