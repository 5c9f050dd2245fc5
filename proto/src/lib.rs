//! The gRPC interface: generated code and its conversions to and from [`domain`].
//!
//! `proto/orders/v1/orders.proto` documents the interface. Only this crate knows field numbers, and it makes no decision
//! about orders.

mod convert;

pub use convert::{InvalidMessage, parse_json, parse_order_id};

/// The generated messages, client and server of `orders.v1`.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]
pub mod v1 {
    tonic::include_proto!("orders.v1");
}

/// The encoded descriptors of everything in [`v1`], for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The response metadata key of the error code.
pub const ERROR_METADATA: &str = "orders-error";

/// The response metadata key of the oldest cursor, beside `cursor_expired`.
pub const OLDEST_CURSOR_METADATA: &str = "orders-oldest-cursor";

/// The response metadata key of the committed cursor, beside `reader_behind`.
pub const COMMITTED_CURSOR_METADATA: &str = "orders-committed-cursor";

/// The version of the protocol of `WorkerService.Claim`.
pub const CLAIM_PROTOCOL: u32 = 1;
/// The reason of a `Drain` that sends a worker to another gateway.
pub const REBALANCE: &str = "rebalance";

/// The maximum number of leases or reports in one message of a worker's stream.
pub const MAX_BATCH: usize = 1_000;
