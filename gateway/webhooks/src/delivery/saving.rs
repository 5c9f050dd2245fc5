//! Saves what was delivered, and reads the endpoint again after a change by a user.

use std::time::Duration;

use futures_util::future::FutureExt;
use gateway_store::{
    DeliveryState, Error as StoreError, SavedProgress, WebhookAttempt, WebhookProgress, WebhookReplayProgress,
};
use tokio::time::Instant;

use super::health::Health;
use super::reader::Reader;
use super::state::{Delivery, Ended, IDLE_SAVE, MAX_READ, Parts, RETRY_PAUSE, Unsaved, health_of};
use crate::send::Target;

/// Minimum pause between two saves.
const SAVE_PAUSE: Duration = Duration::from_millis(20);
/// Maximum number of successful attempts that one save records.
const RECORDED_SUCCESSES: usize = 20;

impl Delivery {
    /// Starts to save what was delivered.
    pub(super) fn save(&mut self) {
        let now = Instant::now();
        let cursor_moved = self.live.cursor() != self.saved_cursor
            || self.replay.as_ref().is_some_and(|(_, reader)| reader.is_finished());
        let is_due = !self.unsaved.is_empty() || (cursor_moved && now >= self.next_idle_save);
        if self.saving.is_some() || !is_due || now < self.next_save {
            return;
        }
        let (unsaved, progress) = self.progress();
        let (store, holder) = (self.parts.webhooks.0.store.clone(), self.parts.holder);
        self.saving =
            Some(async move { (unsaved, store.save_webhook_progress(holder, &progress).await) }.boxed());
    }

    pub(super) fn progress(&mut self) -> (Unsaved, WebhookProgress) {
        let unsaved = std::mem::take(&mut self.unsaved);
        self.saved_cursor = self.live.cursor();
        let replay = self.replay.as_ref().map(|(started_at, reader)| WebhookReplayProgress {
            started_at: *started_at,
            position: (!reader.is_finished()).then(|| reader.cursor()),
            acked: reader.done(),
        });
        let progress = WebhookProgress {
            id: self.endpoint.id,
            version: self.endpoint.version,
            position: self.saved_cursor,
            acked: self.live.done(),
            replay,
            health: self.health.stored().clone(),
            messages: unsaved.messages.clone(),
            delivered: unsaved.delivered.clone(),
            attempts: recorded(&unsaved.attempts),
            notice: unsaved.notice.clone(),
        };
        if self.replay.as_ref().is_some_and(|(_, reader)| reader.is_finished()) {
            tracing::info!(endpoint = %self.endpoint.id, "webhook endpoint has recovered its events");
            self.replay = None;
        }
        (unsaved, progress)
    }

    pub(super) fn saved(
        &mut self,
        unsaved: Unsaved,
        result: Result<SavedProgress, StoreError>,
    ) -> Option<Ended> {
        let now = Instant::now();
        self.next_save = now + SAVE_PAUSE;
        self.next_idle_save = now + IDLE_SAVE;
        match result {
            Ok(SavedProgress::Lost) => return Some(Ended::Lost),
            Ok(saved) => {
                unsaved.orders.iter().for_each(|order| self.queue.release(order));
                if saved == SavedProgress::Changed {
                    self.parts.changed.notify_one();
                }
            }
            Err(error) => {
                tracing::debug!(%error, "failed to save what was delivered to a webhook endpoint, trying again");
                self.unsaved.restore(unsaved);
                self.unsaved.is_changed = true;
                self.next_save = now + RETRY_PAUSE;
                // The end of the second reader may not be saved.
                self.parts.changed.notify_one();
            }
        }
        None
    }

    /// Reads the endpoint again after a change by a user. Returns whether this gateway still holds it.
    pub(super) async fn reload(&mut self) -> Result<bool, StoreError> {
        let Parts { webhooks, id, holder, .. } = &self.parts;
        let state = webhooks.0.store.webhook_delivery(*holder, *id, MAX_READ).await?;
        let Some(DeliveryState { endpoint, replay_acked, waiting, .. }) = state else { return Ok(false) };
        let is_new = endpoint.version != self.endpoint.version;
        if is_new {
            self.health = Health::new(health_of(&endpoint, self.clock.now()));
            self.restart();
        }
        let started_at = self.replay.as_ref().map(|(started_at, _)| *started_at);
        if endpoint.replay.map(|replay| replay.started_at) != started_at && self.saving.is_none() {
            self.replay = endpoint.replay.map(|replay| {
                (replay.started_at, Reader::new(replay.position, &replay_acked, Some(replay.last)))
            });
            self.restart();
        }
        self.target = Target::new(&endpoint, &self.parts.webhooks.0.config);
        self.endpoint = endpoint;
        // Notices about other endpoints.
        for message in waiting.into_iter().filter(|message| message.event.is_none()) {
            if !self.stored.contains(&message) && !self.unsaved.delivered.contains(&message.id) {
                self.stored.insert(message);
            }
        }
        Ok(true)
    }
}

/// Returns the attempts to record: all failures, and the newest successes.
fn recorded(attempts: &[WebhookAttempt]) -> Vec<WebhookAttempt> {
    let successes = attempts.iter().filter(|attempt| attempt.succeeded).count();
    let mut skipped = successes.saturating_sub(RECORDED_SUCCESSES);
    let is_kept = |attempt: &&WebhookAttempt| {
        let is_skipped = attempt.succeeded && skipped > 0;
        skipped -= usize::from(is_skipped);
        !is_skipped
    };
    attempts.iter().filter(is_kept).cloned().collect()
}
