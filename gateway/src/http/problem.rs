//! Problem details (RFC 9457): every error of REST and of the HTTP server has an [`ErrorCode`].
//!
//! `code` is what programs compare; `type` points at the entry of `/problems` that explains it;
//! `detail` is for people and may change.

mod page;
mod status;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use domain::{Api, ErrorCode, OrderId, Status};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

pub(super) use self::page::page;
pub use self::status::status;
use super::rest::{RowView, StatusWord};
use crate::Error;

/// Most errors in one response.
pub(super) const MAX_ERRORS: usize = 100;

/// The media type of every error.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// The 503 of reads, for the reference.
pub(super) const UNAVAILABLE: &str = "`overloaded`, `shutting_down`, or a code that begins with `database_`: nothing \
    was changed, try again after `Retry-After`";
/// The 503 of a list.
pub(super) const LIST_UNAVAILABLE: &str = "`overloaded`, `shutting_down`, or a code that begins with `database_`: try \
    again after `Retry-After`. `query_timeout`: the filter leaves too many orders to read through, narrow it down";
/// The 503 of a create.
pub(super) const CREATE_UNAVAILABLE: &str = "`overloaded`, `shutting_down`, or a code that begins with `database_`: \
    nothing was stored, try again after `Retry-After`. `outcome_unknown`: after `Retry-After` repeat it with the same `Idempotency-Key`, \
    which answers the order or makes it, or look for the order in `orderId` first";

/// An error as it is sent: `application/problem+json`.
#[derive(Debug, Clone, Serialize)]
#[serde(into = "Wire")]
pub struct Problem {
    code: ErrorCode,
    detail: String,
    errors: Vec<InputError>,
    order_id: Option<OrderId>,
    order_status: Option<Status>,
    results: Option<Arc<Vec<RowView>>>,
    retry_after: Option<Duration>,
}

/// Any error. Programs compare `code`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Wire {
    /// URL that explains the error code.
    #[schema(example = "/problems#order_not_found")]
    r#type: String,
    /// Short description of the error code; the same for every occurrence.
    #[schema(example = "There is no such order")]
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 404, minimum = 400, maximum = 599)]
    status: u16,
    /// Description of this occurrence for humans.
    #[schema(example = "there is no order 01890a5d-ac96-774b-bcce-b302099a8057")]
    detail: String,
    /// Stable error code for programs.
    #[schema(schema_with = code_schema)]
    code: &'static str,
    /// The errors of the input, at most 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<InputError>,
    /// Id of the affected order, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = Uuid, required = false)]
    order_id: Option<OrderId>,
    /// Status of the order if it is the cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = StatusWord, required = false)]
    order_status: Option<Status>,
    /// One result for each row of a bulk create.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<RowView>, required = false)]
    results: Option<Arc<Vec<RowView>>>,
}

impl From<Problem> for Wire {
    fn from(problem: Problem) -> Self {
        Self {
            r#type: format!("/problems#{}", problem.code),
            title: problem.code.meaning(),
            status: problem.status().as_u16(),
            detail: problem.detail,
            code: problem.code.as_str(),
            errors: problem.errors,
            order_id: problem.order_id,
            order_status: problem.order_status,
            results: problem.results,
        }
    }
}

fn code_schema() -> RefOr<Schema> {
    let codes = ErrorCode::ALL.iter().filter(|code| code.apis().contains(&Api::Rest));
    super::schema::of(serde_json::json!({
        "type": "string",
        "description": "Stable error code for programs.",
        "enum": codes.map(|code| code.as_str()).collect::<Vec<_>>(),
        "example": ErrorCode::OrderNotFound.as_str(),
    }))
}

impl PartialSchema for Problem {
    fn schema() -> RefOr<Schema> {
        Wire::schema()
    }
}

impl ToSchema for Problem {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Wire::schemas(schemas);
    }
}

/// One error of a body or a query string.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct InputError {
    /// JSON pointer (RFC 6901) of the field in the body; empty for the body itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "/lineItems/3/price")]
    pub pointer: Option<String>,
    /// The query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub parameter: Option<String>,
    /// Error message; continues the name of the field.
    #[schema(value_type = String, example = "must not be negative")]
    pub detail: Cow<'static, str>,
}

impl InputError {
    /// Something is wrong with a field of the body.
    pub fn field(pointer: impl Into<String>, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { pointer: Some(pointer.into()), parameter: None, detail: detail.into() }
    }

    /// Something is wrong with a query parameter.
    pub fn parameter(name: impl Into<String>, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { pointer: None, parameter: Some(name.into()), detail: detail.into() }
    }
}

impl Problem {
    /// A problem with this code.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            order_id: None,
            order_status: None,
            results: None,
            retry_after: None,
        }
    }

    /// A problem with the input, whose detail is the list of what is wrong. The first 100 errors are listed.
    pub fn input(code: ErrorCode, mut errors: Vec<InputError>) -> Self {
        let mut detail = String::new();
        for error in errors.iter().take(3) {
            let name = match (error.parameter.as_deref(), error.pointer.as_deref()) {
                (Some(""), _) => "a parameter without a name",
                (Some(name), _) => name,
                (None, None | Some("")) => "the body",
                (None, Some(pointer)) => pointer,
            };
            let separator = if detail.is_empty() { "" } else { "; " };
            // Writing to a String does not fail.
            let _ = write!(detail, "{separator}{name} {}", error.detail);
        }
        if errors.len() > 3 {
            let _ = write!(detail, "; and {} more", errors.len() - 3);
        }
        errors.truncate(MAX_ERRORS);
        Self { errors, ..Self::new(code, detail) }
    }

    /// A bulk create of which no row was created.
    pub(super) fn rows(results: Vec<RowView>) -> Self {
        let errors = results.iter().flat_map(RowView::errors).collect();
        Self { results: Some(Arc::new(results)), ..Self::input(ErrorCode::InvalidOrder, errors) }
    }

    /// The same with a `Retry-After` header.
    pub fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// Its text.
    pub(super) fn to_json(&self) -> Vec<u8> {
        // A struct of strings and numbers always has a JSON text.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What programs compare.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// What went wrong, for people.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// When it is worth trying again, if it is.
    pub(crate) fn wait(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        status(self.code.kind())
    }
}

/// The error of a use case, with the order that it is about.
impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let problem = Self { retry_after: error.retry_after(), ..Self::new(error.code(), error.to_string()) };
        match error {
            Error::NotFound(id) | Error::Unreadable { id, .. } => Self { order_id: Some(id), ..problem },
            Error::Refused { id, refusal } => {
                Self { order_id: Some(id), order_status: refusal.status(), ..problem }
            }
            Error::Invalid(problems) => Self::input(
                problem.code,
                problems
                    .into_iter()
                    .map(|invalid| InputError::field(invalid.field.pointer(), invalid.message))
                    .collect(),
            ),
            Error::OutcomeUnknown(id) => Self { order_id: Some(id), ..problem },
            Error::Unavailable { .. }
            | Error::KeyReused
            | Error::RowCount(_)
            | Error::OrderRefused
            | Error::Internal => problem,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = self.to_json();
        let mut response = (self.status(), [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs_f64().ceil().max(1.0);
            if let Ok(value) = HeaderValue::from_str(&format!("{seconds:.0}")) {
                response.headers_mut().insert(header::RETRY_AFTER, value);
            }
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use domain::transition::Refusal;
    use domain::{Currency, Draft, Status, Timestamp};

    use domain::ErrorCode;

    use super::*;

    fn id() -> OrderId {
        OrderId::new(Timestamp::from_micros(1))
    }

    #[test]
    fn every_error_of_the_use_cases_has_its_status() {
        let refused = |refusal| Error::Refused { id: id(), refusal };
        for (error, status) in [
            (Error::NotFound(id()), 404),
            (Error::Invalid(Draft::default().check(Currency::USD).unwrap_err()), 422),
            (Error::KeyReused, 422),
            (refused(Refusal::AlreadyStarted), 409),
            (refused(Refusal::NotYet(Timestamp::from_micros(0))), 409),
            (refused(Refusal::Paused), 409),
            (refused(Refusal::StaleLease(Status::Pending)), 409),
            (refused(Refusal::Final(Status::Completed)), 409),
            (refused(Refusal::NotFailed(Status::Completed)), 409),
            (refused(Refusal::NotExpired), 409),
            (Error::overloaded(), 503),
            (Error::database_unavailable(), 503),
            (Error::database_pool_exhausted(), 503),
            (Error::database_connection_limit(), 503),
            (Error::database_read_only(), 503),
            (Error::database_full(), 503),
            (Error::database_access_denied(), 503),
            (Error::database_statement_limit(), 503),
            (Error::database_statement_timeout(), 503),
            (Error::database_packet_limit(), 503),
            (Error::database_misconfigured(), 503),
            (Error::shutting_down(), 503),
            (Error::OutcomeUnknown(id()), 503),
            (Error::Unreadable { id: id(), detail: "x".into() }, 409),
            (Error::Internal, 500),
        ] {
            let code = error.code();
            assert_eq!(error.retry_after().is_some(), status == 503, "{code}");
            let response = Problem::from(error).into_response();
            assert_eq!(response.status().as_u16(), status, "{code}");
            assert_eq!(response.headers().contains_key("retry-after"), status == 503, "{code}");
        }
    }

    #[test]
    fn the_wire_form_is_a_problem_with_all_that_is_wrong() {
        let draft = Draft { item: Some("x".into()), quantity: Some(0), ..Draft::default() };
        let problem = Problem::from(Error::Invalid(draft.check(Currency::USD).unwrap_err()));
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(json["type"], "/problems#invalid_order");
        assert_eq!(json["code"], "invalid_order");
        assert_eq!(json["status"], 422);
        assert_eq!(json["errors"][0]["pointer"], "/quantity");
        assert_eq!(json["errors"][1]["pointer"], "/price");
        assert!(json["errors"][0].get("parameter").is_none());
    }

    #[test]
    fn a_problem_lists_100_errors() {
        let errors = (0..150).map(|n| InputError::field(format!("/{n}"), "is wrong")).collect();
        let json = serde_json::to_value(Problem::input(ErrorCode::InvalidInput, errors)).unwrap();
        assert_eq!(json["errors"].as_array().unwrap().len(), MAX_ERRORS);
        assert!(json["detail"].as_str().unwrap().ends_with("and 147 more"), "{json}");
    }

    #[test]
    fn retry_after_is_whole_seconds_and_never_zero() {
        for (wait, header) in [(0, "1"), (1_500, "2"), (3_000, "3")] {
            let problem = Problem::new(ErrorCode::Overloaded, "x").retry_after(Duration::from_millis(wait));
            assert_eq!(problem.into_response().headers()["retry-after"], header);
        }
    }

    #[test]
    fn the_limits_are_documented() {
        limits_page::row("errors in a response, over all rows of a bulk create", &MAX_ERRORS.to_string());
    }
}
