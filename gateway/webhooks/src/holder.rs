//! Decides to which endpoints this gateway delivers.
//!
//! Each endpoint has one holder at a time, for the time of a lease. A gateway takes endpoints without a holder, a few at a
//! time, so that gateways that start together share them, and renews the leases of all of them with one statement. A delivery
//! sends nothing in the last part of its lease, so its last request has ended when another gateway begins.
//!
//! A lease that has ended is taken only after it was seen without a renewal for longer than the interval of renewals. The
//! end is a time of the database's clock, which can be set forward, and gateways notice that at different times: the holder
//! renews its leases meanwhile, and keeps them. After the clock was set back, the lease of a gateway that has ended would be
//! far in the future: a lease that ends later than any can is treated in the same way.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use domain::{EndpointId, Timestamp};
use gateway_store::{Error as StoreError, WebhookLease};
use telemetry::panics;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Webhooks;
use crate::delivery::{Delivery, Ended, Parts};

/// The part of a lease in which nothing is sent, besides the time of a request: the difference of the clocks.
const CLOCK_MARGIN: Duration = Duration::from_secs(5);
/// Interval of looking for endpoints without a holder and for changes.
const CLAIM_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum number of endpoints that are taken at once.
const CLAIMED_AT_ONCE: usize = 16;
/// Maximum number of leases near their end that are followed.
const MAX_ENDING: u32 = 1_000;
/// Maximum number of endpoints of a gateway.
const MAX_HELD: usize = 2_000;
/// Changes are looked for this much before the last look: clocks differ, and a change is committed after its time.
const CHANGE_OVERLAP: Duration = Duration::from_secs(10);

/// The durations of the leases, which follow from the maximum time of a request.
#[derive(Clone, Copy)]
struct Leases {
    /// From a renewal to the time at which another gateway takes the endpoint.
    lease: Duration,
    /// From a renewal to the time from which nothing is sent.
    usable: Duration,
    /// Interval of the renewals.
    interval: Duration,
    /// Time for which a lease is seen without a renewal before another gateway takes it.
    unrenewed: Duration,
}

impl Leases {
    fn new(request_timeout: Duration) -> Self {
        let usable = request_timeout + CLOCK_MARGIN;
        let interval = usable / 4;
        Self { lease: usable + request_timeout + CLOCK_MARGIN, usable, interval, unrenewed: 2 * interval }
    }

    /// Returns the time after which no lease ends. Clocks of gateways differ by less than the margin.
    fn longest(&self) -> Duration {
        self.lease + CLOCK_MARGIN
    }
}

struct Held {
    changed: Arc<Notify>,
    stop: CancellationToken,
}

struct Holder {
    webhooks: Webhooks,
    /// The number of this process in the leases.
    number: i64,
    leases: Leases,
    lease: watch::Sender<Instant>,
    held: HashMap<EndpointId, Held>,
    /// The leases of others that end soon or have ended, and since when each was seen without a renewal.
    ending: HashMap<EndpointId, (Timestamp, Instant)>,
    deliveries: JoinSet<(EndpointId, Ended)>,
    changes_since: Timestamp,
}

impl Webhooks {
    /// Delivers events to endpoints until `stop`. Then it waits for requests in flight, and gives the endpoints back.
    pub async fn run(self, stop: CancellationToken) {
        if !self.0.event_log.is_enabled() {
            return;
        }
        let leases = Leases::new(self.0.config.request_timeout);
        let mut holder = Holder {
            number: i64::from(rand::random::<u32>()) << 16 | i64::from(std::process::id() & 0xffff) | 1,
            leases,
            lease: watch::Sender::new(Instant::now() + leases.usable),
            held: HashMap::new(),
            ending: HashMap::new(),
            deliveries: JoinSet::new(),
            changes_since: self.0.store.now() - CHANGE_OVERLAP,
            webhooks: self,
        };
        let mut renewed = Instant::now();
        loop {
            if renewed.elapsed() >= leases.interval {
                // Without a renewal the deliveries end by themselves.
                if let Err(error) = holder.renew().await {
                    tracing::debug!(%error, "failed to renew the leases of webhook endpoints");
                }
                renewed = Instant::now();
            }
            if let Err(error) = holder.look().await {
                tracing::debug!(%error, "failed to look for webhook endpoints");
            }
            let wake_at = Instant::now() + CLAIM_INTERVAL;
            loop {
                tokio::select! {
                    () = stop.cancelled() => return holder.finish().await,
                    () = holder.webhooks.0.changed.notified() => break,
                    Some(ended) = holder.deliveries.join_next(), if !holder.deliveries.is_empty() => {
                        if let Ok((id, ended)) = ended {
                            holder.ended(id, ended).await;
                        }
                    }
                    () = tokio::time::sleep_until(wake_at) => break,
                }
            }
        }
    }
}

impl Holder {
    /// Takes endpoints without a holder, and tells deliveries of changes.
    async fn look(&mut self) -> Result<(), StoreError> {
        let store = self.webhooks.0.store.clone();
        let since = self.changes_since;
        let now = store.now();
        for id in store.webhook_endpoints_changed_since(since).await? {
            if let Some(held) = self.held.get(&id) {
                held.changed.notify_one();
            }
        }
        self.changes_since = now - CHANGE_OVERLAP;
        if self.held.len() >= MAX_HELD {
            return Ok(());
        }
        if self.held.is_empty() {
            // Nothing depends on the lease before.
            self.lease.send_replace(Instant::now() + self.leases.usable);
        }
        let (soon, latest) = (now + self.leases.unrenewed, now + self.leases.longest());
        let ending = store.ending_webhook_leases(soon, latest, MAX_ENDING).await?;
        let free = self.free(&ending, now);
        if !free.is_empty() {
            for id in store.take_webhook_leases(self.number, &free, self.leases.lease).await? {
                self.deliver(id);
            }
        }
        Ok(())
    }

    /// Returns leases without a holder: those that were given back, and those that are over and were not renewed.
    fn free(&mut self, ending: &[WebhookLease], now: Timestamp) -> Vec<WebhookLease> {
        let mut seen = HashMap::with_capacity(ending.len());
        let mut free = Vec::new();
        for lease in ending.iter().filter(|lease| !self.held.contains_key(&lease.endpoint)) {
            let before = self.ending.get(&lease.endpoint).filter(|(until, _)| *until == lease.until);
            let (_, since) = *seen
                .entry(lease.endpoint)
                .or_insert_with(|| before.copied().unwrap_or((lease.until, Instant::now())));
            // Its end is 0 if it was given back, and before its first holder.
            let is_given_back = lease.until == Timestamp::from_micros(0);
            let is_over = lease.until <= now || lease.until > now + self.leases.longest();
            let is_unrenewed = is_over && since.elapsed() >= self.leases.unrenewed;
            if (is_given_back || is_unrenewed) && free.len() < CLAIMED_AT_ONCE {
                free.push(*lease);
            }
        }
        self.ending = seen;
        free
    }

    fn deliver(&mut self, id: EndpointId) {
        let (changed, stop) = (Arc::new(Notify::new()), CancellationToken::new());
        let parts = Parts {
            webhooks: self.webhooks.clone(),
            id,
            holder: self.number,
            lease: self.lease.subscribe(),
            changed: changed.clone(),
            stop: stop.clone(),
        };
        self.held.insert(id, Held { changed, stop });
        self.deliveries.spawn(async move {
            let delivery = panics::catch_async("webhooks", async {
                match Delivery::load(parts).await {
                    Ok(Some(delivery)) => delivery.run().await,
                    Ok(None) => Ended::Lost,
                    Err(error) => {
                        tracing::debug!(%error, endpoint = %id, "failed to read a webhook endpoint");
                        Ended::Released
                    }
                }
            });
            // After a panic the lease ends by itself.
            (id, delivery.await.unwrap_or(Ended::Lost))
        });
    }

    async fn renew(&mut self) -> Result<(), StoreError> {
        let ids: Vec<EndpointId> = self.held.keys().copied().collect();
        if ids.is_empty() {
            return Ok(());
        }
        let start = Instant::now();
        let still =
            self.webhooks.0.store.renew_webhook_endpoints(self.number, &ids, self.leases.lease).await?;
        if start < *self.lease.borrow() {
            self.lease.send_replace(start + self.leases.usable);
        }
        for id in ids.iter().filter(|id| !still.contains(id)) {
            if let Some(held) = self.held.get(id) {
                // It finds that it is not the holder.
                held.changed.notify_one();
            }
        }
        Ok(())
    }

    async fn ended(&mut self, id: EndpointId, ended: Ended) {
        self.held.remove(&id);
        if ended == Ended::Released
            && let Err(error) = self.webhooks.0.store.release_webhook_endpoints(self.number, &[id]).await
        {
            tracing::debug!(%error, "failed to give a webhook endpoint back, its lease ends by itself");
        }
    }

    async fn finish(mut self) {
        for held in self.held.values() {
            held.stop.cancel();
        }
        while let Some(ended) = self.deliveries.join_next().await {
            if let Ok((id, ended)) = ended {
                self.ended(id, ended).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_documented() {
        let held = limits_page::count(MAX_HELD);
        let timeout = crate::Config::default().request_timeout;
        let lease = Leases::new(timeout).lease.as_secs();
        limits_page::row(
            "webhook endpoints of a gateway; lease of an endpoint",
            &format!("{held}; {lease} s"),
        );
        let followed = limits_page::count(MAX_ENDING as usize);
        limits_page::row("leases of webhook endpoints near their end that a gateway follows", &followed);
        limits_page::row("request to a webhook endpoint", &format!("{} s", timeout.as_secs()));
    }
}
