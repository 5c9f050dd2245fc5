//! The stream of a worker: starts, heartbeats and reports in batches.
//!
//! Each request of the worker is executed in a separate task and answered by a message with its
//! id, so starts do not wait for reports. A request that cannot be carried out now is answered with
//! TryAgain, and single entries of it are refused with `try_again` if the worker knows what that means;
//! the stream itself fails only when the worker breaks the rules. When the stream ends, so
//! do these tasks' answers, and nothing else: the leases of the worker last until they expire, and
//! it may renew them and report over another stream.
//!
//! A Start of large orders is answered in several messages, see `outgoing`. Those that the connection cannot take now
//! are not started; the worker drops them, and any worker gets them when the queue's hold on them ends.
//!
//! At shutdown the worker is told to drain: starts are answered with TryAgain, reports and heartbeats
//! are carried out as before, and the stream ends once nothing runs that was started over it.

use std::sync::{Arc, Mutex, PoisonError};

use domain::{ErrorCode, LeaseToken, Order, OrderId, OrderMap};
use futures_util::stream::BoxStream;
use proto::v1::gateway_message::Message as Answer;
use proto::v1::worker_message::Message as Request;
use proto::{MAX_BATCH, v1};
use telemetry::panics;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, Semaphore, broadcast};
use tonic::{Status, Streaming};

use crate::message_body::HeldBytes;
use crate::state::State;
use crate::status::invalid;
use crate::worker_messages::{self, LARGE_MESSAGE_BYTES, LARGE_ORDER_BYTES, Sender};
use gateway_service::Error;
use gateway_service::orders::StartOutcome;

/// Requests of one stream that are carried out at once; the next one waits in the connection.
const PARALLEL: usize = 64;

/// Serves one stream.
pub(super) fn serve(
    state: State,
    requests: Streaming<v1::WorkerMessage>,
    held: Option<Arc<HeldBytes>>,
) -> BoxStream<'static, Result<v1::GatewayMessage, Status>> {
    let (sender, messages) = worker_messages::channel();
    let tasks = state.context.tasks.clone();
    tasks.spawn(async move {
        let connected = state.health.track_worker_stream();
        if let Err(status) = run(state, requests, held, &sender).await {
            tracing::debug!(%status, "worker stream ended");
            sender.fail(status).await;
        }
        drop(connected);
    });
    messages
}

async fn run(
    state: State,
    mut requests: Streaming<v1::WorkerMessage>,
    held: Option<Arc<HeldBytes>>,
    sender: &Sender,
) -> Result<(), Status> {
    let mut session = Session {
        state: state.clone(),
        sender: sender.clone(),
        running: Arc::default(),
        repeats_entries: false,
    };
    let mut cancelled = state.feed.cancelled();
    let permits = Arc::new(Semaphore::new(PARALLEL));
    let mut drained = false;
    let mut greeted = false;
    let handled = Arc::new(Notify::new());
    loop {
        if drained && session.running().is_empty() && permits.available_permits() == PARALLEL {
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
                session.sender.send(0, Answer::Drain(v1::Drain {})).await;
                continue;
            }
            () = handled.notified(), if drained => continue,
            () = sender.closed() => return Ok(()),
        };
        // The bytes of the message count until it is answered.
        let held = held.as_ref().map(|held| held.hand_over());
        let id = request.request_id;
        match request.message {
            Some(Request::Hello(hello)) => {
                greeted = true;
                session.repeats_entries = hello.repeats_entries;
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
                    let answer = panics::catch_async("grpc", session.handle(id, message)).await;
                    match answer.unwrap_or_else(|panicked| Err(panicked.into())) {
                        Ok(Reply::Now(answer)) => session.sender.send(id, answer).await,
                        Ok(Reply::AfterLarge(answer)) => session.sender.send_after_large(id, answer).await,
                        Err(error) => {
                            let reason = error.to_string();
                            session.sender.send(id, Answer::TryAgain(v1::TryAgain { reason })).await;
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

/// The last message that answers a request.
enum Reply {
    Now(Answer),
    /// Large orders that answer the request come first.
    AfterLarge(Answer),
}

#[derive(Clone)]
struct Session {
    state: State,
    sender: Sender,
    /// The leases that this stream has started or renewed and not reported, to tell their worker
    /// about cancellations.
    running: Arc<Mutex<OrderMap<LeaseToken>>>,
    /// See the Hello of the interface.
    repeats_entries: bool,
}

impl Session {
    async fn welcome(&self, request_id: u64) {
        let lease = self.state.orders.config().rules.lease;
        let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let welcome =
            v1::Welcome { lease_ms: millis(lease), heartbeat_interval_ms: millis(lease / 3).max(1) };
        self.sender.send(request_id, Answer::Welcome(welcome)).await;
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
        let answers = self.state.orders.start_attempts_up_to(&leases, LARGE_ORDER_BYTES).await?;
        let answers = none_or_all(answers)?;
        let mut attempts = Vec::with_capacity(answers.len());
        let mut large = Vec::new();
        for ((id, token), answer) in leases.into_iter().zip(answers) {
            match answer {
                Ok(StartOutcome::Order(order)) => attempts.push(self.attempt(*order, token)),
                Ok(StartOutcome::TooLarge(bytes)) => large.push((bytes, (id, token))),
                Err(error) => refused.push(self.refusal(id, token, error)?),
            }
        }
        if large.is_empty() {
            return Ok(Reply::Now(Answer::Started(v1::Started { attempts, refused, more: false })));
        }
        self.sender.send_started(request_id, attempts, refused).await;
        // From the end, the smallest is the next one.
        large.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        let refused = self.start_large(request_id, large).await;
        // The worker frees the slots of these before the connection has taken the large orders, and knows the end of
        // the answer after them.
        self.sender.send_started(request_id, Vec::new(), refused).await;
        Ok(Reply::AfterLarge(Answer::Started(v1::Started::default())))
    }

    /// Starts orders as the connection takes them. Returns those that were not started.
    async fn start_large(
        &self,
        request_id: u64,
        mut large: Vec<(usize, (OrderId, LeaseToken))>,
    ) -> Vec<v1::Refused> {
        let mut refused = Vec::new();
        let mut why = ErrorCode::ConnectionBusy;
        while !large.is_empty() {
            if self.state.context.draining.is_cancelled() {
                why = self.try_again();
                break;
            }
            let Some(permit) = self.sender.large_permit().await else { break };
            let leases = next_group(&mut large);
            let Ok(answers) = self.state.orders.start_attempts_up_to(&leases, usize::MAX).await else {
                why = self.try_again();
                refused.extend(leases.into_iter().map(|lease| refuse(lease, why)));
                break;
            };
            let mut attempts = Vec::with_capacity(answers.len());
            for ((id, token), answer) in leases.into_iter().zip(answers) {
                match answer {
                    Ok(StartOutcome::Order(order)) => attempts.push(self.attempt(*order, token)),
                    Ok(StartOutcome::TooLarge(_)) => refused.push(refuse((id, token), why)),
                    Err(error) => {
                        let refusal = self.refusal(id, token, error);
                        refused.push(refusal.unwrap_or_else(|_| refuse((id, token), why)));
                    }
                }
            }
            if !attempts.is_empty() {
                permit.send(request_id, attempts);
            }
        }
        refused.extend(large.into_iter().map(|(_, lease)| refuse(lease, why)));
        refused
    }

    fn attempt(&self, order: Order, token: LeaseToken) -> v1::Attempt {
        self.running().insert(order.id, token);
        v1::Attempt { order: Some(order.into()), lease_token: token.to_string() }
    }

    /// The reason for entries that can be sent again at once, if the worker knows it.
    fn try_again(&self) -> ErrorCode {
        if self.repeats_entries { ErrorCode::TryAgain } else { ErrorCode::ConnectionBusy }
    }

    async fn heartbeats(&self, heartbeats: v1::Heartbeats) -> Result<Answer, Error> {
        let (leases, mut lost) = parse(heartbeats.leases);
        let answers = none_or_all(self.state.orders.heartbeat(&leases).await?)?;
        for ((id, token), answer) in leases.into_iter().zip(answers) {
            match answer {
                Ok(()) => {
                    self.running().insert(id, token);
                }
                // Neither renewed nor lost: the next heartbeat comes before the lease runs out.
                Err(Error::Unavailable { .. }) => {}
                Err(error) => {
                    self.forget(id, token);
                    lost.push(self.refusal(id, token, error)?);
                }
            }
        }
        Ok(Answer::Renewed(v1::Renewed { lost }))
    }

    async fn finish(&self, finish: v1::Finish) -> Result<Answer, Error> {
        let mut refused = Vec::new();
        let mut reports = Vec::with_capacity(finish.reports.len());
        for report in finish.reports {
            let lease = report.lease.clone();
            match report.parse() {
                Ok(report) => reports.push(report),
                Err(problem) => refused.push(unreadable(lease, &problem)),
            }
        }
        let leases: Vec<_> = reports.iter().map(|(id, token, _)| (*id, *token)).collect();
        let answers = none_or_all(self.state.orders.finish(reports).await?)?;
        for ((id, token), answer) in leases.into_iter().zip(answers) {
            if !is_for_later(&answer) {
                self.forget(id, token);
            }
            if let Err(error) = answer {
                refused.push(self.refusal(id, token, error)?);
            }
        }
        Ok(Answer::Finished(v1::Finished { refused }))
    }

    /// Tells the worker to stop what was cancelled, if it is running here.
    async fn cancel(&self, received: Result<OrderId, RecvError>, more: &mut broadcast::Receiver<OrderId>) {
        let mut leases = Vec::new();
        let mut next = received.ok();
        while let Some(id) = next {
            if let Some(token) = self.running().remove(&id) {
                leases.push(v1::Lease::new(id, token));
            }
            next = if leases.len() < MAX_BATCH { more.try_recv().ok() } else { None };
        }
        if !leases.is_empty() {
            self.sender.send(0, Answer::Cancel(v1::Cancel { leases })).await;
        }
    }

    /// The refusal of one lease; errors that are not about this one concern the whole request.
    fn refusal(&self, id: OrderId, token: LeaseToken, error: Error) -> Result<v1::Refused, Error> {
        let status = if let Error::Refused { refusal, .. } = &error { refusal.status() } else { None };
        let status = status.map(|status| status.to_string()).unwrap_or_default();
        let reason = match error {
            // Asking again would not help: the worker drops the order and frees its slot.
            Error::NotFound(_) | Error::Refused { .. } | Error::Unreadable { .. } | Error::Internal => {
                error.code().to_string()
            }
            Error::Unavailable { .. } if self.repeats_entries => ErrorCode::TryAgain.to_string(),
            Error::Invalid(_)
            | Error::KeyReused
            | Error::RowCount(_)
            | Error::OrderRefused
            | Error::Unavailable { .. }
            | Error::OutcomeUnknown(_) => return Err(error),
        };
        let lease = Some(v1::Lease::new(id, token));
        Ok(v1::Refused { lease, reason, status })
    }

    fn forget(&self, id: OrderId, token: LeaseToken) {
        let mut running = self.running();
        if running.get(&id) == Some(&token) {
            running.remove(&id);
        }
    }

    fn running(&self) -> std::sync::MutexGuard<'_, OrderMap<LeaseToken>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes leases from the end, for one message.
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

/// Separates the leases that can be read from those that cannot.
fn parse(leases: Vec<v1::Lease>) -> (Vec<(OrderId, LeaseToken)>, Vec<v1::Refused>) {
    let mut good = Vec::with_capacity(leases.len());
    let mut refused = Vec::new();
    for lease in leases {
        match lease.parse() {
            Ok(lease) => good.push(lease),
            Err(problem) => refused.push(unreadable(Some(lease), &problem)),
        }
    }
    (good, refused)
}

fn unreadable(lease: Option<v1::Lease>, problem: &proto::InvalidMessage) -> v1::Refused {
    tracing::warn!(%problem, "worker sent an invalid message");
    v1::Refused { lease, reason: problem.code().to_string(), status: String::new() }
}

/// The answers, unless none of them can be given now: then that is the answer to all of them.
fn none_or_all<T>(answers: Vec<Result<T, Error>>) -> Result<Vec<Result<T, Error>>, Error> {
    match answers.first() {
        Some(Err(error)) if answers.iter().all(is_for_later) => Err(error.clone()),
        Some(_) | None => Ok(answers),
    }
}

/// Whether nothing has been decided about this one.
fn is_for_later<T>(answer: &Result<T, Error>) -> bool {
    matches!(answer, Err(Error::Unavailable { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_documented() {
        limits_page::row("entries in a message of a worker", &limits_page::count(MAX_BATCH));
        limits_page::row("concurrent messages of a worker", &PARALLEL.to_string());
    }
}
