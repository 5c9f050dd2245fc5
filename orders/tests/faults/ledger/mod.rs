//! Clients that create orders at a limited rate over all gateways, and record the responses in a ledger. Subscribers watch
//! some of the orders, a reader takes all events from the event log, and a webhook endpoint receives them.
//!
//! Every second client sends an `Idempotency-Key`, and repeats its create until the order is accepted. The others repeat
//! only after a failed connect, so each create has at most one order. The external reference identifies the create.

mod check;
mod client;
mod log_reader;
mod mixed;
mod subscriber;
mod webhook_receiver;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;

pub(crate) use check::{Verdict, check, read_orders, unfinished};

use crate::harness::{eventually, within};

/// Clients that create orders concurrently.
const CLIENTS: usize = 32;
/// Default of the minimum interval between the creates of a client: 160 creates per second in total.
pub(crate) const CREATE_INTERVAL: Duration = Duration::from_millis(200);
/// Every sixth accepted order is watched.
const WATCH_EVERY: usize = 6;
/// Timeout for subscribers to receive all events.
const SUBSCRIBER_TIMEOUT: Duration = Duration::from_secs(20);

/// The response to one create.
pub(crate) struct Accepted {
    pub(crate) id: String,
    pub(crate) at: Instant,
    /// The duration of the accepted request, without the tries before it.
    pub(crate) took: Duration,
}

/// The records of all clients and subscribers.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Accepted creates by their reference.
    pub(crate) accepted: BTreeMap<String, Accepted>,
    /// Creates that were rejected without a change, and not repeated.
    pub(crate) refused: BTreeSet<String>,
    /// The number of rejections by status and code.
    pub(crate) refusals: BTreeMap<String, usize>,
    /// The number of requests without a response.
    pub(crate) unanswered: usize,
    /// The number of failed connects.
    pub(crate) unreachable: usize,
    /// The maximum time until a create was accepted, with its repetitions.
    pub(crate) slowest: Duration,
    /// The events that each subscriber received, by the id of the order.
    pub(crate) watched: BTreeMap<String, Vec<(i64, String)>>,
    /// The events that the reader of the event log received: order, sequence and status.
    pub(crate) logged: Vec<(String, i64, String)>,
    /// The sequences of each order in the order of their arrival at the webhook endpoint.
    pub(crate) delivered: BTreeMap<String, Vec<i64>>,
    /// The number of these events.
    received: usize,
    /// Orders whose cancellation was requested: they end as cancelled or completed.
    pub(crate) cancelled: BTreeSet<String>,
    /// The time and the duration of each successful read of the mixed load.
    pub(crate) reads: Vec<(Instant, Duration)>,
    /// The id of the latest accepted order.
    latest: Option<String>,
    /// The start of the latest request of each gateway with a 201.
    pub(crate) works_since: Vec<Option<Instant>>,
    /// Differences that no fault permits.
    pub(crate) wrong: Vec<String>,
}

impl Ledger {
    /// Returns the longest time between two accepted creates.
    pub(crate) fn longest_pause(&self) -> Duration {
        let mut times: Vec<Instant> = self.accepted.values().map(|accepted| accepted.at).collect();
        times.sort_unstable();
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }
}

/// Running clients and subscribers.
pub(crate) struct Clients {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

struct Shared {
    gateways: Vec<String>,
    /// Gateways that are removed from the load balancer.
    removed: Vec<AtomicBool>,
    create_interval: Duration,
    stop: AtomicBool,
    /// Whether subscribers stop to reconnect.
    stop_subscribers: AtomicBool,
    /// Whether all orders are final.
    log_is_complete: AtomicBool,
    http: reqwest::Client,
    ledger: Mutex<Ledger>,
    subscribers: Mutex<JoinSet<()>>,
}

impl Clients {
    /// Starts the clients; `gateways` are base URLs.
    pub(crate) async fn start(gateways: &[String], create_interval: Duration) -> Self {
        crate::harness::install_tls_provider();
        let http = reqwest::Client::builder().no_proxy().build().expect("a client can be built");
        let shared = Arc::new(Shared {
            gateways: gateways.to_vec(),
            removed: gateways.iter().map(|_| AtomicBool::new(false)).collect(),
            create_interval,
            stop: AtomicBool::new(false),
            stop_subscribers: AtomicBool::new(false),
            log_is_complete: AtomicBool::new(false),
            http,
            ledger: Mutex::new(Ledger { works_since: vec![None; gateways.len()], ..Ledger::default() }),
            subscribers: Mutex::default(),
        });
        webhook_receiver::start(&shared).await;
        shared.subscribers.lock().unwrap().spawn(log_reader::run(shared.clone()));
        let mut tasks = JoinSet::new();
        for number in 0..CLIENTS {
            tasks.spawn(client::run(shared.clone(), number));
        }
        Self { shared, tasks }
    }

    /// Adds clients that read lists, orders and metrics, and cancel some orders.
    pub(crate) fn mix_load(&mut self) {
        for number in 0..mixed::CLIENTS {
            self.tasks.spawn(mixed::run(self.shared.clone(), number));
        }
    }

    /// Calls `access` with the ledger.
    pub(crate) fn with_ledger<T>(&self, access: impl FnOnce(&mut Ledger) -> T) -> T {
        access(&mut self.shared.ledger.lock().unwrap())
    }

    /// Removes the failures that happened while the system was starting.
    pub(crate) fn forget_startup_failures(&self) {
        self.with_ledger(|ledger| {
            ledger.refusals.clear();
            (ledger.unanswered, ledger.unreachable, ledger.slowest) = (0, 0, Duration::ZERO);
        });
    }

    /// Waits until `more` orders are accepted.
    pub(crate) async fn wait_until_accepted(&self, more: usize) {
        let enough = self.with_ledger(|ledger| ledger.accepted.len()) + more;
        eventually("orders to be accepted", || {
            std::future::ready((self.with_ledger(|ledger| ledger.accepted.len()) >= enough).then_some(()))
        })
        .await;
    }

    /// Waits until every gateway has accepted an order that was sent after `since`.
    pub(crate) async fn wait_until_accepted_everywhere(&self, since: Instant) {
        eventually("each gateway to accept orders", || {
            let works = |at: &Option<Instant>| at.is_some_and(|at| at > since);
            std::future::ready(self.with_ledger(|ledger| ledger.works_since.iter().all(works)).then_some(()))
        })
        .await;
    }

    /// Adds a gateway to the load balancer, or removes it.
    pub(crate) fn balance(&self, gateway: usize, add: bool) {
        self.shared.removed[gateway].store(!add, Ordering::Relaxed);
    }

    /// Creates one more order and returns its id.
    pub(crate) async fn create(&self, reference: &str, max_attempts: u32) -> String {
        let order = json!({"item": "Laptop", "quantity": 1, "price": 1,
            "externalReference": reference, "maxAttempts": max_attempts});
        let begun = Instant::now();
        let response =
            self.shared.http.post(format!("{}/orders", self.shared.gateways[0])).json(&order).send();
        let response: Value = response.await.expect("the gateway responds").json().await.expect("JSON");
        let id = response["id"].as_str().unwrap_or_else(|| panic!("{response}")).to_owned();
        let accepted = Accepted { id: id.clone(), at: Instant::now(), took: begun.elapsed() };
        self.with_ledger(|ledger| ledger.accepted.insert(reference.to_owned(), accepted));
        id
    }

    /// Ends the load after the running creates.
    pub(crate) async fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        within("the clients to end", async {
            while let Some(client) = self.tasks.join_next().await {
                client.expect("no panic");
            }
        })
        .await;
    }

    /// Waits until every subscriber has received the final status of its order. After a timeout the others record the
    /// events that they have.
    pub(crate) async fn wait_for_subscribers(&self) {
        self.shared.log_is_complete.store(true, Ordering::Relaxed);
        let mut subscribers = std::mem::take(&mut *self.shared.subscribers.lock().unwrap());
        let ends = async {
            while let Some(subscriber) = subscribers.join_next().await {
                subscriber.expect("no panic");
            }
        };
        let mut ends = std::pin::pin!(ends);
        if timeout(SUBSCRIBER_TIMEOUT, &mut ends).await.is_err() {
            self.shared.stop_subscribers.store(true, Ordering::Relaxed);
            within("the subscribers to stop", ends).await;
        }
        webhook_receiver::wait(&self.shared).await;
    }
}
