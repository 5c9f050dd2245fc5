//! The mutation that replaces an order.

use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};

use crate::response_budget::Budget;
use crate::schema::mutation::{CreateOrderInput, UserError, actor, order_id, split_outcome};
use crate::schema::types::Order;
use crate::services::{Services, caller};

/// The order to replace, and the new one.
#[derive(InputObject)]
pub(crate) struct ReplaceOrderInput {
    /// The id of the order to replace.
    order_id: ID,
    /// The new order.
    order: CreateOrderInput,
    /// Replace the order only while its `sequence` is this. Default: always.
    if_sequence: Option<i32>,
}

/// The new order or the errors.
#[derive(SimpleObject)]
pub(crate) struct ReplaceOrderPayload {
    /// The new order; null on an error.
    order: Option<Order>,
    /// True if an earlier request with the same idempotency key replaced the order. The response is the
    /// original one.
    idempotent_replay: bool,
    /// Errors of the input; empty on success. A response contains at most 100 errors.
    user_errors: Vec<UserError>,
}

/// The mutation that replaces an order.
#[derive(Default)]
pub(crate) struct ReplaceMutation;

/// The mutation that replaces an order.
#[Object]
impl ReplaceMutation {
    /// Replaces an order that no worker has started: cancels it and creates another one, in one
    /// transaction. Each order names the other.
    async fn replace_order(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The order and the new one.")] input: ReplaceOrderInput,
        #[graphql(
            desc = "Idempotency key, as for `createOrder`: the same key with the same input returns the original order."
        )]
        idempotency_key: Option<String>,
    ) -> Option<Result<ReplaceOrderPayload>> {
        let refused = |error| {
            let user_errors = vec![error];
            Some(Ok(ReplaceOrderPayload { order: None, idempotent_replay: false, user_errors }))
        };
        let key = match idempotency_key.map(|key| key.parse()).transpose() {
            Ok(key) => key,
            Err(error) => return refused(UserError::bad_key(&error)),
        };
        let (id, actor) = match (order_id(&input.order_id), actor(ctx, None)) {
            (Ok(id), Ok(actor)) => (id, actor),
            (Err(error), _) | (_, Err(error)) => return refused(error),
        };
        // No order has a negative sequence.
        let expected = input.if_sequence.map(|sequence| vec![u32::try_from(sequence).unwrap_or(0)]);
        let orders = &ctx.data_unchecked::<Arc<Services>>().orders;
        let replaced = orders.replace(caller(ctx), id, input.order.into(), key, expected, &actor).await;
        let idempotent_replay = replaced.as_ref().is_ok_and(|created| created.replayed);
        let outcome = split_outcome(replaced.map(|created| created.order.into()));
        Some(outcome.map(|(order, user_errors)| {
            let user_errors = Budget::of(ctx).first_errors(user_errors);
            ReplaceOrderPayload { order, idempotent_replay, user_errors }
        }))
    }
}
