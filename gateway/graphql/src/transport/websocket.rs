//! Upgrades requests to websockets; [`super::websocket_session`] serves them.

use std::future::ready;

use async_graphql_axum::GraphQLProtocol;
use axum::extract::FromRequestParts;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::HeaderMap;
use axum::http::header::UPGRADE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use domain::ErrorCode;
use metrics::counter;

use crate::state::State;
use crate::transport::websocket_protocol::{LEGACY, MODERN, Protocol};
use crate::transport::websocket_session::{Caller, Session};
use gateway_http::origins::{Access, access, cross_origin_problem};
use gateway_http::problem::Problem;
use gateway_http::streams::{Client, StreamKind};

/// The kind of an open stream.
const STREAM: StreamKind = StreamKind::new("websocket");

/// Initial size of the read buffer, in bytes. Buffers grow for longer messages; the defaults use 132 KiB per socket.
const READ_BUFFER_BYTES: usize = 512;
/// Initial size of the write buffer, in bytes.
const WRITE_BUFFER_BYTES: usize = 512;

/// Returns whether a request is an upgrade to a websocket.
pub(crate) fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Upgrades a request to a websocket, or returns an error. All checks precede the upgrade.
pub(crate) async fn upgrade(state: State, mut parts: Parts) -> Response {
    let context = state.context();
    let limits = &context.limits;
    // A page of another site would act with the permissions of its user.
    let access = access(&parts.uri, &parts.headers, &limits.cors_origins);
    if access == Access::Foreign {
        return refused("origin", cross_origin_problem());
    }
    if GraphQLProtocol::from_request_parts(&mut parts, &()).await.is_err() {
        return handshake(format!("offer one of the subprotocols {MODERN} and {LEGACY}"));
    }
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade.protocols([MODERN, LEGACY]),
        Err(rejection) => return handshake(rejection.body_text()),
    };
    let Client(client) = Client::of(&parts, limits);
    let caller = Caller::of(&parts, context.auth.clone(), client);
    let open_stream = match context.streams.open(STREAM, client, caller.principal.as_deref()) {
        Ok(open_stream) => open_stream,
        Err(problem) => return problem.into_response(),
    };
    let legacy = upgrade.selected_protocol().is_some_and(|name| name.as_bytes() == LEGACY.as_bytes());
    let protocol = if legacy { Protocol::Legacy } else { Protocol::Modern };
    // Created before the upgrade, so that shutdown also waits for a socket that is opening.
    let token = context.tasks.token();
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(state.config().max_message_size)
        .max_frame_size(state.config().max_message_size)
        .on_upgrade(move |socket| {
            let tasks = state.context().tasks.clone();
            let mut session = Session::new(socket, open_stream, &state, protocol, caller);
            session.read_only = access == Access::ReadOnly;
            // A separate task, because the task of the upgrade keeps the memory of all earlier steps.
            tasks.spawn(session.run());
            drop(token);
            ready(())
        })
}

fn handshake(detail: String) -> Response {
    refused("handshake", Problem::new(ErrorCode::WebsocketHandshake, detail))
}

fn refused(limit: &'static str, problem: Problem) -> Response {
    counter!("orders_graphql_rejections_total", "reason" => limit).increment(1);
    problem.into_response()
}
