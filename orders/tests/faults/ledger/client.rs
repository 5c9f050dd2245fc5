//! One client: creates orders, goes to another gateway when one does not answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{Accepted, PACE, Shared, WATCHED, subscriber};

/// A gateway refuses what it cannot do within 5 s; longer without an answer means that there is none.
const PATIENCE: Duration = Duration::from_millis(5_500);
/// Between two tries of the same create.
const PAUSE: Duration = Duration::from_millis(100);
/// Refusals that promise that nothing was changed.
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
/// Refusals after which the order may exist.
const UNDECIDED: [&str; 2] = ["outcome_unknown", "request_timeout"];

/// What became of one request.
enum Answer {
    Accepted(String),
    /// No connection was made: nothing was sent.
    Unreachable,
    /// It was sent, and nothing is known of it.
    None,
    Refused {
        status: u16,
        code: String,
    },
}

pub(super) async fn run(shared: Arc<Shared>, number: usize) {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Not all of them in the same moment.
    sleep(PACE.mul_f64(number as f64 / super::CLIENTS as f64)).await;
    for turn in 0.. {
        pace.tick().await;
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        create(&shared, number, turn).await;
    }
}

async fn create(shared: &Arc<Shared>, number: usize, turn: usize) {
    let (reference, keyed) = (format!("{number}-{turn}"), number.is_multiple_of(2));
    let begun = Instant::now();
    for try_number in 0.. {
        if try_number > 0 {
            sleep(PAUSE).await;
        }
        let Some(gateway) = shared.choose(number / 2 + turn + try_number) else { continue };
        let sent = Instant::now();
        let answer = shared.post(gateway, &reference, keyed).await;
        let mut book = shared.book.lock().unwrap();
        match answer {
            Answer::Accepted(id) => {
                book.works_since[gateway] = book.works_since[gateway].max(Some(sent));
                book.slowest = book.slowest.max(begun.elapsed());
                let count = book.accepted.len();
                if count.is_multiple_of(WATCHED) {
                    let watching = subscriber::run(shared.clone(), id.clone(), count / WATCHED);
                    shared.subscribers.lock().unwrap().spawn(watching);
                }
                book.accepted.insert(reference, Accepted { id, at: Instant::now() });
                return;
            }
            // Unless it was taken out since it was chosen.
            Answer::Unreachable if shared.out[gateway].load(Ordering::Relaxed) => {}
            Answer::Unreachable => book.unreachable += 1,
            Answer::None => {
                book.unanswered += 1;
                if !keyed {
                    return;
                }
            }
            Answer::Refused { status, code } => {
                let undecided = UNDECIDED.contains(&code.as_str());
                if status != 503 || !(undecided || NOTHING_CHANGED.contains(&code.as_str())) {
                    book.wrong.push(format!("{reference} was answered {status} {code}"));
                }
                *book.refusals.entry(format!("{status} {code}")).or_default() += 1;
                if !keyed {
                    if !undecided {
                        book.refused.insert(reference);
                    }
                    return;
                }
            }
        }
    }
}

impl Shared {
    /// One of the gateways that are not taken out.
    pub(super) fn choose(&self, preference: usize) -> Option<usize> {
        let count = self.gateways.len();
        let mut all = (0..count).map(|i| (preference + i) % count);
        all.find(|gateway| !self.out[*gateway].load(Ordering::Relaxed))
    }

    async fn post(&self, gateway: usize, reference: &str, keyed: bool) -> Answer {
        let order =
            json!({"item": "Laptop", "quantity": 2, "price": 1299.99, "externalReference": reference});
        let mut request = self.http.post(format!("{}/orders", self.gateways[gateway])).json(&order);
        if keyed {
            request = request.header("Idempotency-Key", reference);
        }
        let response = match request.timeout(PATIENCE).send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Answer::Unreachable,
            Err(_) => return Answer::None,
        };
        let status = response.status().as_u16();
        let Ok(body) = response.json::<Value>().await else { return Answer::None };
        match (status, body["id"].as_str()) {
            (201, Some(id)) => Answer::Accepted(id.to_owned()),
            _ => Answer::Refused { status, code: body["code"].as_str().unwrap_or_default().to_owned() },
        }
    }
}
