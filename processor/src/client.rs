//! Requests to whichever gateway can be reached, and their answers, across any number of broken
//! connections.
//!
//! The promise to the worker: each entry of a Start or a Finish that was given to [`Client::send`] is
//! answered in exactly one event, sooner or later, and is sent again on each new stream until then; the
//! gateway recognises repetitions by their lease tokens. Entries that the gateway cannot decide about
//! yet, and those that follow in a later message of the gateway, come in a later event than the others; `more` announces
//! it. Heartbeats are not repeated: the worker sends new
//! ones when it is told of a new connection.
//!
//! A stream is given up when it ends, when any request stays without an answer for too long (twice as long while
//! other messages arrive: on a slow connection the answer is behind them), or when its gateway cannot renew leases for as long as a heartbeat interval, which is a third of a lease: so
//! there is time left to renew them over another gateway. When its gateway says Drain it is used until another one is there. There is no task in here:
//! everything happens in [`Client::next`], which may be dropped at any await point without loss.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::future::pending;
use std::time::Duration;

use domain::{ErrorCode, LeaseToken, OrderId, Outcome};
use futures_util::future::{BoxFuture, OptionFuture};
use proto::v1::{self, GatewayMessage, WorkerMessage, gateway_message, worker_message};
use tokio::select;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tonic::Streaming;

use crate::backoff::Backoff;
use crate::connect::{Gateways, Stream};

/// One attempt of one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lease {
    pub(crate) order_id: OrderId,
    pub(crate) token: LeaseToken,
}

impl Lease {
    /// `None` when it is nothing that this worker can have drawn.
    pub(crate) fn parse(lease: &v1::Lease) -> Option<Self> {
        let (order_id, token) = lease.parse().ok()?;
        Some(Self { order_id, token })
    }

    fn of(attempt: &v1::Attempt) -> Option<Self> {
        let order_id = attempt.order.as_ref()?.order_id.clone();
        Self::parse(&v1::Lease { order_id, lease_token: attempt.lease_token.clone() })
    }

    fn to_wire(self) -> v1::Lease {
        v1::Lease::new(self.order_id, self.token)
    }
}

/// What the worker asks. At most [`proto::MAX_BATCH`] in each.
#[derive(Debug)]
pub(crate) enum Request {
    Start(Vec<Lease>),
    Heartbeats(Vec<Lease>),
    Finish(Vec<(Lease, Outcome)>),
}

/// What the worker is told.
#[derive(Debug)]
pub(crate) enum Event {
    /// There is a stream, for the first time or in place of another one.
    Connected { heartbeat_interval: Duration },
    /// There is none. What was sent is kept.
    Disconnected,
    /// The answer to a Start, or to a part of it, for these leases; those not among `attempts` were refused. The first
    /// answer says how long it took.
    Started { leases: Vec<Lease>, attempts: Vec<v1::Attempt>, more: bool, took: Option<Duration> },
    /// The answer to a Finish of so many reports; those that were not refused are recorded.
    Finished { reports: usize, refused: Vec<v1::Refused>, more: bool },
    /// Leases that are gone: refused heartbeats, or cancelled orders.
    Gone(Vec<v1::Lease>),
}

pub(crate) struct Client {
    stream: Option<Box<Stream>>,
    /// Something was answered on `stream`.
    useful: bool,
    search: Search,
    next_id: u64,
    /// What has no answer yet, oldest first.
    unanswered: BTreeMap<u64, Unanswered>,
    /// Those of `unanswered` that are to be written to the stream.
    outbox: VecDeque<u64>,
    response_timeout: Duration,
    /// How long heartbeats may stay without an answer.
    heartbeat_timeout: Duration,
    /// When the latest message came.
    received_at: Instant,
    log: Backoff,
}

/// The search for a stream: because there is none, or because the gateway of this one drains.
enum Search {
    Resting(Gateways),
    Running(BoxFuture<'static, (Gateways, Box<Stream>)>),
}

struct Unanswered {
    request: Request,
    state: State,
    /// When it was last given to a stream; `None` when a part of the answer has come.
    since: Option<Instant>,
    /// The answer is late, and its time was extended.
    extended: bool,
    /// Leases of a Start that the gateway could not decide about; they are sent again after the rest of the answer.
    undecided: Vec<Lease>,
    /// How often the gateway has said TryAgain.
    backoff: Backoff,
}

impl Unanswered {
    fn new(request: Request, state: State, backoff: Backoff) -> Self {
        Self { request, state, since: Some(Instant::now()), extended: false, undecided: Vec::new(), backoff }
    }

    /// It is given to a stream again, as a whole.
    fn restart(&mut self, due: Instant) {
        if let Request::Start(leases) = &mut self.request {
            leases.append(&mut self.undecided);
        }
        self.state = State::Due(due);
        self.since = Some(Instant::now());
        self.extended = false;
    }
}

#[derive(Clone, Copy)]
enum State {
    /// Written or waiting to be written: an answer is due by then.
    Due(Instant),
    /// The gateway asked for a pause until then.
    Paused(Instant),
}

impl Client {
    pub(crate) fn new(gateways: Gateways, response_timeout: Duration) -> Self {
        Self {
            stream: None,
            useful: false,
            search: Search::Running(Box::pin(gateways.connect())),
            // Hello is 0.
            next_id: 1,
            unanswered: BTreeMap::new(),
            outbox: VecDeque::new(),
            response_timeout,
            heartbeat_timeout: response_timeout,
            received_at: Instant::now(),
            log: Backoff::default(),
        }
    }

    /// Whether new work makes sense: there is a stream, and it has a future.
    pub(crate) fn is_ready(&self) -> bool {
        self.stream.is_some() && matches!(self.search, Search::Resting(_))
    }

    /// Takes a request on. It leaves with the next [`Client::next`], or when there is a stream.
    pub(crate) fn send(&mut self, request: Request) {
        let id = self.next_id;
        self.next_id += 1;
        let timeout = match request {
            Request::Heartbeats(_) => self.heartbeat_timeout,
            Request::Start(_) | Request::Finish(_) => self.response_timeout,
        };
        let state = State::Due(Instant::now() + timeout);
        self.unanswered.insert(id, Unanswered::new(request, state, Backoff::default()));
        self.outbox.push_back(id);
    }

    /// Drives the connection until there is something to tell.
    pub(crate) async fn next(&mut self) -> Event {
        loop {
            let wake = self.unanswered.values().map(|waiting| waiting.state.at()).min();
            let (inbound, outbound) = match &mut self.stream {
                Some(stream) => (Some(&mut stream.inbound), Some(&stream.outbound)),
                None => (None, None),
            };
            let timer = wake.filter(|_| inbound.is_some()).map(sleep_until);
            let outbound = outbound.filter(|_| !self.outbox.is_empty());
            let search = match &mut self.search {
                Search::Resting(_) => None,
                Search::Running(search) => Some(search),
            };
            // One of stream and search is always there.
            let step = select! {
                Some(message) = OptionFuture::from(inbound.map(Streaming::message)) => match message {
                    Ok(Some(message)) => Step::Received(message),
                    Ok(None) => Step::Lost("it ended the stream".to_owned()),
                    Err(status) => Step::Lost(format!("{}: {}", status.code(), status.message())),
                },
                Some(permit) = OptionFuture::from(outbound.map(mpsc::Sender::reserve)) => match permit {
                    Ok(permit) => {
                        let id = self.outbox.pop_front();
                        if let Some((id, waiting)) = id.and_then(|id| self.unanswered.get_key_value(&id)) {
                            permit.send(waiting.request.to_wire(*id));
                        }
                        continue;
                    }
                    Err(_) => Step::Lost("it no longer reads".to_owned()),
                },
                Some((gateways, stream)) = OptionFuture::from(search) => Step::Found(gateways, stream),
                Some(()) = OptionFuture::from(timer) => Step::Timer,
            };
            let event = match step {
                Step::Found(gateways, stream) => Some(self.found(gateways, stream)),
                Step::Lost(why) => Some(self.lose(&why)),
                Step::Received(message) => self.received(message),
                Step::Timer => self.timer(Instant::now()),
            };
            if let Some(event) = event {
                return event;
            }
        }
    }

    fn found(&mut self, gateways: Gateways, stream: Box<Stream>) -> Event {
        let heartbeat_interval = stream.heartbeat_interval;
        self.heartbeat_timeout = heartbeat_interval.min(self.response_timeout);
        self.stream = Some(stream);
        self.search = Search::Resting(gateways);
        self.useful = false;
        let due = Instant::now() + self.response_timeout;
        self.unanswered.retain(|_, waiting| {
            waiting.restart(due);
            !matches!(waiting.request, Request::Heartbeats(_))
        });
        self.outbox = self.unanswered.keys().copied().collect();
        Event::Connected { heartbeat_interval }
    }

    fn lose(&mut self, why: &str) -> Event {
        if self.log.should_log() {
            tracing::warn!(reason = why, "stream to the gateway lost, reconnecting");
        }
        self.stream = None;
        self.search();
        Event::Disconnected
    }

    fn search(&mut self) {
        let search = std::mem::replace(&mut self.search, Search::Running(Box::pin(pending())));
        self.search = match search {
            Search::Resting(gateways) => Search::Running(Box::pin(gateways.reconnect(self.useful))),
            running @ Search::Running(_) => running,
        };
    }

    /// Something is late, or a pause is over.
    fn timer(&mut self, now: Instant) -> Option<Event> {
        let due = now + self.response_timeout;
        let arriving = now - self.received_at < self.heartbeat_timeout / 2;
        for (id, waiting) in &mut self.unanswered {
            match waiting.state {
                State::Due(at) if at <= now && arriving && !waiting.extended => {
                    waiting.extended = true;
                    waiting.state = State::Due(now + self.heartbeat_timeout);
                }
                State::Due(at) if at <= now => {
                    self.useful = false;
                    return Some(self.lose("it does not respond in time"));
                }
                State::Paused(at) if at <= now => {
                    waiting.restart(due);
                    self.outbox.push_back(*id);
                }
                State::Due(_) | State::Paused(_) => {}
            }
        }
        None
    }

    fn received(&mut self, message: GatewayMessage) -> Option<Event> {
        use gateway_message::Message;
        self.received_at = Instant::now();
        let id = message.request_id;
        let answer = match message.message? {
            Message::Cancel(cancel) => return Some(Event::Gone(cancel.leases)),
            Message::Drain(v1::Drain {}) => {
                tracing::info!("gateway is shutting down, switching to another gateway");
                self.search();
                return None;
            }
            Message::TryAgain(try_again) => {
                return self.try_again(id, &try_again.reason);
            }
            Message::Welcome(_) => return None,
            answer @ (Message::Started(_) | Message::Renewed(_) | Message::Finished(_)) => answer,
        };
        // An answer to nothing is one to a heartbeat that was given up.
        let waiting = self.unanswered.remove(&id)?;
        self.useful = true;
        match (waiting.request, answer) {
            (Request::Start(leases), Message::Started(started)) => {
                let waiting = Unanswered { request: Request::Start(Vec::new()), ..waiting };
                Some(self.started(id, leases, waiting, started))
            }
            (Request::Finish(reports), Message::Finished(finished)) => {
                let (later, refused) = split(finished.refused);
                let (later, reports) =
                    reports.into_iter().partition::<Vec<_>, _>(|(lease, _)| later.contains(lease));
                let more = !later.is_empty() && self.postpone(id, Request::Finish(later), waiting.backoff);
                Some(Event::Finished { reports: reports.len(), refused, more })
            }
            (Request::Heartbeats(_), Message::Renewed(renewed)) => {
                let gone: Vec<_> = renewed.lost.into_iter().filter_map(|lost| lost.lease).collect();
                (!gone.is_empty()).then_some(Event::Gone(gone))
            }
            (request, _) => {
                // Not a gateway of this protocol: another one may be.
                let state = State::Due(Instant::now());
                self.unanswered.insert(id, Unanswered::new(request, state, Backoff::default()));
                self.useful = false;
                Some(self.lose("it answered a request with an answer of another kind"))
            }
        }
    }

    /// One of the messages that answer a Start of these leases.
    fn started(
        &mut self,
        id: u64,
        leases: Vec<Lease>,
        mut waiting: Unanswered,
        answer: v1::Started,
    ) -> Event {
        let v1::Started { attempts, refused, more } = answer;
        let took = waiting.since.take().map(|since| since.elapsed());
        let (undecided, refused) = split(refused);
        let mut leases = leases;
        leases.retain(|lease| !undecided.contains(lease));
        waiting.undecided.extend(undecided);
        if more {
            let refused = refused.iter().filter_map(|refused| Lease::parse(refused.lease.as_ref()?));
            let decided: HashSet<Lease> = attempts.iter().filter_map(Lease::of).chain(refused).collect();
            let (leases, rest) = leases.into_iter().partition(|lease| decided.contains(lease));
            waiting.request = Request::Start(rest);
            waiting.state = State::Due(Instant::now() + self.response_timeout);
            self.unanswered.insert(id, waiting);
            return Event::Started { leases, attempts, more, took };
        }
        let more = !waiting.undecided.is_empty()
            && self.postpone(id, Request::Start(waiting.undecided), waiting.backoff);
        Event::Started { leases, attempts, more, took }
    }

    /// Sends the rest of a request again after a pause.
    fn postpone(&mut self, id: u64, request: Request, mut backoff: Backoff) -> bool {
        let state = State::Paused(Instant::now() + backoff.next());
        self.unanswered.insert(id, Unanswered::new(request, state, backoff));
        true
    }

    fn try_again(&mut self, id: u64, reason: &str) -> Option<Event> {
        let waiting = self.unanswered.get_mut(&id)?;
        if matches!(waiting.request, Request::Heartbeats(_)) {
            // The next heartbeat may come too late; another gateway may be able to.
            self.unanswered.remove(&id);
            self.useful = false;
            return Some(self.lose(reason));
        }
        waiting.state = State::Paused(Instant::now() + waiting.backoff.next());
        if self.log.should_log() {
            tracing::warn!(reason, "gateway temporarily rejected a request, retrying");
        }
        None
    }
}

/// Separates the leases about which nothing has been decided from the refusals.
fn split(refused: Vec<v1::Refused>) -> (Vec<Lease>, Vec<v1::Refused>) {
    let (later, refused): (Vec<_>, Vec<_>) =
        refused.into_iter().partition(|refused| refused.reason == ErrorCode::TryAgain.as_str());
    (later.iter().filter_map(|later| Lease::parse(later.lease.as_ref()?)).collect(), refused)
}

enum Step {
    Found(Gateways, Box<Stream>),
    Received(GatewayMessage),
    Lost(String),
    Timer,
}

impl State {
    fn at(self) -> Instant {
        match self {
            Self::Due(at) | Self::Paused(at) => at,
        }
    }
}

impl Request {
    fn to_wire(&self, request_id: u64) -> WorkerMessage {
        use worker_message::Message;
        let wire = |leases: &[Lease]| leases.iter().map(|lease| lease.to_wire()).collect();
        let message = match self {
            Self::Start(leases) => Message::Start(v1::Start { leases: wire(leases) }),
            Self::Heartbeats(leases) => Message::Heartbeats(v1::Heartbeats { leases: wire(leases) }),
            Self::Finish(reports) => {
                let report = |(lease, outcome): &(Lease, Outcome)| {
                    v1::Report::new(lease.order_id, lease.token, outcome.clone())
                };
                Message::Finish(v1::Finish { reports: reports.iter().map(report).collect() })
            }
        };
        WorkerMessage { request_id, message: Some(message) }
    }
}
