//! Problem details (RFC 9457): every error of the HTTP server and of REST has an [`ErrorCode`].
//!
//! Programs compare `code`; `type` is the entry of `/problems` that explains it; `detail` is for people and may change.
//! It is written by hand because `problem_details` fixes the extension members in the type.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use domain::{ErrorCode, ErrorKind};
use http::{HeaderValue, StatusCode, header};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// Maximum number of errors in one response.
pub const MAX_ERRORS: usize = 100;

/// The media type of every error.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// The detail of `overloaded`.
pub const OVERLOADED: &str = "too many requests are waiting; try again in a moment";

/// An error as it is sent: `application/problem+json`.
#[derive(Debug, Clone)]
pub struct Problem {
    code: ErrorCode,
    detail: String,
    errors: Vec<InputError>,
    members: Vec<(&'static str, Arc<RawValue>)>,
    retry_after: Option<Duration>,
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", &format_args!("/problems#{}", self.code))?;
        map.serialize_entry("title", self.code.meaning())?;
        map.serialize_entry("status", &self.status().as_u16())?;
        map.serialize_entry("detail", &self.detail)?;
        map.serialize_entry("code", self.code.as_str())?;
        if !self.errors.is_empty() {
            map.serialize_entry("errors", &self.errors)?;
        }
        for (name, value) in &self.members {
            map.serialize_entry(name, value)?;
        }
        map.end()
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
    /// Creates an error of a field of the body.
    pub fn field(pointer: impl Into<String>, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { pointer: Some(pointer.into()), parameter: None, detail: detail.into() }
    }

    /// Creates an error of a query parameter.
    pub fn parameter(name: impl Into<String>, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { pointer: None, parameter: Some(name.into()), detail: detail.into() }
    }
}

impl Problem {
    /// Creates a problem with this code.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), errors: Vec::new(), members: Vec::new(), retry_after: None }
    }

    /// Creates a problem of invalid input.
    ///
    /// The detail describes the first three errors. The first 100 errors are listed.
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

    /// Returns the rejection for temporarily missing memory or capacity.
    pub fn overloaded() -> Self {
        Self::new(ErrorCode::Overloaded, OVERLOADED).retry_after(Duration::from_secs(1))
    }

    /// Returns the response to a request that failed because of a defect of the gateway.
    pub fn internal() -> Self {
        Self::new(ErrorCode::InternalError, "an internal error; it has been logged")
    }

    /// Adds an extension member.
    ///
    /// A value that cannot be serialised is omitted, which no struct of strings and numbers is.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &impl Serialize) -> Self {
        if let Ok(value) = serde_json::value::to_raw_value(value) {
            self.members.push((name, value.into()));
        }
        self
    }

    /// Adds a `Retry-After` header.
    pub fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// Serialises the problem as JSON.
    pub fn to_json(&self) -> Vec<u8> {
        // A struct of strings and numbers can always be serialised.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Returns the error code, which programs compare.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// Returns the description for people.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Returns the delay of `Retry-After`, if there is one.
    pub fn wait(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns the HTTP status.
    pub fn status(&self) -> StatusCode {
        status(self.code.kind())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = self.to_json();
        let mut response = (self.status(), [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        if let Some(wait) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, retry_after(wait));
        }
        let challenge = match self.code {
            ErrorCode::Unauthenticated => Some("Bearer"),
            ErrorCode::TokenExpired => Some("Bearer error=\"invalid_token\""),
            _ => None,
        };
        if let Some(challenge) = challenge {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

/// Returns the value of `Retry-After`: whole seconds, at least 1.
pub fn retry_after(wait: Duration) -> HeaderValue {
    HeaderValue::from((wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1))
}

/// Returns the HTTP status of this kind of error.
pub fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Malformed | ErrorKind::Document => StatusCode::BAD_REQUEST,
        ErrorKind::RuleBroken => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::WrongHost => StatusCode::MISDIRECTED_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Gone => StatusCode::GONE,
        ErrorKind::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
        ErrorKind::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
        ErrorKind::ReceiveTimeout => StatusCode::REQUEST_TIMEOUT,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        ErrorKind::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::UriTooLong => StatusCode::URI_TOO_LONG,
        ErrorKind::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        ErrorKind::WrongMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ErrorKind::TooMany => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serialised_problem_has_its_members_in_order() {
        let errors = vec![InputError::field("/a", "is wrong")];
        let problem = Problem::input(ErrorCode::InvalidInput, errors).with("orderId", &"x").with("n", &1);
        assert_eq!(
            String::from_utf8(problem.to_json()).unwrap(),
            r#"{"type":"/problems#invalid_input","title":"TITLE","status":400,"detail":"/a is wrong","code":"invalid_input","errors":[{"pointer":"/a","detail":"is wrong"}],"orderId":"x","n":1}"#
                .replace("TITLE", ErrorCode::InvalidInput.meaning())
        );
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
    fn a_missing_credential_has_a_challenge() {
        let challenge =
            |code| Problem::new(code, "x").into_response().headers().get("www-authenticate").cloned();
        assert_eq!(challenge(ErrorCode::Unauthenticated).unwrap(), "Bearer");
        assert_eq!(challenge(ErrorCode::TokenExpired).unwrap(), "Bearer error=\"invalid_token\"");
        assert_eq!(challenge(ErrorCode::Forbidden), None);
    }

    #[test]
    fn the_limits_are_documented() {
        limits_page::row("errors in a response, over all rows of a bulk create", &MAX_ERRORS.to_string());
    }
}
