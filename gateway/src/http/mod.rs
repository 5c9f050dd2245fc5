//! HTTP without any order: connections, limits, bodies, origins, errors.
//!
//! [`server`] accepts the connections; [`middleware`] is what happens to every request; [`problem`] is the form of
//! errors. The routes are those of the APIs. Pages of other sites are kept out unless [`origins`] lets them in.

pub mod hosts;
pub mod problem;
pub mod server;

pub(crate) mod addresses;
pub(crate) mod body;
pub(crate) mod chunks;
pub(crate) mod context;
pub(crate) mod fallback;
pub(crate) mod header_limits;
pub(crate) mod inflight;
pub(crate) mod json;
pub(crate) mod media;
pub(crate) mod middleware;
pub(crate) mod origins;
pub(crate) mod query;
pub(crate) mod resume;
pub(crate) mod streams;

mod request_metrics;

pub use self::hosts::Hosts;
pub use self::origins::Origins;
