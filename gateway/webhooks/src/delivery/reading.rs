//! Reads events for the queue.

use futures_util::future::FutureExt;
use gateway_service::Error as ServiceError;
use gateway_service::event_log::{EventPage, EventQuery};
use tokio::time::Instant;

use super::outcomes::wait_behind;
use super::queue::{Item, Source};
use super::reader::Reader;
use super::state::{Delivery, RETRY_PAUSE};
use crate::body;

/// Number of events that are read at once.
const PAGE: u32 = 100;
/// Number of messages in the queue from which no further events are read.
const MAX_QUEUED: usize = 256;
/// Bytes of their bodies from which no further events are read.
const MAX_QUEUED_BYTES: usize = 1024 * 1024;
/// Maximum bytes of the events of a page.
pub(super) const MAX_PAGE_BYTES: usize = 512 * 1024;

impl Delivery {
    /// Starts to read events.
    pub(super) fn fetch(&mut self) {
        let now = Instant::now();
        if self.restarts && self.sending.is_empty() {
            self.restarts = false;
            self.drops_page = self.fetching.is_some();
            self.live.restart();
            self.is_at_end = false;
            if let Some((_, replay)) = &mut self.replay {
                replay.restart();
            }
        }
        if self.fetching.is_some()
            || self.restarts
            || self.is_full()
            || now < self.next_fetch
            || !self.may_send()
        {
            return;
        }
        // The readers take turns, so that a recovery delays new events little, and ends.
        let live =
            Some((Source::Live, self.live.fetched())).filter(|_| !self.is_at_end && self.live.has_room());
        let replay = self.replay.as_ref().filter(|(_, replay)| replay.has_room());
        let replay = replay.map(|(_, replay)| (Source::Replay, replay.fetched()));
        let (first, second) = if self.last_read == Source::Live { (replay, live) } else { (live, replay) };
        let Some((source, after)) = first.or(second) else { return };
        self.last_read = source;
        let event_log = self.parts.webhooks.0.event_log.clone();
        if source == Source::Live {
            self.log.mark_seen();
        }
        let settings = &self.endpoint.settings;
        let query = EventQuery {
            after: Some(event_log.cursor(after)),
            types: settings.types.events,
            customer: settings.customer.clone(),
            currency: settings.currency,
            limit: PAGE,
            max_bytes: MAX_PAGE_BYTES,
            with_orders: settings.payload == domain::WebhookPayload::Full,
        };
        let principal = self.principal.clone();
        self.fetching = Some(async move { (source, event_log.page(&principal, &query).await) }.boxed());
    }

    /// Returns whether no further events may be read.
    pub(super) fn is_full(&self) -> bool {
        self.queue.len() >= MAX_QUEUED || self.queue.bytes() >= MAX_QUEUED_BYTES || self.stored.is_full()
    }

    pub(super) fn fetched(&mut self, source: Source, page: Result<EventPage, ServiceError>) {
        if std::mem::take(&mut self.drops_page) || self.restarts {
            return;
        }
        let page = match page {
            Ok(page) => page,
            Err(ServiceError::CursorExpired(oldest)) => return self.expired(source, oldest.position()),
            Err(error) => {
                tracing::debug!(%error, endpoint = %self.endpoint.id, "failed to read events for a webhook endpoint");
                self.next_fetch = Instant::now() + RETRY_PAUSE;
                return;
            }
        };
        let reader = match source {
            Source::Live => {
                self.is_at_end = page.is_end;
                &mut self.live
            }
            Source::Replay => match &mut self.replay {
                Some((_, reader)) => reader,
                None => return,
            },
        };
        for event in page.events {
            let position = event.cursor.position();
            if !reader.select(position) {
                continue;
            }
            let message = body::event(&self.endpoint, &event);
            let (order, sequence) = (event.order_id, event.sequence);
            let item = Item { source, order, sequence, position, message };
            if self.stored.has_order(&order) {
                reader.settle(position);
                wait_behind(&mut self.stored, &mut self.unsaved, item, self.clock.now());
            } else {
                self.queue.push(item);
            }
        }
        reader.read_up_to(page.next.position());
        self.end_replay();
    }

    /// The log does not have the events after a reader's position.
    pub(super) fn expired(&mut self, source: Source, oldest: u64) {
        let reader = match source {
            Source::Live => &mut self.live,
            Source::Replay => match &mut self.replay {
                Some((_, reader)) => reader,
                None => return,
            },
        };
        let missing = oldest.saturating_sub(reader.fetched());
        if missing == 0 {
            // The cursor is ahead of the log: the database was restored to an earlier state.
            tracing::error!(endpoint = %self.endpoint.id, "the position of a webhook endpoint is not in the event log; it begins at the oldest event");
            *reader = Reader::new(oldest, &[], None);
        } else {
            tracing::error!(
                endpoint = %self.endpoint.id, missing, from = reader.fetched() + 1, to = oldest,
                "events were removed from the event log before they were delivered to a webhook endpoint"
            );
            reader.read_up_to(oldest);
        }
        metrics::counter!("orders_webhook_events_missed_total").increment(missing.max(1));
        self.unsaved.is_changed = true;
        self.end_replay();
    }

    pub(super) fn end_replay(&mut self) {
        if self.replay.as_ref().is_some_and(|(_, reader)| reader.is_finished()) {
            self.unsaved.is_changed = true;
        }
    }
}
