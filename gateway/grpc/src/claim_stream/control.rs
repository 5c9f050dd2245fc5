//! The messages of a stream besides jobs.

use proto::v1;
use proto::v1::claim_response::Message as Response;
use tonic::Status;

/// A message, or the error that ends the stream; `None` ends it without an error.
pub(super) type Control = Option<Result<v1::ClaimResponse, Status>>;

/// Creates a message.
pub(super) fn response(message: Response) -> v1::ClaimResponse {
    v1::ClaimResponse { message: Some(message) }
}
