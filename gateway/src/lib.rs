//! The gateway: accepts orders over REST and GraphQL, keeps them in SQL, hands them to processors
//! and tells everybody who watches what becomes of them.
//!
//! | to see | read |
//! |---|---|
//! | where an order is accepted | [`http`], [`graphql`] → [`orders::Orders::create`] |
//! | where it is dispatched | [`dispatch`] |
//! | where a transition is decided | `domain::transition`, called by [`store`] for [`orders`] |
//! | where a subscriber is fed | [`feed`] |
//! | where processors connect | [`grpc`] |

pub mod config;
pub mod dispatch;
pub mod error;
pub mod feed;
pub mod graphql;
pub mod grpc;
pub mod http;
pub mod metrics;
pub mod orders;

mod app;
mod batch;
mod error_page;
#[cfg(test)]
mod error_reference;
mod failed_log;
mod health;
mod keys;
#[cfg(test)]
mod limits;
mod loader;
mod openapi;
pub mod pages;
pub mod rest;
mod retention;
mod room;
mod router;
mod serve;
mod shortcut;
mod starting;
mod vitals;
mod wake;

pub use app::{App, AppParts};
pub use config::Config;
pub use error::Error;
pub use gateway_store as store;
pub use gateway_store::Store;
pub use openapi::openapi;
pub use serve::{Parts, serve};
pub use starting::Starting;
