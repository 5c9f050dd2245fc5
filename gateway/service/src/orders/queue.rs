//! Pauses the queue, resumes it and counts orders.

use domain::Timestamp;
use domain::waiting::QueueSnapshot;
use gateway_store::{Counts, Pause};

use super::use_cases::Orders;
use crate::error::Error;

impl Orders {
    /// Pauses the queue: orders are accepted and none is started, until `until` or until somebody
    /// resumes it. What is being processed goes on. Pausing a paused queue changes until when.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn pause(&self, until: Option<Timestamp>, by: Option<String>) -> Result<Pause, Error> {
        let pause = self.store.pause(until, by).await?;
        self.direct_enqueue.capacity.close();
        let until = pause.until.map_or("resumed".to_owned(), |until| until.to_string());
        tracing::info!(until, by = pause.by, "queue paused");
        metrics::gauge!("orders_queue_paused").set(1.0);
        Ok(pause)
    }

    /// Lets a paused queue go on. Says whether it was paused.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn resume(&self) -> Result<bool, Error> {
        let paused = self.store.resume().await?;
        metrics::gauge!("orders_queue_paused").set(0.0);
        if paused {
            tracing::info!("queue resumed");
            self.direct_enqueue.wake.due();
        }
        Ok(paused)
    }

    /// Whether the queue is paused, and how.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn paused(&self) -> Result<Option<Pause>, Error> {
        Ok(self.store.paused().await?)
    }

    /// What decides what pending orders wait for, as last seen.
    pub fn outlook(&self) -> QueueSnapshot {
        self.store.outlook()
    }

    /// How many orders there are in each status. Counted once for all who ask within
    /// [`COUNTS_FRESH`], so it may be that old.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn counts(&self) -> Result<Counts, Error> {
        self.counts.get(&self.store).await
    }
}
