//! The side of the clients: many of them create orders at a bounded rate over all gateways, and
//! write down what they were told. Some of the orders are also watched.
//!
//! Every second client sends an `Idempotency-Key` and repeats its create until it is told that the
//! order is accepted. The others repeat only when no connection was made, so that each create has
//! at most one order in any case. The external reference says which create an order belongs to.

mod check;
mod client;
mod subscriber;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;

pub(crate) use check::{Verdict, check, read, unfinished};

use crate::harness::{eventually, within};

/// Clients that create orders side by side.
const CLIENTS: usize = 32;
/// Each of them begins a create so often at most: 160 a second in all.
const PACE: Duration = Duration::from_millis(200);
/// One of so many accepted orders is watched.
const WATCHED: usize = 6;
/// How long subscribers get to see what has happened.
const SEEN_AFTER: Duration = Duration::from_secs(20);

/// What a client was told of one create.
pub(crate) struct Accepted {
    pub(crate) id: String,
    pub(crate) at: Instant,
}

/// Everything that clients and subscribers have written down.
#[derive(Default)]
pub(crate) struct Book {
    /// By reference.
    pub(crate) accepted: BTreeMap<String, Accepted>,
    /// Creates that were refused with the promise that nothing was changed, and not repeated.
    pub(crate) refused: BTreeSet<String>,
    /// How often each refusal was seen: status and code.
    pub(crate) refusals: BTreeMap<String, usize>,
    /// How often no answer came.
    pub(crate) unanswered: usize,
    /// How often a gateway could not be connected to.
    pub(crate) unreachable: usize,
    /// The longest time that it took to get an order accepted, repetitions included.
    pub(crate) slowest: Duration,
    /// What each subscriber saw, by the order's id.
    pub(crate) watched: BTreeMap<String, Vec<(i64, String)>>,
    /// When the latest request was sent that each gateway answered with 201.
    pub(crate) works_since: Vec<Option<Instant>>,
    /// What no fault excuses.
    pub(crate) wrong: Vec<String>,
}

/// Clients and subscribers at work.
pub(crate) struct Ledger {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

struct Shared {
    gateways: Vec<String>,
    /// What a load balancer would have taken out.
    out: Vec<AtomicBool>,
    stop: AtomicBool,
    /// Subscribers do not connect again.
    give_up: AtomicBool,
    http: reqwest::Client,
    book: Mutex<Book>,
    subscribers: Mutex<JoinSet<()>>,
}

impl Ledger {
    /// Starts the clients; `gateways` are base URLs.
    pub(crate) fn start(gateways: &[String]) -> Self {
        crate::harness::install_tls_provider();
        let http = reqwest::Client::builder().no_proxy().build().expect("a client can be built");
        let shared = Arc::new(Shared {
            gateways: gateways.to_vec(),
            out: gateways.iter().map(|_| AtomicBool::new(false)).collect(),
            stop: AtomicBool::new(false),
            give_up: AtomicBool::new(false),
            http,
            book: Mutex::new(Book { works_since: vec![None; gateways.len()], ..Book::default() }),
            subscribers: Mutex::default(),
        });
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            clients.spawn(client::run(shared.clone(), number));
        }
        Self { shared, clients }
    }

    /// Looks into the book.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut Book) -> T) -> T {
        look(&mut self.shared.book.lock().unwrap())
    }

    /// What was seen so far while everything was starting is no fault.
    pub(crate) fn forget_the_start(&self) {
        self.look(|book| {
            book.refusals.clear();
            (book.unanswered, book.unreachable, book.slowest) = (0, 0, Duration::ZERO);
        });
    }

    /// Waits until so many more orders are accepted.
    pub(crate) async fn accepts(&self, more: usize) {
        let enough = self.look(|book| book.accepted.len()) + more;
        eventually("orders to be accepted", || {
            std::future::ready((self.look(|book| book.accepted.len()) >= enough).then_some(()))
        })
        .await;
    }

    /// Waits until every gateway has accepted an order that was sent after `since`.
    pub(crate) async fn accepts_everywhere(&self, since: Instant) {
        eventually("each gateway to accept orders", || {
            let works = |at: &Option<Instant>| at.is_some_and(|at| at > since);
            std::future::ready(self.look(|book| book.works_since.iter().all(works)).then_some(()))
        })
        .await;
    }

    /// Whether clients may choose this gateway for new requests.
    pub(crate) fn balance(&self, gateway: usize, to_it: bool) {
        self.shared.out[gateway].store(!to_it, Ordering::Relaxed);
    }

    /// Creates one more order and returns its id.
    pub(crate) async fn create(&self, reference: &str, max_attempts: u32) -> String {
        let order = json!({"item": "Laptop", "quantity": 1, "price": 1,
            "externalReference": reference, "maxAttempts": max_attempts});
        let answer = self.shared.http.post(format!("{}/orders", self.shared.gateways[0])).json(&order).send();
        let answer: Value = answer.await.expect("the gateway answers").json().await.expect("JSON");
        let id = answer["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        let accepted = Accepted { id: id.clone(), at: Instant::now() };
        self.look(|book| book.accepted.insert(reference.to_owned(), accepted));
        id
    }

    /// Ends the load: what was begun is brought to its end.
    pub(crate) async fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        within("the clients to end", async {
            while let Some(client) = self.clients.join_next().await {
                client.expect("no panic");
            }
        })
        .await;
    }

    /// Waits until every subscriber has seen the end of its order. After a while those that see nothing
    /// more write down what they have.
    pub(crate) async fn everything_seen(&self) {
        let mut subscribers = std::mem::take(&mut *self.shared.subscribers.lock().unwrap());
        let ends = async {
            while let Some(subscriber) = subscribers.join_next().await {
                subscriber.expect("no panic");
            }
        };
        let mut ends = std::pin::pin!(ends);
        if timeout(SEEN_AFTER, &mut ends).await.is_err() {
            self.shared.give_up.store(true, Ordering::Relaxed);
            within("the subscribers to give up", ends).await;
        }
    }
}
