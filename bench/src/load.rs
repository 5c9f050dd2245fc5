//! Sends one HTTP/1.1 request over and over, over connections that are kept alive.
//!
//! [`closed`] finds out what the other side can do: each connection sends its next request when the
//! answer has come. [`open`] plays a crowd that does not wait: requests begin at a fixed rate whatever
//! becomes of those before, and each latency counts from when its request should have begun, so a
//! server that stalls is charged for the wait of everybody who came meanwhile.
//!
//! Everything runs on one thread, with blocking locks nowhere: the load must leave the machine to what
//! is measured.

mod connection;
mod socket;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::LocalSet;

use self::connection::Connection;
pub(crate) use self::socket::Socket;
use crate::histogram::Histogram;

/// How long an answer may take; far more than the product's own deadlines.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often the open loop looks at the clock.
const TICK: Duration = Duration::from_millis(1);

/// What is sent, and to whom.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    /// Whole requests, head and body, that take turns.
    pub(crate) requests: Rc<[Vec<u8>]>,
    /// How many were sent.
    pub(crate) sent: Rc<Cell<usize>>,
    /// The status of an answer that counts as accepted.
    pub(crate) good: u16,
    /// What is in an answer with that status when it refuses nevertheless.
    pub(crate) refusal: Option<&'static str>,
    /// Keep the id in each accepted answer and when it came.
    pub(crate) remember: bool,
}

/// The order that everybody wants.
pub(crate) const ORDER: &str = r#"{"item":"Laptop","quantity":2,"price":1299.99}"#;

impl Target {
    /// Creates an order.
    pub(crate) fn create(addr: SocketAddr) -> Self {
        Self::post(addr, "/orders", ORDER)
    }

    /// Creates the same order over GraphQL.
    pub(crate) fn create_by_graphql(addr: SocketAddr) -> Self {
        let query =
            "mutation($input: CreateOrderInput!) { createOrder(input: $input) { order { id status } } }";
        // Money is a text in GraphQL.
        let input = serde_json::json!({"item": "Laptop", "quantity": 2, "price": "1299.99"});
        let body = serde_json::json!({"query": query, "variables": {"input": input}});
        let refusal = Some("\"errors\":");
        Self { good: 200, refusal, ..Self::post(addr, "/graphql", &body.to_string()) }
    }

    pub(crate) fn get(addr: SocketAddr, path: &str) -> Self {
        Self::get_each(addr, &[path.to_owned()])
    }

    /// Each path in turn.
    pub(crate) fn get_each(addr: SocketAddr, paths: &[String]) -> Self {
        let request = |path| format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\n\r\n").into_bytes();
        Self { good: 200, ..Self::new(addr, paths.iter().map(request).collect()) }
    }

    fn new(addr: SocketAddr, requests: Rc<[Vec<u8>]>) -> Self {
        Self { addr, requests, sent: Rc::default(), good: 201, refusal: None, remember: false }
    }

    /// `POST path` with a JSON body, which is answered 201.
    pub(crate) fn post(addr: SocketAddr, path: &str, json: &str) -> Self {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {addr}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{json}",
            json.len()
        );
        Self::new(addr, [request.into_bytes()].into())
    }
}

/// What came of a load.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Requests that should have begun.
    pub(crate) offered: u64,
    /// Answers that came while the load lasted, by their kind: the status, or the code of the problem, or
    /// how the connection failed.
    pub(crate) answers: BTreeMap<String, u64>,
    /// Answers that came after the load had ended.
    pub(crate) late: u64,
    /// Accepted answers (201 for most targets) that came while the load lasted.
    pub(crate) accepted: u64,
    /// Those, second by second.
    pub(crate) by_second: Vec<u64>,
    /// Latency of everything that was accepted, also after the load ended.
    pub(crate) accepted_latency: Histogram,
    /// Latency of every other answer.
    pub(crate) refused_latency: Histogram,
    /// How long the load lasted.
    pub(crate) lasted: Duration,
    /// Connections that were opened.
    pub(crate) connections: u64,
}

impl Tally {
    fn record(&mut self, began: Instant, intended: Instant, answer: &Answer<'_>, now: Instant) {
        let latency = now.saturating_duration_since(intended);
        let since = now.saturating_duration_since(began);
        let late = since >= self.lasted;
        if answer.good {
            self.accepted_latency.record(latency);
            if !late {
                self.accepted += 1;
                let second = since.as_secs() as usize;
                if self.by_second.len() <= second {
                    self.by_second.resize(second + 1, 0);
                }
                self.by_second[second] += 1;
            }
        } else {
            self.refused_latency.record(latency);
        }
        if late {
            self.late += 1;
            return;
        }
        match self.answers.get_mut(answer.kind) {
            Some(count) => *count += 1,
            None => {
                self.answers.insert(answer.kind.to_owned(), 1);
            }
        }
    }
}

/// One answer.
struct Answer<'a> {
    good: bool,
    kind: &'a str,
    /// The id of the order, if somebody wants it.
    id: Option<&'a str>,
}

impl<'a> Answer<'a> {
    fn none(kind: &'a str) -> Self {
        Self { good: false, kind, id: None }
    }
}

/// Runs on this thread alone.
pub(crate) fn on_this_thread<T>(work: impl Future<Output = T>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(LocalSet::new().block_on(&runtime, work))
}

/// Each of `connections` sends one request after the other, for `lasting`.
pub(crate) fn closed(target: &Target, connections: usize, lasting: Duration) -> io::Result<Tally> {
    on_this_thread(async {
        let began = Instant::now();
        let tally = Rc::new(RefCell::new(Tally { lasted: lasting, ..Tally::default() }));
        let senders = (0..connections).map(|_| {
            let (target, tally) = (target.clone(), tally.clone());
            tokio::task::spawn_local(async move {
                let mut connection = Connection::new(target);
                while began.elapsed() < lasting {
                    tally.borrow_mut().offered += 1;
                    let intended = Instant::now();
                    send(&mut connection, &tally, began, intended).await;
                }
                tally.borrow_mut().connections += connection.opened();
            })
        });
        for sender in Vec::from_iter(senders) {
            sender.await?;
        }
        Ok(tally.take())
    })?
}

async fn send(connection: &mut Connection, tally: &RefCell<Tally>, began: Instant, intended: Instant) {
    match tokio::time::timeout(PATIENCE, connection.exchange()).await {
        Ok(Ok(answer)) => tally.borrow_mut().record(began, intended, &answer, Instant::now()),
        Ok(Err(error)) => {
            let kind = format!("broken: {}", error.kind());
            let answer = Answer::none(&kind);
            tally.borrow_mut().record(began, intended, &answer, Instant::now());
            connection.reset();
        }
        Err(_) => {
            let answer = Answer::none("no answer in time");
            tally.borrow_mut().record(began, intended, &answer, Instant::now());
            connection.reset();
        }
    }
}

/// The connections of an open loop.
struct Crowd {
    target: Target,
    began: Instant,
    tally: RefCell<Tally>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    /// Connections that wait for a request; the last one in is the first one out, so that no more are
    /// in use than are needed.
    idle: Vec<oneshot::Sender<Instant>>,
    /// Requests that should have begun and found no connection.
    late: VecDeque<Instant>,
    connections: usize,
    stopped: bool,
}

/// Begins `rate` requests a second for `lasting`, over as many connections as that takes, but at most
/// `connections`. Then waits for the answers that are still to come.
pub(crate) fn open(target: &Target, rate: f64, lasting: Duration, connections: usize) -> io::Result<Tally> {
    on_this_thread(open_among_others(target, rate, lasting, connections))?
}

/// The same on a thread that does more than this.
pub(crate) async fn open_among_others(
    target: &Target,
    rate: f64,
    lasting: Duration,
    connections: usize,
) -> io::Result<Tally> {
    let began = Instant::now();
    let crowd = Rc::new(Crowd {
        target: target.clone(),
        began,
        tally: RefCell::new(Tally { lasted: lasting, ..Tally::default() }),
        state: RefCell::default(),
    });
    let mut senders = Vec::new();
    let mut begun: u64 = 0;
    let mut ticks = tokio::time::interval(TICK);
    while began.elapsed() < lasting {
        // The first one is due at once.
        let due = (began.elapsed().as_secs_f64() * rate) as u64 + 1;
        while begun < due {
            let intended = began + Duration::from_secs_f64(begun as f64 / rate);
            begun += 1;
            if let Some(sender) = crowd.begin(intended, connections) {
                senders.push(sender);
            }
        }
        ticks.tick().await;
    }
    crowd.tally.borrow_mut().offered = begun;
    {
        let mut state = crowd.state.borrow_mut();
        state.stopped = true;
        state.idle.clear();
    }
    for sender in senders {
        sender.await?;
    }
    Ok(crowd.tally.take())
}

/// Accepts one order and says its id.
pub(crate) async fn create_one(addr: SocketAddr) -> io::Result<String> {
    let mut connection = Connection::new(Target { remember: true, ..Target::create(addr) });
    let answer = connection.exchange().await?;
    match (answer.good, answer.id) {
        (true, Some(id)) => Ok(id.to_owned()),
        _ => Err(io::Error::other(format!("an order is refused: {}", answer.kind))),
    }
}

impl Crowd {
    /// Gives the request to a connection, perhaps a new one.
    fn begin(self: &Rc<Self>, intended: Instant, most: usize) -> Option<tokio::task::JoinHandle<()>> {
        let mut state = self.state.borrow_mut();
        if let Some(idle) = state.idle.pop() {
            if let Err(intended) = idle.send(intended) {
                state.late.push_back(intended);
            }
            return None;
        }
        if state.connections == most {
            state.late.push_back(intended);
            return None;
        }
        state.connections += 1;
        Some(tokio::task::spawn_local(self.clone().work(intended)))
    }

    async fn work(self: Rc<Self>, first: Instant) {
        let mut connection = Connection::new(self.target.clone());
        let mut next = Some(first);
        while let Some(intended) = next {
            send(&mut connection, &self.tally, self.began, intended).await;
            let late = self.state.borrow_mut().late.pop_front();
            next = match late {
                Some(intended) => Some(intended),
                None => self.wait().await,
            };
        }
        self.tally.borrow_mut().connections += connection.opened();
    }

    async fn wait(&self) -> Option<Instant> {
        let given = {
            let mut state = self.state.borrow_mut();
            if state.stopped {
                return None;
            }
            let (give, given) = oneshot::channel();
            state.idle.push(give);
            given
        };
        given.await.ok()
    }
}
