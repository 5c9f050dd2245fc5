//! Cancels the orders that match a filter.

use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use domain::{Currency, OrderId};

use crate::errors::to_graphql_error;
use crate::schema::list::OrderFilter;
use crate::schema::mutation::{UserError, actor};
use crate::services::{Services, caller};
use domain::query::{Filter, Sort};
use gateway_service::orders::{BulkCancel, MAX_CANCELLED};

/// The orders to cancel, and the options.
#[derive(InputObject)]
pub(crate) struct CancelOrdersInput {
    /// Filter; `{}` selects all `PENDING` and `PROCESSING` orders. Other `statuses` select none.
    filter: OrderFilter,
    /// Return the matching orders without cancelling them.
    #[graphql(default)]
    dry_run: bool,
    /// Maximum number of orders: 1 to 1,000. Default: 1,000.
    limit: Option<i32>,
    /// Cursor: `next` of the previous response.
    after: Option<ID>,
    /// Requester, for the timelines: 1 to 100 characters.
    requested_by: Option<String>,
    /// Reason for the timelines; truncated to 500 characters.
    reason: Option<String>,
}

/// Result of a cancellation by filter.
#[derive(SimpleObject, Default)]
pub(crate) struct CancelOrdersPayload {
    /// Number of orders cancelled, or selected by a dry run.
    count: i32,
    /// Ids of the orders, newest first.
    order_ids: Vec<ID>,
    /// Cursor for `after`; null at the end.
    next: Option<ID>,
    /// Errors of the input; empty on success.
    user_errors: Vec<UserError>,
}

/// Cancelling many orders.
#[derive(Default)]
pub(crate) struct CancelOrdersMutation;

/// Cancelling many orders.
#[Object]
impl CancelOrdersMutation {
    /// Cancels the pending and processing orders that match. The workers of processing orders are told to
    /// stop.
    async fn cancel_orders(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The orders and the options.")] input: CancelOrdersInput,
    ) -> Option<Result<CancelOrdersPayload>> {
        let services = ctx.data_unchecked::<Arc<Services>>();
        let cancel = match read(ctx, input, services.default_currency) {
            Ok(cancel) => cancel,
            Err(user_errors) => {
                return Some(Ok(CancelOrdersPayload { user_errors, ..CancelOrdersPayload::default() }));
            }
        };
        let cancelled = services.orders.cancel_all(caller(ctx), &cancel).await;
        let id = |id: OrderId| ID(id.to_string());
        Some(cancelled.map_err(to_graphql_error).map(|cancelled| CancelOrdersPayload {
            count: i32::try_from(cancelled.orders.len()).unwrap_or(i32::MAX),
            order_ids: cancelled.orders.into_iter().map(id).collect(),
            next: cancelled.next.map(id),
            user_errors: Vec::new(),
        }))
    }
}

fn read(
    ctx: &Context<'_>,
    input: CancelOrdersInput,
    default_currency: Currency,
) -> std::result::Result<BulkCancel, Vec<UserError>> {
    let mut errors = Vec::new();
    let limit = input.limit.map_or(Some(MAX_CANCELLED), |limit| {
        u32::try_from(limit).ok().filter(|limit| (1..=MAX_CANCELLED).contains(limit))
    });
    if limit.is_none() {
        errors.push(UserError::input("limit", format!("must be 1 to {MAX_CANCELLED}")));
    }
    let after = match input.after.map(|id| id.parse()).transpose() {
        Ok(after) => after,
        Err(error) => {
            let error: domain::InvalidOrderId = error;
            errors.push(UserError::input("after", format!("is {error}")));
            None
        }
    };
    let filter = input.filter.check(Sort::default(), default_currency).unwrap_or_else(|problems| {
        errors.extend(problems.iter().map(UserError::filter));
        Filter::default()
    });
    let requester = actor(ctx, input.requested_by).map_err(|error| errors.push(error)).ok();
    match (errors.is_empty(), limit, requester) {
        (true, Some(limit), Some(requester)) => {
            Ok(BulkCancel { filter, after, limit, dry_run: input.dry_run, requester, reason: input.reason })
        }
        _ => Err(errors),
    }
}
