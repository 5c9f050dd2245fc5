//! The guarantees of a gateway under load: bounded memory and bounded waits.
//!
//! A separate test binary, because it measures the memory of its process and the time of its requests. Its tests run
//! one after the other, each while it holds [`ALONE`].

#![cfg(test)]

mod backlog;
#[allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "several test programs share it and use different parts"
)]
#[path = "../it/harness.rs"]
mod harness;
mod searches;

/// Concurrent tests would measure each other.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
