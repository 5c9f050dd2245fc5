//! Redriving the dead letters that match a filter. They are listed with `orders(filter: {statuses:
//! [FAILED], …})`.

use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use domain::{Currency, OrderId};

use super::Services;
use super::errors::fault;
use super::list::OrderFilter;
use super::mutation::{UserError, requester};
use super::scalars::DateTime;
use crate::orders::{MAX_RATE, MAX_REDRIVEN, Redrive};
use domain::query::{Filter, Sort};

/// Which failed orders to try again, and how.
#[derive(InputObject)]
pub(crate) struct RedriveOrdersInput {
    /// Which ones; everything that is set must match, and `{}` means all. It is always about failed
    /// orders, so statuses are not looked at.
    filter: OrderFilter,
    /// Only look which ones it would be.
    #[graphql(default)]
    dry_run: bool,
    /// So many may be started in each second, 1 to 10,000, so that what failed is not overrun; all at once
    /// when absent.
    rate_per_second: Option<i32>,
    /// At most so many, 1 to 1,000; 1,000 when absent.
    limit: Option<i32>,
    /// To go on: `next` of the last answer.
    after: Option<ID>,
    /// To go on at the same rate: `nextStartAt` of the last answer.
    start_at: Option<DateTime>,
    /// Who asks, for their timelines: 1 to 100 characters.
    requested_by: Option<String>,
    /// Why, for their timelines; cut after 500 characters.
    reason: Option<String>,
}

/// What a redrive has done.
#[derive(SimpleObject, Default)]
pub(crate) struct RedriveOrdersPayload {
    /// How many orders were redriven or, in a dry run, would be.
    count: i32,
    /// Their ids, newest first.
    order_ids: Vec<ID>,
    /// When there are more: give it as `after`.
    next: Option<ID>,
    /// When the order behind the last one may be started: give it as `startAt`.
    next_start_at: Option<DateTime>,
    /// What is wrong with the input; empty when it was accepted.
    user_errors: Vec<UserError>,
}

/// Redriving many orders.
#[derive(Default)]
pub(crate) struct DeadLetterMutation;

/// Redriving many orders.
#[Object]
impl DeadLetterMutation {
    /// Gives the failed orders that match a new set of attempts. With a rate each gets a time of its own
    /// before which it is not started, which outlives whatever happens to this gateway.
    async fn redrive_orders(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which orders, and how.")] input: RedriveOrdersInput,
    ) -> Option<Result<RedriveOrdersPayload>> {
        let services = ctx.data_unchecked::<Arc<Services>>();
        let redrive = match read(input, services.default_currency) {
            Ok(redrive) => redrive,
            Err(user_errors) => {
                return Some(Ok(RedriveOrdersPayload { user_errors, ..RedriveOrdersPayload::default() }));
            }
        };
        let redriven = services.orders.redrive_all(&redrive).await;
        let id = |id: OrderId| ID(id.to_string());
        Some(redriven.map_err(fault).map(|redriven| RedriveOrdersPayload {
            count: i32::try_from(redriven.orders.len()).unwrap_or(i32::MAX),
            order_ids: redriven.orders.into_iter().map(id).collect(),
            next: redriven.next.map(id),
            next_start_at: Some(DateTime(redriven.next_start_at)),
            user_errors: Vec::new(),
        }))
    }
}

fn read(
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
    let requester = match requester(input.requested_by) {
        Ok(requester) => requester,
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
