//! The transports: HTTP, server-sent events and websockets.

pub(crate) mod http;
mod negotiate;
mod operation_results;
mod sse;
mod websocket;
mod websocket_protocol;
mod websocket_session;
