//! GraphQL on `/graphql`: over HTTP, server-sent events and websockets.
//!
//! | to see | read |
//! |---|---|
//! | the schema | [`schema`] |
//! | the limits of a document | [`limits`] |
//! | how a document is parsed, validated and coerced | [`language`] |
//! | how the length of a response is limited | [`response_budget`] |
//! | how the memory of large operations is limited | [`large_operations`] |
//! | persisted queries and trusted documents | [`persisted_queries`] |
//! | the cache of parsed documents | [`parsed_document_cache`] |
//! | how an operation runs | [`executor`], and for an idle subscription [`stream_slot`] |
//! | HTTP, server-sent events and websockets | [`transport`] |
//! | the codes of errors | [`errors`] |
//!
//! Resolvers call the use cases, the feed and, for reads, the loaders and the counts.
//!
//! async-graphql executes operations. The handlers of async-graphql-axum are not used, except the extractor of the
//! websocket subprotocol. The other handlers run mutations by `GET` and from forms of other sites, respond to malformed
//! requests with 200, and let one small document occupy a processor for minutes.

mod config;
mod connection_init;
mod errors;
mod execution_result;
mod executor;
mod language;
mod large_operations;
mod limits;
mod parsed_document_cache;
mod persisted_queries;
mod request;
mod response_budget;
mod schema;
mod services;
mod state;
mod stream_slot;
mod transport;

use axum::Router;
use axum::routing::MethodRouter;

pub use self::config::Config;
pub use self::connection_init::ConnectionInitHook;
pub use self::errors::status;
pub use self::persisted_queries::TrustedDocuments;
pub use self::schema::sdl;
pub use self::state::{Hooks, State, StateParts};
pub use self::transport::CLOSE_CODES;

/// Returns the routes of the API.
pub fn routes<S>(state: State) -> Router<S> {
    let methods = MethodRouter::new().get(transport::http::get).post(transport::http::post);
    Router::new().route("/graphql", methods).with_state(state)
}

#[cfg(test)]
mod tests;
