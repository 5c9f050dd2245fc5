//! Load generators: they send HTTP/1.1 requests over connections that are kept alive.
//!
//! [`run_closed_loop`] measures the capacity of a server: each connection sends its next request after the response to
//! the last one. [`run_open_loop`] acts as clients that do not wait: requests start at a fixed rate, independent of
//! earlier ones. A latency counts from the start time of its request, so a server that stalls is charged for the wait
//! of all requests whose start time came meanwhile. [`run_arrivals`] is an open loop with more exact start times.
//!
//! Everything runs on one thread without blocking locks: the load must leave the cores to the measured system.

mod arrivals;
mod connection;
mod target;
mod totals;
mod websocket;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::LocalSet;

pub(crate) use self::arrivals::run_arrivals;
use self::connection::Connection;
use self::target::Response;
pub(crate) use self::target::{ORDER, Target};
pub(crate) use self::totals::Totals;
pub(crate) use self::websocket::Websocket;

/// Timeout of a response; it exceeds the product's own timeouts.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(15);
/// Interval at which the open loop starts due requests.
const TICK: Duration = Duration::from_millis(1);

/// Runs a future and its local tasks on this thread.
pub(crate) fn run_on_this_thread<T>(work: impl Future<Output = T>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(LocalSet::new().block_on(&runtime, work))
}

/// Sends requests for `duration`, one after the other on each connection.
pub(crate) fn run_closed_loop(target: &Target, connections: usize, duration: Duration) -> io::Result<Totals> {
    run_on_this_thread(async {
        let began = Instant::now();
        let totals = Rc::new(RefCell::new(Totals::new(duration)));
        let senders = (0..connections).map(|_| {
            let (target, totals) = (target.clone(), totals.clone());
            tokio::task::spawn_local(async move {
                let mut connection = Connection::new(target);
                while began.elapsed() < duration {
                    totals.borrow_mut().offered += 1;
                    let start = Instant::now();
                    send_request(&mut connection, &totals, began, start).await;
                }
                totals.borrow_mut().connections += connection.opened();
            })
        });
        for sender in Vec::from_iter(senders) {
            sender.await?;
        }
        Ok(totals.take())
    })?
}

async fn send_request(connection: &mut Connection, totals: &RefCell<Totals>, began: Instant, start: Instant) {
    match tokio::time::timeout(RESPONSE_TIMEOUT, connection.exchange()).await {
        Ok(Ok(response)) => totals.borrow_mut().record(began, start, &response, Instant::now()),
        Ok(Err(error)) => {
            let kind = format!("connection failed: {}", error.kind());
            let response = Response::missing(&kind);
            totals.borrow_mut().record(began, start, &response, Instant::now());
            connection.reset();
        }
        Err(_) => {
            let response = Response::missing("response timeout");
            totals.borrow_mut().record(began, start, &response, Instant::now());
            connection.reset();
        }
    }
}

/// Starts `rate` requests per second for `duration`, over up to `max_connections`, and awaits their responses.
pub(crate) fn run_open_loop(
    target: &Target,
    rate: f64,
    duration: Duration,
    max_connections: usize,
) -> io::Result<Totals> {
    run_on_this_thread(run_open_loop_beside_others(target, rate, duration, max_connections))?
}

/// Runs an open loop as a task of a thread that runs other loops as well.
pub(crate) async fn run_open_loop_beside_others(
    target: &Target,
    rate: f64,
    duration: Duration,
    max_connections: usize,
) -> io::Result<Totals> {
    let began = Instant::now();
    let pool = ConnectionPool::new(target, began, duration);
    let mut senders = Vec::new();
    let mut started: u64 = 0;
    let mut ticks = tokio::time::interval(TICK);
    while began.elapsed() < duration {
        // The first request is due at once.
        let due = (began.elapsed().as_secs_f64() * rate) as u64 + 1;
        while started < due {
            let start = began + Duration::from_secs_f64(started as f64 / rate);
            started += 1;
            senders.extend(pool.start_request(start, max_connections));
        }
        ticks.tick().await;
    }
    pool.finish(started, senders).await
}

/// Creates one order and returns its id.
pub(crate) async fn create_order(addr: SocketAddr) -> io::Result<String> {
    let mut connection = Connection::new(Target { returns_ids: true, ..Target::create(addr) });
    let response = connection.exchange().await?;
    match (response.accepted, response.id) {
        (true, Some(id)) => Ok(id.to_owned()),
        _ => Err(io::Error::other(format!("a create was rejected: {}", response.kind))),
    }
}

/// The connections of an open loop.
struct ConnectionPool {
    target: Target,
    began: Instant,
    totals: RefCell<Totals>,
    state: RefCell<PoolState>,
}

#[derive(Default)]
struct PoolState {
    /// Connections without a request. The last one in is the first one out, so the pool uses as few as possible.
    idle: Vec<oneshot::Sender<Instant>>,
    /// Start times of requests that found no free connection.
    queued: VecDeque<Instant>,
    connections: usize,
    stopped: bool,
}

impl ConnectionPool {
    fn new(target: &Target, began: Instant, duration: Duration) -> Rc<Self> {
        Rc::new(Self {
            target: target.clone(),
            began,
            totals: RefCell::new(Totals::new(duration)),
            state: RefCell::default(),
        })
    }

    /// Awaits the responses to all `offered` requests, and returns the results.
    async fn finish(&self, offered: u64, senders: Vec<tokio::task::JoinHandle<()>>) -> io::Result<Totals> {
        self.totals.borrow_mut().offered = offered;
        {
            let mut state = self.state.borrow_mut();
            state.stopped = true;
            state.idle.clear();
        }
        for sender in senders {
            sender.await?;
        }
        Ok(self.totals.take())
    }

    /// Passes a request to an idle connection, or to a new one, or queues it.
    fn start_request(
        self: &Rc<Self>,
        start: Instant,
        max_connections: usize,
    ) -> Option<tokio::task::JoinHandle<()>> {
        let mut state = self.state.borrow_mut();
        if let Some(idle) = state.idle.pop() {
            if let Err(start) = idle.send(start) {
                state.queued.push_back(start);
            }
            return None;
        }
        if state.connections == max_connections {
            state.queued.push_back(start);
            return None;
        }
        state.connections += 1;
        Some(tokio::task::spawn_local(self.clone().send_requests(start)))
    }

    async fn send_requests(self: Rc<Self>, first: Instant) {
        let mut connection = Connection::new(self.target.clone());
        let mut next = Some(first);
        while let Some(start) = next {
            send_request(&mut connection, &self.totals, self.began, start).await;
            let queued = self.state.borrow_mut().queued.pop_front();
            next = match queued {
                Some(start) => Some(start),
                None => self.next_start().await,
            };
        }
        self.totals.borrow_mut().connections += connection.opened();
    }

    /// Waits for the next request; `None` after the end of the load.
    async fn next_start(&self) -> Option<Instant> {
        let start = {
            let mut state = self.state.borrow_mut();
            if state.stopped {
                return None;
            }
            let (sender, receiver) = oneshot::channel();
            state.idle.push(sender);
            receiver
        };
        start.await.ok()
    }
}
