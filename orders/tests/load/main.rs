//! Memory and waits of the built binary under load have bounds.
//!
//! | module | load |
//! |---|---|
//! | `expensive_queries` | small GraphQL requests with large results |
//! | `unfinished_requests` | bodies and messages that are not sent completely |
//! | `short_connections` | clients that connect and leave |
//! | `peak_memory` | the maximum memory of the process |
//! | `rollout` | requests while gateways behind HAProxy are replaced |
//!
//! The tests run one at a time, each while it holds [`ALONE`].

#![cfg(test)]

mod expensive_queries;
#[allow(dead_code, unused_imports, reason = "several test programs share it and use different parts")]
#[path = "../harness/mod.rs"]
mod harness;
mod peak_memory;
mod rollout;
mod short_connections;
mod unfinished_requests;

/// Tests hold this lock, because a test beside another would measure both.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
