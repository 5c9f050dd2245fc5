//! What the built binary promises under load: bounded memory and bounded waits.
//!
//! `abuse` sends small requests that ask for a lot, `unfinished` bodies and messages that are not sent to their end;
//! `connects` are clients that come and go, `memory` is what the program takes at most. The tests run one after the
//! other, each while it holds [`ALONE`].

#![cfg(test)]

mod abuse;
mod connects;
#[allow(dead_code, unused_imports, reason = "several test programs share it and use different parts")]
#[path = "../harness/mod.rs"]
mod harness;
mod memory;
mod unfinished;

/// A test that runs beside another would measure the other one as well.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
