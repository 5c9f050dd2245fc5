//! The loop of a delivery.

use std::time::Duration;

use domain::Timestamp;
use futures_util::future::OptionFuture;
use futures_util::stream::StreamExt;
use gateway_store::SavedProgress;
use tokio::time::Instant;

use super::state::{Delivery, Ended};

/// Maximum time of requests in flight at the end of the gateway. Later answers are not awaited, and the messages are sent again.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

impl Delivery {
    /// Delivers until the lease or the gateway ends, or the endpoint is disabled.
    pub(crate) async fn run(mut self) -> Ended {
        loop {
            if Instant::now() >= *self.parts.lease.borrow() {
                return Ended::Lost;
            }
            self.fetch();
            self.dispatch();
            self.save();
            let is_idle = self.sending.is_empty() && self.saving.is_none() && self.unsaved.is_empty();
            if self.health.is_disabled() && is_idle {
                return Ended::Released;
            }
            let wake_at = self.next_wake();
            let (parts, log) = (&mut self.parts, &mut self.log);
            tokio::select! {
                biased;
                () = parts.stop.cancelled() => return self.finish().await,
                _ = parts.lease.changed() => {}
                Some(sent) = self.sending.next(), if !self.sending.is_empty() => self.sent(sent),
                Some((unsaved, result)) = OptionFuture::from(self.saving.as_mut()) => {
                    self.saving = None;
                    if self.saved(unsaved, result) == Some(Ended::Lost) {
                        return Ended::Lost;
                    }
                }
                Some((source, page)) = OptionFuture::from(self.fetching.as_mut()) => {
                    self.fetching = None;
                    self.fetched(source, page);
                }
                // A save that is not polled keeps the connection that the reload waits for.
                () = parts.changed.notified(), if self.saving.is_none() => match self.reload().await {
                    Ok(true) => {}
                    Ok(false) => return Ended::Lost,
                    // The next change or save finds it.
                    Err(error) => tracing::debug!(%error, "failed to read a webhook endpoint again"),
                },
                () = log.changed(), if self.is_at_end => self.is_at_end = false,
                () = tokio::time::sleep_until(wake_at) => {}
            }
        }
    }

    /// Waits for what is being sent, and saves.
    async fn finish(mut self) -> Ended {
        self.queue.clear();
        // First, because a save that is not polled keeps its connection.
        if let Some(saving) = self.saving.take() {
            let (unsaved, result) = saving.await;
            if self.saved(unsaved, result).is_some() {
                return Ended::Lost;
            }
        }
        let end = Instant::now() + LAST_REQUESTS;
        while let Ok(Some(sent)) = tokio::time::timeout_at(end, self.sending.next()).await {
            self.sent(sent);
        }
        let (_, progress) = self.progress();
        match self.parts.webhooks.0.store.save_webhook_progress(self.parts.holder, &progress).await {
            Ok(SavedProgress::Lost) => Ended::Lost,
            Ok(SavedProgress::Done | SavedProgress::Changed) => Ended::Released,
            Err(error) => {
                tracing::warn!(%error, "failed to save what was delivered to a webhook endpoint");
                Ended::Released
            }
        }
    }

    /// Returns the time of the next step that nothing else announces.
    fn next_wake(&self) -> Instant {
        let now = Instant::now();
        let mut wake_at = now + Duration::from_secs(5);
        let until = |due: Timestamp| now + due.since(self.clock.now());
        let mut wake_if_later = |time: Instant| {
            if time > now {
                wake_at = wake_at.min(time);
            }
        };
        if !self.unsaved.is_empty() && self.saving.is_none() {
            wake_if_later(self.next_save.max(now + Duration::from_micros(1)));
        }
        if self.health.is_failing() {
            wake_if_later(until(self.health.stored().due_at));
        } else if let Some(message) = self.stored.next(|order| !self.queue.is_busy(order)) {
            wake_if_later(until(message.due_at));
        }
        wake_if_later(self.next_send);
        wake_if_later(self.next_fetch);
        wake_at
    }
}
