//! Pauses the queue, resumes it and counts orders.

use domain::Timestamp;
use domain::waiting::QueueSnapshot;
use gateway_store::{Counts, Pause};

use super::use_cases::Orders;
use crate::error::Error;

impl Orders {
    /// Pauses the queue until `until` or until it is resumed.
    ///
    /// Orders are accepted but not started, and running orders finish. Pausing a paused queue changes its end.
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

    /// Resumes the queue; returns whether it was paused.
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

    /// Returns the pause of the queue, if it is paused.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn paused(&self) -> Result<Option<Pause>, Error> {
        Ok(self.store.paused().await?)
    }

    /// Returns what pending orders wait for, as last read.
    pub fn queue_snapshot(&self) -> QueueSnapshot {
        self.store.queue_snapshot()
    }

    /// Counts the orders in each status. Callers within [`COUNTS_FRESH`](super::COUNTS_FRESH) share a count.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn counts(&self) -> Result<Counts, Error> {
        self.counts.get(&self.store).await
    }
}
