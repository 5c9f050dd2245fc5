//! The use cases of the gateway and its background tasks. No transport, no SQL.
//!
//! | topic | where to read |
//! |---|---|
//! | commands of clients and workers | [`orders`] |
//! | group commit of many requests | `group_commit` |
//! | the way of an order to the queue | `dispatch`, `direct_enqueue` |
//! | jobs for workers that wait at this gateway | [`claims`], `claim_queue` |
//! | events for subscribers | [`feed`], `publisher`; [`event_log`] for readers that miss nothing |
//! | readiness and metrics | `health_monitor` |
//! | the number of running gateways | `presence` |
//! | statistics of the last hours, and workers | [`signals`], `workers` |
//! | start of the parts | `service` |

pub mod event_log;
pub mod feed;
pub mod loader;
pub mod orders;
pub mod progress;
pub mod signals;

mod attempt_metrics;
mod batch_turns;
mod claim_queue;
pub mod claims;
mod config;
mod direct_enqueue;
mod dispatch;
mod dispatch_wake;
mod error;
mod failed_order_log;
mod group_commit;
mod health_monitor;
pub mod health_reasons;
mod installation_keys;
mod lanes;
mod maintenance;
mod presence;
mod publisher;
mod queue_capacity;
mod queue_shares;
mod retention;
mod service;
mod shard_commits;
mod spans;
mod sweeper;
pub mod system;
mod unavailable;
pub mod workers;

pub use config::{Config, MAX_ROWS, Setting};
pub use error::{Error, ReferenceTaken};
pub use health_monitor::{HealthMonitor, Measured, WorkerStreamGuard, WriteRefusal};
pub use installation_keys::InstallationKeys;
pub use presence::Presence;
pub use service::{Background, Service, ServiceParts};
