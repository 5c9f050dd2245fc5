//! Errors as gRPC statuses.

use std::borrow::Cow;
use std::time::Duration;

use axum::response::Response;
use http::HeaderMap;
use proto::reason;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::Error;
use crate::http::problem::Problem;

/// The machine-readable reason of an error.
pub(super) fn reason(error: &Error) -> Cow<'static, str> {
    match error {
        Error::NotFound(_) => reason::ORDER_NOT_FOUND.into(),
        Error::Invalid(_) | Error::KeyReused | Error::RowCount(_) | Error::OrderRefused => {
            reason::INVALID_REQUEST.into()
        }
        Error::Refused { refusal, .. } => reason::of(*refusal).into(),
        // The word of the other transports, in gRPC's spelling.
        Error::Unavailable { .. } | Error::OutcomeUnknown(_) => error.code().to_ascii_uppercase().into(),
        Error::Unreadable { .. } => reason::ORDER_UNREADABLE.into(),
        Error::Internal => reason::INTERNAL.into(),
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::NotFound(_) => Code::NotFound,
            Error::Invalid(_) | Error::KeyReused | Error::RowCount(_) | Error::OrderRefused => {
                Code::InvalidArgument
            }
            Error::Refused { .. } | Error::Unreadable { .. } => Code::FailedPrecondition,
            Error::Unavailable { .. } | Error::OutcomeUnknown(_) => Code::Unavailable,
            Error::Internal => Code::Internal,
        };
        let mut status = with_reason(Status::new(code, error.to_string()), &reason(&error));
        if let Some(wait) = error.retry_after() {
            push_back(&mut status, wait);
        }
        status
    }
}

/// What gRPC calls `Retry-After`, in milliseconds: client libraries that repeat calls obey it.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// A refusal of the server, as a response without a body.
pub(crate) fn refusal(problem: &Problem) -> Response {
    let code = match problem.status().as_u16() {
        408 => Code::DeadlineExceeded,
        413 | 414 | 429 | 431 => Code::ResourceExhausted,
        503 => Code::Unavailable,
        500 => Code::Internal,
        _ => Code::InvalidArgument,
    };
    let mut status = with_reason(Status::new(code, problem.detail()), &problem.code().to_ascii_uppercase());
    if let Some(wait) = problem.wait() {
        push_back(&mut status, wait);
    }
    status.into_http()
}

/// The trailers of a call whose response does not fit beside those of all others.
pub(crate) fn overloaded() -> Option<HeaderMap> {
    let mut trailers = HeaderMap::new();
    Status::from(Error::overloaded()).add_header(&mut trailers).ok().map(|()| trailers)
}

fn push_back(status: &mut Status, wait: Duration) {
    let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    status.metadata_mut().insert(PUSHBACK, MetadataValue::from(millis));
}

/// A request that is not what the interface says.
pub(super) fn invalid(problem: impl ToString) -> Status {
    with_reason(Status::invalid_argument(problem.to_string()), reason::INVALID_REQUEST)
}

/// The order's status does not allow what a report says.
pub(super) fn illegal(problem: String) -> Status {
    with_reason(Status::failed_precondition(problem), reason::ILLEGAL_TRANSITION)
}

/// The report has no lease token, and none is accepted without.
pub(super) fn token_required() -> Status {
    let problem = "the report has no lease_token: send the lease_token of the answer to `processing`, or start the \
                   gateway with --allow-tokenless-reports (ORDERS_ALLOW_TOKENLESS_REPORTS=on)";
    with_reason(Status::failed_precondition(problem), reason::LEASE_TOKEN_REQUIRED)
}

fn with_reason(mut status: Status, reason: &str) -> Status {
    // Reasons are words in upper case, which are header values.
    if let Ok(reason) = MetadataValue::try_from(reason) {
        status.metadata_mut().insert(proto::ERROR_METADATA, reason);
    }
    status
}
