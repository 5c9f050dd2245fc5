//! The result of an operation as JSON, with the stage that the operation reached.

use std::time::Duration;

use async_graphql::{Response, ServerError, Value};
use axum::http::StatusCode;
use domain::ErrorCode;
use gateway_http::problem::Problem;
use serde::Serialize;

use crate::errors::{normalize_errors, rejection, status};
use crate::response_budget::Budget;

/// The capacity of a buffer for JSON, in bytes; most results fit.
const INITIAL_JSON_CAPACITY: usize = 256;

/// The result of an operation, or one result of a subscription.
#[derive(Debug)]
pub(crate) struct ExecutionResult {
    json: String,
    errors: Vec<ServerError>,
    stage: Stage,
    has_data: bool,
    /// When to repeat a refused request.
    retry_after: Option<Duration>,
}

/// The stage that an operation reached. The HTTP status depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The request was refused, for example by a limit, and has this HTTP status.
    Refused(StatusCode),
    /// A request error: the document does not parse or validate, or a variable is missing or cannot be coerced. No
    /// resolver ran.
    Rejected,
    /// The operation was executed. Fields may have failed.
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

    /// Writes the JSON into a buffer of `capacity` bytes. A buffer that grows is copied, and both copies use memory.
    fn with_capacity_for(data: &Value, errors: Vec<ServerError>, stage: Stage, capacity: usize) -> Self {
        // A result without execution has no `data`.
        let shown = match stage {
            Stage::Executed => Some(data),
            Stage::Refused(_) | Stage::Rejected => None,
        };
        let mut json = Vec::with_capacity(capacity);
        serde_json::to_writer(&mut json, &Body { errors: &errors, data: shown })
            .expect("a result has only string keys and no values that JSON lacks");
        let json = String::from_utf8(json).expect("JSON is UTF-8");
        Self { json, errors, stage, has_data: *data != Value::Null, retry_after: None }
    }

    /// Returns the result of a request that was refused before an operation ran.
    pub(crate) fn refused(code: ErrorCode, error: ServerError) -> Self {
        Self::new(&Value::Null, vec![error], Stage::Refused(status(code.kind())))
    }

    /// Returns the error that the requests together hold too many bytes.
    pub(crate) fn overloaded() -> Self {
        Self::from_problem(&Problem::overloaded())
    }

    /// Returns the result of an operation that the server rejects.
    pub(crate) fn from_problem(problem: &Problem) -> Self {
        Self { retry_after: problem.wait(), ..Self::refused(problem.code(), rejection(problem)) }
    }

    /// Returns when to repeat a refused request.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns the result of an operation with request errors.
    pub(crate) fn rejected(errors: Vec<ServerError>) -> Self {
        Self::new(&Value::Null, errors, Stage::Rejected)
    }

    /// Returns the result of an operation that was executed and has no data.
    pub(crate) fn failed(error: ServerError) -> Self {
        Self::new(&Value::Null, vec![error], Stage::Executed)
    }

    /// Returns the result of a response, or the error that the response exceeds its budget.
    ///
    /// `before` is the remaining budget at the start of the operation.
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

    /// Returns the stage that the operation reached.
    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    /// Returns the errors.
    pub(crate) fn errors(&self) -> &[ServerError] {
        &self.errors
    }

    /// Returns whether there are errors and no data.
    pub(crate) fn is_failure(&self) -> bool {
        !self.has_data && !self.errors.is_empty()
    }

    /// Returns the JSON of the result.
    pub(crate) fn json(&self) -> &str {
        &self.json
    }

    /// Returns the JSON of the result as an owned string.
    pub(crate) fn into_json(self) -> String {
        self.json
    }
}
