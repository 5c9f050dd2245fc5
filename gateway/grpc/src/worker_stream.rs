//! The stream of a worker: starts, heartbeats and reports in batches.
//!
//! A separate task executes each request, and its response has the id of the request, so starts do not wait for reports.
//! A request that cannot be executed now gets the response TryAgain. Single entries of it are refused with `try_again`,
//! if the worker supports that. The stream fails only when the worker breaks the protocol. The end of a stream drops the
//! responses of its tasks, but no lease: the worker can renew its leases and report on another stream until they expire.
//!
//! The response to a Start of large orders has several messages, see [`worker_messages`]. Orders that the connection
//! cannot take now are not started. The worker drops them, and any worker gets them after their visibility timeout.
//!
//! When the credential of the stream ends, the gateway sends Drain, reads no further requests, and ends the stream with
//! UNAUTHENTICATED. The responses to earlier requests are sent before, for a short time. The leases remain: the worker
//! reports on another stream, with a valid credential.
//!
//! At shutdown the gateway sends Drain. Starts then get the response TryAgain, reports and heartbeats are executed as
//! before, and the stream ends when no order runs that it has started.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::{ErrorCode, LeaseToken, Order, OrderId, OrderMap, Principal, TraceContext, WorkerName};
use futures_util::stream::BoxStream;
use proto::v1::gateway_message::Message as Response;
use proto::v1::worker_message::Message as Request;
use proto::{MAX_BATCH, v1};
use telemetry::panics;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, Semaphore, broadcast};
use tokio::time::{Instant, timeout};
use tonic::{Status, Streaming};

use crate::message_body::HeldBytes;
use crate::state::State;
use crate::status::{from_problem, invalid};
use crate::worker_messages::{self, LARGE_MESSAGE_BYTES, LARGE_ORDER_BYTES, Sender};
use gateway_http::auth::Credential;
use gateway_service::Error;
use gateway_service::orders::StartOutcome;
use gateway_service::workers::{OutcomeKind, WorkerHello, WorkerSession};

/// Maximum number of concurrent requests of a stream; further ones wait in the connection.
const MAX_CONCURRENT_REQUESTS: usize = ALL_REQUESTS as usize;
/// The same as a number of permits.
const ALL_REQUESTS: u32 = 64;

/// Maximum time for the responses to earlier requests after the end of the credential.
const FAREWELL: Duration = Duration::from_millis(250);

/// The worker of a stream.
pub(super) struct Caller {
    pub(super) principal: Arc<Principal>,
    /// The stream ends with it.
    pub(super) credential: Credential,
}

/// Serves one stream.
pub(super) fn serve(
    state: State,
    caller: Caller,
    requests: Streaming<v1::WorkerMessage>,
    held: Option<Arc<HeldBytes>>,
) -> BoxStream<'static, Result<v1::GatewayMessage, Status>> {
    let (sender, messages) = worker_messages::channel();
    let tasks = state.context.tasks.clone();
    tasks.spawn(async move {
        let connected = state.health.track_worker_stream();
        if let Err(status) = run(state, caller, requests, held, &sender).await {
            tracing::debug!(%status, "worker stream ended");
            sender.fail(status).await;
        }
        drop(connected);
    });
    messages
}

async fn run(
    state: State,
    Caller { principal, credential }: Caller,
    mut requests: Streaming<v1::WorkerMessage>,
    held: Option<Arc<HeldBytes>>,
    sender: &Sender,
) -> Result<(), Status> {
    let mut session = Session {
        state: state.clone(),
        principal,
        sender: sender.clone(),
        running: Arc::default(),
        repeats_entries: false,
        worker: None,
    };
    let mut cancelled = state.feed.cancelled();
    let permits = Arc::new(Semaphore::new(MAX_CONCURRENT_REQUESTS));
    let mut drained = false;
    let mut greeted = false;
    let handled = Arc::new(Notify::new());
    let mut ended = pin!(state.context.auth.clone().until_ended(credential));
    loop {
        if drained && session.running().is_empty() && permits.available_permits() == MAX_CONCURRENT_REQUESTS {
            return Ok(());
        }
        let request = tokio::select! {
            request = requests.message() => match request? {
                Some(request) => request,
                None => return Ok(()),
            },
            id = cancelled.recv() => {
                session.cancel(id, &mut cancelled).await;
                continue;
            }
            () = state.context.draining.cancelled(), if !drained => {
                drained = true;
                session.worker.iter().for_each(|worker| worker.set_draining());
                session.sender.send(0, drain(ErrorCode::ShuttingDown)).await;
                continue;
            }
            problem = &mut ended => {
                let farewell = async {
                    session.sender.send(0, drain(problem.code())).await;
                    // All permits are free when every request has its response.
                    let _ = permits.acquire_many(ALL_REQUESTS).await;
                };
                let _ = timeout(FAREWELL, farewell).await;
                return Err(from_problem(&problem));
            }
            () = handled.notified(), if drained => continue,
            () = sender.closed() => return Ok(()),
        };
        // The bytes of the message count until its response is sent.
        let held = held.as_ref().map(|held| held.hand_over());
        let id = request.request_id;
        match request.message {
            Some(Request::Hello(hello)) => {
                greeted = true;
                session.repeats_entries = hello.repeats_entries;
                session.listed(&hello);
                tracing::debug!(worker_id = %hello.worker_id, "worker connected");
                session.welcome(id).await;
            }
            Some(_) if !greeted => return Err(invalid("the first message must be Hello")),
            Some(message) => {
                let length = match &message {
                    Request::Start(start) => start.leases.len(),
                    Request::Heartbeats(heartbeats) => heartbeats.leases.len(),
                    Request::Finish(finish) => finish.reports.len(),
                    Request::Hello(_) => 0,
                };
                if length > MAX_BATCH {
                    return Err(invalid(format!(
                        "a message may have at most {MAX_BATCH} entries, has {length}"
                    )));
                }
                let Ok(permit) = permits.clone().acquire_owned().await else { return Ok(()) };
                let (session, handled) = (session.clone(), handled.clone());
                state.context.tasks.spawn(async move {
                    let reply = panics::catch_async("grpc", session.handle(id, message)).await;
                    match reply.unwrap_or_else(|panicked| Err(panicked.into())) {
                        Ok(Reply::Now(response)) => session.sender.send(id, response).await,
                        Ok(Reply::AfterLarge(response)) => {
                            session.sender.send_after_large(id, response).await
                        }
                        Err(error) => {
                            let reason = error.to_string();
                            session.sender.send(id, Response::TryAgain(v1::TryAgain { reason })).await;
                        }
                    }
                    drop((held, permit));
                    handled.notify_one();
                });
            }
            None => return Err(invalid("a message of a kind that this gateway does not know")),
        }
    }
}

/// Returns the message that announces the end of the stream.
fn drain(reason: ErrorCode) -> Response {
    Response::Drain(v1::Drain { reason: reason.as_str().to_owned() })
}

/// The last message of a response.
enum Reply {
    Now(Response),
    /// The message follows the large orders of the response.
    AfterLarge(Response),
}

#[derive(Clone)]
struct Session {
    state: State,
    principal: Arc<Principal>,
    sender: Sender,
    /// The leases that this stream has started or renewed and not reported. Their worker is told of cancellations.
    running: Arc<Mutex<OrderMap<Running>>>,
    /// Whether the worker supports `try_again` for single entries, see `Hello` in the proto file.
    repeats_entries: bool,
    /// The worker in the list of workers, if it has stated a name.
    worker: Option<Arc<WorkerSession>>,
}

/// A lease of a running attempt.
#[derive(Clone, Copy)]
struct Running {
    token: LeaseToken,
    /// The start, if it was on this stream.
    since: Option<Instant>,
}

impl Session {
    /// Lists the worker under the name that it states.
    fn listed(&mut self, hello: &v1::Hello) {
        let Some(name) = WorkerName::clean(&hello.worker_id) else { return };
        let (version, host, slots) = (hello.version.clone(), hello.host.clone(), hello.slots);
        let stated = WorkerHello { version, host, slots, kinds: Vec::new() };
        self.worker = self.state.workers.connected(&self.principal, name, stated).map(Arc::new);
    }

    fn worker_name(&self) -> Option<&WorkerName> {
        self.worker.as_ref().map(|worker| worker.name())
    }

    /// Reports the number of running attempts.
    fn count_running(&self) {
        if let Some(worker) = &self.worker {
            worker.set_in_flight(self.running().len());
        }
    }

    async fn welcome(&self, request_id: u64) {
        let lease = self.state.orders.config().rules.lease;
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let welcome =
            v1::Welcome { lease_ms: millis(lease), heartbeat_interval_ms: millis(lease / 3).max(1) };
        self.sender.send(request_id, Response::Welcome(welcome)).await;
    }

    async fn handle(&self, request_id: u64, message: Request) -> Result<Reply, Error> {
        match message {
            Request::Hello(_) => Err(Error::Internal),
            Request::Start(start) => self.start(request_id, start).await,
            Request::Heartbeats(heartbeats) => self.heartbeats(heartbeats).await.map(Reply::Now),
            Request::Finish(finish) => self.finish(finish).await.map(Reply::Now),
        }
    }

    async fn start(&self, request_id: u64, start: v1::Start) -> Result<Reply, Error> {
        if self.state.context.draining.is_cancelled() {
            return Err(Error::shutting_down());
        }
        let (leases, mut refused) = parse(start.leases);
        let results = self
            .state
            .orders
            .start_attempts_up_to(&self.principal, self.worker_name(), &leases, LARGE_ORDER_BYTES)
            .await?;
        let results = unless_all_undecided(results)?;
        let mut attempts = Vec::with_capacity(results.len());
        let mut large = Vec::new();
        for ((id, token), result) in leases.into_iter().zip(results) {
            match result {
                Ok(StartOutcome::Order { order, trace }) => {
                    attempts.push(self.attempt(*order, token, trace));
                }
                Ok(StartOutcome::TooLarge(bytes)) => large.push((bytes, (id, token))),
                Err(error) => refused.push(self.refusal(id, token, error)?),
            }
        }
        if large.is_empty() {
            return Ok(Reply::Now(Response::Started(v1::Started { attempts, refused, more: false })));
        }
        self.sender.send_started(request_id, attempts, refused).await;
        // `start_large` takes from the end, so the smallest order is first.
        large.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        let refused = self.start_large(request_id, large).await;
        // The refusals are sent before the large orders, so the worker frees their slots early. The last message follows
        // the large orders and ends the response.
        self.sender.send_started(request_id, Vec::new(), refused).await;
        Ok(Reply::AfterLarge(Response::Started(v1::Started::default())))
    }

    /// Starts orders at the rate at which the connection takes them. Returns refusals of the others.
    async fn start_large(
        &self,
        request_id: u64,
        mut large: Vec<(usize, (OrderId, LeaseToken))>,
    ) -> Vec<v1::Refused> {
        let mut refused = Vec::new();
        let mut reason = ErrorCode::ConnectionBusy;
        while !large.is_empty() {
            if self.state.context.draining.is_cancelled() {
                reason = self.try_again();
                break;
            }
            let Some(permit) = self.sender.large_permit().await else { break };
            let leases = next_group(&mut large);
            let Ok(results) = self
                .state
                .orders
                .start_attempts_up_to(&self.principal, self.worker_name(), &leases, usize::MAX)
                .await
            else {
                reason = self.try_again();
                refused.extend(leases.into_iter().map(|lease| refuse(lease, reason)));
                break;
            };
            let mut attempts = Vec::with_capacity(results.len());
            for ((id, token), result) in leases.into_iter().zip(results) {
                match result {
                    Ok(StartOutcome::Order { order, trace }) => {
                        attempts.push(self.attempt(*order, token, trace));
                    }
                    Ok(StartOutcome::TooLarge(_)) => refused.push(refuse((id, token), reason)),
                    Err(error) => {
                        let refusal = self.refusal(id, token, error);
                        refused.push(refusal.unwrap_or_else(|_| refuse((id, token), reason)));
                    }
                }
            }
            if !attempts.is_empty() {
                permit.send(request_id, attempts);
            }
        }
        refused.extend(large.into_iter().map(|(_, lease)| refuse(lease, reason)));
        refused
    }

    fn attempt(&self, order: Order, token: LeaseToken, trace: Option<TraceContext>) -> v1::Attempt {
        self.running().insert(order.id, Running { token, since: Some(Instant::now()) });
        self.count_running();
        let traceparent = trace.map(|trace| trace.to_string());
        v1::Attempt {
            order: Some(order.into()),
            lease_token: token.to_string(),
            traceparent,
            checkpoint: None,
        }
    }

    /// Returns the code for entries that can be sent again at once, if the worker supports it.
    fn try_again(&self) -> ErrorCode {
        if self.repeats_entries { ErrorCode::TryAgain } else { ErrorCode::ConnectionBusy }
    }

    async fn heartbeats(&self, heartbeats: v1::Heartbeats) -> Result<Response, Error> {
        let (leases, mut lost) = parse(heartbeats.leases);
        let results = unless_all_undecided(self.state.orders.heartbeat(&self.principal, &leases).await?)?;
        for ((id, token), result) in leases.into_iter().zip(results) {
            match result {
                Ok(()) => {
                    let mut running = self.running();
                    if running.get(&id).is_none_or(|running| running.token != token) {
                        running.insert(id, Running { token, since: None });
                    }
                }
                // Neither renewed nor lost: the next heartbeat arrives before the lease expires.
                Err(Error::Unavailable { .. }) => {}
                Err(error) => {
                    self.forget(id, token);
                    lost.push(self.refusal(id, token, error)?);
                }
            }
        }
        Ok(Response::Renewed(v1::Renewed { lost }))
    }

    async fn finish(&self, finish: v1::Finish) -> Result<Response, Error> {
        let mut refused = Vec::new();
        let mut reports = Vec::with_capacity(finish.reports.len());
        for report in finish.reports {
            let lease = report.lease.clone();
            match report.parse() {
                Ok(report) => reports.push(report),
                Err(problem) => refused.push(unreadable(lease, &problem)),
            }
        }
        let leases: Vec<_> =
            reports.iter().map(|(id, token, outcome)| (*id, *token, OutcomeKind::of(outcome))).collect();
        let results = unless_all_undecided(self.state.orders.finish(&self.principal, reports).await?)?;
        for ((id, token, kind), result) in leases.into_iter().zip(results) {
            if !is_undecided(&result) {
                let ended = self.forget(id, token);
                if let (Ok(()), Some(worker)) = (&result, &self.worker) {
                    worker.record(kind, ended.and_then(|running| running.since).map(|since| since.elapsed()));
                }
            }
            if let Err(error) = result {
                refused.push(self.refusal(id, token, error)?);
            }
        }
        Ok(Response::Finished(v1::Finished { refused }))
    }

    /// Tells the worker to stop cancelled orders that this stream has started.
    async fn cancel(&self, received: Result<OrderId, RecvError>, more: &mut broadcast::Receiver<OrderId>) {
        let mut leases = Vec::new();
        let mut next = received.ok();
        while let Some(id) = next {
            if let Some(running) = self.running().remove(&id) {
                leases.push(v1::Lease::new(id, running.token));
            }
            next = if leases.len() < MAX_BATCH { more.try_recv().ok() } else { None };
        }
        if !leases.is_empty() {
            self.sender.send(0, Response::Cancel(v1::Cancel { leases })).await;
        }
    }

    /// Returns the refusal of one lease, or an error that concerns the whole request.
    fn refusal(&self, id: OrderId, token: LeaseToken, error: Error) -> Result<v1::Refused, Error> {
        let status = if let Error::Refused { refusal, .. } = &error { refusal.status() } else { None };
        let status = status.map(|status| status.to_string()).unwrap_or_default();
        let reason = match error {
            // A repetition cannot succeed: the worker drops the order and frees its slot.
            Error::NotFound(_) | Error::Refused { .. } | Error::Unreadable { .. } | Error::Internal => {
                error.code().to_string()
            }
            Error::Unavailable { .. } if self.repeats_entries => ErrorCode::TryAgain.to_string(),
            Error::Forbidden(_)
            | Error::Invalid(_)
            | Error::Started { .. }
            | Error::OrderChanged { .. }
            | Error::NoteLimit(_)
            | Error::MetadataChanged { .. }
            | Error::KeyReused
            | Error::ReferenceTaken(_)
            | Error::RowCount(_)
            | Error::OrderRefused
            | Error::Unavailable { .. }
            | Error::TooManyOpen { .. }
            | Error::CursorExpired(_)
            | Error::EventLogDisabled
            | Error::ReaderBehind(_)
            | Error::ReaderLimit
            | Error::ReaderLeased(_)
            | Error::StaleReaderLease
            | Error::OutcomeUnknown(_) => return Err(error),
        };
        let lease = Some(v1::Lease::new(id, token));
        Ok(v1::Refused { lease, reason, status })
    }

    fn forget(&self, id: OrderId, token: LeaseToken) -> Option<Running> {
        let mut running = self.running();
        let is_same = running.get(&id).is_some_and(|running| running.token == token);
        let ended = if is_same { running.remove(&id) } else { None };
        drop(running);
        self.count_running();
        ended
    }

    fn running(&self) -> std::sync::MutexGuard<'_, OrderMap<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes the leases of one message from the end.
fn next_group(large: &mut Vec<(usize, (OrderId, LeaseToken))>) -> Vec<(OrderId, LeaseToken)> {
    let mut left = LARGE_MESSAGE_BYTES;
    let mut group = Vec::new();
    while let Some((bytes, lease)) = large.pop_if(|(bytes, _)| group.is_empty() || *bytes <= left) {
        left = left.saturating_sub(bytes);
        group.push(lease);
    }
    group
}

fn refuse((id, token): (OrderId, LeaseToken), code: ErrorCode) -> v1::Refused {
    v1::Refused { lease: Some(v1::Lease::new(id, token)), reason: code.to_string(), status: String::new() }
}

/// Parses the leases, and returns a refusal for each invalid one.
fn parse(leases: Vec<v1::Lease>) -> (Vec<(OrderId, LeaseToken)>, Vec<v1::Refused>) {
    let mut parsed = Vec::with_capacity(leases.len());
    let mut refused = Vec::new();
    for lease in leases {
        match lease.parse() {
            Ok(lease) => parsed.push(lease),
            Err(problem) => refused.push(unreadable(Some(lease), &problem)),
        }
    }
    (parsed, refused)
}

fn unreadable(lease: Option<v1::Lease>, problem: &proto::InvalidMessage) -> v1::Refused {
    tracing::warn!(%problem, "worker sent an invalid message");
    v1::Refused { lease, reason: problem.code().to_string(), status: String::new() }
}

/// Returns the results, or one error if every entry is undecided.
fn unless_all_undecided<T>(results: Vec<Result<T, Error>>) -> Result<Vec<Result<T, Error>>, Error> {
    match results.first() {
        Some(Err(error)) if results.iter().all(is_undecided) => Err(error.clone()),
        Some(_) | None => Ok(results),
    }
}

/// Returns whether the entry is undecided, so the worker can send it again.
fn is_undecided<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Unavailable { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_documented() {
        limits_page::row("entries in a message of a worker", &limits_page::count(MAX_BATCH));
        limits_page::row("concurrent messages of a worker", &MAX_CONCURRENT_REQUESTS.to_string());
        let farewell = format!("{} ms", FAREWELL.as_millis());
        limits_page::row("responses to a worker after the end of its credential", &farewell);
    }
}
