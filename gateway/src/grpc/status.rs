//! Errors as gRPC statuses.

use proto::reason;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::Error;

/// The machine-readable reason of an error.
pub(super) fn reason(error: &Error) -> &'static str {
    match error {
        Error::NotFound(_) => reason::ORDER_NOT_FOUND,
        Error::Invalid(_) | Error::KeyReused => reason::INVALID_REQUEST,
        Error::Refused { refusal, .. } => reason::of(*refusal),
        Error::Unavailable { .. } | Error::OutcomeUnknown(_) | Error::Internal => reason::UNAVAILABLE,
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::NotFound(_) => Code::NotFound,
            Error::Invalid(_) | Error::KeyReused => Code::InvalidArgument,
            Error::Refused { .. } => Code::FailedPrecondition,
            Error::Unavailable { .. } | Error::OutcomeUnknown(_) => Code::Unavailable,
            Error::Internal => Code::Internal,
        };
        with_reason(Status::new(code, error.to_string()), reason(&error))
    }
}

/// A request that is not what the interface says.
pub(super) fn invalid(problem: impl ToString) -> Status {
    with_reason(Status::invalid_argument(problem.to_string()), reason::INVALID_REQUEST)
}

/// The order's status does not allow what a report says.
pub(super) fn illegal(problem: String) -> Status {
    with_reason(Status::failed_precondition(problem), reason::ILLEGAL_TRANSITION)
}

fn with_reason(mut status: Status, reason: &'static str) -> Status {
    status.metadata_mut().insert(proto::ERROR_METADATA, MetadataValue::from_static(reason));
    status
}
