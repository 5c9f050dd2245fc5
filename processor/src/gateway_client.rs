//! The client of the gateways: sends requests and receives responses over one stream, which it replaces if it breaks.
//!
//! The worker relies on one property. Each entry of a Start or a Finish that was given to [`GatewayClient::send`] is
//! answered in exactly one event. The client sends it again on each new stream until then; the gateway recognises
//! repetitions by their lease tokens. The response can come in several events: entries that the gateway could not decide
//! yet, and entries of a later message of the gateway, come in a later event, and `more` announces it. Heartbeats are not
//! repeated: the worker sends new ones after each connect.
//!
//! The client replaces a stream in three cases:
//!
//! - The stream ends.
//! - A request gets no response in time. The time doubles while other messages arrive, because on a slow connection the
//!   response is queued behind them.
//! - The gateway cannot renew leases for a heartbeat interval, a third of a lease. Enough time is left to renew them over
//!   another gateway.
//!
//! A stream whose gateway sent Drain is used until another one is open. The client has no task: all work happens in
//! [`GatewayClient::next`], which may be dropped at any await point without loss.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::future::pending;
use std::time::Duration;

use domain::{Backoff, ErrorCode};
use futures_util::future::{BoxFuture, OptionFuture};
use proto::v1::{self, GatewayMessage, gateway_message};
use telemetry::LogThrottle;
use tokio::select;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tonic::Streaming;

use crate::config::RETRY_DELAYS;
use crate::gateway_connection::{Gateways, WorkStream};
use crate::requests::{Event, LeaseKey, Request};

pub(crate) struct GatewayClient {
    stream: Option<Box<WorkStream>>,
    /// Whether a response has arrived on `stream`.
    got_response: bool,
    connecting: Connecting,
    next_id: u64,
    /// The requests without a complete response, oldest first.
    unanswered: BTreeMap<u64, UnansweredRequest>,
    /// The requests of `unanswered` that must be written to the stream.
    outbox: VecDeque<u64>,
    response_timeout: Duration,
    /// The response timeout of heartbeats.
    heartbeat_timeout: Duration,
    /// The arrival of the latest message.
    received_at: Instant,
    log: LogThrottle,
}

/// The attempt to open a stream: because there is none, or because the gateway of the present one drains.
enum Connecting {
    Idle(Box<Gateways>),
    Running(BoxFuture<'static, (Gateways, Box<WorkStream>)>),
}

struct UnansweredRequest {
    request: Request,
    wait: Wait,
    /// The time of the latest send; `None` after a part of the response.
    sent_at: Option<Instant>,
    /// Whether the response was late and its deadline was extended.
    extended: bool,
    /// The leases of a Start that the gateway could not decide. They are sent again after the rest of the response.
    undecided: Vec<LeaseKey>,
    /// The delays after each TryAgain of the gateway.
    backoff: Backoff,
}

impl UnansweredRequest {
    fn new(request: Request, wait: Wait, backoff: Backoff) -> Self {
        let sent_at = Some(Instant::now());
        Self { request, wait, sent_at, extended: false, undecided: Vec::new(), backoff }
    }

    /// Prepares the complete request for another send.
    fn restart(&mut self, deadline: Instant) {
        if let Request::Start(leases) = &mut self.request {
            leases.append(&mut self.undecided);
        }
        self.wait = Wait::Response(deadline);
        self.sent_at = Some(Instant::now());
        self.extended = false;
    }
}

#[derive(Clone, Copy)]
enum Wait {
    /// The request is sent or in the outbox; its response is expected until this time.
    Response(Instant),
    /// The gateway asked for a later repetition; the request is sent again at this time.
    Resend(Instant),
}

impl Wait {
    fn until(self) -> Instant {
        match self {
            Self::Response(at) | Self::Resend(at) => at,
        }
    }
}

/// The result of one wait of [`GatewayClient::next`].
enum Step {
    Connected(Gateways, Box<WorkStream>),
    Received(GatewayMessage),
    Lost(String),
    Timer,
}

impl GatewayClient {
    pub(crate) fn new(gateways: Gateways, response_timeout: Duration) -> Self {
        Self {
            stream: None,
            got_response: false,
            connecting: Connecting::Running(Box::pin(gateways.connect())),
            // Hello has the id 0.
            next_id: 1,
            unanswered: BTreeMap::new(),
            outbox: VecDeque::new(),
            response_timeout,
            heartbeat_timeout: response_timeout,
            received_at: Instant::now(),
            log: LogThrottle::default(),
        }
    }

    /// Returns whether new work is useful: there is a stream, and it is not being replaced.
    pub(crate) fn is_ready(&self) -> bool {
        self.stream.is_some() && matches!(self.connecting, Connecting::Idle(_))
    }

    /// Queues a request. It is sent with the next [`GatewayClient::next`], or after the next connect.
    pub(crate) fn send(&mut self, request: Request) {
        let id = self.next_id;
        self.next_id += 1;
        let timeout = match request {
            Request::Heartbeats(_) => self.heartbeat_timeout,
            Request::Start(_) | Request::Finish(_) => self.response_timeout,
        };
        let wait = Wait::Response(Instant::now() + timeout);
        self.unanswered.insert(id, UnansweredRequest::new(request, wait, Backoff::new(RETRY_DELAYS)));
        self.outbox.push_back(id);
    }

    /// Drives the connection until there is an event.
    pub(crate) async fn next(&mut self) -> Event {
        loop {
            let wake_at = self.unanswered.values().map(|unanswered| unanswered.wait.until()).min();
            let (inbound, outbound) = match &mut self.stream {
                Some(stream) => (Some(&mut stream.inbound), Some(&stream.outbound)),
                None => (None, None),
            };
            let timer = wake_at.filter(|_| inbound.is_some()).map(sleep_until);
            let outbound = outbound.filter(|_| !self.outbox.is_empty());
            let connecting = match &mut self.connecting {
                Connecting::Idle(_) => None,
                Connecting::Running(connecting) => Some(connecting),
            };
            // There is always a stream or a connection attempt, so one branch is enabled.
            let step = select! {
                Some(message) = OptionFuture::from(inbound.map(Streaming::message)) => match message {
                    Ok(Some(message)) => Step::Received(message),
                    Ok(None) => Step::Lost("it ended the stream".to_owned()),
                    Err(status) => Step::Lost(format!("{}: {}", status.code(), status.message())),
                },
                Some(permit) = OptionFuture::from(outbound.map(mpsc::Sender::reserve)) => match permit {
                    Ok(permit) => {
                        let id = self.outbox.pop_front();
                        if let Some((id, unanswered)) = id.and_then(|id| self.unanswered.get_key_value(&id)) {
                            permit.send(unanswered.request.to_message(*id));
                        }
                        continue;
                    }
                    Err(_) => Step::Lost("it no longer reads".to_owned()),
                },
                Some((gateways, stream)) = OptionFuture::from(connecting) => Step::Connected(gateways, stream),
                Some(()) = OptionFuture::from(timer) => Step::Timer,
            };
            let event = match step {
                Step::Connected(gateways, stream) => Some(self.on_connected(gateways, stream)),
                Step::Lost(reason) => Some(self.on_lost(&reason)),
                Step::Received(message) => self.on_message(message),
                Step::Timer => self.on_timer(Instant::now()),
            };
            if let Some(event) = event {
                return event;
            }
        }
    }

    fn on_connected(&mut self, gateways: Gateways, stream: Box<WorkStream>) -> Event {
        let heartbeat_interval = stream.heartbeat_interval;
        self.heartbeat_timeout = heartbeat_interval.min(self.response_timeout);
        self.stream = Some(stream);
        self.connecting = Connecting::Idle(Box::new(gateways));
        self.got_response = false;
        let deadline = Instant::now() + self.response_timeout;
        self.unanswered.retain(|_, unanswered| {
            unanswered.restart(deadline);
            !matches!(unanswered.request, Request::Heartbeats(_))
        });
        self.outbox = self.unanswered.keys().copied().collect();
        Event::Connected { heartbeat_interval }
    }

    fn on_lost(&mut self, reason: &str) -> Event {
        if self.log.allow().is_some() {
            tracing::warn!(reason, "stream to the gateway lost, reconnecting");
        }
        self.stream = None;
        self.start_connecting();
        Event::Disconnected
    }

    fn start_connecting(&mut self) {
        let connecting = std::mem::replace(&mut self.connecting, Connecting::Running(Box::pin(pending())));
        self.connecting = match connecting {
            Connecting::Idle(gateways) => {
                Connecting::Running(Box::pin(gateways.reconnect(self.got_response)))
            }
            running @ Connecting::Running(_) => running,
        };
    }

    /// Handles requests whose response is late or whose delay has elapsed.
    fn on_timer(&mut self, now: Instant) -> Option<Event> {
        let deadline = now + self.response_timeout;
        let messages_arrive = now - self.received_at < self.heartbeat_timeout / 2;
        for (id, unanswered) in &mut self.unanswered {
            match unanswered.wait {
                Wait::Response(at) if at <= now && messages_arrive && !unanswered.extended => {
                    unanswered.extended = true;
                    unanswered.wait = Wait::Response(now + self.heartbeat_timeout);
                }
                Wait::Response(at) if at <= now => {
                    self.got_response = false;
                    return Some(self.on_lost("it does not respond in time"));
                }
                Wait::Resend(at) if at <= now => {
                    unanswered.restart(deadline);
                    self.outbox.push_back(*id);
                }
                Wait::Response(_) | Wait::Resend(_) => {}
            }
        }
        None
    }

    fn on_message(&mut self, message: GatewayMessage) -> Option<Event> {
        use gateway_message::Message;
        self.received_at = Instant::now();
        let id = message.request_id;
        let response = match message.message? {
            Message::Cancel(cancel) => return Some(Event::LeasesLost(cancel.leases)),
            Message::Drain(v1::Drain { reason }) => {
                if reason == ErrorCode::TokenExpired.as_str() {
                    tracing::warn!("the credential for the gateway has ended, connecting again");
                } else {
                    tracing::info!("gateway is shutting down, switching to another gateway");
                }
                self.start_connecting();
                return None;
            }
            Message::TryAgain(try_again) => return self.on_try_again(id, &try_again.reason),
            Message::Welcome(_) => return None,
            response @ (Message::Started(_) | Message::Renewed(_) | Message::Finished(_)) => response,
        };
        // A response without a request belongs to a heartbeat that was dropped at a reconnect.
        let unanswered = self.unanswered.remove(&id)?;
        self.got_response = true;
        match (unanswered.request, response) {
            (Request::Start(leases), Message::Started(started)) => {
                let unanswered = UnansweredRequest { request: Request::Start(Vec::new()), ..unanswered };
                Some(self.on_started(id, leases, unanswered, started))
            }
            (Request::Finish(reports), Message::Finished(finished)) => {
                let (undecided, refused) = split_undecided(finished.refused);
                let (undecided, reports) =
                    reports.into_iter().partition::<Vec<_>, _>(|(lease, _)| undecided.contains(lease));
                let more = !undecided.is_empty();
                if more {
                    self.resend_later(id, Request::Finish(undecided), unanswered.backoff);
                }
                Some(Event::Finished { reports: reports.len(), refused, more })
            }
            (Request::Heartbeats(_), Message::Renewed(renewed)) => {
                let lost: Vec<_> = renewed.lost.into_iter().filter_map(|lost| lost.lease).collect();
                (!lost.is_empty()).then_some(Event::LeasesLost(lost))
            }
            (request, _) => {
                // The gateway does not implement this protocol; another one may.
                let wait = Wait::Response(Instant::now());
                let unanswered = UnansweredRequest::new(request, wait, Backoff::new(RETRY_DELAYS));
                self.unanswered.insert(id, unanswered);
                self.got_response = false;
                Some(self.on_lost("it answered a request with an answer of another kind"))
            }
        }
    }

    /// Handles one of the messages that answer a Start of these leases.
    fn on_started(
        &mut self,
        id: u64,
        mut leases: Vec<LeaseKey>,
        mut unanswered: UnansweredRequest,
        response: v1::Started,
    ) -> Event {
        let v1::Started { attempts, refused, more } = response;
        let response_time = unanswered.sent_at.take().map(|sent_at| sent_at.elapsed());
        let (undecided, refused) = split_undecided(refused);
        leases.retain(|lease| !undecided.contains(lease));
        unanswered.undecided.extend(undecided);
        if more {
            let refused = refused.iter().filter_map(|refused| LeaseKey::parse(refused.lease.as_ref()?));
            let decided: HashSet<LeaseKey> =
                attempts.iter().filter_map(LeaseKey::of_attempt).chain(refused).collect();
            let (leases, rest) = leases.into_iter().partition(|lease| decided.contains(lease));
            unanswered.request = Request::Start(rest);
            unanswered.wait = Wait::Response(Instant::now() + self.response_timeout);
            self.unanswered.insert(id, unanswered);
            return Event::Started { leases, attempts, more, response_time };
        }
        let more = !unanswered.undecided.is_empty();
        if more {
            self.resend_later(id, Request::Start(unanswered.undecided), unanswered.backoff);
        }
        Event::Started { leases, attempts, more, response_time }
    }

    /// Sends the undecided entries of a request again after a delay.
    fn resend_later(&mut self, id: u64, request: Request, mut backoff: Backoff) {
        let wait = Wait::Resend(Instant::now() + backoff.next_delay());
        self.unanswered.insert(id, UnansweredRequest::new(request, wait, backoff));
    }

    fn on_try_again(&mut self, id: u64, reason: &str) -> Option<Event> {
        let unanswered = self.unanswered.get_mut(&id)?;
        if matches!(unanswered.request, Request::Heartbeats(_)) {
            // The next heartbeat may be too late; another gateway may be able to renew the leases.
            self.unanswered.remove(&id);
            self.got_response = false;
            return Some(self.on_lost(reason));
        }
        unanswered.wait = Wait::Resend(Instant::now() + unanswered.backoff.next_delay());
        if self.log.allow().is_some() {
            tracing::warn!(reason, "gateway temporarily rejected a request, retrying");
        }
        None
    }
}

/// Separates the leases that the gateway could not decide from the refusals.
fn split_undecided(refused: Vec<v1::Refused>) -> (Vec<LeaseKey>, Vec<v1::Refused>) {
    let (undecided, refused): (Vec<_>, Vec<_>) =
        refused.into_iter().partition(|refused| refused.reason == ErrorCode::TryAgain.as_str());
    let undecided = undecided.iter().filter_map(|entry| LeaseKey::parse(entry.lease.as_ref()?)).collect();
    (undecided, refused)
}
