//! Observes when orders are completed, in the same way for every system: as a subscriber of its Redis channel.
//!
//! The product's gateway publishes each event on its bus after the commit. The workers of the peers publish each status
//! after their write. The observer is one more subscriber and asks no measured server anything.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::{Status, event_codec};
use serde::Deserialize;

/// The channel of the product's bus.
const BUS_CHANNEL: &str = "orders:events";
/// The channel of the peers.
const PEER_CHANNEL: &str = "orders";
/// The length of the head of a message on the bus: version, installation, sender, number and HMAC.
const BUS_HEAD_BYTES: usize = 1 + 16 + 8 + 8 + 16;
/// Interval at which the number of completed orders is compared.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The time at which each order was seen as completed, by its id.
#[derive(Clone, Default)]
pub(crate) struct Completions(Arc<Mutex<HashMap<String, Instant>>>);

/// A message of a peer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PeerMessage {
    order_id: serde_json::Value,
    status: String,
}

impl Completions {
    /// Subscribes; the thread ends with the Redis.
    pub(crate) fn observe(redis_url: &str) -> io::Result<Self> {
        let client = redis::Client::open(redis_url).map_err(io::Error::other)?;
        let mut connection = client.get_connection().map_err(io::Error::other)?;
        let completions = Self::default();
        let recorded = completions.clone();
        let (subscribed, is_subscribed) = std::sync::mpsc::sync_channel(1);
        std::thread::spawn(move || -> redis::RedisResult<()> {
            let mut channels = connection.as_pubsub();
            channels.subscribe(&[BUS_CHANNEL, PEER_CHANNEL])?;
            // The receiver waits for it.
            let _ = subscribed.send(());
            loop {
                let message = channels.get_message()?;
                let at = Instant::now();
                let ids = if message.get_channel_name() == BUS_CHANNEL {
                    completed_on_bus(message.get_payload_bytes())
                } else {
                    completed_by_peer(message.get_payload_bytes()).into_iter().collect()
                };
                recorded.record(ids, at);
            }
        });
        let lost = |_| io::Error::other("failed to subscribe to the events of orders");
        is_subscribed.recv().map_err(lost)?;
        Ok(completions)
    }

    fn record(&self, ids: Vec<String>, at: Instant) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            times.entry(id).or_insert(at);
        }
    }

    /// Waits until this number of orders is completed; false after the timeout.
    pub(crate) fn wait_for(&self, orders: usize, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        while self.0.lock().unwrap_or_else(PoisonError::into_inner).len() < orders {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        true
    }

    /// Returns the times, and begins again.
    pub(crate) fn take(&self) -> HashMap<String, Instant> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Returns the completed orders of a message on the product's bus.
fn completed_on_bus(message: &[u8]) -> Vec<String> {
    let events = message.get(BUS_HEAD_BYTES..).and_then(|content| event_codec::decode_events(content).ok());
    // Gaps and announcements of gateways have no events.
    let events = events.unwrap_or_default();
    let completed = events.iter().filter(|event| event.status == Status::Completed);
    completed.map(|event| event.order_id.to_string()).collect()
}

/// Returns the completed order of a peer's message.
fn completed_by_peer(message: &[u8]) -> Option<String> {
    let PeerMessage { order_id, status } = serde_json::from_slice(message).ok()?;
    let id = order_id.as_str().map_or_else(|| order_id.to_string(), str::to_owned);
    (status == "completed").then_some(id)
}

#[cfg(test)]
mod tests {
    use domain::{OrderEvent, TenantId, Timestamp};

    use super::*;

    #[test]
    fn completed_orders_are_found_on_the_bus() {
        let event = |id: &str, status| {
            Arc::new(OrderEvent {
                tenant_id: TenantId::default(),
                order_id: id.parse().unwrap(),
                sequence: 3,
                status,
                previous_status: None,
                attempt: 1,
                reason: None,
                error_class: None,
                worker: None,
                occurred_at: Timestamp::from_micros(1),
            })
        };
        let (one, two) = ("01890a5d-ac96-774b-bcce-b302099a8057", "01890a5d-ac96-774b-bcce-b302099a8058");
        let events = [event(one, Status::Completed), event(two, Status::Processing)];
        let message = [vec![0; BUS_HEAD_BYTES], event_codec::encode_events(&events)].concat();
        assert_eq!(completed_on_bus(&message), [one]);
        assert!(completed_on_bus(&[4; 10]).is_empty());
        assert!(completed_on_bus(&[0; BUS_HEAD_BYTES]).is_empty());
    }

    #[test]
    fn completed_order_of_a_peer_has_a_number_or_a_string() {
        let completed = |message: &str| completed_by_peer(message.as_bytes());
        assert_eq!(completed(r#"{"orderId":7,"status":"completed"}"#).as_deref(), Some("7"));
        assert_eq!(completed(r#"{"orderId":"inv_1","status":"completed"}"#).as_deref(), Some("inv_1"));
        assert_eq!(completed(r#"{"orderId":7,"status":"processing"}"#), None);
        assert_eq!(completed("{"), None);
    }

    #[test]
    fn first_time_of_an_order_counts() {
        let (completions, first) = (Completions::default(), Instant::now());
        completions.record(vec!["7".to_owned()], first);
        completions.record(vec!["7".to_owned()], first + Duration::from_secs(1));
        assert!(completions.wait_for(1, Duration::ZERO) && !completions.wait_for(2, Duration::ZERO));
        assert_eq!(completions.take(), HashMap::from([("7".to_owned(), first)]));
        assert!(!completions.wait_for(1, Duration::ZERO));
    }
}
