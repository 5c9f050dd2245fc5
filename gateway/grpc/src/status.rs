//! Errors as gRPC statuses.

use std::time::Duration;

use axum::response::Response;
use domain::{ErrorCode, ErrorKind};
use http::HeaderMap;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use gateway_http::problem::Problem;
use gateway_service::Error;

/// Returns the status code of a kind of error.
pub fn status(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::Malformed
        | ErrorKind::RuleBroken
        | ErrorKind::Document
        | ErrorKind::WrongHost
        | ErrorKind::NotAcceptable
        | ErrorKind::WrongMediaType => Code::InvalidArgument,
        ErrorKind::Unauthenticated => Code::Unauthenticated,
        ErrorKind::Forbidden => Code::PermissionDenied,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::Gone => Code::OutOfRange,
        ErrorKind::WrongMethod => Code::Unimplemented,
        ErrorKind::ReceiveTimeout => Code::DeadlineExceeded,
        ErrorKind::Conflict | ErrorKind::PreconditionFailed => Code::FailedPrecondition,
        ErrorKind::BodyTooLarge | ErrorKind::UriTooLong | ErrorKind::HeadTooLarge | ErrorKind::TooMany => {
            Code::ResourceExhausted
        }
        ErrorKind::Internal => Code::Internal,
        ErrorKind::Unavailable => Code::Unavailable,
    }
}

/// Creates a status with the error code in its metadata.
pub(super) fn refuse(code: ErrorCode, detail: impl Into<String>) -> Status {
    let mut refused = Status::new(status(code.kind()), detail);
    let code = MetadataValue::from_static(code.as_str());
    refused.metadata_mut().insert(proto::ERROR_METADATA, code);
    refused
}

/// Converts an error of a use case.
pub(super) fn to_status(error: Error) -> Status {
    let mut refused = refuse(error.code(), error.to_string());
    if let Some(wait) = error.retry_after() {
        push_back(&mut refused, wait);
    }
    let cursor = match &error {
        Error::CursorExpired(oldest) => Some((proto::OLDEST_CURSOR_METADATA, oldest)),
        Error::ReaderBehind(committed) => Some((proto::COMMITTED_CURSOR_METADATA, committed)),
        _ => None,
    };
    if let Some((key, cursor)) = cursor
        && let Ok(cursor) = MetadataValue::try_from(cursor.to_string())
    {
        refused.metadata_mut().insert(key, cursor);
    }
    refused
}

/// The metadata that corresponds to `Retry-After`, in milliseconds.
///
/// Client libraries that retry calls obey it.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Converts a rejection by the server.
pub(super) fn from_problem(problem: &Problem) -> Status {
    let mut status = refuse(problem.code(), problem.detail());
    if let Some(wait) = problem.wait() {
        push_back(&mut status, wait);
    }
    status
}

/// Converts a rejection by the server to a response without a body.
pub(crate) fn refusal(problem: &Problem) -> Response {
    from_problem(problem).into_http()
}

/// Returns the trailers of a call whose response exceeds the memory for responses.
pub(crate) fn overloaded() -> Option<HeaderMap> {
    let mut trailers = HeaderMap::new();
    to_status(Error::overloaded()).add_header(&mut trailers).ok().map(|()| trailers)
}

fn push_back(status: &mut Status, wait: Duration) {
    let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    status.metadata_mut().insert(PUSHBACK, MetadataValue::from(millis));
}

/// Creates the status of a message that breaks the interface.
pub(super) fn invalid(problem: impl Into<String>) -> Status {
    refuse(ErrorCode::InvalidInput, problem)
}

/// Creates the status of a field that cannot be parsed.
pub(super) fn invalid_field(problem: proto::InvalidMessage) -> Status {
    refuse(problem.code(), problem.to_string())
}

/// Creates the status of a report without the lease token that the gateway requires.
pub(super) fn token_required() -> Status {
    refuse(
        ErrorCode::LeaseTokenRequired,
        "the report has no lease_token: send the lease_token of the response to `processing`, or start the gateway with \
         --allow-tokenless-reports (ORDERS_ALLOW_TOKENLESS_REPORTS=on)",
    )
}

/// Creates the status of a report without a lease token that another credential would have to send.
pub(super) fn token_of_other() -> Status {
    refuse(
        ErrorCode::LeaseTokenRequired,
        "the report has no lease_token, and this credential has not started the attempt with UpdateStatus: send the \
         lease_token of the response to `processing`",
    )
}
