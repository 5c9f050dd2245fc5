//! The use cases of the gateway and its background tasks. No transport, no SQL.
//!
//! | to see | read |
//! |---|---|
//! | what clients and workers can do | [`orders`] |
//! | how many requests share a transaction | `group_commit` |
//! | how orders get to the queue | `dispatch`, `direct_enqueue` |
//! | how subscribers receive events | [`feed`], `publisher` |
//! | what readiness and metrics report | `health_monitor` |
//! | how the parts are started | `service` |

pub mod feed;
pub mod loader;
pub mod orders;

mod config;
mod direct_enqueue;
mod dispatch;
mod dispatch_wake;
mod error;
mod failed_order_log;
mod group_commit;
mod health_monitor;
mod installation_keys;
mod maintenance;
mod publisher;
mod queue_capacity;
mod retention;
mod service;

pub use config::{Config, MAX_ROWS};
pub use error::Error;
pub use health_monitor::{HealthMonitor, WorkerStreamGuard, WriteRefusal};
pub use installation_keys::InstallationKeys;
pub use service::{Background, Service, ServiceParts};
