//! What follows from the outcome of a request.

use std::time::Duration;

use domain::Timestamp;
use gateway_store::{MessageState, WebhookMessage, WebhookNotice};
use tokio::time::Instant;
use webhook::OutcomeKind;

use super::health::Verdict;
use super::queue::Item;
use super::schedule;
use super::state::{Delivery, RETRY_PAUSE, Sending, Sent, Unsaved};
use super::stored::{Stored, waiting};
use crate::body;
use crate::send::{describe, record};

/// Maximum number of messages whose tries are counted in memory.
const MAX_TRIES: usize = 1_000;

impl Delivery {
    pub(super) fn sent(&mut self, Sent { what, result }: Sent) {
        let now = self.clock.now();
        let order = what.order();
        let Some((message, outcome)) = result else {
            // Not sent. The event is still open, and read again.
            if let Some(order) = order {
                self.queue.release(&order);
            }
            if let Sending::Stored(message) = what {
                self.stored.insert(WebhookMessage { due_at: now + RETRY_PAUSE, ..message });
            }
            self.restart();
            self.next_fetch = Instant::now() + RETRY_PAUSE;
            return;
        };
        let tries = self.tries.remove(&message.id).unwrap_or_default() + 1;
        let attempts = match &what {
            Sending::Item(_) => tries,
            Sending::Stored(stored) => stored.attempts + 1,
        };
        let error = describe(&outcome);
        let (kind, retry_after) = (outcome.kind, outcome.retry_after);
        // Removed events are no failure of the endpoint.
        let is_missing = kind == OutcomeKind::Rejected && outcome.status.is_none();
        let was_failing = self.health.is_failing();
        let verdict = if is_missing {
            Verdict::RetryMessage
        } else {
            self.health.outcome(order, kind, retry_after, error.clone(), now)
        };
        if !is_missing {
            self.unsaved.attempts.push(record(&message, attempts, &outcome, now));
        }
        self.unsaved.is_changed = true;
        self.unsaved.orders.extend(order);
        match verdict {
            Verdict::Delivered => {
                self.settle(&what, now);
                if was_failing {
                    tracing::info!(endpoint = %self.endpoint.id, "webhook endpoint works again");
                    self.stored.make_due(now);
                }
            }
            Verdict::RetryMessage => {
                let pause = if is_missing { None } else { schedule::after_attempt(attempts, retry_after) };
                self.retry(what, attempts, error, pause, now);
            }
            Verdict::EndpointFailing | Verdict::Disabled(_) => {
                if !was_failing {
                    tracing::warn!(endpoint = %self.endpoint.id, error, "webhook endpoint is failing");
                }
                if self.tries.len() < MAX_TRIES {
                    self.tries.insert(message.id, tries);
                }
                if let Sending::Stored(message) = what {
                    self.stored.insert(WebhookMessage { due_at: now, ..message });
                }
                self.restart();
            }
        }
        self.warn(verdict, now);
    }

    /// Notifies the users of an endpoint that has failed for long, or is disabled.
    pub(super) fn warn(&mut self, verdict: Verdict, now: Timestamp) {
        let stored = self.health.stored();
        let since = stored.failing_since.unwrap_or(now);
        let error = stored.last_error.clone().unwrap_or_default();
        let (kind, reason) = match verdict {
            Verdict::Delivered => return,
            Verdict::Disabled(reason) => {
                tracing::error!(endpoint = %self.endpoint.id, %reason, error, "webhook endpoint is disabled");
                ("webhook.disabled", reason.as_str().to_owned())
            }
            Verdict::RetryMessage | Verdict::EndpointFailing => match self.health.take_warning(now) {
                None => return,
                Some(_) => {
                    tracing::error!(endpoint = %self.endpoint.id, %since, error, "webhook endpoint fails for long and will be disabled");
                    ("webhook.failing", error)
                }
            },
        };
        let id = format!("{}-{}", self.endpoint.id, now.as_micros());
        let body = body::stored_notice(&id, kind, now, self.endpoint.id, since, &reason);
        let tenant = self.endpoint.tenant.clone();
        self.unsaved.notice = Some(WebhookNotice { id, tenant, about: self.endpoint.id, body });
    }

    pub(super) fn settle(&mut self, what: &Sending, now: Timestamp) {
        match what {
            Sending::Item(item) => self.settle_position(item.source, item.position),
            Sending::Stored(message) => {
                self.stored.remove(message, now);
                self.unsaved.delivered.push(message.id.clone());
            }
        }
    }

    /// Stores a message for another attempt after a pause, or as failed without one.
    pub(super) fn retry(
        &mut self,
        what: Sending,
        attempts: u32,
        error: String,
        pause: Option<Duration>,
        now: Timestamp,
    ) {
        let due_at = now + pause.unwrap_or_default();
        let message = match what {
            Sending::Item(item) => {
                self.settle_position(item.source, item.position);
                let event = (item.order, item.sequence, item.position);
                let message = waiting(item.message.id, event, attempts, Some(error), due_at, now);
                if pause.is_some() {
                    // The later events of the order wait behind it.
                    for later in self.queue.take(&item.order) {
                        self.settle_position(later.source, later.position);
                        wait_behind(&mut self.stored, &mut self.unsaved, later, now);
                    }
                }
                message
            }
            Sending::Stored(message) => {
                WebhookMessage { attempts, due_at, last_error: Some(error), ..message }
            }
        };
        match pause {
            Some(_) => {
                self.unsaved.delivered.retain(|id| *id != message.id);
                self.stored.insert(message.clone());
                self.unsaved.messages.push(message);
            }
            None => {
                tracing::warn!(endpoint = %self.endpoint.id, message = message.id, "webhook message has failed");
                self.stored.remove(&message, now);
                self.unsaved.messages.push(WebhookMessage { state: MessageState::Failed, ..message });
            }
        }
    }
}

/// Stores an event behind an earlier one of its order.
pub(super) fn wait_behind(stored: &mut Stored, unsaved: &mut Unsaved, item: Item, now: Timestamp) {
    let event = (item.order, item.sequence, item.position);
    let message = waiting(item.message.id, event, 0, None, now, now);
    if !stored.contains(&message) {
        stored.insert(message.clone());
        unsaved.messages.push(message);
    }
}
