//! Refused leases, as the worker sees them.

use domain::{ErrorCode, LeaseToken, OrderId};
use proto::v1;

use gateway_service::Error;

/// Returns the refusal of one lease, or `None` if it could not be decided.
pub(super) fn refusal(id: OrderId, token: LeaseToken, error: &Error) -> Option<v1::Refused> {
    if matches!(error, Error::Unavailable { .. }) {
        return None;
    }
    let status = if let Error::Refused { refusal, .. } = error { refusal.status() } else { None };
    Some(refused(Some(v1::Lease::new(id, token)), error.code(), status))
}

pub(super) fn refused(
    lease: Option<v1::Lease>,
    code: ErrorCode,
    status: Option<domain::Status>,
) -> v1::Refused {
    let status = status.map(|status| status.to_string()).unwrap_or_default();
    v1::Refused { lease, reason: code.to_string(), status }
}
