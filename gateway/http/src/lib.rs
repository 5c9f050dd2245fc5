//! HTTP without any order: connections, limits, bodies, origins, errors.
//!
//! [`server`] accepts the connections; [`middleware`] is what happens to every request; [`problem`] is the form of
//! errors. The routes are those of the APIs. Pages of other sites are kept out unless [`origins`] lets them in.

mod config;
pub mod hosts;
pub mod problem;
pub mod server;

mod address_limiter;
pub mod body;
pub mod buffer_limits;
pub mod chunked_buffer;
pub mod context;
pub mod fallback;
pub mod header_limits;
pub mod json;
pub mod last_event_id;
pub mod media;
pub mod middleware;
pub mod origins;
pub mod query;
pub mod streams;

mod request_metrics;

pub use self::config::Config;
pub use self::hosts::Hosts;
pub use self::origins::Origins;
