//! The gateway accepts orders and dispatches them to processors.
//!
//! It accepts them over REST and GraphQL, stores them in SQL, and sends their events to subscribers.
//!
//! | topic | where to read |
//! |---|---|
//! | creation of an order | [`rest`], [`graphql`] → [`service::orders::Orders::create`] |
//! | connections of processors | [`grpc`] |
//! | use cases | [`service`] |
//! | all SQL | [`store`] |

// The future of a mutation is nested deeper than the default of 128, which optimised builds notice.
#![recursion_limit = "256"]

mod authentication;
pub mod config;
pub mod metrics;

mod assets;
mod error_page;
#[cfg(test)]
mod error_reference;
mod file_headers;
mod health;
#[cfg(test)]
mod limits;
mod openapi;
pub mod pages;
mod router;
mod serve;
mod session;
mod starting;

pub use authentication::AccessConfig;
pub use config::{Config, PortCertificates};
pub use gateway_access as access;
pub use gateway_graphql as graphql;
pub use gateway_grpc as grpc;
pub use gateway_rest as rest;
pub use gateway_service as service;
pub use gateway_store as store;
pub use gateway_store::Store;
pub use gateway_webhooks as webhooks;
pub use openapi::openapi;
pub use serve::{Parts, serve};
pub use starting::Starting;
