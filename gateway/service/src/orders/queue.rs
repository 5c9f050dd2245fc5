//! Pauses the queue, resumes it and counts orders.

use domain::waiting::QueueSnapshot;
use domain::{Principal, Scope, Timestamp};
use gateway_store::{Counts, Pause};

use super::actor::Actor;
use super::use_cases::Orders;
use crate::error::Error;

impl Orders {
    /// Pauses the queue until `until` or until it is resumed.
    ///
    /// Orders are accepted but not started, and running orders finish. Pausing a paused queue changes its end.
    ///
    /// # Errors
    /// [`Error::Forbidden`] without `admin`, because the queue is that of all tenants, and [`Error::Unavailable`].
    pub async fn pause(
        &self,
        principal: &Principal,
        until: Option<Timestamp>,
        actor: &Actor,
    ) -> Result<Pause, Error> {
        principal.require(Scope::Admin)?;
        let requester = actor.requester(principal);
        let pause = self.store.pause(until, actor.named(principal), &requester).await?;
        self.direct_enqueue.lanes.close();
        let until = pause.until.map_or("resumed".to_owned(), |until| until.to_string());
        tracing::info!(until, by = pause.by, "queue paused");
        metrics::gauge!("orders_queue_paused").set(1.0);
        Ok(pause)
    }

    /// Resumes the queue; returns whether it was paused.
    ///
    /// # Errors
    /// As [`Self::pause`].
    pub async fn resume(&self, principal: &Principal, actor: &Actor) -> Result<bool, Error> {
        principal.require(Scope::Admin)?;
        let paused = self.store.resume(&actor.requester(principal)).await?;
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
    /// [`Error::Forbidden`] without `orders:read`, and [`Error::Unavailable`].
    pub async fn paused(&self, principal: &Principal) -> Result<Option<Pause>, Error> {
        principal.require(Scope::OrdersRead)?;
        Ok(self.store.paused().await?)
    }

    /// Returns what pending orders wait for, as last read.
    pub fn queue_snapshot(&self) -> QueueSnapshot {
        self.store.queue_snapshot()
    }

    /// Counts the orders of the caller's tenant in each status.
    ///
    /// Callers of one tenant within [`COUNTS_FRESH`](super::COUNTS_FRESH) share a count.
    ///
    /// # Errors
    /// [`Error::Forbidden`] without `orders:read`, and [`Error::Unavailable`].
    pub async fn counts(&self, principal: &Principal) -> Result<Counts, Error> {
        principal.require(Scope::OrdersRead)?;
        self.counts.get(&self.store, principal).await
    }
}
