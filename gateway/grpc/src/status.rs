//! Errors as gRPC statuses.

use std::time::Duration;

use axum::response::Response;
use domain::{ErrorCode, ErrorKind};
use http::HeaderMap;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use gateway_http::problem::Problem;
use gateway_service::Error;

/// The status of an error of this kind.
pub fn status(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::Malformed
        | ErrorKind::RuleBroken
        | ErrorKind::Document
        | ErrorKind::WrongHost
        | ErrorKind::NotAcceptable
        | ErrorKind::WrongMediaType => Code::InvalidArgument,
        ErrorKind::Forbidden => Code::PermissionDenied,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::WrongMethod => Code::Unimplemented,
        ErrorKind::ReceiveTimeout => Code::DeadlineExceeded,
        ErrorKind::Conflict => Code::FailedPrecondition,
        ErrorKind::BodyTooLarge | ErrorKind::UriTooLong | ErrorKind::HeadTooLarge | ErrorKind::TooMany => {
            Code::ResourceExhausted
        }
        ErrorKind::Internal => Code::Internal,
        ErrorKind::Unavailable => Code::Unavailable,
    }
}

/// An error with its code in the metadata.
pub(super) fn refuse(code: ErrorCode, detail: impl Into<String>) -> Status {
    let mut refused = Status::new(status(code.kind()), detail);
    let word = MetadataValue::from_static(code.as_str());
    refused.metadata_mut().insert(proto::ERROR_METADATA, word);
    refused
}

/// Shows an error of a use case.
pub(super) fn to_status(error: Error) -> Status {
    let mut refused = refuse(error.code(), error.to_string());
    if let Some(wait) = error.retry_after() {
        push_back(&mut refused, wait);
    }
    refused
}

/// What gRPC calls `Retry-After`, in milliseconds: client libraries that repeat calls obey it.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// A refusal of the server, as a response without a body.
pub(crate) fn refusal(problem: &Problem) -> Response {
    let mut status = refuse(problem.code(), problem.detail());
    if let Some(wait) = problem.wait() {
        push_back(&mut status, wait);
    }
    status.into_http()
}

/// The trailers of a call whose response does not fit beside those of all others.
pub(crate) fn overloaded() -> Option<HeaderMap> {
    let mut trailers = HeaderMap::new();
    to_status(Error::overloaded()).add_header(&mut trailers).ok().map(|()| trailers)
}

fn push_back(status: &mut Status, wait: Duration) {
    let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    status.metadata_mut().insert(PUSHBACK, MetadataValue::from(millis));
}

/// A message that is not what the interface says.
pub(super) fn invalid(problem: impl Into<String>) -> Status {
    refuse(ErrorCode::InvalidInput, problem)
}

/// A field that cannot be read.
pub(super) fn invalid_field(problem: proto::InvalidMessage) -> Status {
    refuse(problem.code(), problem.to_string())
}

/// The report has no lease token, and the gateway accepts none without.
pub(super) fn token_required() -> Status {
    refuse(
        ErrorCode::LeaseTokenRequired,
        "the report has no lease_token: send the lease_token of the answer to `processing`, or start the gateway with \
         --allow-tokenless-reports (ORDERS_ALLOW_TOKENLESS_REPORTS=on)",
    )
}
