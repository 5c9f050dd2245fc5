//! Sessions of browsers at `/session`: the page exchanges an API key for a cookie.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Response};
use domain::{Principal, Scope, Timestamp};
use gateway_http::auth::{MAX_SESSION_CREDENTIAL, clear_cookies};
use gateway_http::body;
use gateway_http::json::{self, Decoder};
use gateway_http::problem::Problem;
use gateway_http::streams::Client;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::health::HealthState;

/// Returns the routes with their documentation. They are public: each handler authenticates its caller.
pub(crate) fn routes() -> OpenApiRouter<HealthState> {
    OpenApiRouter::new().routes(routes!(begin)).routes(routes!(show)).routes(routes!(end))
}

/// The credential of a session.
#[derive(ToSchema)]
#[schema(example = json!({"credential": "ord_k3J9x2Qa_…"}))]
#[expect(dead_code, reason = "`read` decodes the members")]
struct BeginSession {
    /// An API key or a token.
    #[schema(min_length = 1, max_length = 2560)]
    credential: String,
}

/// A caller.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Session {
    /// Name, as in the audit log.
    #[schema(example = "key:k3J9x2Qa")]
    name: String,
    /// Tenant of lists, counts and new orders.
    tenant: String,
    /// True if orders of all tenants may be read and changed by their ids.
    all_tenants: bool,
    /// Scopes.
    scopes: Vec<&'static str>,
    /// End of the session or of the credential, whichever is earlier; null without one.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

impl Session {
    fn new(principal: &Principal, end: Option<Timestamp>) -> Self {
        Self {
            name: principal.name.to_string(),
            tenant: principal.tenant.to_string(),
            all_tenants: principal.all_tenants,
            scopes: principal.scopes.iter().map(Scope::as_str).collect(),
            expires_at: end.into_iter().chain(principal.expires_at).min(),
        }
    }
}

/// Begins a session of a browser: the response sets a cookie, which authenticates requests of pages of this host for 12
/// hours. Without authentication there is no cookie.
#[utoipa::path(
    post, path = "/session", tag = "access", operation_id = "beginSession",
    request_body(content = BeginSession, content_type = "application/json"),
    responses(
        (status = 200, description = "The caller.", body = Session),
        (status = 400, description = "`malformed_json`, `invalid_input`"),
        (status = 401, description = "`unauthenticated`, `token_expired`"),
        (status = 415, description = "`unsupported_media_type`"),
        (status = 429, description = "`rate_limited`: the address has failed too often"),
    )
)]
async fn begin(State(state): State<HealthState>, request: Request) -> Result<Response, Problem> {
    let context = &state.context;
    let Client(client) = Client::from(request.extensions(), request.headers(), &context.limits);
    let is_secure = context.limits.strict_transport_security
        || request.headers().get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
    let body = body::json(request, &context.limits, &context.buffers.bodies).await?;
    let credential = read(&body)?;
    let authorization = format!("Bearer {credential}");
    let principal = context.auth.authenticate(Some(authorization.as_bytes()), client).await?;
    let session = context.auth.begin_session(&credential, is_secure);
    let end = session.as_ref().map(|(_, end)| *end);
    let cookie = session.map(|(cookie, _)| (SET_COOKIE, cookie));
    Ok((AppendHeaders(cookie), Json(Session::new(&principal, end))).into_response())
}

fn read(body: &[u8]) -> Result<String, Problem> {
    let document = json::document(body)?;
    let mut decoder = Decoder::default();
    let fields = decoder.object("", document, &["credential"]);
    let field = fields.as_ref().and_then(|fields| fields.get("credential"));
    let is_missing = fields.is_some() && field.is_none();
    let credential = field.and_then(|(at, value)| decoder.checked(&at, value, MAX_SESSION_CREDENTIAL));
    if is_missing {
        decoder.note("/credential", "is required");
    }
    decoder.finish()?;
    Ok(credential.unwrap_or_default())
}

/// Returns the caller: of the cookie, or of the header `Authorization`.
#[utoipa::path(
    get, path = "/session", tag = "access", operation_id = "getSession",
    responses(
        (status = 200, description = "The caller.", body = Session),
        (status = 401, description = "`unauthenticated`, `token_expired`"),
    )
)]
async fn show(State(state): State<HealthState>, request: Request) -> Result<Json<Session>, Problem> {
    let context = &state.context;
    let Client(client) = Client::from(request.extensions(), request.headers(), &context.limits);
    let principal = context.auth.authenticate_headers(request.headers(), client).await?;
    Ok(Json(Session::new(&principal, context.auth.session_end(request.headers()))))
}

/// Ends the session of a browser: the response removes the cookie.
#[utoipa::path(
    delete, path = "/session", tag = "access", operation_id = "endSession",
    responses((status = 204, description = "There is no session."))
)]
async fn end() -> (StatusCode, HeaderMap) {
    let mut headers = HeaderMap::new();
    for cookie in clear_cookies() {
        headers.append(SET_COOKIE, cookie);
    }
    (StatusCode::NO_CONTENT, headers)
}

#[cfg(test)]
mod tests {
    use domain::ErrorCode;

    use super::*;

    #[test]
    fn the_credential_is_read() {
        assert_eq!(read(br#"{"credential": "ord_x"}"#).unwrap(), "ord_x");
        let long = format!(r#"{{"credential": "{}"}}"#, "x".repeat(MAX_SESSION_CREDENTIAL + 1));
        for wrong in ["{}", "[]", r#"{"credential": 1}"#, r#"{"credential": ""}"#, r#"{"key": "x"}"#, &long] {
            assert_eq!(read(wrong.as_bytes()).unwrap_err().code(), ErrorCode::InvalidInput, "{wrong}");
        }
    }

    #[test]
    fn the_earlier_end_is_shown() {
        let end = |micros| Some(Timestamp::from_micros(micros));
        let expires_at = end(5);
        let key = Principal { expires_at, ..Principal::anonymous() };
        assert_eq!(Session::new(&key, end(9)).expires_at, expires_at);
        assert_eq!(Session::new(&key, end(4)).expires_at, end(4));
        assert_eq!(Session::new(&Principal::anonymous(), None).expires_at, None);
    }
}
