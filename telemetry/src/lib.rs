//! What every process reports about itself: metrics, log lines at a limited rate, and panics.
//!
//! This crate knows no order and no metric of another crate: each crate declares its own metrics.

pub mod panics;
pub mod recorder;

mod log_throttle;

pub use log_throttle::LogThrottle;
pub use panics::Panicked;
