//! The gateways of the installation that are running, which share the limits of keys and tenants.
//!
//! Each gateway announces itself on the bus. A gateway receives its own announcements as well: while they do not arrive,
//! the bus is interrupted, and the number of gateways stays as it was. Without a bus between processes it is 1.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use broker::{Bus, GatewayId};
use domain::{MAX_SHARES, Shares};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Interval of the announcements.
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(1);
/// Time after its last announcement for which a gateway counts as running.
const PRESENT_FOR: Duration = Duration::from_millis(3_500);

/// The running gateways. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Presence(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    own: GatewayId,
    seen: Mutex<HashMap<GatewayId, Instant>>,
    shares: Shares,
}

impl Default for Presence {
    fn default() -> Self {
        let own = GatewayId(rand::random());
        Self(Arc::new(Inner { own, seen: Mutex::default(), shares: Shares::default() }))
    }
}

impl Presence {
    /// Returns the number of running gateways, which this task keeps up to date.
    pub fn shares(&self) -> Shares {
        self.0.shares.clone()
    }

    /// Records the announcement of a gateway.
    pub(crate) fn record(&self, gateway: GatewayId) {
        let mut seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < MAX_SHARES as usize || seen.contains_key(&gateway) {
            seen.insert(gateway, Instant::now());
        }
        self.count(&mut seen);
    }

    /// Announces this gateway until `stop`.
    pub async fn run(self, bus: Arc<dyn Bus>, stop: CancellationToken) {
        let mut times = interval(ANNOUNCE_INTERVAL);
        times.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(times.tick()).await.is_some() {
            // The publisher logs interruptions of the bus.
            if let Err(error) = bus.announce(self.0.own).await {
                tracing::debug!(%error, "failed to announce the gateway");
            }
            self.count(&mut self.0.seen.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn count(&self, seen: &mut HashMap<GatewayId, Instant>) {
        let is_present = |at: &Instant| at.elapsed() < PRESENT_FOR;
        if seen.get(&self.0.own).is_some_and(is_present) {
            seen.retain(|_, at| is_present(at));
            self.0.shares.set(seen.len());
            metrics::gauge!("orders_gateways").set(seen.len() as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn gateways_count_while_they_announce_themselves() {
        let presence = Presence::default();
        let (own, shares) = (presence.0.own, presence.shares());
        assert_eq!(shares.get(), 1);
        presence.record(GatewayId(1));
        presence.record(own);
        assert_eq!(shares.get(), 2);
        tokio::time::advance(PRESENT_FOR).await;
        presence.record(own);
        assert_eq!(shares.get(), 1, "the other gateway has stopped");
    }

    #[tokio::test(start_paused = true)]
    async fn an_interrupted_bus_keeps_the_number() {
        let presence = Presence::default();
        presence.record(presence.0.own);
        presence.record(GatewayId(1));
        tokio::time::advance(2 * PRESENT_FOR).await;
        presence.record(GatewayId(2));
        assert_eq!(presence.shares().get(), 2);
        presence.record(presence.0.own);
        assert_eq!(presence.shares().get(), 2, "the gateway and the one that was announced lately");
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_gateways_is_limited() {
        let presence = Presence::default();
        presence.record(presence.0.own);
        for id in 0..2 * u64::from(MAX_SHARES) {
            presence.record(GatewayId(id));
        }
        assert_eq!(presence.0.seen.lock().unwrap().len(), MAX_SHARES as usize);
        assert_eq!(presence.shares().get(), MAX_SHARES);
    }

    #[test]
    fn the_limits_are_documented() {
        limits_page::row("gateways that share a limit", &limits_page::count(MAX_SHARES as usize));
    }
}
