//! The audit log.

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use domain::{OrderId, Timestamp};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::api_error::{ApiError, ProblemSchema, UNAVAILABLE};
use super::api_keys::refused;
use super::page;
use crate::RestState;
use gateway_access as access;
use gateway_http::auth::Caller;
use gateway_http::query::Query;
use gateway_store::{AuditEntry, MAX_AUDIT_PAGE};

/// Number of entries on a page without `limit`.
const DEFAULT_LIMIT: u32 = 100;

/// The parameters of the page, for the documentation.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "`list` reads them")]
struct PageParams {
    /// Maximum number of entries on the page. Default: 100.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500)]
    limit: (),
    /// Return entries before the one with this id.
    #[param(value_type = Option<String>, format = Uuid)]
    before: (),
}

/// An action of an operator.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AuditEntry)]
pub(super) struct AuditEntryView {
    /// Id, which sorts by time.
    #[schema(value_type = String, format = Uuid)]
    id: OrderId,
    /// Tenant of the changed object.
    tenant: String,
    /// Time of the action.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Name of the caller, such as `key:k3J9x2Qa`.
    #[schema(example = "key:k3J9x2Qa")]
    actor: String,
    /// Action.
    #[schema(example = "key.revoke")]
    action: String,
    /// Id of the changed object.
    target: String,
    /// Id of the request (`X-Request-Id`); null for a command on the database.
    #[schema(required)]
    request_id: Option<String>,
    /// Description of the change, if the action does not state it.
    #[schema(required)]
    detail: Option<String>,
}

impl From<AuditEntry> for AuditEntryView {
    fn from(entry: AuditEntry) -> Self {
        Self {
            id: entry.id,
            tenant: entry.tenant.to_string(),
            at: entry.at,
            actor: entry.actor,
            action: entry.action,
            target: entry.target,
            request_id: entry.request_id,
            detail: entry.detail,
        }
    }
}

/// Returns a page of the audit log, newest entry first. The `Link` header contains the next page. A key for all tenants
/// with the scope `admin` reads all entries, another one those of its tenant. Requires the scope `keys:manage`.
#[utoipa::path(
    get, path = "/audit-log", tag = "access", operation_id = "listAuditLog",
    params(PageParams),
    responses(
        (status = 200, description = "The page, with its `Link` header.", body = Vec<AuditEntryView>),
        (status = 400, description = "`invalid_input`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(state): State<RestState>,
    Caller(caller): Caller,
    RawQuery(query): RawQuery,
) -> Result<(HeaderMap, Json<Vec<AuditEntryView>>), ApiError> {
    let mut query = Query::new(query.as_deref(), &["limit", "before"]);
    let limit = page::limit(&mut query, DEFAULT_LIMIT, MAX_AUDIT_PAGE);
    let before: Option<OrderId> = query.parse("before");
    query.finish()?;
    let entries = access::audit_log(&state.store, &caller, before, limit).await.map_err(refused)?;
    let last = entries.last().filter(|_| entries.len() >= limit as usize).map(|entry| entry.id.to_string());
    let links = page::next_link("/audit-log", limit, "before", last.as_deref());
    Ok((links, Json(entries.into_iter().map(Into::into).collect())))
}
