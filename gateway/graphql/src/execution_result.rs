//! The result of an operation as JSON, and how far the operation came.

use async_graphql::{Response, ServerError, Value};
use axum::http::StatusCode;
use domain::ErrorCode;
use gateway_service::Error;
use serde::Serialize;

use crate::errors::{normalize_errors, request_error, status};
use crate::response_budget::Budget;

/// Bytes that most results fit into.
const INITIAL_JSON_CAPACITY: usize = 256;

/// One result of an operation.
#[derive(Debug)]
pub(crate) struct ExecutionResult {
    json: String,
    errors: Vec<ServerError>,
    stage: Stage,
    has_data: bool,
}

/// How far an operation came. The status over HTTP depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// A limit refused it.
    Refused(StatusCode),
    /// It was found wrong before anything ran: it did not parse, did not validate, or a variable is
    /// missing or cannot be coerced.
    Rejected,
    /// It ran. Fields may have failed.
    Executed,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [ServerError],
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Value>,
}

impl ExecutionResult {
    fn new(data: &Value, errors: Vec<ServerError>, stage: Stage) -> Self {
        Self::with_capacity_for(data, errors, stage, INITIAL_JSON_CAPACITY)
    }

    /// With memory for JSON of `capacity` bytes: JSON that grows is copied, and both copies are in memory.
    fn with_capacity_for(data: &Value, errors: Vec<ServerError>, stage: Stage, capacity: usize) -> Self {
        // There is no `data` when nothing ran.
        let shown = match stage {
            Stage::Executed => Some(data),
            Stage::Refused(_) | Stage::Rejected => None,
        };
        let mut json = Vec::with_capacity(capacity);
        serde_json::to_writer(&mut json, &Body { errors: &errors, data: shown })
            .expect("a result has only string keys and no values that JSON lacks");
        let json = String::from_utf8(json).expect("JSON is UTF-8");
        Self { json, errors, stage, has_data: *data != Value::Null }
    }

    /// A request that did not come to an operation.
    pub(crate) fn refused(code: ErrorCode, error: ServerError) -> Self {
        Self::new(&Value::Null, vec![error], Stage::Refused(status(code.kind())))
    }

    /// All requests together hold too many bytes.
    pub(crate) fn overloaded() -> Self {
        let error = Error::overloaded();
        Self::refused(error.code(), request_error(error.code(), error.to_string()))
    }

    pub(crate) fn rejected(errors: Vec<ServerError>) -> Self {
        Self::new(&Value::Null, errors, Stage::Rejected)
    }

    pub(crate) fn failed(error: ServerError) -> Self {
        Self::new(&Value::Null, vec![error], Stage::Executed)
    }

    /// The result of an operation, or the error that it is too long.
    pub(crate) fn from_response(response: Response, budget: &Budget, before: usize) -> Self {
        if budget.is_spent() {
            return Self::failed(budget.exceeded());
        }
        let Response { data, errors, .. } = response;
        let ran = data != Value::Null || errors.iter().any(|error| !error.path.is_empty());
        let stage = if ran || errors.is_empty() { Stage::Executed } else { Stage::Rejected };
        let counted = before.saturating_sub(budget.left()).max(INITIAL_JSON_CAPACITY);
        let mut result =
            Self::with_capacity_for(&data, normalize_errors(budget.first_errors(errors)), stage, counted);
        drop(data);
        result.json.shrink_to(2 * result.json.len());
        match before.checked_sub(result.json.len()) {
            Some(left) => {
                budget.set_left(left);
                result
            }
            None => {
                budget.spend();
                Self::failed(budget.exceeded())
            }
        }
    }

    /// How far it came.
    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    /// Its errors.
    pub(crate) fn errors(&self) -> &[ServerError] {
        &self.errors
    }

    /// Whether there is no data at all.
    pub(crate) fn is_failure(&self) -> bool {
        !self.has_data && !self.errors.is_empty()
    }

    /// The JSON of the result.
    pub(crate) fn json(&self) -> &str {
        &self.json
    }

    /// The same.
    pub(crate) fn into_json(self) -> String {
        self.json
    }
}
