//! Maps the errors of the use cases to problems, and defines the schema of a problem for the reference.

use axum::response::{IntoResponse, Response};
use domain::{Api, ErrorCode, OrderId, Status};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use super::order_view::StatusWord;
use super::row_result::RowResult;
use super::schema;
use gateway_http::problem::{InputError, Problem};
use gateway_service::{Error, ReferenceTaken};

/// Description of the 503 of reads, for the reference.
pub(super) const UNAVAILABLE: &str = "`overloaded`, `shutting_down`, or a code that begins with `database_`: nothing \
    was changed, try again after `Retry-After`";
/// Description of the 503 of a list.
pub(super) const LIST_UNAVAILABLE: &str = "`overloaded`, `shutting_down`, or a code that begins with `database_`: try \
    again after `Retry-After`. `query_timeout`: the filter leaves too many orders to read through, narrow it down";
/// Description of the 503 of a create.
pub(super) const CREATE_UNAVAILABLE: &str = "`overloaded`, `shutting_down`, or a code that begins with `database_`: \
    nothing was stored, try again after `Retry-After`. `outcome_unknown`: after `Retry-After` repeat it with the same `Idempotency-Key`, \
    which answers the order or makes it, or look for the order in `orderId` first";

/// The error of a handler, which is sent as a problem.
#[derive(Debug)]
pub(super) struct ApiError(pub(super) Problem);

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

/// The problem has the id of the order that the error is about.
impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let mut problem = Problem::new(error.code(), error.to_string());
        if let Some(wait) = error.retry_after() {
            problem = problem.retry_after(wait);
        }
        Self(match error {
            Error::NotFound(id)
            | Error::NoteLimit(id)
            | Error::Unreadable { id, .. }
            | Error::OutcomeUnknown(id) => problem.with("orderId", &id),
            Error::Refused { id, refusal } => match refusal.status() {
                Some(status) => problem.with("orderId", &id).with("orderStatus", &status),
                None => problem.with("orderId", &id),
            },
            Error::Invalid(problems) => Problem::input(
                problem.code(),
                problems
                    .into_iter()
                    .map(|invalid| InputError::field(invalid.field.pointer(), invalid.message))
                    .collect(),
            ),
            Error::ReferenceTaken(ReferenceTaken { order: Some(order), .. }) => {
                problem.with("orderId", &order)
            }
            Error::Started { id, status } => problem.with("orderId", &id).with("orderStatus", &status),
            Error::OrderChanged { id, sequence } => problem.with("orderId", &id).with("sequence", &sequence),
            Error::MetadataChanged { id, version } => problem.with("orderId", &id).with("version", &version),
            Error::CursorExpired(oldest) => problem.with("oldest", &oldest),
            Error::Forbidden(_)
            | Error::EventLogDisabled
            | Error::ReaderBehind(_)
            | Error::ReaderLimit
            | Error::ReaderLeased(_)
            | Error::StaleReaderLease
            | Error::Unavailable { .. }
            | Error::TooManyOpen { .. }
            | Error::KeyReused
            | Error::ReferenceTaken(_)
            | Error::RowCount(_)
            | Error::OrderRefused
            | Error::Internal => problem,
        })
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

/// Any error. Programs compare `code`.
#[derive(ToSchema)]
#[schema(as = Problem, rename_all = "camelCase")]
#[expect(dead_code, reason = "a `Problem` writes its own members")]
pub(super) struct ProblemSchema {
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
    #[schema(required = false)]
    errors: Vec<InputError>,
    /// Id of the affected order, if any.
    #[schema(value_type = String, format = Uuid, required = false)]
    order_id: Option<OrderId>,
    /// Status of the order if it is the cause.
    #[schema(value_type = StatusWord, required = false)]
    order_status: Option<Status>,
    /// The oldest cursor of the event log, if the cursor of the request has expired.
    #[schema(required = false)]
    oldest: Option<String>,
    /// The present version of the metadata, if that is the cause.
    #[schema(required = false)]
    version: Option<String>,
    /// The present sequence of the order, if that is the cause.
    #[schema(required = false)]
    sequence: Option<u32>,
    /// One result for each row of a bulk create.
    #[schema(value_type = Vec<RowResult>, required = false)]
    results: Option<Vec<RowResult>>,
}

fn code_schema() -> RefOr<Schema> {
    let codes = ErrorCode::ALL.iter().filter(|code| code.apis().contains(&Api::Rest));
    schema::of(serde_json::json!({
        "type": "string",
        "description": "Stable error code for programs.",
        "enum": codes.map(|code| code.as_str()).collect::<Vec<_>>(),
        "example": ErrorCode::OrderNotFound.as_str(),
    }))
}

#[cfg(test)]
mod tests {
    use domain::transition::Refusal;
    use domain::{Currency, Draft, MissingScope, Scope, Timestamp};

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
            (Error::Forbidden(MissingScope(Scope::OrdersRead)), 403),
            (Error::KeyReused, 422),
            (Error::TooManyOpen { max: 5, orders: 1, wait: std::time::Duration::from_secs(1) }, 429),
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
            let is_retried = [429, 503].contains(&status);
            assert_eq!(error.retry_after().is_some(), is_retried, "{code}");
            let response = ApiError::from(error).into_response();
            assert_eq!(response.status().as_u16(), status, "{code}");
            assert_eq!(response.headers().contains_key("retry-after"), is_retried, "{code}");
        }
    }

    #[test]
    fn response_is_a_problem_with_all_errors() {
        let draft = Draft { item: Some("x".into()), quantity: Some(0), ..Draft::default() };
        let ApiError(problem) = ApiError::from(Error::Invalid(draft.check(Currency::USD).unwrap_err()));
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(json["type"], "/problems#invalid_order");
        assert_eq!(json["code"], "invalid_order");
        assert_eq!(json["status"], 422);
        assert_eq!(json["errors"][0]["pointer"], "/quantity");
        assert_eq!(json["errors"][1]["pointer"], "/price");
        assert!(json["errors"][0].get("parameter").is_none());
    }
}
