//! Delivers a range of the event log to an endpoint again.
//!
//! A second reader of the endpoint does so, beside the first one. It is stored, so it continues after the end of a gateway.

use std::time::Duration;

use domain::{EndpointId, Principal, Timestamp};
use gateway_service::event_log::EventQuery;
use gateway_store::{EndpointUpdate, WebhookReplay};
use tokio::time::Instant;

use crate::Webhooks;
use crate::error::WebhookError;
use crate::manage::EndpointStatus;
use crate::principal::events_reader;

/// Maximum time of counting the events of a range.
const COUNT_TIME: Duration = Duration::from_secs(2);
/// Events of a page while counting.
const PAGE: u32 = 1_000;

/// A range of events, by their times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecoveryRange {
    /// The time of the first event.
    pub since: Timestamp,
    /// The time before which the last event is; all up to now if absent.
    pub until: Option<Timestamp>,
}

/// The events of a range.
#[derive(Debug, Clone)]
pub struct Recovery {
    /// The position before the first event.
    pub first: u64,
    /// The position of the last event.
    pub last: u64,
    /// The events of the range that the endpoint selects.
    pub events: u64,
    /// Whether there are more than were counted.
    pub is_more: bool,
    /// The time of the oldest event that the log has, if it is after the beginning of the range.
    pub log_begins: Option<Timestamp>,
    /// The endpoint; unchanged by a dry run.
    pub endpoint: EndpointStatus,
}

impl Webhooks {
    /// Delivers the events of a range again, in place of an earlier such request. A dry run only counts them.
    ///
    /// # Errors
    /// [`WebhookError`].
    pub async fn recover(
        &self,
        caller: &Principal,
        id: EndpointId,
        range: RecoveryRange,
        dry_run: bool,
        request_id: Option<String>,
    ) -> Result<Recovery, WebhookError> {
        let endpoint = self.find(caller, id).await?;
        self.check_log()?;
        let store = &self.0.store;
        if range.until.is_some_and(|until| until <= range.since) {
            return Err(WebhookError::Range("until must be after since"));
        }
        if range.since > store.now() {
            return Err(WebhookError::Range("since must not be in the future"));
        }
        let end = self.end_of_log().await?;
        let first = store.event_log_position_at(range.since).await?.min(end);
        let last = match range.until {
            Some(until) => store.event_log_position_at(until).await?.clamp(first, end),
            None => end,
        };
        // Nothing was removed from a log that begins with position 1.
        let is_trimmed = store.event_log_ends().await?.first > 1;
        let oldest = store.event_log_time_after(0).await?.filter(|_| is_trimmed);
        let mut recovery = Recovery {
            first,
            last,
            events: 0,
            is_more: false,
            log_begins: oldest.filter(|oldest| *oldest > range.since),
            endpoint: self.status(endpoint).await?,
        };
        self.count(&mut recovery).await?;
        if !dry_run && last > first {
            let replay = WebhookReplay { first, position: first, last, started_at: store.now() };
            let started = self.change(caller, id, request_id, |_| Ok(EndpointUpdate::Replay(replay)));
            recovery.endpoint = started.await?;
        }
        Ok(recovery)
    }

    /// Ends the delivery of a range.
    ///
    /// # Errors
    /// [`WebhookError`].
    pub async fn stop_recovery(
        &self,
        caller: &Principal,
        id: EndpointId,
        request_id: Option<String>,
    ) -> Result<EndpointStatus, WebhookError> {
        self.change(caller, id, request_id, |_| Ok(EndpointUpdate::EndReplay)).await
    }

    /// Counts the events of the range, for a limited time.
    async fn count(&self, recovery: &mut Recovery) -> Result<(), WebhookError> {
        let endpoint = &recovery.endpoint.endpoint;
        let (settings, reader) = (&endpoint.settings, events_reader(endpoint));
        let log = &self.0.event_log;
        let mut query = EventQuery {
            after: Some(log.cursor(recovery.first)),
            types: settings.types.events,
            customer: settings.customer.clone(),
            currency: settings.currency,
            limit: PAGE,
            max_bytes: usize::MAX,
            with_orders: false,
        };
        let end = Instant::now() + COUNT_TIME;
        while let Some(after) = query.after.filter(|after| after.position() < recovery.last) {
            if Instant::now() >= end {
                recovery.is_more = true;
                break;
            }
            let page = log.page(&reader, &query).await?;
            let in_range = page.events.iter().filter(|event| event.cursor.position() <= recovery.last);
            recovery.events += in_range.count() as u64;
            if page.next == after {
                break;
            }
            query.after = Some(page.next);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_documented() {
        limits_page::row(
            "time for which the events of a recovery are counted",
            &format!("{} s", COUNT_TIME.as_secs()),
        );
    }
}
