//! GraphQL on `/graphql`: over HTTP, server-sent events and websockets.
//!
//! | to see | read |
//! |---|---|
//! | the schema | [`types`], [`query`], [`list`], [`mutation`], [`bulk`], [`dead_letters`], [`queue`], [`subscription`], [`scalars`] |
//! | which documents are refused | [`guard`] |
//! | how a document is parsed, validated and coerced | [`language`] |
//! | how long a response may be | [`budget`] |
//! | how much large operations hold together | [`room`] |
//! | documents that are named and not sent | [`documents`] |
//! | how it is not parsed again | [`parsed`] |
//! | how an operation is run | [`engine`], and of a subscription that waits: [`live`] |
//! | the three ways in | [`rest`], [`sse`], [`ws`] (what is said on it: [`protocol`]) |
//! | the codes of errors | [`errors`] |
//!
//! Resolvers call the use cases, the feed and, for reads, the loader and the counts. The ready handlers of
//! async-graphql are not used for requests: they run mutations by `GET` and from forms of other
//! sites, answer broken requests with 200, and let one small document keep a processor busy for
//! minutes.

mod budget;
mod bulk;
mod config;
mod dead_letters;
mod documents;
mod engine;
mod errors;
mod guard;
mod http;
mod language;
mod list;
mod live;
mod mutation;
mod negotiate;
mod params;
mod parsed;
mod protocol;
mod query;
mod queue;
mod room;
mod scalars;
mod schema;
mod services;
mod sse;
mod state;
mod subscription;
mod types;
mod ws;

use axum::Router;
use axum::routing::MethodRouter;

pub use self::config::Config;
pub use self::documents::TrustedDocuments;
#[cfg(test)]
pub(crate) use self::errors::status;
pub use self::protocol::InitCheck;
pub use self::schema::sdl;
pub use self::state::Hooks;
pub(crate) use self::state::{State, StateParts};

/// The routes.
pub(crate) fn routes<S>(state: State) -> Router<S> {
    let methods = MethodRouter::new().get(http::get).post(http::post);
    Router::new().route("/graphql", methods).with_state(state)
}

#[cfg(test)]
mod tests;
