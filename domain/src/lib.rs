//! The terms and rules of order processing, without I/O.
//!
//! Start reading at [`status`] (the possible status changes) and [`transition`] (the effect of one command on an order).
//! The other modules are values: ids, money, line items, events, times.
//!
//! This crate knows no database, queue, network or clock: time is always an argument.
//!
//! | term | meaning |
//! |---|---|
//! | order | the purchase of a customer: line items, one currency, a status |
//! | line item | one position of an order: item, quantity, unit price |
//! | metadata | strings of the client under keys, which it can change at any time |
//! | kind | the word that routes an order to the workers that process it |
//! | result | the JSON with which a worker completes an order |
//! | checkpoint | the JSON from which the next attempt of an order continues |
//! | progress | what a worker tells about a running attempt; it is not stored |
//! | attempt | one execution of an order by a worker, numbered from 1 |
//! | lease | the right of one worker to finish one attempt, limited in time and identified by a token |
//! | sequence | the number of an event within its order: 1, 2, 3 … without gaps |
//! | due | the time at which a pending order is to be pushed to the queue |
//! | held | in the queue or with a worker, until the end of the visibility timeout or of the lease; a claim makes an order held |
//! | dead letter | an order that ended as `failed` |
//! | error code | a stable word that a program compares, the same on every API |
//! | error class | one word for the kind of a failure |
//! | scheduled | not to be started before a time that its creator set |
//! | idempotency key | the client's name for one create, which identifies repetitions |
//! | waits for | the cause that prevents the start of a pending order: a worker, a retry, its schedule or the pause |
//! | tenant | the owner of orders; a caller sees only those of its tenant |
//! | principal | the authenticated caller: tenant, scopes, limits, end of the credential |
//! | quota | the limits of a key or a tenant, and their use |
//! | requester | the origin of a command, for the audit log |
//! | webhook endpoint | a URL of a user to which events are sent |
//! | redrive | the restart of a dead letter with a new set of attempts |

mod draft;
mod error_code;
mod event;
pub mod event_codec;
mod event_type;
mod idempotency;
mod json_text;
mod kind;
mod lease;
mod line_item;
pub mod metadata;
pub mod money;
mod note;
mod order;
mod order_code;
mod order_id;
mod outcome;
#[cfg(test)]
mod parser_tests;
mod prefix;
mod principal;
pub mod priority;
mod progress;
pub mod query;
mod quota;
mod rate;
mod reason;
mod requester;
pub mod retry;
mod scope;
mod slot;
pub mod status;
pub mod strings;
mod tenant;
mod timestamp;
mod trace_context;
pub mod transition;
pub mod waiting;
mod webhook;
mod worker_name;

pub use draft::{
    Content, DEFAULT_MAX_ATTEMPTS, Draft, DraftLineItem, Field, InvalidField, MAX_CONTENT_BYTES,
    MAX_MAX_ATTEMPTS,
};
pub use error_code::{Api, ErrorCode, ErrorKind};
pub use event::OrderEvent;
pub use event_type::{EventType, EventTypes, InvalidEventType};
pub use idempotency::{IdempotencyKey, InvalidIdempotencyKey, MAX_IDEMPOTENCY_KEY};
pub use json_text::{InvalidJsonText, JsonText, MAX_OUTPUT_BYTES};
pub use kind::{InvalidKind, InvalidKinds, Kind, Kinds, MAX_KIND, MAX_WORKER_KINDS};
pub use lease::{InvalidLeaseToken, LeasePrefix, LeaseToken};
pub use line_item::{LineItem, MAX_LINE_ITEMS, MAX_QUANTITY};
pub use metadata::{
    MAX_METADATA_BYTES, MAX_METADATA_CONDITIONS, MAX_METADATA_KEY, MAX_METADATA_KEYS, MAX_METADATA_VALUE,
    Metadata, MetadataPatch,
};
pub use money::{Currency, Money};
pub use note::{InvalidNote, MAX_MILESTONE, MAX_NOTE, MAX_NOTES, Note, NoteContent};
pub use order::Order;
pub use order_code::{InvalidOrderCode, MAX_CODE_PERIODS, ORDER_CODE_DIGITS, OrderCode};
pub use order_id::{InvalidOrderId, OrderId, OrderMap};
pub use outcome::Outcome;
pub use prefix::{Prefix, SearchText, StringRange};
pub use principal::{MissingScope, Principal};
pub use priority::Priority;
pub use progress::{MAX_PROGRESS_NOTE, Progress};
pub use quota::{
    LimitOwner, Limits, MAX_STREAM_LIMIT, Quota, Quotas, RateExceeded, Shares, StreamPermit, StreamsExceeded,
};
pub use rate::{Cost, MAX_BURST, MAX_RATE, MAX_SHARES, Rate, RateLimiter, RateState};
pub use reason::{ReasonPattern, normalize as normalize_reason};
pub use requester::Requester;
pub use retry::{Backoff, RetryPolicy};
pub use scope::{InvalidRole, InvalidScopes, Role, Scope, Scopes};
pub use slot::Slot;
pub use status::Status;
pub use tenant::{InvalidTenant, MAX_TENANT, TenantId};
pub use timestamp::{InvalidTimestamp, Timestamp};
pub use trace_context::{InvalidTraceparent, TraceContext};
pub use webhook::{
    DisabledReason, EndpointId, EndpointState, InvalidEndpointId, InvalidWebhookTypes, UnknownWord,
    WebhookFormat, WebhookPayload, WebhookTypes,
};
pub use worker_name::{MAX_WORKER_NAME, WorkerName};
