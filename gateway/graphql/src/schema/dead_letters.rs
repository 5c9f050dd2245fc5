//! Redrives the dead letters that match a filter. `orders(filter: {statuses: [FAILED], …})` lists them.

use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use domain::{Currency, OrderId};

use crate::errors::to_graphql_error;
use crate::schema::list::OrderFilter;
use crate::schema::mutation::{UserError, actor};
use crate::schema::scalars::DateTime;
use crate::services::{Services, caller};
use domain::query::{Filter, Sort};
use gateway_service::orders::{MAX_RATE, MAX_REDRIVEN, Redrive};

/// The failed orders to redrive, and the options.
#[derive(InputObject)]
pub(crate) struct RedriveOrdersInput {
    /// Filter of the failed orders; `{}` selects all. `statuses` has no effect.
    filter: OrderFilter,
    /// Return the matching orders without redriving them.
    #[graphql(default)]
    dry_run: bool,
    /// Maximum starts per second: 1 to 10,000. Default: unlimited.
    rate_per_second: Option<i32>,
    /// Maximum number of orders: 1 to 1,000. Default: 1,000.
    limit: Option<i32>,
    /// Cursor: `next` of the previous response.
    after: Option<ID>,
    /// Start time that continues the rate: `nextStartAt` of the previous response.
    start_at: Option<DateTime>,
    /// Requester, for the timelines: 1 to 100 characters.
    requested_by: Option<String>,
    /// Reason for the timelines; truncated to 500 characters.
    reason: Option<String>,
}

/// Result of a redrive.
#[derive(SimpleObject, Default)]
pub(crate) struct RedriveOrdersPayload {
    /// Number of orders redriven, or selected by a dry run.
    count: i32,
    /// Ids of the orders, newest first.
    order_ids: Vec<ID>,
    /// Cursor for `after`; null at the end.
    next: Option<ID>,
    /// Start time of the next order, for `startAt`.
    next_start_at: Option<DateTime>,
    /// Errors of the input; empty on success.
    user_errors: Vec<UserError>,
}

/// Redriving many orders.
#[derive(Default)]
pub(crate) struct DeadLetterMutation;

/// Redriving many orders.
#[Object]
impl DeadLetterMutation {
    /// Redrives the failed orders that match: each gets a new set of attempts. With a rate, each
    /// order stores its start time, so the rate survives restarts.
    async fn redrive_orders(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The orders and the options.")] input: RedriveOrdersInput,
    ) -> Option<Result<RedriveOrdersPayload>> {
        let services = ctx.data_unchecked::<Arc<Services>>();
        let redrive = match read(ctx, input, services.default_currency) {
            Ok(redrive) => redrive,
            Err(user_errors) => {
                return Some(Ok(RedriveOrdersPayload { user_errors, ..RedriveOrdersPayload::default() }));
            }
        };
        let redriven = services.orders.redrive_all(caller(ctx), &redrive).await;
        let id = |id: OrderId| ID(id.to_string());
        Some(redriven.map_err(to_graphql_error).map(|redriven| RedriveOrdersPayload {
            count: i32::try_from(redriven.orders.len()).unwrap_or(i32::MAX),
            order_ids: redriven.orders.into_iter().map(id).collect(),
            next: redriven.next.map(id),
            next_start_at: Some(DateTime(redriven.next_start_at)),
            user_errors: Vec::new(),
        }))
    }
}

fn read(
    ctx: &Context<'_>,
    input: RedriveOrdersInput,
    default_currency: Currency,
) -> std::result::Result<Redrive, Vec<UserError>> {
    let mut errors = Vec::new();
    let mut count = |name, value: Option<i32>, max: u32| {
        let value = value?;
        let count = u32::try_from(value).ok().filter(|count| (1..=max).contains(count));
        if count.is_none() {
            errors.push(UserError::input(name, format!("must be 1 to {max}, is {value}")));
        }
        count
    };
    let limit = count("limit", input.limit, MAX_REDRIVEN).unwrap_or(MAX_REDRIVEN);
    let rate = count("ratePerSecond", input.rate_per_second, MAX_RATE);
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
    let requester = match actor(ctx, input.requested_by) {
        Ok(actor) => actor,
        Err(error) => {
            errors.push(error);
            return Err(errors);
        }
    };
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Redrive {
        filter,
        after,
        limit,
        dry_run: input.dry_run,
        start_at: input.start_at.map(|at| at.0),
        rate,
        requester,
        reason: input.reason,
    })
}
