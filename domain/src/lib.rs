//! The words and rules of order processing, without any I/O.
//!
//! Start reading at [`status`] (which changes exist) and [`transition`] (what one change does to an
//! order). Everything else here is a value: ids, money, line items, events, times.
//!
//! This crate knows no database, no queue, no network and no clock: time is always an argument.
//!
//! | word | meaning |
//! |---|---|
//! | order | what a customer bought: line items, one currency, a status |
//! | line item | one position of an order: item, quantity, unit price |
//! | attempt | one execution of an order by a worker, numbered from 1 |
//! | lease | the right of one worker to finish one attempt, limited in time and named by a token |
//! | sequence | the number of an event within its order: 1, 2, 3 … without holes |
//! | due | the time at which a waiting order is to be pushed to the queue |
//! | held | in the queue or with a worker, until a time: the end of the visibility timeout or of the lease |
//! | dead letter | an order that ended as `failed` |
//! | error code | a stable word that a program compares, the same on every API |
//! | error class | one word for what kind of failure it was |
//! | scheduled | not to be started before a time that its creator set |
//! | idempotency key | what a client calls one create, so that its repetition is recognised |
//! | waits for | what keeps a pending order from being started: a worker, a retry, its schedule or the pause |
//! | redrive | giving a dead letter a new set of attempts |

#[cfg(test)]
mod any_input;
mod error_code;
mod event;
mod id;
mod idempotency;
mod lease;
mod line_item;
pub mod money;
mod order;
mod outcome;
pub mod priority;
pub mod query;
pub mod retry;
pub mod status;
pub mod strings;
mod timestamp;
pub mod transition;
pub mod waiting;

pub use error_code::{Api, ErrorCode, ErrorKind};
pub use event::OrderEvent;
pub use id::{InvalidOrderId, OrderId, OrderMap};
pub use idempotency::{IdempotencyKey, InvalidIdempotencyKey, MAX_IDEMPOTENCY_KEY};
pub use lease::{InvalidLeaseToken, LeasePrefix, LeaseToken};
pub use line_item::{LineItem, MAX_LINE_ITEMS, MAX_QUANTITY};
pub use money::{Currency, Money};
pub use order::{
    Content, DEFAULT_MAX_ATTEMPTS, DEFAULT_TENANT, Draft, DraftLineItem, Field, InvalidField,
    MAX_CONTENT_BYTES, MAX_MAX_ATTEMPTS, Order,
};
pub use outcome::Outcome;
pub use priority::Priority;
pub use retry::{Backoff, RetryPolicy};
pub use status::Status;
pub use timestamp::{InvalidTimestamp, Timestamp};
