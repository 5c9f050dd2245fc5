//! The transports: HTTP, server-sent events and websockets.

mod close_codes;
pub(crate) mod http;
mod negotiate;
mod operation_results;
mod sse;
mod websocket;
mod websocket_protocol;
mod websocket_session;

pub use self::close_codes::CLOSE_CODES;
