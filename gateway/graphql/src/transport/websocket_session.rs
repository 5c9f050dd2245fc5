//! A session of [`super::websocket_protocol`] on a websocket. One task reads and writes, and one task per operation sends its
//! results to a short queue. With a slow client the queue fills and the operations wait; the feed counts the events
//! that they miss.
//!
//! A socket ends when:
//! - the client closes it or violates the protocol: the close handshake has a short timeout;
//! - `connection_init` does not arrive in time: 4408;
//! - `connection_init` has to contain a credential and has none that is valid: 4401; one that has expired: 4403;
//! - its credential expires or is revoked: each operation gets an error, then 4403 `token_expired`;
//! - the credential of `connection_init` exceeds its rate or its number of streams: 1013;
//! - no frame arrives for a ping interval and the pong timeout: the socket is dropped without a handshake, because the
//!   peer is gone;
//! - a message arrives too slowly: 4408; a message does not fit into the shared buffer of requests: 1013;
//! - one send takes longer than the pong timeout, because the client does not read: 4408, with the short timeout of a
//!   close handshake. The queue and the write buffer limit the bytes that wait meanwhile;
//! - the gateway shuts down: 1012 at a random moment of the drain window. Clients reconnect after 1012, but not after
//!   1011 or 1002.
//!
//! In each case its operations are aborted. Writes to the database are not aborted: the use cases complete them in
//! separate tasks.
//!
//! Hand-written: async-graphql's `WebSocket` 7.0.19 limits neither the operations of a socket nor the time of a send,
//! sends no pings, and closes after a rejected `connection_init` with 1002 instead of 4403.

use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use domain::Principal;
use futures_util::SinkExt;
use metrics::{counter, gauge};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::execution_result::ExecutionResult;
use crate::executor::Executor;
use crate::request::Params;
use crate::state::State;
use crate::transport::close_codes;
use crate::transport::operation_results::{Outgoing, forward_results, results};
use crate::transport::websocket_protocol::{Action, Close, Protocol, ProtocolState};
use gateway_http::auth::{self, Auth, Verdict};
use gateway_http::buffer_limits::{BufferLimits, Reservation};
use gateway_http::problem::Problem;
use gateway_http::quota;
use gateway_http::server::LATE;
use gateway_http::streams::OpenStream;
use gateway_service::Error;

/// Maximum number of queued results of all operations of a socket. The queue is first in, first out, so a busy
/// operation does not starve others.
const MAX_QUEUED_RESULTS: usize = 16;
/// Timeout of a close handshake.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Close code in the metrics of a socket that ended without a close frame.
const ABNORMAL_CLOSURE: u16 = 1006;

/// The client of a socket and its credential.
pub(super) struct Caller {
    pub(super) auth: Auth,
    client: Option<IpAddr>,
    /// The value of the header of the upgrade.
    authorization: Option<Vec<u8>>,
    pub(super) principal: Option<Arc<Principal>>,
}

impl Caller {
    pub(super) fn of(parts: &Parts, auth: Auth, client: Option<IpAddr>) -> Self {
        let authorization = parts.headers.get(AUTHORIZATION).map(|value| value.as_bytes().to_vec());
        let principal = parts.extensions.get::<Arc<Principal>>().cloned();
        Self { auth, client, authorization, principal }
    }

    /// Waits until the credential is no longer valid.
    pub(super) fn until_refused(&self) -> Pin<Box<dyn Future<Output = Problem> + Send>> {
        match self.principal {
            Some(_) => Box::pin(self.auth.clone().until_refused(self.authorization.clone())),
            None => Box::pin(std::future::pending()),
        }
    }
}

/// Counts a socket while it is open.
struct OpenSocket(Protocol);

impl OpenSocket {
    fn new(protocol: Protocol) -> Self {
        gauge!("orders_graphql_websockets", "protocol" => protocol.name()).increment(1.0);
        Self(protocol)
    }
}

impl Drop for OpenSocket {
    fn drop(&mut self) {
        gauge!("orders_graphql_websockets", "protocol" => self.0.name()).decrement(1.0);
    }
}

/// Aborts an operation when it is dropped.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The end of a socket.
enum SocketEnd {
    /// The gateway closes it.
    Close(Close),
    /// The client has closed it with this code.
    Closed(u16),
    /// The peer is gone.
    Dropped,
}

/// The reaction to an event: messages to send, and then optionally the end.
#[derive(Default)]
struct Step {
    messages: Vec<Message>,
    end: Option<SocketEnd>,
    /// Authenticate this value before the next message is read.
    authenticate: Option<Option<String>>,
}

impl From<Vec<Message>> for Step {
    fn from(messages: Vec<Message>) -> Self {
        Self { messages, ..Self::default() }
    }
}

impl From<SocketEnd> for Step {
    fn from(end: SocketEnd) -> Self {
        Self { end: Some(end), ..Self::default() }
    }
}

pub(super) struct Session {
    socket: WebSocket,
    open_stream: OpenStream,
    _open: OpenSocket,
    executor: Executor,
    tasks: TaskTracker,
    buffers: BufferLimits,
    /// Reservations of the messages that are being sent.
    sending: Vec<Reservation>,
    config: Arc<Config>,
    state: ProtocolState,
    /// Whether the page that opened the socket may only read.
    pub(super) read_only: bool,
    running: HashMap<u64, AbortOnDrop>,
    // Boxed, because a channel allocates blocks of 32 messages.
    queue: mpsc::Sender<Box<Outgoing>>,
    outgoing: mpsc::Receiver<Box<Outgoing>>,
    drain_signal: Pin<Box<dyn Future<Output = ()> + Send>>,
    caller: Caller,
    /// Ends when the credential is no longer valid.
    refused: Pin<Box<dyn Future<Output = Problem> + Send>>,
}

impl Session {
    /// Creates a session. Boxed, so that the futures that own it stay small.
    pub(super) fn new(
        socket: WebSocket,
        open_stream: OpenStream,
        state: &State,
        protocol: Protocol,
        caller: Caller,
    ) -> Box<Self> {
        let (queue, outgoing) = mpsc::channel(MAX_QUEUED_RESULTS);
        let context = state.context();
        Box::new(Self {
            socket,
            open_stream,
            _open: OpenSocket::new(protocol),
            executor: state.executor().clone(),
            state: ProtocolState::new(
                protocol,
                state.config().max_operations_per_socket,
                state.connection_init().clone(),
                caller.principal.is_none(),
            ),
            read_only: false,
            running: HashMap::new(),
            queue,
            outgoing,
            drain_signal: Box::pin(context.drain_signal()),
            tasks: context.tasks.clone(),
            buffers: context.buffers.clone(),
            sending: Vec::new(),
            config: Arc::clone(state.config()),
            refused: caller.until_refused(),
            caller,
        })
    }

    /// Serves the socket until it ends.
    pub(super) async fn run(mut self: Box<Self>) {
        let end = self.serve().await;
        self.running.clear();
        let code = Box::pin(self.close(end)).await;
        counter!("orders_graphql_websocket_closes_total", "code" => close_codes::label(code)).increment(1);
    }

    /// Closes the socket and returns the close code.
    async fn close(&mut self, end: SocketEnd) -> u16 {
        match end {
            SocketEnd::Close(close) => {
                let code = close.code;
                let handshake = async {
                    let frame = CloseFrame { code, reason: Utf8Bytes::from(close.reason) };
                    if self.socket.send(Message::Close(Some(frame))).await.is_ok() {
                        while let Some(Ok(_)) = self.socket.recv().await {}
                    }
                };
                // A client that does not respond is dropped.
                let _ = timeout(CLOSE_TIMEOUT, handshake).await;
                code
            }
            SocketEnd::Closed(code) => {
                // The library responds to a close frame during the next call.
                let _ = timeout(CLOSE_TIMEOUT, self.socket.recv()).await;
                code
            }
            SocketEnd::Dropped => ABNORMAL_CLOSURE,
        }
    }

    async fn serve(&mut self) -> SocketEnd {
        let opened = Instant::now();
        let silence = self.config.ping_interval + self.config.pong_timeout;
        let (mut last_frame, mut ping) = (opened, opened + self.config.ping_interval);
        loop {
            let dead = last_frame + silence;
            let init = (!self.state.is_acknowledged()).then(|| opened + self.config.connection_init_timeout);
            // One timer for all three deadlines.
            let wake = ping.min(dead).min(init.unwrap_or(dead));
            let step = tokio::select! {
                frame = self.socket.recv() => {
                    last_frame = Instant::now();
                    self.receive(frame)
                }
                Some(outgoing) = self.outgoing.recv() => self.take_queued(outgoing).into(),
                () = sleep_until(wake) => {
                    if wake == dead {
                        SocketEnd::Dropped.into()
                    } else if Some(wake) == init {
                        SocketEnd::Close(Close::new(4408, "Connection initialisation timeout")).into()
                    } else {
                        ping = Instant::now() + self.config.ping_interval;
                        self.ping().into()
                    }
                }
                () = &mut self.drain_signal => SocketEnd::Close(Close::new(1012, "the gateway is restarting")).into(),
                problem = &mut self.refused => self.refuse(&problem),
            };
            let step = match step.authenticate {
                Some(authorization) => self.authenticate(authorization).await,
                None => step,
            };
            if !step.messages.is_empty()
                && let Err(end) = self.send(step.messages).await
            {
                return end;
            }
            self.sending.clear();
            if let Some(end) = step.end {
                return end;
            }
        }
    }

    /// Authenticates the credential of `connection_init`.
    async fn authenticate(&mut self, authorization: Option<String>) -> Step {
        let authorization = authorization.map(String::into_bytes);
        let Caller { auth, client, .. } = &self.caller;
        let verdict = auth.authenticate(authorization.as_deref(), *client).await;
        let action = match verdict.and_then(|principal| self.admit(principal)) {
            Ok(principal) => {
                self.caller.principal = Some(principal);
                self.caller.authorization = authorization;
                self.refused = self.caller.until_refused();
                self.state.authenticated(None)
            }
            Err(problem) => self.state.authenticated(Some((problem.code(), problem.detail()))),
        };
        self.react(action, 0)
    }

    /// Ends the operations with the error that ends the socket.
    fn refuse(&mut self, problem: &Problem) -> Step {
        let result = ExecutionResult::from_problem(problem);
        Step {
            messages: self.state.fail_all(&result).into_iter().map(as_text).collect(),
            end: Some(SocketEnd::Close(Close::new(4403, problem.code().as_str()))),
            authenticate: None,
        }
    }

    /// Applies the limits of a caller to the socket, as those of a request with the header.
    fn admit(&mut self, principal: Arc<Principal>) -> Verdict {
        quota::charge(&principal)?;
        self.open_stream.add_caller(&principal)?;
        Ok(principal)
    }

    fn receive(&mut self, frame: Option<Result<Message, axum::Error>>) -> Step {
        let text = match frame {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => return Step::default(),
            Some(Ok(Message::Binary(_))) => {
                return SocketEnd::Close(Close::new(4400, "messages must be text")).into();
            }
            Some(Ok(Message::Close(frame))) => {
                return SocketEnd::Closed(frame.map_or(1005, |frame| frame.code)).into();
            }
            Some(Err(error)) => return read_error(&error).into(),
            None => return SocketEnd::Dropped.into(),
        };
        let action = self.state.receive(&text);
        self.react(action, text.len())
    }

    /// Returns the reaction to a message of this length.
    fn react(&mut self, action: Action, length: usize) -> Step {
        match action {
            Action::Nothing => Step::default(),
            Action::Send(messages) => messages.into_iter().map(as_text).collect::<Vec<_>>().into(),
            Action::Close(close) => SocketEnd::Close(close).into(),
            Action::Refuse { message, close } => Step {
                messages: message.into_iter().map(as_text).collect(),
                end: Some(SocketEnd::Close(close)),
                authenticate: None,
            },
            Action::Authenticate { authorization } => {
                Step { authenticate: Some(authorization), ..Step::default() }
            }
            Action::Stop { number } => {
                self.running.remove(&number);
                Step::default()
            }
            Action::Start { id, number, params } => {
                // The protocol acknowledges no socket without a caller.
                let Some(principal) = self.caller.principal.clone() else {
                    let problem = auth::missing();
                    return SocketEnd::Close(Close::new(4401, problem.code().as_str())).into();
                };
                let protocol = self.state.protocol();
                let params = Params { read_only: self.read_only, ..params };
                // Boxed, so that the memory of the preparation is freed while a subscription waits for events.
                let held = self.buffers.bodies.reserve(length);
                let results = Box::pin(results(self.executor.clone(), principal, params, held));
                // Ends with the operation, or is aborted with the socket. The executor catches panics.
                let task = self.tasks.spawn(forward_results(
                    results,
                    protocol,
                    id,
                    number,
                    self.queue.clone(),
                    self.buffers.responses.clone(),
                ));
                self.running.insert(number, AbortOnDrop(task.abort_handle()));
                Step::default()
            }
        }
    }

    /// Takes the queued messages, to send them in one flush.
    fn take_queued(&mut self, first: Box<Outgoing>) -> Vec<Message> {
        let mut messages = Vec::new();
        let mut next = Some(first);
        while let Some(outgoing) = next {
            // A stopped operation may have left messages in the queue.
            if self.state.is_running(&outgoing.id, outgoing.number) {
                if outgoing.last {
                    self.state.ended(&outgoing.id);
                    self.running.remove(&outgoing.number);
                }
                messages.push(as_text(outgoing.text));
                self.sending.extend(outgoing.held);
            }
            next = if messages.len() < MAX_QUEUED_RESULTS { self.outgoing.try_recv().ok() } else { None };
        }
        messages
    }

    fn ping(&self) -> Vec<Message> {
        let keepalive = self.state.protocol().keepalive();
        let keepalive = keepalive.filter(|_| self.state.is_acknowledged());
        std::iter::once(Message::Ping(Default::default())).chain(keepalive.map(as_text)).collect()
    }

    async fn send(&mut self, messages: Vec<Message>) -> Result<(), SocketEnd> {
        let deadline = self.config.pong_timeout;
        let work = async {
            for message in messages {
                self.socket.feed(message).await?;
            }
            self.socket.flush().await
        };
        match timeout(deadline, work).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(SocketEnd::Dropped),
            Err(_) => Err(SocketEnd::Close(Close::new(4408, "the client does not read fast enough"))),
        }
    }
}

fn as_text(text: String) -> Message {
    Message::Text(text.into())
}

/// Returns the end of a socket after a read error.
///
/// A message that is too long, too slow, not UTF-8, or too large for the shared buffer has a close code. After any other
/// error the connection is gone. axum hides the type of the error, so its message is compared; tests check each message.
fn read_error(error: &axum::Error) -> SocketEnd {
    let text = error.to_string();
    if text.contains("Message too long") {
        SocketEnd::Close(Close::new(1009, "the message is too long"))
    } else if text.contains("UTF-8") {
        SocketEnd::Close(Close::new(1007, "messages must be UTF-8"))
    } else if text.contains(LATE) {
        SocketEnd::Close(Close::new(4408, "the message did not arrive in time"))
    } else if text.contains(&Error::overloaded().to_string()) {
        SocketEnd::Close(Close::new(1013, "the gateway is overloaded: try again later"))
    } else {
        SocketEnd::Dropped
    }
}
