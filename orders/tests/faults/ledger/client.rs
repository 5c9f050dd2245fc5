//! One client: creates orders, and uses another gateway if one does not respond.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{Accepted, Shared, WATCH_EVERY, subscriber};

/// Timeout of a request. A gateway rejects within 5 s.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(5_500);
/// Pause between two tries of the same create.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Rejections without a change.
const NOTHING_CHANGED: [&str; 13] = [
    "overloaded",
    "database_unavailable",
    "database_pool_exhausted",
    "database_connection_limit",
    "database_read_only",
    "database_full",
    "database_access_denied",
    "database_statement_limit",
    "database_statement_timeout",
    "database_packet_limit",
    "database_misconfigured",
    "starting",
    "shutting_down",
];
/// Rejections after which the order can exist.
const UNDECIDED: [&str; 2] = ["outcome_unknown", "request_timeout"];

/// The result of one request.
enum Response {
    Accepted(String),
    /// The connection failed, so nothing was sent.
    Unreachable,
    /// The request was sent, and no response came.
    None,
    Refused {
        status: u16,
        code: String,
    },
}

pub(super) async fn run(shared: Arc<Shared>, number: usize) {
    let mut pace = interval(shared.create_interval);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The clients start at different times.
    sleep(shared.create_interval.mul_f64(number as f64 / super::CLIENTS as f64)).await;
    for turn in 0.. {
        pace.tick().await;
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        create_order(&shared, number, turn).await;
    }
}

async fn create_order(shared: &Arc<Shared>, number: usize, turn: usize) {
    let (reference, keyed) = (format!("{number}-{turn}"), number.is_multiple_of(2));
    let begun = Instant::now();
    for try_number in 0.. {
        if try_number > 0 {
            sleep(RETRY_PAUSE).await;
        }
        let Some(gateway) = shared.choose_gateway(number / 2 + turn + try_number) else { continue };
        let sent = Instant::now();
        let response = shared.post(gateway, &reference, keyed).await;
        let mut ledger = shared.ledger.lock().unwrap();
        match response {
            Response::Accepted(id) => {
                ledger.works_since[gateway] = ledger.works_since[gateway].max(Some(sent));
                ledger.slowest = ledger.slowest.max(begun.elapsed());
                let count = ledger.accepted.len();
                if count.is_multiple_of(WATCH_EVERY) {
                    let watching = subscriber::run(shared.clone(), id.clone(), count / WATCH_EVERY);
                    shared.subscribers.lock().unwrap().spawn(watching);
                }
                ledger.latest = Some(id.clone());
                ledger.accepted.insert(reference, Accepted { id, at: Instant::now(), took: sent.elapsed() });
                return;
            }
            // The gateway may have been removed from the load balancer meanwhile.
            Response::Unreachable if shared.removed[gateway].load(Ordering::Relaxed) => {}
            Response::Unreachable => ledger.unreachable += 1,
            Response::None => {
                ledger.unanswered += 1;
                if !keyed {
                    return;
                }
            }
            Response::Refused { status, code } => {
                let undecided = UNDECIDED.contains(&code.as_str());
                if status != 503 || !(undecided || NOTHING_CHANGED.contains(&code.as_str())) {
                    ledger.wrong.push(format!("{reference} got the response {status} {code}"));
                }
                *ledger.refusals.entry(format!("{status} {code}")).or_default() += 1;
                if !keyed {
                    if !undecided {
                        ledger.refused.insert(reference);
                    }
                    return;
                }
            }
        }
    }
}

impl Shared {
    /// Returns a gateway of the load balancer.
    pub(super) fn choose_gateway(&self, preference: usize) -> Option<usize> {
        let count = self.gateways.len();
        let mut all = (0..count).map(|i| (preference + i) % count);
        all.find(|gateway| !self.removed[*gateway].load(Ordering::Relaxed))
    }

    async fn post(&self, gateway: usize, reference: &str, keyed: bool) -> Response {
        let order =
            json!({"item": "Laptop", "quantity": 2, "price": 1299.99, "externalReference": reference});
        let mut request = self.http.post(format!("{}/orders", self.gateways[gateway])).json(&order);
        if keyed {
            request = request.header("Idempotency-Key", reference);
        }
        let response = match request.timeout(RESPONSE_TIMEOUT).send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Response::Unreachable,
            Err(_) => return Response::None,
        };
        let status = response.status().as_u16();
        let Ok(body) = response.json::<Value>().await else { return Response::None };
        match (status, body["id"].as_str()) {
            (201, Some(id)) => Response::Accepted(id.to_owned()),
            _ => Response::Refused { status, code: body["code"].as_str().unwrap_or_default().to_owned() },
        }
    }
}
