//! API keys: lists, creates, rotates and revokes them.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, StatusCode};
use domain::{
    ErrorCode, Limits, MAX_BURST, MAX_RATE, MAX_STREAM_LIMIT, Principal, Role, Scope, Scopes, TenantId,
    Timestamp,
};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::api_error::{ApiError, ProblemSchema, UNAVAILABLE};
use super::commands::request_id;
use super::page;
use crate::RestState;
use gateway_access::{
    self as access, IssuedKey, KeyError, KeyRequest, MAX_GRACE, MAX_KEY_NAME, MAX_KEY_TTL, NewKeyTenant,
};
use gateway_http::auth::Caller;
use gateway_http::body;
use gateway_http::json::{self, Decoder};
use gateway_http::problem::{InputError, Problem};
use gateway_http::query::Query;
use gateway_service::Error;
use gateway_store::{ApiKey, MAX_KEY_PAGE};

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Number of keys on a page without `limit`.
const DEFAULT_LIMIT: u32 = 100;
/// Lifetime of a key without `ttlDays`.
const TTL_DAYS: u32 = 90;
/// Time for which a rotated key stays valid without `graceHours`.
const GRACE_HOURS: u32 = 24;

/// The parameters of the page, for the documentation.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "`list` reads them")]
struct PageParams {
    /// Maximum number of keys on the page. Default: 100.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: (),
    /// Return keys after the one with this id.
    #[param(value_type = Option<String>)]
    after: (),
}

/// An API key without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ApiKey)]
pub(super) struct KeyView {
    /// Id: the part of the key before its secret.
    #[schema(example = "k3J9x2Qa")]
    id: String,
    /// Name.
    name: String,
    /// Tenant for which the key acts; null for all tenants.
    #[schema(required)]
    tenant: Option<String>,
    /// Scopes.
    #[schema(example = json!(["orders:read", "orders:write"]))]
    scopes: Vec<&'static str>,
    /// `active`, `expired` or `revoked`.
    state: &'static str,
    /// Time of creation.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Name of the caller that created it.
    created_by: String,
    /// End of its lifetime.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// Time of its revocation.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
    /// Its last use, within a minute.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
    /// Maximum rate of requests per second.
    #[schema(required)]
    rate_per_second: Option<u32>,
    /// Maximum number of requests at once; null means the rate.
    #[schema(required)]
    burst: Option<u32>,
    /// Maximum number of open streams.
    #[schema(required)]
    max_streams: Option<u32>,
}

/// A new API key.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = NewApiKey)]
pub(super) struct IssuedView {
    /// The key. It is not shown again.
    #[schema(example = "ord_k3J9x2Qa_…")]
    key: String,
    /// What is stored of it.
    stored: KeyView,
}

/// A key to create.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"name": "shop", "role": "writer", "ttlDays": 90}))]
#[expect(dead_code, reason = "`read` decodes the members")]
struct CreateKey {
    /// Name: 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// Preset of scopes: `reader`, `writer`, `operator`, `worker`, `owner` or `admin`. Either this or `scopes` is required.
    role: Option<String>,
    /// Scopes.
    scopes: Option<Vec<String>>,
    /// Tenant for which the key acts. Default: that of the caller.
    tenant: Option<String>,
    /// True for a key that acts for all tenants.
    all_tenants: Option<bool>,
    /// Lifetime in days: 1 to 400. Default: 90.
    #[schema(minimum = 1, maximum = 400)]
    ttl_days: Option<u32>,
    /// Maximum rate of requests per second: 1 to 1,000,000. Default: none.
    #[schema(minimum = 1, maximum = 1000000)]
    rate_per_second: Option<u32>,
    /// Maximum number of requests at once: 1 to 1,000,000. Requires a rate. Default: the rate.
    #[schema(minimum = 1, maximum = 1000000)]
    burst: Option<u32>,
    /// Maximum number of open streams: 1 to 1,000,000. Default: none.
    #[schema(minimum = 1, maximum = 1000000)]
    max_streams: Option<u32>,
}

/// Options of a rotation; optional.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"graceHours": 24, "ttlDays": 90}))]
#[expect(dead_code, reason = "`read` decodes the members")]
struct RotateKey {
    /// Time in hours for which the old key stays valid: 0 to 720. Default: 24.
    #[schema(minimum = 0, maximum = 720)]
    grace_hours: Option<u32>,
    /// Lifetime of the new key in days: 1 to 400. Default: 90.
    #[schema(minimum = 1, maximum = 400)]
    ttl_days: Option<u32>,
}

impl CreateKey {
    fn read(body: &[u8], caller: &Principal) -> Result<KeyRequest, Problem> {
        const FIELDS: [&str; 9] = [
            "name",
            "role",
            "scopes",
            "tenant",
            "allTenants",
            "ttlDays",
            "ratePerSecond",
            "burst",
            "maxStreams",
        ];
        let document = json::document(body)?;
        let mut decoder = Decoder::default();
        let Some(fields) = decoder.object("", document, &FIELDS) else {
            return Err(decoder.finish().err().unwrap_or_else(Problem::internal));
        };
        let name = fields.get("name").and_then(|(at, value)| decoder.checked(&at, value, MAX_KEY_NAME));
        if fields.get("name").is_none() {
            decoder.note("/name", "is required");
        }
        let role: Option<Role> = fields.get("role").and_then(|(at, value)| decoder.parsed(&at, value));
        let listed = fields.get("scopes").map(|(at, value)| {
            let words = decoder.array(&at, value).unwrap_or_default();
            let scope = |word| decoder.parsed::<Scopes>(&at, word).unwrap_or(Scopes::NONE);
            words.into_iter().map(scope).fold(Scopes::NONE, Scopes::union)
        });
        let tenant: Option<TenantId> =
            fields.get("tenant").and_then(|(at, value)| decoder.parsed(&at, value));
        let all = fields.get("allTenants").and_then(|(at, value)| decoder.boolean(&at, value));
        let ttl = days(&mut decoder, &fields);
        let scopes = match (role, listed) {
            (Some(role), None) => role.scopes(),
            (None, Some(scopes)) => scopes,
            (Some(_), Some(_)) => {
                decoder.note("/scopes", "must not be given together with role");
                Scopes::NONE
            }
            (None, None) => {
                if fields.get("role").is_none() {
                    decoder.note("/role", "or scopes is required");
                }
                Scopes::NONE
            }
        };
        if listed.is_some_and(Scopes::is_empty) {
            decoder.note("/scopes", "must not be empty");
        }
        let tenant = match (tenant, all) {
            (Some(_), Some(true)) => {
                decoder.note("/allTenants", "must not be true together with tenant");
                NewKeyTenant::All
            }
            (None, Some(true)) => NewKeyTenant::All,
            (Some(tenant), Some(false) | None) => NewKeyTenant::One(tenant),
            (None, Some(false) | None) => NewKeyTenant::One(caller.tenant.clone()),
        };
        let mut count =
            |name: &str, max| fields.get(name).and_then(|(at, value)| decoder.count(&at, value, max));
        let limits = Limits {
            rate_per_s: count("ratePerSecond", MAX_RATE),
            burst: count("burst", MAX_BURST),
            max_streams: count("maxStreams", MAX_STREAM_LIMIT),
            max_open: None,
        };
        if limits.burst.is_some() && limits.rate_per_s.is_none() {
            decoder.note("/burst", "requires ratePerSecond");
        }
        decoder.finish()?;
        Ok(KeyRequest { name: name.unwrap_or_default(), tenant, scopes, ttl, limits })
    }
}

impl RotateKey {
    /// Returns the grace period and the lifetime.
    fn read(body: &[u8]) -> Result<(Duration, Duration), Problem> {
        let document = json::document(body)?;
        let mut decoder = Decoder::default();
        let Some(fields) = decoder.object("", document, &["graceHours", "ttlDays"]) else {
            return Err(decoder.finish().err().unwrap_or_else(Problem::internal));
        };
        let max = u32::try_from(MAX_GRACE.as_secs() / HOUR.as_secs()).unwrap_or(u32::MAX);
        let hours = fields.get("graceHours").and_then(|(at, value)| {
            let hours = u32::try_from(decoder.whole(&at, value)?).ok().filter(|hours| *hours <= max);
            if hours.is_none() {
                decoder.note(&at, format!("must be a whole number from 0 to {max}"));
            }
            hours
        });
        let ttl = days(&mut decoder, &fields);
        decoder.finish()?;
        Ok((HOUR * hours.unwrap_or(GRACE_HOURS), ttl))
    }
}

fn days(decoder: &mut Decoder, fields: &json::Object<'_>) -> Duration {
    let max = u32::try_from(MAX_KEY_TTL.as_secs() / DAY.as_secs()).unwrap_or(u32::MAX);
    let days = fields.get("ttlDays").and_then(|(at, value)| decoder.count(&at, value, max));
    DAY * days.unwrap_or(TTL_DAYS)
}

impl KeyView {
    fn new(key: &ApiKey, now: Timestamp) -> Self {
        let state = match key.revoked_at {
            Some(_) => "revoked",
            None if key.is_active(now) => "active",
            None => "expired",
        };
        Self {
            id: key.id.clone(),
            name: key.name.clone(),
            tenant: key.tenant.as_ref().map(ToString::to_string),
            scopes: key.scopes.iter().map(Scope::as_str).collect(),
            state,
            created_at: key.created_at,
            created_by: key.created_by.clone(),
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
            last_used_at: key.last_used_at,
            rate_per_second: key.limits.rate_per_s,
            burst: key.limits.burst,
            max_streams: key.limits.max_streams,
        }
    }
}

impl IssuedView {
    fn new(issued: &IssuedKey) -> Self {
        let stored = KeyView::new(&issued.stored, issued.stored.created_at);
        Self { key: issued.key.expose().to_owned(), stored }
    }
}

/// Converts the error of a change or a read.
pub(super) fn refused(error: KeyError) -> ApiError {
    let detail = error.to_string();
    let field = |pointer: &'static str| {
        Problem::input(ErrorCode::InvalidInput, vec![InputError::field(pointer, detail.clone())])
    };
    let problem = match error {
        KeyError::Name(_) => field("/name"),
        KeyError::Ttl => field("/ttlDays"),
        KeyError::Grace => field("/graceHours"),
        KeyError::NoTenant(_) => field("/tenant"),
        KeyError::Store(error) => return Error::from(error).into(),
        error => Problem::new(error.code().unwrap_or(ErrorCode::InternalError), detail),
    };
    problem.into()
}

/// Returns a page of API keys, sorted by id. The `Link` header contains the next page. A key of one tenant lists the keys
/// of its tenant. Requires the scope `keys:manage`.
#[utoipa::path(
    get, path = "/api-keys", tag = "access", operation_id = "listApiKeys",
    params(PageParams),
    responses(
        (status = 200, description = "The page, with its `Link` header.", body = Vec<KeyView>),
        (status = 400, description = "`invalid_input`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(state): State<RestState>,
    Caller(caller): Caller,
    RawQuery(query): RawQuery,
) -> Result<(HeaderMap, Json<Vec<KeyView>>), ApiError> {
    let mut query = Query::new(query.as_deref(), &["limit", "after"]);
    let limit = page::limit(&mut query, DEFAULT_LIMIT, MAX_KEY_PAGE);
    let after = query.one("after");
    query.finish()?;
    let keys = access::list(&state.store, &caller, after.as_deref(), limit).await.map_err(refused)?;
    let last = keys.last().filter(|_| keys.len() >= limit as usize).map(|key| key.id.as_str());
    let links = page::next_link("/api-keys", limit, "after", last);
    let now = state.store.now();
    Ok((links, Json(keys.iter().map(|key| KeyView::new(key, now)).collect())))
}

/// Creates an API key with no more rights than the caller's. The response contains the key, which is not shown again.
/// Requires the scope `keys:manage`.
#[utoipa::path(
    post, path = "/api-keys", tag = "access", operation_id = "createApiKey",
    request_body(content = CreateKey, content_type = "application/json"),
    responses(
        (status = 201, description = "The key.", body = IssuedView),
        (status = 400, description = "`malformed_json`, `invalid_input`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`: the caller lacks the scope or the tenant", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 422, description = "`key_limit`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn create(
    State(state): State<RestState>,
    Caller(caller): Caller,
    request: Request,
) -> Result<(StatusCode, Json<IssuedView>), ApiError> {
    let id = request_id(request.headers());
    let body = body::json(request, &state.context.limits, &state.context.buffers.bodies).await?;
    let key = CreateKey::read(&body, &caller)?;
    let issued = access::create(&state.store, &caller, &key, id).await.map_err(refused)?;
    Ok((StatusCode::CREATED, Json(IssuedView::new(&issued))))
}

/// Creates an API key with the name and the scopes of another one, which stays valid for the grace period. Requires the
/// scope `keys:manage`.
#[utoipa::path(
    post, path = "/api-keys/{id}/rotate", tag = "access", operation_id = "rotateApiKey",
    params(("id" = String, Path, description = "The id of the key.")),
    request_body(content = Option<RotateKey>, content_type = "application/json"),
    responses(
        (status = 201, description = "The new key.", body = IssuedView),
        (status = 400, description = "`malformed_json`, `invalid_input`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 404, description = "`key_not_found`: no active key has this id", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn rotate(
    State(state): State<RestState>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    request: Request,
) -> Result<(StatusCode, Json<IssuedView>), ApiError> {
    let request_id = request_id(request.headers());
    let body = body::optional_json(request, &state.context.limits, &state.context.buffers.bodies).await?;
    let (grace, ttl) = body.map_or_else(|| RotateKey::read(b"{}"), |body| RotateKey::read(&body))?;
    let issued = access::rotate(&state.store, &caller, &id, grace, ttl, request_id).await.map_err(refused)?;
    Ok((StatusCode::CREATED, Json(IssuedView::new(&issued))))
}

/// Revokes an API key. All gateways refuse it within a second, and its open streams end within two. Repeating the
/// request has no effect. Requires the scope `keys:manage`.
#[utoipa::path(
    delete, path = "/api-keys/{id}", tag = "access", operation_id = "revokeApiKey",
    params(("id" = String, Path, description = "The id of the key.")),
    responses(
        (status = 200, description = "The key, revoked.", body = KeyView),
        (status = 403, description = "`forbidden`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 404, description = "`key_not_found`: no key has this id", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn revoke(
    State(state): State<RestState>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<KeyView>, ApiError> {
    let request_id = request_id(request.headers());
    let key = access::revoke(&state.store, &caller, &id, request_id).await.map_err(refused)?;
    Ok(Json(KeyView::new(&key, state.store.now())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller() -> Principal {
        Principal::anonymous()
    }

    fn pointers(body: &str) -> Vec<String> {
        let problem = CreateKey::read(body.as_bytes(), &caller()).unwrap_err();
        let problem = serde_json::to_value(&problem).unwrap();
        problem["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| error["pointer"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn a_key_has_a_role_or_scopes() {
        let read = |body: &str| CreateKey::read(body.as_bytes(), &caller()).unwrap();
        let key = read(r#"{"name": "shop", "role": "writer"}"#);
        assert_eq!((key.scopes, key.tenant), (Role::Writer.scopes(), NewKeyTenant::One(TenantId::default())));
        assert_eq!(key.ttl, DAY * TTL_DAYS);
        let key =
            read(r#"{"name": "x", "scopes": ["work", "orders:read"], "allTenants": true, "ttlDays": 1}"#);
        assert_eq!(key.scopes, Scopes::of(&[Scope::Work, Scope::OrdersRead]));
        assert_eq!((key.tenant, key.ttl), (NewKeyTenant::All, DAY));
        assert_eq!(pointers("{}"), ["/name", "/role"]);
        assert_eq!(pointers(r#"{"name": "x", "role": "king"}"#), ["/role"]);
        assert_eq!(pointers(r#"{"name": "x", "role": "reader", "scopes": ["work"]}"#), ["/scopes"]);
        assert_eq!(pointers(r#"{"name": "x", "scopes": []}"#), ["/scopes"]);
        assert_eq!(pointers(r#"{"name": "x", "scopes": ["work", "play"]}"#), ["/scopes"]);
        assert_eq!(pointers(r#"{"name": "", "role": "reader", "ttlDays": 401}"#), ["/name", "/ttlDays"]);
        let both = r#"{"name": "x", "role": "reader", "tenant": "shop", "allTenants": true}"#;
        assert_eq!(pointers(both), ["/allTenants"]);
        let limited = r#"{"name": "x", "role": "reader", "ratePerSecond": 5, "burst": 9, "maxStreams": 2}"#;
        let limits = Limits { rate_per_s: Some(5), burst: Some(9), max_streams: Some(2), max_open: None };
        assert_eq!(read(limited).limits, limits);
        assert_eq!(pointers(r#"{"name": "x", "role": "reader", "burst": 9}"#), ["/burst"]);
        assert_eq!(pointers(r#"{"name": "x", "role": "reader", "ratePerSecond": 0}"#), ["/ratePerSecond"]);
    }

    #[test]
    fn a_rotation_has_limits() {
        let day = Duration::from_secs(24 * 60 * 60);
        assert_eq!(RotateKey::read(b"{}").unwrap(), (day, day * TTL_DAYS));
        assert_eq!(
            RotateKey::read(br#"{"graceHours": 0, "ttlDays": 2}"#).unwrap(),
            (Duration::ZERO, day * 2)
        );
        for body in
            [r#"{"graceHours": 721}"#, r#"{"graceHours": -1}"#, r#"{"ttlDays": 0}"#, r#"{"grace": 1}"#]
        {
            assert_eq!(
                RotateKey::read(body.as_bytes()).unwrap_err().code(),
                ErrorCode::InvalidInput,
                "{body}"
            );
        }
    }
}
