//! The protocols of a websocket without the socket: reads messages, keeps the state of the connection, and writes
//! replies. No I/O and no time.
//!
//! There are two protocols. The modern one, `graphql-transport-ws`, is that of the library graphql-ws. The legacy one
//! has the name `graphql-ws` and is that of subscriptions-transport-ws, which GraphQL Playground uses.
//!
//! | | modern | legacy |
//! |---|---|---|
//! | client | connection_init, subscribe, complete, ping, pong | connection_init, start, stop, connection_terminate |
//! | server | connection_ack, next, error, complete, ping, pong | connection_ack, data, error, complete, ka |
//!
//! A protocol violation closes the socket with a code of the modern protocol in both protocols: clients only
//! distinguish codes after which they reconnect.

use std::collections::HashMap;
use std::sync::Arc;

use domain::ErrorCode;
use serde::Deserialize;
use serde_json::Value;

use crate::connection_init::ConnectionInitHook;
use crate::errors::limit_error;
use crate::execution_result::ExecutionResult;
use crate::request::Params;

/// Maximum length of the reason of a close frame, in bytes. With a longer one clients report code 1006.
const MAX_REASON_BYTES: usize = 123;

/// The names of the member of `connection_init` that contains the credential, as in the header.
const AUTHORIZATION: [&str; 2] = ["authorization", "Authorization"];

/// The name of the modern protocol.
pub(crate) const MODERN: &str = "graphql-transport-ws";
/// The name of the legacy protocol.
pub(crate) const LEGACY: &str = "graphql-ws";

/// The protocol of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Modern,
    Legacy,
}

/// The code and the reason with which the gateway closes a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Close {
    pub(crate) code: u16,
    pub(crate) reason: String,
}

/// The reaction to a message.
#[derive(Debug, PartialEq)]
pub(crate) enum Action {
    /// Nothing.
    Nothing,
    /// Send these messages in this order.
    Send(Vec<String>),
    /// Authenticate this value of `authorization`, then call [`ProtocolState::authenticated`].
    Authenticate { authorization: Option<String> },
    /// Run an operation; its results carry the id and the number.
    Start { id: Arc<str>, number: u64, params: Params },
    /// Stop the operation with this number.
    Stop { number: u64 },
    /// Send the message, then close the socket.
    Refuse { message: Option<String>, close: Close },
    /// Close the socket.
    Close(Close),
}

/// The state of one connection.
#[derive(Debug)]
pub(crate) struct ProtocolState {
    protocol: Protocol,
    init_hook: ConnectionInitHook,
    /// Whether `connection_init` has to contain a credential.
    needs_credential: bool,
    /// Whether a `connection_init` was received.
    initialised: bool,
    acknowledged: bool,
    max_operations: usize,
    next_number: u64,
    /// The running operations. A client may reuse an id, so each operation has a unique number.
    active: HashMap<Arc<str>, u64>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "type")]
    kind: String,
    id: Option<String>,
    payload: Option<Value>,
}

impl Close {
    pub(crate) fn new(code: u16, reason: &str) -> Self {
        let mut end = reason.len().min(MAX_REASON_BYTES);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        Self { code, reason: reason[..end].to_owned() }
    }

    fn malformed(reason: &str) -> Action {
        Action::Close(Self::new(4400, reason))
    }
}

impl Protocol {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Modern => MODERN,
            Self::Legacy => LEGACY,
        }
    }

    /// Returns the keepalive message, if the protocol has one.
    pub(crate) fn keepalive(self) -> Option<String> {
        match self {
            Self::Modern => None,
            Self::Legacy => Some(r#"{"type":"ka"}"#.to_owned()),
        }
    }

    /// Returns the message of a result of a running operation.
    pub(crate) fn next(self, id: &str, result: &ExecutionResult) -> String {
        let kind = match self {
            Self::Modern => "next",
            Self::Legacy => "data",
        };
        message(kind, id, Some(result.json()))
    }

    /// Returns the message that ends a failed operation.
    pub(crate) fn error(self, id: &str, result: &ExecutionResult) -> String {
        let errors = result.errors();
        let payload = match self {
            Self::Modern => serde_json::to_string(errors),
            // The legacy protocol has one error instead of a list.
            Self::Legacy => serde_json::to_string(&errors.first()),
        };
        let payload = payload.expect("errors have only string keys and no values that JSON lacks");
        message("error", id, Some(&payload))
    }

    /// Returns the message that ends an operation.
    pub(crate) fn complete(self, id: &str) -> String {
        message("complete", id, None)
    }
}

/// Writes a message; `payload` is JSON.
fn message(kind: &str, id: &str, payload: Option<&str>) -> String {
    let id = Value::from(id);
    match payload {
        Some(payload) => format!(r#"{{"id":{id},"type":"{kind}","payload":{payload}}}"#),
        None => format!(r#"{{"id":{id},"type":"{kind}"}}"#),
    }
}

impl ProtocolState {
    pub(crate) fn new(
        protocol: Protocol,
        max_operations: usize,
        init_hook: ConnectionInitHook,
        needs_credential: bool,
    ) -> Self {
        Self {
            protocol,
            init_hook,
            needs_credential,
            initialised: false,
            acknowledged: false,
            max_operations,
            next_number: 0,
            active: HashMap::new(),
        }
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Returns whether `connection_init` was accepted.
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.acknowledged
    }

    /// Returns whether the operation with this id and number is running.
    pub(crate) fn is_running(&self, id: &str, number: u64) -> bool {
        self.active.get(id) == Some(&number)
    }

    /// Removes an operation that has ended.
    pub(crate) fn ended(&mut self, id: &str) {
        self.active.remove(id);
    }

    /// Ends all operations and returns the messages that tell the client.
    pub(crate) fn fail_all(&mut self, result: &ExecutionResult) -> Vec<String> {
        let protocol = self.protocol;
        self.active.drain().map(|(id, _)| protocol.error(&id, result)).collect()
    }

    /// Handles a message and returns the reaction.
    pub(crate) fn receive(&mut self, text: &str) -> Action {
        // serde would also read an array of the right length as the fields of a message.
        let is_array = text.trim_start().starts_with('[');
        let message: Message = match serde_json::from_str(text) {
            Ok(message) if !is_array => message,
            Err(error) if !error.is_data() => return Close::malformed(&format!("not a message: {error}")),
            // A separate message, because serde's messages contain type names of this program.
            Ok(_) | Err(_) => {
                return Close::malformed("a message is an object with a type, and an id that is a string");
            }
        };
        match (self.protocol, message.kind.as_str()) {
            (_, "connection_init") => self.init(message.payload.as_ref()),
            (Protocol::Modern, "subscribe") | (Protocol::Legacy, "start") => self.start(message),
            (Protocol::Modern, "complete") | (Protocol::Legacy, "stop") => self.stop(message.id.as_deref()),
            (Protocol::Modern, "ping") => Action::Send(vec![pong(message.payload)]),
            (Protocol::Modern, "pong") => Action::Nothing,
            (Protocol::Legacy, "connection_terminate") => Action::Close(Close::new(1000, "goodbye")),
            (_, kind) => Close::malformed(&format!("unknown message type {kind}")),
        }
    }

    fn init(&mut self, payload: Option<&Value>) -> Action {
        if !matches!(payload, None | Some(Value::Null | Value::Object(_))) {
            return Close::malformed("the payload of connection_init must be an object");
        }
        if self.initialised {
            return Action::Close(Close::new(4429, "Too many initialisation requests"));
        }
        self.initialised = true;
        let payload = payload.unwrap_or(&Value::Null);
        if let Err(reason) = self.init_hook.check(payload) {
            return self.refuse(4403, &reason);
        }
        if self.needs_credential {
            let authorization = AUTHORIZATION.into_iter().find_map(|name| payload[name].as_str());
            return Action::Authenticate { authorization: authorization.map(str::to_owned) };
        }
        self.acknowledge()
    }

    /// Continues with the result of the authentication of `connection_init`.
    ///
    /// Clients reconnect after 4403, because they can send a new credential, but not after 4401.
    pub(crate) fn authenticated(&mut self, refused: Option<(ErrorCode, &str)>) -> Action {
        match refused {
            None => self.acknowledge(),
            Some((ErrorCode::Unauthenticated, reason)) => self.refuse(4401, reason),
            Some((ErrorCode::TokenExpired, _)) => self.refuse(4403, ErrorCode::TokenExpired.as_str()),
            Some((_, reason)) => self.refuse(1013, reason),
        }
    }

    fn refuse(&self, code: u16, reason: &str) -> Action {
        let message = match self.protocol {
            Protocol::Modern => None,
            Protocol::Legacy => {
                let payload = serde_json::json!({ "message": reason });
                Some(format!(r#"{{"type":"connection_error","payload":{payload}}}"#))
            }
        };
        Action::Refuse { message, close: Close::new(code, reason) }
    }

    fn acknowledge(&mut self) -> Action {
        self.acknowledged = true;
        let acknowledgement = r#"{"type":"connection_ack"}"#.to_owned();
        Action::Send(std::iter::once(acknowledgement).chain(self.protocol.keepalive()).collect())
    }

    fn start(&mut self, message: Message) -> Action {
        if !self.acknowledged {
            return Action::Close(Close::new(4401, "Unauthorized"));
        }
        let Some(id) = message.id.filter(|id| !id.is_empty()) else {
            return Close::malformed("the message has no id");
        };
        let params = match message.payload.map(Params::from_json) {
            Some(Ok(params)) => params,
            Some(Err(error)) => return Close::malformed(&error.to_string()),
            None => return Close::malformed("the message has no payload"),
        };
        if self.active.contains_key(id.as_str()) {
            return Action::Close(Close::new(4409, &format!("Subscriber for {id} already exists")));
        }
        if self.active.len() >= self.max_operations {
            let text = format!("the connection has {} operations already", self.max_operations);
            let error = limit_error(ErrorCode::LimitExceeded, "operations", text);
            let result = ExecutionResult::refused(ErrorCode::LimitExceeded, error);
            return Action::Send(vec![self.protocol.error(&id, &result)]);
        }
        let (id, number) = (Arc::from(id), self.next_number);
        self.next_number += 1;
        self.active.insert(Arc::clone(&id), number);
        Action::Start { id, number, params }
    }

    fn stop(&mut self, id: Option<&str>) -> Action {
        let Some(id) = id else { return Close::malformed("the message has no id") };
        // The operation may have ended while this message was in transit.
        match self.active.remove(id) {
            Some(number) => Action::Stop { number },
            None => Action::Nothing,
        }
    }
}

fn pong(payload: Option<Value>) -> String {
    match payload {
        Some(payload) => format!(r#"{{"type":"pong","payload":{payload}}}"#),
        None => r#"{"type":"pong"}"#.to_owned(),
    }
}

#[cfg(test)]
mod tests;
