//! The HTTP server without the order APIs: connections, limits, bodies, origins and errors.
//!
//! [`server`] accepts connections, [`middleware`] processes every request, and [`problem`] is the format of errors. The
//! APIs define the routes. [`origins`] rejects requests from pages of other sites unless their origins are allowed.

mod config;
pub mod hosts;
pub mod problem;
pub mod server;

mod address_limiter;
pub mod auth;
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
pub mod quota;
pub mod streams;

mod request_metrics;
mod request_span;

pub use self::config::Config;
pub use self::hosts::Hosts;
pub use self::origins::Origins;
pub use tls::ClientIdentity;
