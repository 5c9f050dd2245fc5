//! Problem details (RFC 9457): every error that leaves over HTTP is one of [`KINDS`].
//!
//! `code` is what programs compare; `type` points at the entry of `/problems` that explains it;
//! `detail` is for people and may change.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use axum::response::{Html, IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::Error;

/// The media type of every error.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// One kind of error.
#[derive(Debug)]
pub struct Kind {
    /// Stable and machine-readable.
    pub code: &'static str,
    /// The HTTP status.
    pub status: StatusCode,
    /// What it is, in a few words.
    pub title: &'static str,
    /// What the client can do.
    pub advice: &'static str,
}

/// Every kind of error there is, the use cases' own ([`Error::code`]) and HTTP's.
pub const KINDS: &[Kind] = &[
    kind(
        "malformed_json",
        400,
        "The body is not JSON",
        "Mend the body where line and column in `detail` point.",
    ),
    kind(
        "invalid_body",
        400,
        "The body has the wrong shape",
        "Each of `errors` names, with a JSON pointer, a field that is unknown, repeated or of the wrong type.",
    ),
    kind(
        "invalid_query",
        400,
        "The query string is wrong",
        "Each of `errors` names a parameter that is unknown, repeated or has an unusable value.",
    ),
    kind("invalid_header", 400, "A header has an unusable value", "`detail` names the header."),
    kind("invalid_id", 400, "The path holds no order id", "An order id is a UUID with hyphens."),
    kind("not_found", 404, "There is nothing at this path", "`/docs` lists every path."),
    kind("order_not_found", 404, "There is no such order", "Check the id."),
    kind("method_not_allowed", 405, "The path does not know this method", "The `Allow` header lists them."),
    kind("body_timeout", 408, "The body did not arrive in time", "Send it again, faster."),
    kind("order_final", 409, "The order is final already", "Nothing can be changed any more."),
    kind("order_not_failed", 409, "The order has not failed", "Only failed orders can be redriven."),
    kind("already_started", 409, "The order is being processed already", "Nothing is to be done."),
    kind("not_yet", 409, "The order waits for its time", "Try again later."),
    kind("stale_lease", 409, "The lease is not valid", "Drop the work: somebody else has it."),
    kind("lease_not_expired", 409, "The lease has not expired", "Nothing is to be done."),
    kind("body_too_large", 413, "The body is too large", "`detail` says how much is allowed."),
    kind("unsupported_media_type", 415, "The body is not JSON", "Send `Content-Type: application/json`."),
    kind(
        "invalid_order",
        422,
        "The order breaks a rule",
        "Each of `errors` names, with a JSON pointer, a field and what to change.",
    ),
    kind("internal_error", 500, "Something broke on our side", "Tell the operators the `X-Request-Id`."),
    kind(
        "overloaded",
        503,
        "Too many requests are waiting",
        "Nothing was changed; try again after `Retry-After`.",
    ),
    kind(
        "database_unavailable",
        503,
        "The database cannot be reached",
        "Nothing was changed; try again after `Retry-After`.",
    ),
    kind(
        "shutting_down",
        503,
        "This gateway is going away",
        "Nothing was changed; try again, another one will answer.",
    ),
    kind(
        "outcome_unknown",
        503,
        "It is not known whether the change was made",
        "Look for the order whose id is in `orderId` before sending the request again.",
    ),
    kind(
        "request_timeout",
        503,
        "The answer took too long",
        "A change may have been made all the same; look before sending the request again.",
    ),
];

const fn kind(code: &'static str, status: u16, title: &'static str, advice: &'static str) -> Kind {
    let Ok(status) = StatusCode::from_u16(status) else { panic!("a status has three digits") };
    Kind { code, status, title, advice }
}

/// An error as it is sent: `application/problem+json`.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Where this kind of error is explained.
    #[schema(example = "/problems#order_not_found")]
    r#type: String,
    /// What kind of error it is, in a few words; the same for every error of the kind.
    #[schema(example = "There is no such order")]
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 404, minimum = 400, maximum = 599)]
    status: u16,
    /// What went wrong this time, for people.
    #[schema(example = "there is no order 01890a5d-ac96-774b-bcce-b302099a8057")]
    detail: String,
    /// What kind of error it is, for programs; never changes.
    #[schema(value_type = String, example = "order_not_found")]
    code: &'static str,
    /// Every single thing that is wrong with the input, where that can be said; at most 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<InputError>,
    /// The order that it is about, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = Uuid)]
    order_id: Option<String>,
    #[serde(skip)]
    retry_after: Option<Duration>,
}

/// One thing that is wrong with a body or a query string.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct InputError {
    /// JSON pointer (RFC 6901) of the field in the body; empty for the body itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/lineItems/3/price")]
    pub pointer: Option<String>,
    /// The query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// What is wrong with it; reads on from its name.
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
    /// A problem of the kind with that code.
    pub fn new(code: &'static str, detail: impl Into<String>) -> Self {
        let kind = KINDS.iter().find(|kind| kind.code == code);
        let (status, title) =
            kind.map_or((StatusCode::INTERNAL_SERVER_ERROR, "Error"), |kind| (kind.status, kind.title));
        Self {
            r#type: format!("/problems#{code}"),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            code,
            errors: Vec::new(),
            order_id: None,
            retry_after: None,
        }
    }

    /// A problem with the input, whose detail is the list of what is wrong.
    pub fn input(code: &'static str, errors: Vec<InputError>) -> Self {
        let mut detail = String::new();
        for error in errors.iter().take(3) {
            let name = error.parameter.as_deref().or(error.pointer.as_deref()).unwrap_or_default();
            let name = if name.is_empty() { "the body" } else { name };
            let separator = if detail.is_empty() { "" } else { "; " };
            // Writing to a String does not fail.
            let _ = write!(detail, "{separator}{name} {}", error.detail);
        }
        if errors.len() > 3 {
            let _ = write!(detail, "; and {} more in `errors`", errors.len() - 3);
        }
        Self { errors, ..Self::new(code, detail) }
    }

    /// The same with a `Retry-After` header.
    pub fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// The machine-readable kind.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// The one table from what a use case says to what HTTP says.
impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let problem = Self::new(error.code(), error.to_string());
        let about = |id: domain::OrderId| Some(id.to_string());
        match error {
            Error::NotFound(id) | Error::Refused { id, .. } => Self { order_id: about(id), ..problem },
            Error::Invalid(problems) => Self::input(
                problem.code,
                problems
                    .into_iter()
                    .map(|invalid| InputError::field(invalid.field.pointer(), invalid.message))
                    .collect(),
            ),
            Error::Unavailable { retry_after, .. } => {
                Self { status: 503, retry_after: Some(retry_after), ..problem }
            }
            Error::OutcomeUnknown(id) => Self { order_id: about(id), ..problem },
            Error::Internal => problem,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // A struct of strings and numbers always has a JSON text.
        let body = serde_json::to_vec(&self).unwrap_or_default();
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

/// The page that `type` points at.
pub(super) async fn page() -> Response {
    let mut rows = String::new();
    for Kind { code, status, title, advice } in KINDS {
        let _ =
            write!(rows, "<dt id=\"{code}\"><code>{code}</code> ({})<dd>{title}. {advice}", status.as_u16());
    }
    let policy = [(header::CONTENT_SECURITY_POLICY, "default-src 'none'")];
    let head =
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Errors</title><h1>Errors</h1>";
    (policy, Html(format!("{head}<dl>{rows}</dl>"))).into_response()
}

#[cfg(test)]
mod tests {
    use domain::transition::Refusal;
    use domain::{Currency, Draft, OrderId, Status, Timestamp};

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
            (refused(Refusal::AlreadyStarted), 409),
            (refused(Refusal::NotYet), 409),
            (refused(Refusal::StaleLease(Status::Pending)), 409),
            (refused(Refusal::Final(Status::Completed)), 409),
            (refused(Refusal::NotFailed(Status::Completed)), 409),
            (refused(Refusal::NotExpired), 409),
            (Error::overloaded(), 503),
            (Error::database_unavailable(), 503),
            (Error::shutting_down(), 503),
            (Error::OutcomeUnknown(id()), 503),
            (Error::Internal, 500),
        ] {
            let code = error.code();
            assert!(KINDS.iter().any(|kind| kind.code == code), "{code} is not explained");
            assert_eq!(Problem::from(error).status().as_u16(), status, "{code}");
        }
    }

    #[test]
    fn codes_are_unique() {
        let mut codes: Vec<_> = KINDS.iter().map(|kind| kind.code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), KINDS.len());
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
    fn retry_after_is_whole_seconds_and_never_zero() {
        for (wait, header) in [(0, "1"), (1_500, "2"), (3_000, "3")] {
            let problem = Problem::new("overloaded", "x").retry_after(Duration::from_millis(wait));
            assert_eq!(problem.into_response().headers()["retry-after"], header);
        }
    }
}
