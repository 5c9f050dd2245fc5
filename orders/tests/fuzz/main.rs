//! Sends mutated requests to `orders dev` over every interface: REST, GraphQL, raw HTTP/1, websocket and gRPC.
//!
//! Whatever is sent, the gateway answers in time, never with a 5xx other than a documented 503, does not panic, and
//! its memory stays flat. `scripts/fuzz.sh` runs each fuzzer for a minute with a new seed; the tests run each for a few
//! seconds with a fixed one.
//!
//! `mutate` makes the inputs, `run` bounds and checks a run; the other modules know one interface each.

#![cfg(test)]

mod graphql;
mod grpc;
#[allow(dead_code, unused_imports, reason = "several test programs share it and use different parts")]
#[path = "../harness/mod.rs"]
mod harness;
mod http1;
mod mutate;
mod rest;
mod run;
mod websocket;
