//! API keys and the audit log.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, Result, SimpleObject};
use domain::{InvalidOrderId, Timestamp};
use gateway_access::{self as access, IssuedKey, KeyError};
use gateway_service::Error;
use gateway_store as store;

use crate::errors::{bad_input, field_error, to_graphql_error};
use crate::request::RequestId;
use crate::schema::api_key_input::{CreateApiKeyInput, RevokeApiKeyInput, RotateApiKeyInput, read_request};
use crate::schema::list::{DEFAULT_PAGE, PageInfo, size};
use crate::schema::mutation::UserError;
use crate::schema::scalars::DateTime;
use crate::services::{Services, caller};

/// An API key without its secret.
#[derive(SimpleObject, Clone)]
pub(crate) struct ApiKey {
    /// Id: the part of the key before its secret.
    id: ID,
    /// Name.
    name: String,
    /// Tenant for which the key acts; null for all tenants.
    tenant: Option<String>,
    /// Scopes.
    scopes: Vec<String>,
    /// `active`, `expired` or `revoked`.
    state: String,
    /// Time of creation.
    created_at: DateTime,
    /// Name of the caller that created it.
    created_by: String,
    /// End of its lifetime.
    expires_at: DateTime,
    /// Time of its revocation.
    revoked_at: Option<DateTime>,
    /// Its last use, within a minute.
    last_used_at: Option<DateTime>,
    /// Maximum rate of requests per second.
    rate_per_second: Option<u32>,
    /// Maximum number of requests at once; null means the rate.
    burst: Option<u32>,
    /// Maximum number of open streams.
    max_streams: Option<u32>,
}

impl ApiKey {
    fn new(key: store::ApiKey, now: Timestamp) -> Self {
        let state = match key.revoked_at {
            Some(_) => "revoked",
            None if key.is_active(now) => "active",
            None => "expired",
        };
        Self {
            id: ID(key.id),
            name: key.name,
            tenant: key.tenant.map(|tenant| tenant.to_string()),
            scopes: key.scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
            state: state.to_owned(),
            created_at: DateTime(key.created_at),
            created_by: key.created_by,
            expires_at: DateTime(key.expires_at),
            revoked_at: key.revoked_at.map(DateTime),
            last_used_at: key.last_used_at.map(DateTime),
            rate_per_second: key.limits.rate_per_s,
            burst: key.limits.burst,
            max_streams: key.limits.max_streams,
        }
    }
}

/// A page of API keys.
#[derive(SimpleObject)]
pub(crate) struct ApiKeyConnection {
    /// The keys, sorted by id.
    nodes: Vec<ApiKey>,
    /// Position of the page in the list.
    page_info: PageInfo,
}

/// An action of an operator.
#[derive(SimpleObject)]
pub(crate) struct AuditEntry {
    /// Id, which sorts by time.
    id: ID,
    /// Tenant of the changed object.
    tenant: String,
    /// Time of the action.
    at: DateTime,
    /// Name of the caller, such as `key:k3J9x2Qa`.
    actor: String,
    /// Action, such as `key.revoke`.
    action: String,
    /// Id of the changed object.
    target: String,
    /// Id of the request (`X-Request-Id`); null for a command on the database.
    request_id: Option<String>,
    /// Description of the change, if the action does not state it.
    detail: Option<String>,
}

impl From<store::AuditEntry> for AuditEntry {
    fn from(entry: store::AuditEntry) -> Self {
        Self {
            id: ID(entry.id.to_string()),
            tenant: entry.tenant.to_string(),
            at: DateTime(entry.at),
            actor: entry.actor,
            action: entry.action,
            target: entry.target,
            request_id: entry.request_id,
            detail: entry.detail,
        }
    }
}

/// A page of the audit log.
#[derive(SimpleObject)]
pub(crate) struct AuditLogConnection {
    /// The entries, newest first.
    nodes: Vec<AuditEntry>,
    /// Position of the page in the list.
    page_info: PageInfo,
}

/// Result of a mutation of an API key.
#[derive(SimpleObject, Default)]
pub(crate) struct ApiKeyPayload {
    /// What is stored of the key; null on an error.
    api_key: Option<ApiKey>,
    /// The key itself, after it was created. It is not shown again.
    secret: Option<String>,
    /// The errors; empty on success.
    user_errors: Vec<UserError>,
}

impl ApiKeyPayload {
    fn issued(issued: IssuedKey) -> Self {
        let now = issued.stored.created_at;
        let secret = Some(issued.key.expose().to_owned());
        Self { api_key: Some(ApiKey::new(issued.stored, now)), secret, user_errors: Vec::new() }
    }

    fn refused(user_errors: Vec<UserError>) -> Self {
        Self { user_errors, ..Self::default() }
    }
}

/// Queries of API keys and the audit log.
#[derive(Default)]
pub(crate) struct AccessQuery;

/// Queries of API keys and the audit log.
#[Object]
impl AccessQuery {
    /// Returns API keys, sorted by id. A key of one tenant lists the keys of its tenant. Requires the scope
    /// `keys:manage`.
    async fn api_keys(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Page size: 1 to 100. Default: 20.")] first: Option<i32>,
        #[graphql(desc = "Cursor: `endCursor` of the previous page.")] after: Option<String>,
    ) -> Option<Result<ApiKeyConnection>> {
        Some(keys(ctx, first, after.as_deref()).await)
    }

    /// Returns the audit log, newest entry first. A key for all tenants with the scope `admin` reads all entries,
    /// another one those of its tenant. Requires the scope `keys:manage`.
    async fn audit_log(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Page size: 1 to 100. Default: 20.")] first: Option<i32>,
        #[graphql(desc = "Cursor: `endCursor` of the previous page.")] after: Option<String>,
    ) -> Option<Result<AuditLogConnection>> {
        Some(entries(ctx, first, after.as_deref()).await)
    }
}

async fn keys(ctx: &Context<'_>, first: Option<i32>, after: Option<&str>) -> Result<ApiKeyConnection> {
    let store = &ctx.data_unchecked::<Arc<Services>>().store;
    let limit = size("first", first.unwrap_or(DEFAULT_PAGE))?;
    let mut keys = access::list(store, caller(ctx), after, limit + 1).await.map_err(to_error)?;
    let has_next_page = keys.len() > limit as usize;
    keys.truncate(limit as usize);
    let now = store.now();
    let nodes: Vec<_> = keys.into_iter().map(|key| ApiKey::new(key, now)).collect();
    let cursor = |key: Option<&ApiKey>| key.map(|key| key.id.to_string());
    let page_info = PageInfo::of(has_next_page, after.is_some(), cursor(nodes.first()), cursor(nodes.last()));
    Ok(ApiKeyConnection { nodes, page_info })
}

async fn entries(ctx: &Context<'_>, first: Option<i32>, after: Option<&str>) -> Result<AuditLogConnection> {
    let store = &ctx.data_unchecked::<Arc<Services>>().store;
    let limit = size("first", first.unwrap_or(DEFAULT_PAGE))?;
    let before = after.map(str::parse).transpose();
    let before = before.map_err(|error: InvalidOrderId| bad_input(format!("after is {error}")))?;
    let mut entries = access::audit_log(store, caller(ctx), before, limit + 1).await.map_err(to_error)?;
    let has_next_page = entries.len() > limit as usize;
    entries.truncate(limit as usize);
    let nodes: Vec<_> = entries.into_iter().map(AuditEntry::from).collect();
    let cursor = |entry: Option<&AuditEntry>| entry.map(|entry| entry.id.to_string());
    let page_info = PageInfo::of(has_next_page, after.is_some(), cursor(nodes.first()), cursor(nodes.last()));
    Ok(AuditLogConnection { nodes, page_info })
}

/// Mutations of API keys.
#[derive(Default)]
pub(crate) struct AccessMutation;

/// Mutations of API keys.
#[Object]
impl AccessMutation {
    /// Creates an API key with no more rights than the caller's. Requires the scope `keys:manage`.
    async fn create_api_key(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The key.")] input: CreateApiKeyInput,
    ) -> Option<Result<ApiKeyPayload>> {
        let store = &ctx.data_unchecked::<Arc<Services>>().store;
        let request = match read_request(input, &caller(ctx).tenant) {
            Ok(request) => request,
            Err(errors) => return Some(Ok(ApiKeyPayload::refused(errors))),
        };
        let issued = access::create(store, caller(ctx), &request, RequestId::of(ctx)).await;
        Some(payload(issued.map(ApiKeyPayload::issued)))
    }

    /// Creates an API key with the name and the scopes of another one, which stays valid for the grace period. Requires
    /// the scope `keys:manage`.
    async fn rotate_api_key(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The key and the options.")] input: RotateApiKeyInput,
    ) -> Option<Result<ApiKeyPayload>> {
        let store = &ctx.data_unchecked::<Arc<Services>>().store;
        let (grace, ttl) = match input.read() {
            Ok(read) => read,
            Err(errors) => return Some(Ok(ApiKeyPayload::refused(errors))),
        };
        let request_id = RequestId::of(ctx);
        let issued = access::rotate(store, caller(ctx), &input.id, grace, ttl, request_id).await;
        Some(payload(issued.map(ApiKeyPayload::issued)))
    }

    /// Revokes an API key. All gateways refuse it within a second, and its open streams end within two. Repeating the
    /// mutation has no effect. Requires the scope `keys:manage`.
    async fn revoke_api_key(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The key.")] input: RevokeApiKeyInput,
    ) -> Option<Result<ApiKeyPayload>> {
        let store = &ctx.data_unchecked::<Arc<Services>>().store;
        let revoked = access::revoke(store, caller(ctx), &input.id, RequestId::of(ctx)).await;
        let shown =
            |key| ApiKeyPayload { api_key: Some(ApiKey::new(key, store.now())), ..ApiKeyPayload::default() };
        Some(payload(revoked.map(shown)))
    }
}

/// Returns errors that the client can avoid as data, and others as errors.
fn payload(result: std::result::Result<ApiKeyPayload, KeyError>) -> Result<ApiKeyPayload> {
    let error = match result {
        Ok(payload) => return Ok(payload),
        Err(error) => error,
    };
    let field = match &error {
        KeyError::Forbidden(_) | KeyError::Store(_) => return Err(to_error(error)),
        KeyError::Name(_) => Some("name"),
        KeyError::Ttl => Some("ttlDays"),
        KeyError::Grace => Some("graceHours"),
        KeyError::NoTenant(_) => Some("tenant"),
        KeyError::NotFound(_) => Some("id"),
        KeyError::Rights(_) | KeyError::LimitReached => None,
    };
    let code = error.code().map(|code| code.to_string()).unwrap_or_default();
    let field = field.map(|name| vec!["input".to_owned(), name.to_owned()]);
    Ok(ApiKeyPayload::refused(vec![UserError { code, message: error.to_string(), field }]))
}

fn to_error(error: KeyError) -> async_graphql::Error {
    match (error.code(), error) {
        (_, KeyError::Store(error)) => to_graphql_error(Error::from(error)),
        (Some(code), error) => field_error(code, error.to_string()),
        (None, _) => to_graphql_error(Error::Internal),
    }
}
