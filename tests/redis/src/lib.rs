//! Redis with several servers for tests: a primary with a replica and sentinels, and a cluster.
//!
//! Only tests depend on this crate. The servers are those of Redis or Valkey, have passwords, and end with the test.

#![allow(clippy::unwrap_used, reason = "a test fails without its servers")]

mod cluster;
mod sentinels;
mod server;

pub use cluster::Cluster;
pub use sentinels::{PRIMARY, Sentinels};
pub use server::{PASSWORD, REDIS, Server, Setup, Tls, VALKEY};
