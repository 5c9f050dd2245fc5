//! Sends what may be sent.

use std::time::Duration;

use domain::{EventTypes, Principal};
use futures_util::future::FutureExt;
use gateway_service::Error as ServiceError;
use gateway_service::event_log::EventQuery;
use gateway_store::{WebhookEndpoint, WebhookMessage};
use tokio::time::Instant;
use webhook::{Outcome, OutcomeKind};

use super::reading::MAX_PAGE_BYTES;
use super::state::{Delivery, Sending, Sent};
use crate::Webhooks;
use crate::body::{self, Message};
use crate::send::while_leased;

/// Maximum number of attempts that are not saved. Nothing is sent beyond it.
const MAX_UNSAVED: usize = 1_000;

impl Delivery {
    /// Returns whether something may be sent, apart from the queue.
    pub(super) fn may_send(&self) -> bool {
        if self.health.is_disabled() || self.unsaved.attempts.len() >= MAX_UNSAVED {
            return false;
        }
        let now = self.clock.now();
        !self.health.is_failing() || (self.sending.is_empty() && self.health.stored().due_at <= now)
    }

    /// Starts to send what may be sent.
    pub(super) fn dispatch(&mut self) {
        let limit = if self.health.is_failing() { 1 } else { self.endpoint.settings.concurrency as usize };
        while !self.restarts && self.sending.len() < limit && self.may_send() {
            let now = Instant::now();
            if now < self.next_send {
                return;
            }
            let Some(what) = self.next() else { return };
            if let Some(rate) = self.endpoint.settings.rate_per_s {
                let interval = Duration::from_secs(1) / rate.max(1);
                self.next_send = self.next_send.max(now - interval) + interval;
            }
            self.send(what);
        }
    }

    /// Returns the next message, whose order is then busy.
    pub(super) fn next(&mut self) -> Option<Sending> {
        let (health, queue) = (&self.health, &mut self.queue);
        if health.is_failing() {
            // A probe of another order than before, if there is one.
            if let Some(item) = queue.pop(|order| !health.has_failed(order)) {
                return Some(Sending::Item(item));
            }
            let reads_more = !self.is_at_end && self.live.has_room() && !self.is_full();
            if self.fetching.is_some() || reads_more {
                return None;
            }
            if let Some(item) = self.queue.pop(|_| true) {
                self.health.try_all_again();
                return Some(Sending::Item(item));
            }
        }
        let now = self.clock.now();
        let next = self.stored.next(|order| !self.queue.is_busy(order));
        if let Some(message) = next.filter(|message| message.due_at <= now || self.health.is_failing()) {
            let message = message.clone();
            match message.event {
                Some((order, ..)) => self.queue.occupy(order),
                // It is put back if it fails.
                None => self.stored.remove(&message, now),
            }
            return Some(Sending::Stored(message));
        }
        self.queue.pop(|_| true).map(Sending::Item)
    }

    pub(super) fn send(&mut self, what: Sending) {
        let (webhooks, target) = (self.parts.webhooks.clone(), self.target.clone());
        let (lease, endpoint) = (self.parts.lease.clone(), self.endpoint.clone());
        let principal = self.principal.clone();
        let send = async move {
            let inner = &webhooks.0;
            let message = match &what {
                Sending::Item(item) => Ok(item.message.clone()),
                Sending::Stored(stored) => stored_message(&webhooks, &principal, &endpoint, stored).await,
            };
            let result = match message {
                Ok(message) => {
                    let outcome = target.send(&inner.client, &message, inner.store.now());
                    while_leased(&lease, outcome).await.map(|outcome| (message, outcome))
                }
                Err(None) => None,
                Err(Some((message, outcome))) => Some((message, outcome)),
            };
            Sent { what, result }
        };
        self.sending.push(send.boxed());
    }
}

/// Reads the body of a stored message. The error is the outcome of a message that no longer exists, or `None` if the log
/// cannot be read now.
async fn stored_message(
    webhooks: &Webhooks,
    principal: &Principal,
    endpoint: &WebhookEndpoint,
    stored: &WebhookMessage,
) -> Result<Message, Option<(Message, Outcome)>> {
    let Some((order, sequence, position)) = stored.event else {
        return Ok(body::notice(endpoint, stored.id.clone(), stored.body.as_deref().unwrap_or_default()));
    };
    let event_log = &webhooks.0.event_log;
    let query = EventQuery {
        after: Some(event_log.cursor(position.saturating_sub(1))),
        types: EventTypes::ALL,
        customer: None,
        currency: None,
        limit: 1,
        max_bytes: MAX_PAGE_BYTES,
        with_orders: true,
    };
    let found = match event_log.page(principal, &query).await {
        Ok(page) => page.events.into_iter().next(),
        Err(ServiceError::CursorExpired(_)) => None,
        Err(_) => return Err(None),
    };
    match found.filter(|event| event.order_id == order && event.sequence == sequence) {
        Some(event) => Ok(body::event(endpoint, &event)),
        None => {
            let message = Message {
                id: stored.id.clone(),
                kind: "order.*".to_owned(),
                body: bytes::Bytes::new(),
                content_type: "application/json",
                trace: None,
            };
            let outcome = Outcome {
                kind: OutcomeKind::Rejected,
                status: None,
                duration: Duration::ZERO,
                response: Vec::new(),
                retry_after: None,
                error: Some("the event was removed from the event log".to_owned()),
            };
            Err(Some((message, outcome)))
        }
    }
}
