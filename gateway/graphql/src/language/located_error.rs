//! What is wrong with a document, and where.

use async_graphql::{Pos, ServerError};
use domain::ErrorCode;

use crate::errors::with_code;

/// What is wrong with a value: a sentence and where.
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

/// What is wrong with a plan, and which code that has.
pub(super) struct PlanError {
    error: LocatedError,
    code: ErrorCode,
}

impl PlanError {
    /// A rule of validation is broken.
    pub(super) fn rule(error: LocatedError) -> Self {
        Self { error, code: ErrorCode::ValidationFailed }
    }

    pub(super) fn into_error(self) -> ServerError {
        with_code(self.error.into_error(), self.code)
    }
}

/// A literal has a value that its type does not take.
impl From<LocatedError> for PlanError {
    fn from(error: LocatedError) -> Self {
        Self { error, code: ErrorCode::InvalidInput }
    }
}
