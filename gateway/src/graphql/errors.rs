//! The `errors` of a response: their codes, and what clients must not see.
//!
//! Every error carries `extensions.code`. Words in lower case are those of [`Error::code`], the same
//! on every transport, and say what became of an order. Words in upper case, below, are about the
//! GraphQL request itself. An error with neither is a defect: it is logged under an id, and the
//! client sees only that id.

use async_graphql::{ErrorExtensionValues, ServerError};

use crate::Error;

/// The key of the code within `extensions`.
pub(crate) const CODE: &str = "code";
/// The HTTP request, or the JSON in it, is not a GraphQL request.
pub(crate) const BAD_REQUEST: &str = "BAD_REQUEST";
/// The document is not GraphQL.
pub(crate) const PARSE_FAILED: &str = "GRAPHQL_PARSE_FAILED";
/// The document does not fit the schema, or the operation cannot be told.
pub(crate) const VALIDATION_FAILED: &str = "GRAPHQL_VALIDATION_FAILED";
/// A variable or an argument has a value that its type or its field does not take.
pub(crate) const BAD_USER_INPUT: &str = "BAD_USER_INPUT";
/// A limit; which one is in `extensions.limit`.
pub(crate) const LIMIT_EXCEEDED: &str = "LIMIT_EXCEEDED";
/// The schema is asked for, and that is switched off.
pub(crate) const INTROSPECTION_DISABLED: &str = "INTROSPECTION_DISABLED";
/// A hash without its document, which is not known (any more): the client sends both.
pub(crate) const PERSISTED_QUERY_NOT_FOUND: &str = "PERSISTED_QUERY_NOT_FOUND";
/// Hashes are not taken here: the client sends documents.
pub(crate) const PERSISTED_QUERY_NOT_SUPPORTED: &str = "PERSISTED_QUERY_NOT_SUPPORTED";
/// Only listed documents run here, and this one is not listed.
pub(crate) const DOCUMENT_NOT_TRUSTED: &str = "DOCUMENT_NOT_TRUSTED";
/// A page of another site may not do this.
pub(crate) const ORIGIN_NOT_ALLOWED: &str = "origin_not_allowed";
/// The operation took too long and was stopped.
pub(crate) const TIMEOUT: &str = "EXECUTION_TIMEOUT";

/// Most `errors` in one response. Together with user errors it has at most [`super::budget::MAX_ERRORS`].
pub(crate) const MAX_ERRORS: usize = 10;

/// A use case that did not work, as the error of a resolver.
pub(crate) fn fault(error: Error) -> async_graphql::Error {
    let mut extensions = ErrorExtensionValues::default();
    extensions.set(CODE, error.code());
    if let Some(wait) = error.retry_after() {
        extensions.set("retryAfterSeconds", wait.as_secs().max(1));
    }
    if let Error::OutcomeUnknown(id) = &error {
        extensions.set("orderId", id.to_string());
    }
    let mut graphql = async_graphql::Error::new(error.to_string());
    graphql.extensions = Some(extensions);
    graphql
}

/// An argument that does not make sense.
pub(crate) fn bad_input(message: impl Into<String>) -> async_graphql::Error {
    let mut error = async_graphql::Error::new(message);
    error.extensions = Some(code(BAD_USER_INPUT));
    error
}

/// An error about the request as a whole.
pub(crate) fn request_error(word: &'static str, message: impl Into<String>) -> ServerError {
    let mut error = ServerError::new(message, None);
    error.extensions = Some(code(word));
    error
}

/// A limit that was exceeded, by its word.
pub(crate) fn limit_error(limit: &'static str, message: impl Into<String>) -> ServerError {
    metrics::counter!("orders_graphql_rejections_total", "reason" => limit).increment(1);
    let mut error = request_error(LIMIT_EXCEEDED, message);
    error.extensions.get_or_insert_default().set("limit", limit);
    error
}

/// `error` with a code, unless it has one.
pub(crate) fn with_code(mut error: ServerError, word: &'static str) -> ServerError {
    if !has_code(&error) {
        error.extensions.get_or_insert_with(ErrorExtensionValues::default).set(CODE, word);
    }
    error
}

/// What a client sees instead of something that went wrong inside. `details` go to the log.
pub(crate) fn internal(details: &str) -> ServerError {
    let id = format!("{:08x}", rand::random::<u32>());
    tracing::error!(error_id = %id, error = details, "GraphQL operation failed with an internal error");
    let mut error = request_error(Error::Internal.code(), format!("{} with the id {id}", Error::Internal));
    error.extensions.get_or_insert_with(ErrorExtensionValues::default).set("errorId", id);
    error
}

/// Makes the errors of a response fit to be seen.
pub(crate) fn tidy(mut errors: Vec<ServerError>) -> Vec<ServerError> {
    errors.truncate(MAX_ERRORS);
    errors.into_iter().map(tidy_one).collect()
}

fn tidy_one(error: ServerError) -> ServerError {
    if has_code(&error) {
        return error;
    }
    if error.path.is_empty() {
        // Found before anything ran.
        return with_code(error, VALIDATION_FAILED);
    }
    let masked = internal(&error.message);
    ServerError { locations: error.locations, path: error.path, ..masked }
}

fn has_code(error: &ServerError) -> bool {
    error.extensions.as_ref().is_some_and(|values| values.get(CODE).is_some())
}

fn code(word: &'static str) -> ErrorExtensionValues {
    let mut values = ErrorExtensionValues::default();
    values.set(CODE, word);
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
    fn unforeseen_errors_do_not_leak() {
        let secret = ServerError::new("connect mysql://root:secret@db", None)
            .with_path(vec![PathSegment::Field("order".to_owned())]);
        let shown = tidy(vec![secret]).remove(0);
        assert!(!shown.message.contains("secret"), "{}", shown.message);
        assert_eq!(code_of(&shown), Some(&Value::from("internal_error")));
        assert_eq!(shown.path.len(), 1);
    }

    #[test]
    fn faults_keep_their_word_and_say_when_to_come_back() {
        let shown = fault(Error::overloaded());
        let values = shown.extensions.unwrap();
        assert_eq!(values.get(CODE), Some(&Value::from("overloaded")));
        assert_eq!(values.get("retryAfterSeconds"), Some(&Value::from(1)));
    }

    #[test]
    fn there_are_at_most_ten() {
        let many = (0..11).map(|_| request_error(BAD_REQUEST, "x")).collect();
        assert_eq!(tidy(many).len(), MAX_ERRORS);
    }

    #[test]
    fn the_limits_are_documented() {
        crate::limits_page::row("`errors` in a response", &MAX_ERRORS.to_string());
    }
}
