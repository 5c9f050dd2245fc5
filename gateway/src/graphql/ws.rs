//! The websocket of [`super::protocol`]: one task that reads and writes, and one task for each
//! operation, which hands its results over a short queue. When a reader is slow the queue fills and
//! the operations wait; the feed behind them counts what they miss.
//!
//! How a socket ends:
//! - the client closes it, or breaks the rules: the close handshake is finished, for a moment;
//! - no `connection_init` in time: 4408;
//! - no frame for a ping interval and the grace after it: dropped without a handshake, because nobody
//!   is there to shake hands;
//! - one send takes longer than that grace, because the client does not read: 4408, for a moment, in
//!   case it begins to read. What waits for it meanwhile is bounded by the queue and the buffer;
//! - the gateway shuts down: 1012 at a random moment of the drain window. Clients come back on 1012,
//!   and do not on 1011 or 1002.
//!
//! Whatever the reason, its operations are aborted then. Writes to the database are not: the use
//! cases run those to their end by themselves.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::parser::types::OperationType;
use async_graphql_axum::GraphQLProtocol;
use axum::extract::FromRequestParts;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::http::header::UPGRADE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use futures_util::stream::BoxStream;
use futures_util::{SinkExt, StreamExt};
use metrics::{counter, gauge};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};
use tokio_util::task::TaskTracker;

use super::engine::{Answer, Engine};
use super::params::Params;
use super::protocol::{Action, Close, Conversation, LEGACY, MODERN, Protocol};
use crate::http::addresses::{Addresses, Full, client};
use crate::http::origins::{foreign, is_foreign};
use crate::http::problem::Problem;
use crate::{App, Config};

/// Small buffers, which grow for the messages that need it: the defaults cost 132 KiB for each socket.
const READ_BUFFER_BYTES: usize = 1024;
const WRITE_BUFFER_BYTES: usize = 512;
/// Results that wait for the socket, of all its operations together. The queue serves them in turn,
/// so that a busy operation starves nobody.
const QUEUE: usize = 16;
/// How long the other side gets to answer a close frame.
const CLOSE_WAIT: Duration = Duration::from_secs(2);
/// When to come back after all places were taken.
const COME_BACK: Duration = Duration::from_secs(5);
/// How the metrics count a socket that ended without a close frame.
const DROPPED: u16 = 1006;

/// Whether a request wants to become a websocket.
pub(crate) fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Turns a request into a websocket, or says why not. Nothing is upgraded before everything is checked.
pub(crate) async fn upgrade(
    app: App,
    engine: Engine,
    sockets: &Arc<Addresses>,
    mut parts: Parts,
) -> Response {
    let limits = &app.config.http;
    // A page of another site would act with whatever its user may do here.
    if is_foreign(&parts.headers, &limits.cors_origins) {
        return refused("origin", foreign());
    }
    if GraphQLProtocol::from_request_parts(&mut parts, &()).await.is_err() {
        return handshake(format!("offer one of the subprotocols {MODERN} and {LEGACY}"));
    }
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade.protocols([MODERN, LEGACY]),
        Err(rejection) => return handshake(rejection.body_text()),
    };
    let address = client(&parts.extensions, &parts.headers, &limits.trusted_proxies);
    let place = match sockets.enter(address) {
        Ok(place) => place,
        Err(Full::Address) => {
            let most = limits.websockets_per_address;
            let detail = format!("this address has {most} open websockets, and may have no more");
            let problem = Problem::new("too_many_websockets", detail);
            return refused("websockets_per_address", problem.retry_after(COME_BACK));
        }
        Err(Full::All) => {
            let detail = "this gateway has as many open websockets as it may";
            let problem = Problem::new("websockets_exhausted", detail);
            return refused("websockets", problem.retry_after(COME_BACK));
        }
    };
    let legacy = upgrade.selected_protocol().is_some_and(|name| name.as_bytes() == LEGACY.as_bytes());
    let protocol = if legacy { Protocol::Legacy } else { Protocol::Modern };
    // Taken before the upgrade, so that shutdown waits for a socket that is only just opening.
    let token = app.tasks.token();
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(app.config.graphql.message_bytes)
        .max_frame_size(app.config.graphql.message_bytes)
        .on_upgrade(move |socket| async move {
            let (_token, _place) = (token, place);
            let _open = Open::new(protocol);
            let code = Session::new(socket, app, engine, protocol).run().await;
            counter!("graphql_socket_closes_total", "code" => code.to_string()).increment(1);
        })
}

fn handshake(detail: String) -> Response {
    refused("handshake", Problem::new("websocket_handshake", detail))
}

fn refused(limit: &'static str, problem: Problem) -> Response {
    counter!("graphql_refusals_total", "limit" => limit).increment(1);
    problem.into_response()
}

/// Counts a socket for as long as it is open.
struct Open(Protocol);

impl Open {
    fn new(protocol: Protocol) -> Self {
        gauge!("graphql_sockets", "protocol" => protocol.name()).increment(1.0);
        Self(protocol)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        gauge!("graphql_sockets", "protocol" => self.0.name()).decrement(1.0);
    }
}

/// What an operation hands to the socket.
struct Outgoing {
    id: Arc<str>,
    number: u64,
    text: String,
    /// Whether the operation has ended with this.
    last: bool,
}

/// Stops an operation when it is dropped.
struct Running(AbortHandle);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How a socket ends.
enum End {
    /// We close it.
    Close(Close),
    /// The client has closed it with this code.
    Closed(u16),
    /// Nobody is there any more.
    Dropped,
}

struct Session {
    socket: WebSocket,
    engine: Engine,
    tasks: TaskTracker,
    config: Arc<Config>,
    conversation: Conversation,
    running: HashMap<u64, Running>,
    // Boxed, because a channel keeps room for 32.
    queue: mpsc::Sender<Box<Outgoing>>,
    outgoing: mpsc::Receiver<Box<Outgoing>>,
    leaving: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Session {
    fn new(socket: WebSocket, app: App, engine: Engine, protocol: Protocol) -> Self {
        let (queue, outgoing) = mpsc::channel(QUEUE);
        let limits = &app.config.graphql;
        Self {
            socket,
            engine,
            conversation: Conversation::new(
                protocol,
                limits.operations_per_socket,
                limits.init_check.clone(),
            ),
            running: HashMap::new(),
            queue,
            outgoing,
            leaving: Box::pin(app.leaving()),
            tasks: app.tasks.clone(),
            config: app.config.clone(),
        }
    }

    /// Serves the socket to its end, and says with which code that came.
    async fn run(mut self) -> u16 {
        let end = self.serve().await;
        self.running.clear();
        match end {
            End::Close(close) => {
                let code = close.code;
                let handshake = async {
                    let frame = CloseFrame { code, reason: Utf8Bytes::from(close.reason) };
                    if self.socket.send(Message::Close(Some(frame))).await.is_ok() {
                        while let Some(Ok(_)) = self.socket.recv().await {}
                    }
                };
                // A client that does not answer is dropped; it was told.
                let _ = timeout(CLOSE_WAIT, handshake).await;
                code
            }
            End::Closed(code) => {
                // The library answers a close frame with the next thing we do.
                let _ = timeout(CLOSE_WAIT, self.socket.recv()).await;
                code
            }
            End::Dropped => DROPPED,
        }
    }

    async fn serve(&mut self) -> End {
        let opened = Instant::now();
        let silence = self.config.graphql.ping_interval + self.config.graphql.dead_after;
        let mut last_frame = opened;
        let mut ping =
            interval_at(opened + self.config.graphql.ping_interval, self.config.graphql.ping_interval);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let step = tokio::select! {
                frame = self.socket.recv() => {
                    last_frame = Instant::now();
                    self.receive(frame).await
                }
                Some(outgoing) = self.outgoing.recv() => self.deliver(outgoing).await,
                _ = ping.tick() => self.ping().await,
                () = sleep_until(last_frame + silence) => Err(End::Dropped),
                () = sleep_until(opened + self.config.graphql.init_timeout), if !self.conversation.is_acknowledged() => {
                    Err(End::Close(Close::new(4408, "Connection initialisation timeout")))
                }
                () = &mut self.leaving => Err(End::Close(Close::new(1012, "the gateway is restarting"))),
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    async fn receive(&mut self, frame: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        let text = match frame {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => return Ok(()),
            Some(Ok(Message::Binary(_))) => {
                return Err(End::Close(Close::new(4400, "messages must be text")));
            }
            Some(Ok(Message::Close(frame))) => {
                return Err(End::Closed(frame.map_or(1005, |frame| frame.code)));
            }
            Some(Err(error)) => return Err(read_error(&error)),
            None => return Err(End::Dropped),
        };
        match self.conversation.receive(&text) {
            Action::Nothing => Ok(()),
            Action::Send(messages) => self.send(messages).await,
            Action::Close(close) => Err(End::Close(close)),
            Action::Refuse { message, close } => {
                self.send(message.into_iter().collect()).await?;
                Err(End::Close(close))
            }
            Action::Stop { number } => {
                self.running.remove(&number);
                Ok(())
            }
            Action::Start { id, number, params } => {
                let (engine, queue) = (self.engine.clone(), self.queue.clone());
                let protocol = self.conversation.protocol();
                // Ends with the operation, or is aborted with the socket. Its panics are caught inside.
                let task = self.tasks.spawn(operate(engine, params, protocol, id, number, queue));
                self.running.insert(number, Running(task.abort_handle()));
                Ok(())
            }
        }
    }

    /// Sends what waits in the queue, in one go.
    async fn deliver(&mut self, first: Box<Outgoing>) -> Result<(), End> {
        let mut texts = Vec::new();
        let mut next = Some(first);
        while let Some(outgoing) = next {
            // A stopped operation may have left something in the queue.
            if self.conversation.is_running(&outgoing.id, outgoing.number) {
                if outgoing.last {
                    self.conversation.ended(&outgoing.id);
                    self.running.remove(&outgoing.number);
                }
                texts.push(outgoing.text);
            }
            next = if texts.len() < QUEUE { self.outgoing.try_recv().ok() } else { None };
        }
        self.send(texts).await
    }

    async fn ping(&mut self) -> Result<(), End> {
        let keepalive = self.conversation.protocol().keepalive();
        let keepalive = keepalive.filter(|_| self.conversation.is_acknowledged());
        let keepalive = keepalive.map(|text| Message::Text(text.into()));
        self.send_all(std::iter::once(Message::Ping(Default::default())).chain(keepalive)).await
    }

    async fn send(&mut self, texts: Vec<String>) -> Result<(), End> {
        self.send_all(texts.into_iter().map(|text| Message::Text(text.into()))).await
    }

    async fn send_all(&mut self, messages: impl Iterator<Item = Message>) -> Result<(), End> {
        let deadline = self.config.graphql.dead_after;
        let work = async {
            for message in messages {
                self.socket.feed(message).await?;
            }
            self.socket.flush().await
        };
        match timeout(deadline, work).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Dropped),
            Err(_) => Err(End::Close(Close::new(4408, "the client does not read fast enough"))),
        }
    }
}

/// A message that is too long or not UTF-8 is the client's mistake and is told; after any other error
/// there is nobody to tell. axum hides the type of the error, so its text has to do; the tests hold
/// the library to it.
fn read_error(error: &axum::Error) -> End {
    let text = error.to_string();
    if text.contains("Message too long") {
        End::Close(Close::new(1009, "the message is too long"))
    } else if text.contains("UTF-8") {
        End::Close(Close::new(1007, "messages must be UTF-8"))
    } else {
        End::Dropped
    }
}

/// What an operation answers, one result or many.
async fn answers(engine: Engine, params: Params) -> Result<BoxStream<'static, Answer>, Answer> {
    let operation = engine.prepare(params).await?;
    Ok(match operation.kind() {
        OperationType::Subscription => engine.stream(operation),
        OperationType::Query | OperationType::Mutation => {
            futures_util::stream::once(async move { engine.run(operation).await }).boxed()
        }
    })
}

/// Runs one operation and hands over its results. A stalled socket makes it wait here.
async fn operate(
    engine: Engine,
    params: Params,
    protocol: Protocol,
    id: Arc<str>,
    number: u64,
    queue: mpsc::Sender<Box<Outgoing>>,
) {
    let send = |text, last| {
        let outgoing = Box::new(Outgoing { id: Arc::clone(&id), number, text, last });
        let queue = &queue;
        async move { queue.send(outgoing).await.is_ok() }
    };
    // Boxed: what preparing needs is given back while the operation waits for news.
    let mut answers = match Box::pin(answers(engine, params)).await {
        Ok(answers) => answers,
        Err(answer) => {
            send(protocol.error(&id, &answer), true).await;
            return;
        }
    };
    let mut first = true;
    while let Some(answer) = answers.next().await {
        // An operation that came to nothing has an error and no result.
        if first && answer.is_failure() {
            send(protocol.error(&id, &answer), true).await;
            return;
        }
        first = false;
        if !send(protocol.next(&id, &answer), false).await {
            return;
        }
    }
    send(protocol.complete(&id), true).await;
}
