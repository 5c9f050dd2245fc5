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
mod tests {
    use super::*;

    fn new(protocol: Protocol) -> ProtocolState {
        ProtocolState::new(protocol, 2, ConnectionInitHook::default(), false)
    }

    fn ready(protocol: Protocol) -> ProtocolState {
        let mut state = new(protocol);
        assert!(matches!(state.receive(r#"{"type":"connection_init"}"#), Action::Send(_)));
        state
    }

    fn subscribe(id: &str) -> String {
        format!(r#"{{"type":"subscribe","id":"{id}","payload":{{"query":"{{a}}"}}}}"#)
    }

    fn code(action: &Action) -> Option<u16> {
        match action {
            Action::Close(close) => Some(close.code),
            _ => None,
        }
    }

    #[test]
    fn every_operation_can_end_with_an_error() {
        let problem = gateway_http::problem::Problem::new(ErrorCode::TokenExpired, "x");
        let result = ExecutionResult::from_problem(&problem);
        let mut state = ready(Protocol::Modern);
        for id in ["1", "2"] {
            assert!(matches!(state.receive(&subscribe(id)), Action::Start { .. }));
        }
        let mut messages = state.fail_all(&result);
        messages.sort();
        assert_eq!(messages.len(), 2);
        assert!(messages[0].starts_with(r#"{"id":"1","type":"error","payload":[{"#), "{}", messages[0]);
        assert!(messages[1].contains(r#""code":"token_expired""#), "{}", messages[1]);
        assert!(state.fail_all(&result).is_empty());
    }

    #[test]
    fn connection_init_is_acknowledged_in_both_protocols() {
        let ack = r#"{"type":"connection_ack"}"#.to_owned();
        for (protocol, expected) in [
            (Protocol::Modern, vec![ack.clone()]),
            (Protocol::Legacy, vec![ack, r#"{"type":"ka"}"#.to_owned()]),
        ] {
            for payload in ["", r#","payload":null"#, r#","payload":{"token":"x"}"#] {
                let mut state = new(protocol);
                let action = state.receive(&format!(r#"{{"type":"connection_init"{payload}}}"#));
                assert_eq!(action, Action::Send(expected.clone()));
                assert!(state.is_acknowledged());
            }
        }
    }

    #[test]
    fn connection_init_with_a_credential_is_authenticated() {
        let init = |payload: &str| {
            let mut state = ProtocolState::new(Protocol::Modern, 2, ConnectionInitHook::default(), true);
            let action = state.receive(&format!(r#"{{"type":"connection_init","payload":{payload}}}"#));
            (state, action)
        };
        for (payload, authorization) in
            [("{}", None), (r#"{"authorization":"a"}"#, Some("a")), (r#"{"Authorization":"a"}"#, Some("a"))]
        {
            let (mut state, action) = init(payload);
            assert_eq!(action, Action::Authenticate { authorization: authorization.map(str::to_owned) });
            assert_eq!(code(&state.receive(&subscribe("1"))), Some(4401));
            assert_eq!(code(&state.receive(r#"{"type":"connection_init"}"#)), Some(4429));
        }
        for (refused, expected) in [
            (ErrorCode::Unauthenticated, 4401),
            (ErrorCode::TokenExpired, 4403),
            (ErrorCode::RateLimited, 1013),
        ] {
            let action = init("{}").0.authenticated(Some((refused, "x")));
            assert!(matches!(action, Action::Refuse { close, .. } if close.code == expected), "{refused}");
        }
        assert!(matches!(init("{}").0.authenticated(None), Action::Send(_)));
    }

    #[test]
    fn malformed_messages_close_with_4400() {
        for text in [
            "",
            "5",
            "[]",
            r#"["subscribe","1",{"query":"{a}"}]"#,
            "{",
            "{}",
            r#"{"type":5}"#,
            r#"{"type":"nonsense"}"#,
            r#"{"type":"start","id":"1","payload":{"query":"{a}"}}"#,
            r#"{"type":"subscribe","payload":{"query":"{a}"}}"#,
            r#"{"type":"subscribe","id":"","payload":{"query":"{a}"}}"#,
            r#"{"type":"subscribe","id":7,"payload":{"query":"{a}"}}"#,
            r#"{"type":"subscribe","id":"1"}"#,
            r#"{"type":"subscribe","id":"1","payload":{}}"#,
            r#"{"type":"subscribe","id":"1","payload":{"query":5}}"#,
            r#"{"type":"complete"}"#,
        ] {
            let action = ready(Protocol::Modern).receive(text);
            assert_eq!(code(&action), Some(4400), "{text}");
            assert!(!format!("{action:?}").contains("struct"), "a type of ours is named: {action:?}");
        }
        for text in [r#"{"type":"subscribe","id":"1","payload":{"query":"{a}"}}"#, r#"{"type":"ping"}"#] {
            assert_eq!(code(&ready(Protocol::Legacy).receive(text)), Some(4400), "{text}");
        }
        let odd_init = r#"{"type":"connection_init","payload":"x"}"#;
        assert_eq!(code(&new(Protocol::Modern).receive(odd_init)), Some(4400));
    }

    #[test]
    fn wrong_order_and_repeated_ids_close_the_socket() {
        let mut state = new(Protocol::Modern);
        assert_eq!(code(&state.receive(&subscribe("1"))), Some(4401));

        let mut state = ready(Protocol::Modern);
        assert_eq!(code(&state.receive(r#"{"type":"connection_init"}"#)), Some(4429));

        let mut state = ready(Protocol::Modern);
        assert!(matches!(state.receive(&subscribe("1")), Action::Start { number: 0, .. }));
        assert_eq!(code(&state.receive(&subscribe("1"))), Some(4409));
    }

    #[test]
    fn reused_id_does_not_receive_results_of_the_old_operation() {
        let mut state = ready(Protocol::Modern);
        state.receive(&subscribe("1"));
        assert!(state.is_running("1", 0));
        assert_eq!(state.receive(r#"{"type":"complete","id":"1"}"#), Action::Stop { number: 0 });
        assert!(!state.is_running("1", 0));
        assert_eq!(state.receive(r#"{"type":"complete","id":"1"}"#), Action::Nothing);
        assert!(matches!(state.receive(&subscribe("1")), Action::Start { number: 1, .. }));
        assert!(!state.is_running("1", 0) && state.is_running("1", 1));
        state.ended("1");
        assert!(matches!(state.receive(&subscribe("1")), Action::Start { number: 2, .. }));
    }

    #[test]
    fn operation_over_the_limit_receives_an_error() {
        let mut state = ready(Protocol::Modern);
        state.receive(&subscribe("1"));
        state.receive(&subscribe("2"));
        match state.receive(&subscribe("3")) {
            Action::Send(messages) => {
                assert!(messages[0].starts_with(r#"{"id":"3","type":"error","payload":[{"#), "{messages:?}");
            }
            other => panic!("{other:?}"),
        }
        state.ended("1");
        assert!(matches!(state.receive(&subscribe("3")), Action::Start { .. }));
    }

    #[test]
    fn pong_has_the_payload_of_the_ping() {
        let mut state = new(Protocol::Modern);
        let pong = Action::Send(vec![r#"{"type":"pong","payload":{"a":1}}"#.to_owned()]);
        assert_eq!(state.receive(r#"{"type":"ping","payload":{"a":1}}"#), pong);
        assert_eq!(state.receive(r#"{"type":"pong"}"#), Action::Nothing);
    }

    #[test]
    fn rejected_client_receives_the_reason_in_both_protocols() {
        let check = ConnectionInitHook::new(|payload| match payload["token"].as_str() {
            Some("good") => Ok(()),
            _ => Err("the token is \"wrong\"".to_owned()),
        });
        let error =
            r#"{"type":"connection_error","payload":{"message":"the token is \"wrong\""}}"#.to_owned();
        for (protocol, message) in [(Protocol::Modern, None), (Protocol::Legacy, Some(error))] {
            let state = || ProtocolState::new(protocol, 2, check.clone(), false);
            let close = Close::new(4403, "the token is \"wrong\"");
            let refused = Action::Refuse { message, close };
            for payload in ["", r#","payload":{"token":"bad"}"#] {
                let init = format!(r#"{{"type":"connection_init"{payload}}}"#);
                let mut state = state();
                assert_eq!(state.receive(&init), refused);
                assert!(!state.is_acknowledged());
            }
            let good = r#"{"type":"connection_init","payload":{"token":"good"}}"#;
            assert!(matches!(state().receive(good), Action::Send(_)));
        }
    }

    #[test]
    fn legacy_protocol_has_its_own_message_types() {
        let mut state = ready(Protocol::Legacy);
        let start = r#"{"type":"start","id":"1","payload":{"query":"{a}"}}"#;
        assert!(matches!(state.receive(start), Action::Start { .. }));
        assert_eq!(state.receive(r#"{"type":"stop","id":"1"}"#), Action::Stop { number: 0 });
        assert_eq!(code(&state.receive(r#"{"type":"connection_terminate"}"#)), Some(1000));
        let error = limit_error(ErrorCode::LimitExceeded, "x", "x");
        let error = ExecutionResult::refused(ErrorCode::LimitExceeded, error);
        assert!(Protocol::Legacy.error("1", &error).contains(r#""payload":{"message""#));
        assert!(Protocol::Modern.error("1", &error).contains(r#""payload":[{"message""#));
    }

    #[test]
    fn ids_are_escaped_and_reasons_truncated() {
        assert_eq!(Protocol::Modern.complete("a\"b"), r#"{"id":"a\"b","type":"complete"}"#);
        let close = Close::new(4400, &"ä".repeat(100));
        assert_eq!(close.reason.len(), 122);
    }
}
