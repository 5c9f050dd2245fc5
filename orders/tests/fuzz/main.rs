//! Sends mutated requests to `orders dev` over every interface: REST, GraphQL, raw HTTP/1, websocket and gRPC.
//!
//! For every input the gateway responds in time, without a 5xx other than a documented 503 and without a panic, and its
//! memory does not grow. `scripts/fuzz.sh` runs each fuzzer for a minute with a new seed; the tests run each for a few
//! seconds with a fixed one.
//!
//! `mutate` creates the inputs, and `run` limits and checks a run. Each other module fuzzes one interface.

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
