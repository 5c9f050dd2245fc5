//! The `errors` of a response: assigns their codes and masks internal errors.
//!
//! Every error carries `extensions.code`, a [`domain::ErrorCode`]. An error without a code is a defect: it is logged
//! with an id, and the client receives only that id.

use std::time::Duration;

use async_graphql::{ErrorExtensionValues, ServerError};
use axum::http::StatusCode;
use domain::{ErrorCode, ErrorKind};

use gateway_http::problem::Problem;
use gateway_service::Error;
use gateway_webhooks::WebhookError;

/// Delay of a mutation that another user has overtaken.
const BUSY_RETRY: Duration = Duration::from_secs(1);
/// The key of the code within `extensions`.
pub(crate) const CODE: &str = "code";

/// Returns the HTTP status of a request that is refused with an error of this kind.
///
/// Errors of an operation that was executed, and documents that are rejected under `application/json`, have 200.
pub fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Malformed => StatusCode::BAD_REQUEST,
        // Clients of persisted queries expect 200.
        ErrorKind::Document => StatusCode::OK,
        // Only operations that were executed have these errors.
        ErrorKind::RuleBroken
        | ErrorKind::NotFound
        | ErrorKind::Gone
        | ErrorKind::Conflict
        | ErrorKind::PreconditionFailed
        | ErrorKind::Internal => StatusCode::OK,
        ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::WrongHost => StatusCode::MISDIRECTED_REQUEST,
        ErrorKind::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
        ErrorKind::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
        ErrorKind::ReceiveTimeout => StatusCode::REQUEST_TIMEOUT,
        ErrorKind::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::UriTooLong => StatusCode::URI_TOO_LONG,
        ErrorKind::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        ErrorKind::WrongMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ErrorKind::TooMany => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Maximum number of `errors` in one response. The limit of `errors` and user errors together is
/// [`crate::response_budget::MAX_ERRORS`].
pub(crate) const MAX_ERRORS: usize = 10;

/// Converts the error of a use case to the error of a resolver.
pub(crate) fn to_graphql_error(error: Error) -> async_graphql::Error {
    let mut extensions = retry_extensions(error.code(), error.retry_after());
    if let Error::OutcomeUnknown(id) = &error {
        extensions.set("orderId", id.to_string());
    }
    if let Error::CursorExpired(oldest) = &error {
        extensions.set("oldest", oldest.to_string());
    }
    let mut graphql = async_graphql::Error::new(error.to_string());
    graphql.extensions = Some(extensions);
    graphql
}

/// Converts the error of a use case of webhook endpoints to the error of a resolver.
pub(crate) fn webhook_error(error: WebhookError) -> async_graphql::Error {
    let (code, message) = (error.code(), error.to_string());
    match error {
        WebhookError::Service(error) => to_graphql_error(error),
        WebhookError::Busy => field_rejection(&Problem::new(code, message).retry_after(BUSY_RETRY)),
        _ => field_error(code, message),
    }
}

/// Returns the error of an argument whose value is outside its range.
pub(crate) fn bad_input(message: impl Into<String>) -> async_graphql::Error {
    field_error(ErrorCode::InvalidInput, message)
}

/// Returns the error of a resolver.
pub(crate) fn field_error(code: ErrorCode, message: impl Into<String>) -> async_graphql::Error {
    let mut error = async_graphql::Error::new(message);
    error.extensions = Some(extensions(code));
    error
}

/// Returns an error of the whole request.
pub(crate) fn request_error(code: ErrorCode, message: impl Into<String>) -> ServerError {
    let mut error = ServerError::new(message, None);
    error.extensions = Some(extensions(code));
    error
}

/// Returns the error of a whole request that the server rejects.
pub(crate) fn rejection(problem: &Problem) -> ServerError {
    let mut error = request_error(problem.code(), problem.detail());
    error.extensions = Some(retry_extensions(problem.code(), problem.wait()));
    error
}

/// Returns the error of a resolver whose request the server rejects.
pub(crate) fn field_rejection(problem: &Problem) -> async_graphql::Error {
    let mut error = async_graphql::Error::new(problem.detail());
    error.extensions = Some(retry_extensions(problem.code(), problem.wait()));
    error
}

fn retry_extensions(code: ErrorCode, wait: Option<Duration>) -> ErrorExtensionValues {
    let mut extensions = extensions(code);
    if let Some(wait) = wait {
        // As the header `Retry-After`.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        extensions.set("retryAfterSeconds", seconds.max(1));
    }
    extensions
}

/// Counts an exceeded limit and returns its error, with the name in `extensions.limit`.
pub(crate) fn limit_error(code: ErrorCode, limit: &'static str, message: impl Into<String>) -> ServerError {
    metrics::counter!("orders_graphql_rejections_total", "reason" => limit).increment(1);
    let mut error = request_error(code, message);
    error.extensions.get_or_insert_default().set("limit", limit);
    error
}

/// Sets the code of an error that has none.
pub(crate) fn with_code(mut error: ServerError, code: ErrorCode) -> ServerError {
    if !has_code(&error) {
        error.extensions.get_or_insert_with(ErrorExtensionValues::default).set(CODE, code.as_str());
    }
    error
}

/// Logs `details` of an internal error and returns the error that the client receives.
pub(crate) fn internal(details: &str) -> ServerError {
    let id = format!("{:08x}", rand::random::<u32>());
    tracing::error!(error_id = %id, error = details, "GraphQL operation failed with an internal error");
    let mut error = request_error(Error::Internal.code(), format!("{} with the id {id}", Error::Internal));
    error.extensions.get_or_insert_with(ErrorExtensionValues::default).set("errorId", id);
    error
}

/// Truncates the errors of a response and masks errors without a code.
pub(crate) fn normalize_errors(mut errors: Vec<ServerError>) -> Vec<ServerError> {
    errors.truncate(MAX_ERRORS);
    errors.into_iter().map(normalize_error).collect()
}

fn normalize_error(error: ServerError) -> ServerError {
    if has_code(&error) {
        return error;
    }
    if error.path.is_empty() {
        // Validation found it, before a resolver ran.
        return with_code(error, ErrorCode::ValidationFailed);
    }
    let masked = internal(&error.message);
    ServerError { locations: error.locations, path: error.path, ..masked }
}

fn has_code(error: &ServerError) -> bool {
    error.extensions.as_ref().is_some_and(|values| values.get(CODE).is_some())
}

fn extensions(code: ErrorCode) -> ErrorExtensionValues {
    let mut values = ErrorExtensionValues::default();
    values.set(CODE, code.as_str());
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_graphql::{PathSegment, Value};

    fn code_of(error: &ServerError) -> Option<&Value> {
        error.extensions.as_ref()?.get(CODE)
    }

    #[test]
    fn error_without_a_code_is_masked() {
        let secret = ServerError::new("connect mysql://root:secret@db", None)
            .with_path(vec![PathSegment::Field("order".to_owned())]);
        let shown = normalize_errors(vec![secret]).remove(0);
        assert!(!shown.message.contains("secret"), "{}", shown.message);
        assert_eq!(code_of(&shown), Some(&Value::from("internal_error")));
        assert_eq!(shown.path.len(), 1);
    }

    #[test]
    fn use_case_error_keeps_its_code_and_retry_time() {
        let shown = to_graphql_error(Error::overloaded());
        let values = shown.extensions.unwrap();
        assert_eq!(values.get(CODE), Some(&Value::from("overloaded")));
        assert_eq!(values.get("retryAfterSeconds"), Some(&Value::from(1)));
    }

    #[test]
    fn errors_are_truncated_to_the_maximum() {
        let many = (0..11).map(|_| request_error(ErrorCode::InvalidInput, "x")).collect();
        assert_eq!(normalize_errors(many).len(), MAX_ERRORS);
    }

    #[test]
    fn the_limits_are_documented() {
        limits_page::row("`errors` in a response", &MAX_ERRORS.to_string());
    }
}
