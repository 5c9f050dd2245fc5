//! The gateways of the installation that are running, which share the limits of keys and tenants.
//!
//! Each gateway announces itself on the bus. A gateway receives its own announcements as well: while they do not arrive,
//! the bus is interrupted, and the number of gateways stays as it was. Without a bus between processes it is 1.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use broker::{Bus, GatewayId, GatewayInfo};
use domain::{MAX_SHARES, Shares};
use tokio::sync::Notify;
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
    own: GatewayInfo,
    started: Instant,
    seen: Mutex<HashMap<GatewayId, Seen>>,
    shares: Shares,
    departed: Notify,
}

#[derive(Debug)]
struct Seen {
    at: Instant,
    info: GatewayInfo,
}

impl Presence {
    pub(crate) fn new(own: GatewayInfo) -> Self {
        let (seen, shares, departed) = (Mutex::default(), Shares::default(), Notify::new());
        Self(Arc::new(Inner { own, started: Instant::now(), seen, shares, departed }))
    }

    /// Waits until a gateway no longer announces itself. It may have committed events that it has not published.
    pub(crate) async fn departed(&self) {
        self.0.departed.notified().await;
    }

    /// Returns whether the bus does not deliver the announcements of this gateway.
    pub(crate) fn is_interrupted(&self) -> bool {
        let seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = seen.get(&self.0.own.id).map_or(self.0.started, |seen| seen.at);
        latest.elapsed() >= PRESENT_FOR
    }

    /// Returns the running gateways and how long ago each announced itself, the oldest one first.
    pub fn gateways(&self) -> Vec<(GatewayInfo, Duration)> {
        let seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gateways: Vec<_> = seen.values().map(|seen| (seen.info.clone(), seen.at.elapsed())).collect();
        drop(seen);
        if !gateways.iter().any(|(info, _)| info.id == self.0.own.id) {
            gateways.push((self.0.own.clone(), Duration::ZERO));
        }
        gateways.sort_by_key(|(info, _)| (info.started_at, info.id.0));
        gateways
    }

    /// Returns the number of running gateways, which this task keeps up to date.
    pub fn shares(&self) -> Shares {
        self.0.shares.clone()
    }

    /// Records the announcement of a gateway.
    pub(crate) fn record(&self, gateway: GatewayInfo) {
        let mut seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < MAX_SHARES as usize || seen.contains_key(&gateway.id) {
            seen.insert(gateway.id, Seen { at: Instant::now(), info: gateway });
        }
        self.count(&mut seen);
    }

    /// Announces this gateway until `stop`.
    pub async fn run(self, bus: Arc<dyn Bus>, stop: CancellationToken) {
        let mut times = interval(ANNOUNCE_INTERVAL);
        times.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(times.tick()).await.is_some() {
            // The publisher logs interruptions of the bus.
            if let Err(error) = bus.announce(&self.0.own).await {
                tracing::debug!(%error, "failed to announce the gateway");
            }
            self.count(&mut self.0.seen.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn count(&self, seen: &mut HashMap<GatewayId, Seen>) {
        let is_present = |seen: &Seen| seen.at.elapsed() < PRESENT_FOR;
        if seen.get(&self.0.own.id).is_some_and(is_present) {
            let before = seen.len();
            seen.retain(|_, seen| is_present(seen));
            if seen.len() < before {
                self.0.departed.notify_one();
            }
            self.0.shares.set(seen.len());
            metrics::gauge!("orders_gateways").set(seen.len() as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(id: u64) -> GatewayInfo {
        let (host, version) = (Arc::from("web-1"), Arc::from("0.1.0"));
        GatewayInfo { id: GatewayId(id), host, version, started_at: domain::Timestamp::from_micros(0) }
    }

    #[tokio::test(start_paused = true)]
    async fn gateways_count_while_they_announce_themselves() {
        let presence = Presence::new(gateway(1_000_000));
        let (own, shares) = (presence.0.own.clone(), presence.shares());
        assert_eq!(shares.get(), 1);
        presence.record(gateway(1));
        presence.record(own.clone());
        assert_eq!(shares.get(), 2);
        tokio::time::advance(PRESENT_FOR).await;
        presence.record(own);
        assert_eq!(shares.get(), 1, "the other gateway has stopped");
        tokio::time::timeout(Duration::ZERO, presence.departed()).await.expect("it is reported");
        let running: Vec<u64> = presence.gateways().iter().map(|(info, _)| info.id.0).collect();
        assert_eq!(running, [1_000_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_interrupted_bus_keeps_the_number() {
        let presence = Presence::new(gateway(1_000_000));
        presence.record(presence.0.own.clone());
        presence.record(gateway(1));
        assert!(!presence.is_interrupted());
        tokio::time::advance(2 * PRESENT_FOR).await;
        assert!(presence.is_interrupted());
        presence.record(gateway(2));
        assert_eq!(presence.shares().get(), 2);
        presence.record(presence.0.own.clone());
        assert_eq!(presence.shares().get(), 2, "the gateway and the one that was announced lately");
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_gateways_is_limited() {
        let presence = Presence::new(gateway(1_000_000));
        presence.record(presence.0.own.clone());
        for id in 0..2 * u64::from(MAX_SHARES) {
            presence.record(gateway(id));
        }
        assert_eq!(presence.0.seen.lock().unwrap().len(), MAX_SHARES as usize);
        assert_eq!(presence.shares().get(), MAX_SHARES);
    }

    #[test]
    fn the_limits_are_documented() {
        limits_page::row("gateways that share a limit", &limits_page::count(MAX_SHARES as usize));
    }
}
