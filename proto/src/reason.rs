//! Machine-readable reasons of refusals and errors.

use domain::transition::Refusal;

/// A field of the request is wrong.
pub const INVALID_REQUEST: &str = "INVALID_REQUEST";
/// There is no order with this id.
pub const ORDER_NOT_FOUND: &str = "ORDER_NOT_FOUND";
/// The lease is not, or no longer, the order's lease.
pub const STALE_LEASE: &str = "STALE_LEASE";
/// The report has no lease token, and this gateway takes none without.
pub const LEASE_TOKEN_REQUIRED: &str = "LEASE_TOKEN_REQUIRED";
/// Another worker has the order.
pub const ALREADY_STARTED: &str = "ALREADY_STARTED";
/// The order waits for a retry or for its time.
pub const NOT_YET: &str = "NOT_YET";
/// The queue is paused: nothing is started at present.
pub const PAUSED: &str = "PAUSED";
/// The order is completed, failed or cancelled.
pub const ORDER_FINAL: &str = "ORDER_FINAL";
/// The order's status does not allow this change.
pub const ILLEGAL_TRANSITION: &str = "ILLEGAL_TRANSITION";
/// This one entry cannot be carried out now: somebody else holds the order for a moment.
pub const TRY_AGAIN: &str = "TRY_AGAIN";
/// The order was not started: it is large, and the connection to the worker has not taken the large orders before.
/// The order is offered again later, to any worker.
pub const CONNECTION_BUSY: &str = "CONNECTION_BUSY";
/// What is stored of the order cannot be used. Asking again does not help: operators have to repair it.
pub const ORDER_UNREADABLE: &str = "ORDER_UNREADABLE";
/// Something broke in the gateway.
pub const INTERNAL: &str = "INTERNAL";

/// The reason of a refusal.
pub fn of(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::AlreadyStarted => ALREADY_STARTED,
        Refusal::NotYet(_) => NOT_YET,
        Refusal::Paused => PAUSED,
        Refusal::StaleLease(_) => STALE_LEASE,
        Refusal::Final(_) => ORDER_FINAL,
        Refusal::NotFailed(_) | Refusal::NotExpired => ILLEGAL_TRANSITION,
    }
}
