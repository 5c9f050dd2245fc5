//! What can be changed. A refusal that belongs to the business (a wrong order, an order that is
//! final) is data: it goes to `userErrors`. Whatever the client cannot change by sending something
//! else (the database is away) goes to `errors`.

use std::fmt::Display;

use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use domain::{Draft, DraftLineItem, InvalidIdempotencyKey, OrderId, text};

use super::Services;
use super::budget::Budget;
use super::errors::fault;
use super::scalars::{DateTime, Decimal};
use super::types::{Order, OrderPriority};
use crate::Error;
use crate::orders::{InvalidCriterion, Requester};

/// A new order. Either `item`, `quantity` and `price` of a single line item, or `lineItems`.
#[derive(InputObject)]
pub(crate) struct CreateOrderInput {
    /// What is bought: 1 to 200 characters. Goes with `quantity` and `price`, and not with `lineItems`.
    item: Option<String>,
    /// How many: 1 to 1,000,000. Goes with `item`.
    quantity: Option<i32>,
    /// The price of one unit, with at most the currency's decimals. Goes with `item`.
    price: Option<Decimal>,
    /// Several positions: 1 to 200. Takes the place of `item`, `quantity` and `price`.
    line_items: Option<Vec<LineItemInput>>,
    /// An ISO 4217 code such as EUR; the gateway's default currency when absent.
    currency: Option<String>,
    /// Who buys: 1 to 200 characters.
    customer: Option<String>,
    /// The shop's own number for the order: 1 to 200 characters.
    external_reference: Option<String>,
    /// Failures after which the order is failed: 1 to 100, 5 when absent.
    max_attempts: Option<i32>,
    /// How urgent it is; NORMAL when absent.
    priority: Option<OrderPriority>,
    /// It is not started before this time; at once when absent or past.
    process_after: Option<DateTime>,
}

/// One position of a new order.
#[derive(InputObject)]
pub(crate) struct LineItemInput {
    /// What is bought: 1 to 200 characters.
    item: String,
    /// How many: 1 to 1,000,000.
    quantity: i32,
    /// The price of one unit, with at most the currency's decimals.
    price: Decimal,
}

impl From<CreateOrderInput> for Draft {
    fn from(input: CreateOrderInput) -> Self {
        Self {
            item: input.item,
            quantity: input.quantity.map(i64::from),
            price: input.price.map(|price| price.0),
            line_items: input.line_items.map(|lines| lines.into_iter().map(Into::into).collect()),
            currency: input.currency,
            customer: input.customer,
            external_reference: input.external_reference,
            max_attempts: input.max_attempts.map(i64::from),
            priority: input.priority.map(|priority| domain::Priority::from(priority).to_string()),
            process_after: input.process_after.map(|at| at.0.to_string()),
        }
    }
}

impl From<LineItemInput> for DraftLineItem {
    fn from(input: LineItemInput) -> Self {
        Self { item: Some(input.item), quantity: Some(i64::from(input.quantity)), price: Some(input.price.0) }
    }
}

/// Which order to call off.
#[derive(InputObject)]
pub(crate) struct CancelOrderInput {
    /// The id of the order.
    order_id: ID,
    /// Why, for its timeline; cut after 500 characters.
    reason: Option<String>,
}

/// Which failed order to try again.
#[derive(InputObject)]
pub(crate) struct RedriveOrderInput {
    /// The id of the order.
    order_id: ID,
    /// Who asks, for its timeline: 1 to 100 characters.
    requested_by: Option<String>,
    /// Why, for its timeline; cut after 500 characters.
    reason: Option<String>,
}

/// Why a mutation was refused.
#[derive(SimpleObject)]
pub(crate) struct UserError {
    /// A stable word for machines, such as `invalid_order` or `order_final`.
    pub(super) code: String,
    /// For people.
    pub(super) message: String,
    /// The path of the input that is to blame, from the argument inwards; null when none is.
    pub(super) field: Option<Vec<String>>,
}

impl UserError {
    /// An argument of the input that does not make sense.
    pub(super) fn input(name: &str, message: impl Display) -> Self {
        let field = Some(vec!["input".to_owned(), name.to_owned()]);
        Self { code: "invalid_input".to_owned(), message: format!("{name} {message}"), field }
    }

    /// A part of the input's filter that does not make sense.
    pub(super) fn filter(problem: &InvalidCriterion) -> Self {
        let InvalidCriterion { name, message } = problem;
        let field = ["input", "filter", name].map(str::to_owned).to_vec();
        Self { code: "invalid_input".to_owned(), message: format!("{name} {message}"), field: Some(field) }
    }

    pub(super) fn bad_key(error: &InvalidIdempotencyKey) -> Self {
        Self {
            code: "invalid_idempotency_key".to_owned(),
            message: format!("idempotencyKey {error}"),
            field: Some(vec!["idempotencyKey".to_owned()]),
        }
    }
}

/// Who asks, as they call themselves.
pub(super) fn requester(name: Option<String>) -> std::result::Result<Requester, UserError> {
    match name.as_deref().map(|name| text::check(name, text::MAX_REQUESTER)) {
        Some(Err(message)) => Err(UserError::input("requestedBy", message)),
        Some(Ok(())) | None => Ok(Requester { name, via: "GraphQL" }),
    }
}

/// The new order, or why there is none.
#[derive(SimpleObject)]
pub(crate) struct CreateOrderPayload {
    /// The order; null when it was refused.
    order: Option<Order>,
    /// Whether the order was made before, by a request with the same idempotency key. It is shown as
    /// it was then.
    idempotent_replay: bool,
    /// What is wrong with the input; empty when it was accepted. A response has at most 100 errors in all.
    user_errors: Vec<UserError>,
}

/// The cancelled order, or why it was not cancelled.
#[derive(SimpleObject)]
pub(crate) struct CancelOrderPayload {
    /// The order as it is now; null when it was refused.
    order: Option<Order>,
    /// Why it was refused; empty when it was not.
    user_errors: Vec<UserError>,
}

/// The redriven order, or why it was not redriven.
#[derive(SimpleObject)]
pub(crate) struct RedriveOrderPayload {
    /// The order as it is now; null when it was refused.
    order: Option<Order>,
    /// Why it was refused; empty when it was not.
    user_errors: Vec<UserError>,
}

/// What can be changed about one order.
#[derive(Default)]
pub(crate) struct OrderMutation;

/// What can be changed about one order.
#[Object]
impl OrderMutation {
    /// Accepts an order. When this answers, the order is stored and will be processed.
    async fn create_order(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The order.")] input: CreateOrderInput,
        #[graphql(
            desc = "What you call this create, best a UUID: 1 to 255 visible ASCII characters. The same key with \
                    the same order again, within a day, answers the first order and makes no other."
        )]
        idempotency_key: Option<String>,
    ) -> Option<Result<CreateOrderPayload>> {
        let key = match idempotency_key.map(|key| key.parse()).transpose() {
            Ok(key) => key,
            Err(error) => {
                let user_errors = vec![UserError::bad_key(&error)];
                return Some(Ok(CreateOrderPayload { order: None, idempotent_replay: false, user_errors }));
            }
        };
        let created = ctx.data_unchecked::<Arc<Services>>().orders.create(input.into(), key).await;
        let idempotent_replay = created.as_ref().is_ok_and(|created| created.replayed);
        let outcome = settle(created.map(|created| created.order.into()));
        Some(outcome.map(|(order, user_errors)| {
            let user_errors = Budget::of(ctx).first_errors(user_errors);
            CreateOrderPayload { order, idempotent_replay, user_errors }
        }))
    }

    /// Calls an order off that is not final yet. Doing it again answers the same.
    async fn cancel_order(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which order, and why.")] input: CancelOrderInput,
    ) -> Option<Result<CancelOrderPayload>> {
        let orders = &ctx.data_unchecked::<Arc<Services>>().orders;
        let outcome = match order_id(&input.order_id) {
            Ok(id) => settle(orders.cancel(id, input.reason).await.map(Into::into)),
            Err(error) => Ok((None, vec![error])),
        };
        Some(outcome.map(|(order, user_errors)| CancelOrderPayload { order, user_errors }))
    }

    /// Gives a failed order a new set of attempts.
    async fn redrive_order(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which order, and why.")] input: RedriveOrderInput,
    ) -> Option<Result<RedriveOrderPayload>> {
        let orders = &ctx.data_unchecked::<Arc<Services>>().orders;
        let outcome = match order_id(&input.order_id) {
            Ok(id) => match requester(input.requested_by) {
                Ok(requester) => {
                    let order = orders.redrive(id, &requester, input.reason.as_deref()).await;
                    settle(order.map(Into::into))
                }
                Err(error) => Ok((None, vec![error])),
            },
            Err(error) => Ok((None, vec![error])),
        };
        Some(outcome.map(|(order, user_errors)| RedriveOrderPayload { order, user_errors }))
    }
}

fn order_id(id: &ID) -> std::result::Result<OrderId, UserError> {
    id.parse().map_err(|error: domain::InvalidOrderId| UserError {
        code: "invalid_order_id".to_owned(),
        message: error.to_string(),
        field: Some(vec!["input".to_owned(), "orderId".to_owned()]),
    })
}

/// Sorts an outcome into order, user errors and faults.
fn settle(outcome: std::result::Result<Order, Error>) -> Result<(Option<Order>, Vec<UserError>)> {
    let error = match outcome {
        Ok(order) => return Ok((Some(order), Vec::new())),
        Err(error) => error,
    };
    let code = error.code().to_owned();
    let message = error.to_string();
    match error {
        Error::Invalid(problems) => {
            let one = |problem: domain::Invalid| UserError {
                code: code.clone(),
                message: problem.to_string(),
                field: Some(std::iter::once("input".to_owned()).chain(problem.field.path()).collect()),
            };
            Ok((None, problems.into_iter().map(one).collect()))
        }
        Error::NotFound(_) => {
            let field = Some(vec!["input".to_owned(), "orderId".to_owned()]);
            Ok((None, vec![UserError { code, message, field }]))
        }
        Error::KeyReused => {
            let field = Some(vec!["idempotencyKey".to_owned()]);
            Ok((None, vec![UserError { code, message, field }]))
        }
        Error::Refused { .. } | Error::RowCount(_) | Error::OrderRefused => {
            Ok((None, vec![UserError { code, message, field: None }]))
        }
        Error::Unavailable { .. } | Error::OutcomeUnknown(_) | Error::Unreadable { .. } | Error::Internal => {
            Err(fault(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::transition::Refusal;
    use domain::{Currency, Status, Timestamp};

    use super::*;

    #[test]
    fn what_the_client_can_change_is_data_and_the_rest_is_a_fault() {
        let id = OrderId::new(Timestamp::from_micros(1));
        let invalid = Draft::default().check(Currency::USD).unwrap_err();
        let (order, errors) = settle(Err(Error::Invalid(invalid))).unwrap();
        assert!(order.is_none());
        let fields: Vec<_> = errors.into_iter().filter_map(|error| error.field).collect();
        assert_eq!(fields, [["input", "item"], ["input", "quantity"], ["input", "price"]]);

        let refusal = Refusal::Final(Status::Completed);
        let (_, errors) = settle(Err(Error::Refused { id, refusal })).unwrap();
        assert_eq!(errors[0].code, "order_final");
        let (_, errors) = settle(Err(Error::NotFound(id))).unwrap();
        assert_eq!(errors[0].code, "order_not_found");

        for fault in [Error::overloaded(), Error::OutcomeUnknown(id), Error::Internal] {
            assert!(settle(Err(fault)).is_err());
        }
    }
}
