//! Errors of a document, with their positions.

use async_graphql::{Pos, ServerError};
use domain::ErrorCode;

use crate::errors::with_code;

/// An error in a document: a sentence and its position.
#[derive(Debug)]
pub(super) struct LocatedError {
    message: String,
    pos: Pos,
}

impl LocatedError {
    pub(super) fn new(pos: Pos, message: impl Into<String>) -> Self {
        Self { message: message.into(), pos }
    }

    pub(super) fn into_error(self) -> ServerError {
        ServerError::new(self.message, Some(self.pos))
    }
}

/// An error of a plan and its code.
pub(super) struct PlanError {
    error: LocatedError,
    code: ErrorCode,
}

impl PlanError {
    /// Returns the error of a broken validation rule.
    pub(super) fn rule(error: LocatedError) -> Self {
        Self { error, code: ErrorCode::ValidationFailed }
    }

    pub(super) fn into_error(self) -> ServerError {
        with_code(self.error.into_error(), self.code)
    }
}

/// The error of a literal that is not a value of its type.
impl From<LocatedError> for PlanError {
    fn from(error: LocatedError) -> Self {
        Self { error, code: ErrorCode::InvalidInput }
    }
}
