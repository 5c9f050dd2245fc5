//! What every process reports about itself: metrics, traces, log lines at a limited rate, and panics.
//!
//! This crate knows no order and no metric of another crate: each crate declares its own metrics.

pub mod panics;
pub mod recorder;
pub mod trace;

mod log_ids;
mod log_throttle;

pub use log_ids::LogIds;
pub use log_throttle::LogThrottle;
pub use panics::Panicked;
