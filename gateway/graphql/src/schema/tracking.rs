//! Tracking links.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use domain::ErrorCode;
use gateway_access::{self as access, LINK_TTL, MAX_LINK_TTL, TrackingError};
use gateway_service::Error;

use crate::errors::{field_error, to_graphql_error};
use crate::request::RequestId;
use crate::schema::api_key_input::whole;
use crate::schema::mutation::{UserError, order_id};
use crate::schema::scalars::DateTime;
use crate::services::{Services, caller};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The order of a tracking link, and the lifetime of the link.
#[derive(InputObject)]
pub(crate) struct CreateTrackingLinkInput {
    /// The id of the order.
    order_id: ID,
    /// Lifetime in days: 1 to 400. Default: 30.
    ttl_days: Option<i32>,
}

/// A tracking link.
#[derive(SimpleObject)]
pub(crate) struct TrackingLink {
    /// Path of the tracking page with the token in the fragment. Precede it with the public address of the gateway.
    url: String,
    /// The token, for `Authorization: Tracking`.
    token: String,
    /// End of the link.
    expires_at: DateTime,
}

impl From<access::TrackingLink> for TrackingLink {
    fn from(link: access::TrackingLink) -> Self {
        Self { url: link.url(), token: link.token, expires_at: DateTime(link.expires_at) }
    }
}

/// The created link or the errors.
#[derive(SimpleObject)]
pub(crate) struct CreateTrackingLinkPayload {
    /// The link; null on an error.
    tracking_link: Option<TrackingLink>,
    /// The errors; empty on success.
    user_errors: Vec<UserError>,
}

/// Result of a revocation of links.
#[derive(SimpleObject)]
pub(crate) struct RevokeTrackingLinksPayload {
    /// The tenant whose links are revoked.
    tenant: String,
    /// Always empty.
    user_errors: Vec<UserError>,
}

/// Mutations of tracking links.
#[derive(Default)]
pub(crate) struct TrackingMutation;

/// Mutations of tracking links.
#[Object]
impl TrackingMutation {
    /// Creates a link for a customer, who follows the order with it until it ends. Requires the scope `orders:write`.
    async fn create_tracking_link(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The order.")] input: CreateTrackingLinkInput,
    ) -> Option<Result<CreateTrackingLinkPayload>> {
        let mut errors = Vec::new();
        let max = i32::try_from(MAX_LINK_TTL.as_secs() / DAY.as_secs()).unwrap_or(i32::MAX);
        let days = whole("ttlDays", input.ttl_days, 1..=max, &mut errors);
        let id = order_id(&input.order_id).map_err(|error| errors.push(error)).ok();
        let Some(id) = id.filter(|_| errors.is_empty()) else {
            return Some(Ok(CreateTrackingLinkPayload { tracking_link: None, user_errors: errors }));
        };
        let ttl = days.map_or(LINK_TTL, |days| DAY * days);
        let links = &ctx.data_unchecked::<Arc<Services>>().tracking;
        Some(match links.create(caller(ctx), id, ttl).await {
            Ok(link) => {
                Ok(CreateTrackingLinkPayload { tracking_link: Some(link.into()), user_errors: Vec::new() })
            }
            Err(error) => user_error(error)
                .map(|error| CreateTrackingLinkPayload { tracking_link: None, user_errors: vec![error] }),
        })
    }

    /// Revokes all tracking links of the tenant of the caller. Open pages lose their stream within two seconds. Requires
    /// the scope `orders:manage`.
    async fn revoke_tracking_links(&self, ctx: &Context<'_>) -> Option<Result<RevokeTrackingLinksPayload>> {
        let links = &ctx.data_unchecked::<Arc<Services>>().tracking;
        Some(match links.revoke(caller(ctx), RequestId::of(ctx)).await {
            Ok(tenant) => {
                Ok(RevokeTrackingLinksPayload { tenant: tenant.to_string(), user_errors: Vec::new() })
            }
            Err(error) => Err(to_error(error)),
        })
    }
}

/// Returns an error that the client can avoid as data, and another one as an error.
fn user_error(error: TrackingError) -> Result<UserError> {
    let message = error.to_string();
    let (field, code) = match error {
        TrackingError::NotFound(_) => ("orderId", ErrorCode::OrderNotFound),
        TrackingError::Ttl => ("ttlDays", ErrorCode::InvalidInput),
        error @ (TrackingError::Forbidden(_) | TrackingError::Store(_)) => return Err(to_error(error)),
    };
    Ok(UserError { code: code.to_string(), message, field: Some(vec!["input".to_owned(), field.to_owned()]) })
}

fn to_error(error: TrackingError) -> async_graphql::Error {
    match error {
        TrackingError::Forbidden(missing) => to_graphql_error(Error::from(missing)),
        TrackingError::NotFound(id) => to_graphql_error(Error::NotFound(id)),
        TrackingError::Store(error) => to_graphql_error(Error::from(error)),
        TrackingError::Ttl => field_error(ErrorCode::InvalidInput, error.to_string()),
    }
}
