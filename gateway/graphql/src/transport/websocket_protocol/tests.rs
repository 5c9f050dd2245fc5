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
    for (protocol, expected) in
        [(Protocol::Modern, vec![ack.clone()]), (Protocol::Legacy, vec![ack, r#"{"type":"ka"}"#.to_owned()])]
    {
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
    for (refused, expected) in
        [(ErrorCode::Unauthenticated, 4401), (ErrorCode::TokenExpired, 4403), (ErrorCode::RateLimited, 1013)]
    {
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
    let error = r#"{"type":"connection_error","payload":{"message":"the token is \"wrong\""}}"#.to_owned();
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
