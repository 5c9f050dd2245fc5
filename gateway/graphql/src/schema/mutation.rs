//! Mutations of one order.
//!
//! An error that the client can avoid with another input (an invalid order, a final order) is data in `userErrors`. An
//! error that does not depend on the input (an unreachable database) is in `errors`.

use std::fmt::Display;

use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use domain::{Draft, DraftLineItem, ErrorCode, InvalidIdempotencyKey, OrderId, strings};

use crate::errors::to_graphql_error;
use crate::request::RequestId;
use crate::response_budget::Budget;
use crate::schema::metadata_entry::{self, MetadataInput};
use crate::schema::scalars::{DateTime, Decimal};
use crate::schema::types::{Order, OrderPriority};
use crate::services::{Services, caller};
use domain::query::FilterError;
use gateway_service::Error;
use gateway_service::orders::Actor;

/// A new order. Either `item`, `quantity` and `price` of a single line item, or `lineItems`.
#[derive(InputObject)]
pub(crate) struct CreateOrderInput {
    /// Item name: 1 to 200 characters. Requires `quantity` and `price`, excludes `lineItems`.
    item: Option<String>,
    /// Quantity: 1 to 1,000,000. Requires `item`.
    quantity: Option<i32>,
    /// Unit price, with at most the currency's decimals. Requires `item`.
    price: Option<Decimal>,
    /// 1 to 200 line items. Replaces `item`, `quantity` and `price`.
    line_items: Option<Vec<LineItemInput>>,
    /// ISO 4217 code such as EUR. Default: the gateway's default currency.
    currency: Option<String>,
    /// Customer: 1 to 200 characters.
    customer: Option<String>,
    /// Reference of the order in the client's system: 1 to 200 characters.
    external_reference: Option<String>,
    /// Maximum number of failed attempts: 1 to 100. Default: 5.
    max_attempts: Option<i32>,
    /// Priority. Default: NORMAL.
    priority: Option<OrderPriority>,
    /// Earliest start of processing. Default: immediately.
    process_after: Option<DateTime>,
    /// Kind: the word that routes the order to workers. 1 to 32 characters `a-z 0-9 _ -`. Default: `default`.
    kind: Option<String>,
    /// Metadata: up to 50 keys, at most 8 KiB as JSON.
    metadata: Option<Vec<MetadataInput>>,
}

/// Line item of an order to create.
#[derive(InputObject)]
pub(crate) struct LineItemInput {
    /// Item name: 1 to 200 characters.
    item: String,
    /// Quantity: 1 to 1,000,000.
    quantity: i32,
    /// Unit price, with at most the currency's decimals.
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
            kind: input.kind,
            metadata: input.metadata.map(metadata_entry::pairs),
        }
    }
}

impl From<LineItemInput> for DraftLineItem {
    fn from(input: LineItemInput) -> Self {
        Self { item: Some(input.item), quantity: Some(i64::from(input.quantity)), price: Some(input.price.0) }
    }
}

/// The order to cancel.
#[derive(InputObject)]
pub(crate) struct CancelOrderInput {
    /// The id of the order.
    order_id: ID,
    /// Reason for the timeline; truncated to 500 characters.
    reason: Option<String>,
}

/// The failed order to redrive.
#[derive(InputObject)]
pub(crate) struct RedriveOrderInput {
    /// The id of the order.
    order_id: ID,
    /// Requester, for the timeline: 1 to 100 characters.
    requested_by: Option<String>,
    /// Reason for the timeline; truncated to 500 characters.
    reason: Option<String>,
}

/// Error of a mutation.
#[derive(SimpleObject)]
pub(crate) struct UserError {
    /// Stable error code, such as `invalid_order` or `order_final`.
    pub(crate) code: String,
    /// Message for humans.
    pub(crate) message: String,
    /// Path of the invalid input, starting at the argument; null without one.
    pub(crate) field: Option<Vec<String>>,
}

impl UserError {
    /// Returns the error of an invalid field of the input.
    pub(crate) fn input(name: &str, message: impl Display) -> Self {
        let field = Some(vec!["input".to_owned(), name.to_owned()]);
        Self { code: ErrorCode::InvalidInput.to_string(), message: format!("{name} {message}"), field }
    }

    /// Returns the error of an invalid field of the filter.
    pub(crate) fn filter(problem: &FilterError) -> Self {
        let FilterError { name, message } = problem;
        let field = ["input", "filter", name].map(str::to_owned).to_vec();
        Self {
            code: ErrorCode::InvalidInput.to_string(),
            message: format!("{name} {message}"),
            field: Some(field),
        }
    }

    /// Returns the error of an invalid idempotency key.
    pub(crate) fn bad_key(error: &InvalidIdempotencyKey) -> Self {
        Self {
            code: ErrorCode::InvalidIdempotencyKey.to_string(),
            message: format!("idempotencyKey {error}"),
            field: Some(vec!["idempotencyKey".to_owned()]),
        }
    }
}

/// Returns the actor of a change, with the name that the client sent.
pub(crate) fn actor(ctx: &Context<'_>, name: Option<String>) -> std::result::Result<Actor, UserError> {
    match name.as_deref().map(|name| strings::validate(name, strings::MAX_REQUESTED_BY)) {
        Some(Err(message)) => Err(UserError::input("requestedBy", message)),
        Some(Ok(())) | None => Ok(Actor { name, via: "GraphQL", request_id: RequestId::of(ctx) }),
    }
}

/// The created order or the errors.
#[derive(SimpleObject)]
pub(crate) struct CreateOrderPayload {
    /// The order; null on an error.
    order: Option<Order>,
    /// True if an earlier request with the same idempotency key created the order. The response is
    /// the original one.
    idempotent_replay: bool,
    /// Errors of the input; empty on success. A response contains at most 100 errors.
    user_errors: Vec<UserError>,
}

/// The cancelled order or the errors.
#[derive(SimpleObject)]
pub(crate) struct CancelOrderPayload {
    /// The current order; null on an error.
    order: Option<Order>,
    /// The errors; empty on success.
    user_errors: Vec<UserError>,
}

/// The redriven order or the errors.
#[derive(SimpleObject)]
pub(crate) struct RedriveOrderPayload {
    /// The current order; null on an error.
    order: Option<Order>,
    /// The errors; empty on success.
    user_errors: Vec<UserError>,
}

/// Mutations of one order.
#[derive(Default)]
pub(crate) struct OrderMutation;

/// Mutations of one order.
#[Object]
impl OrderMutation {
    /// Creates an order. On success the order is stored durably and will be processed.
    async fn create_order(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The order.")] input: CreateOrderInput,
        #[graphql(
            desc = "Idempotency key, preferably a UUID: 1 to 255 visible ASCII characters. Within a day, the same key with the same order returns the original order and creates no other."
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
        let created =
            ctx.data_unchecked::<Arc<Services>>().orders.create(caller(ctx), input.into(), key).await;
        let idempotent_replay = created.as_ref().is_ok_and(|created| created.replayed);
        let outcome = split_outcome(created.map(|created| created.order.into()));
        Some(outcome.map(|(order, user_errors)| {
            let user_errors = Budget::of(ctx).first_errors(user_errors);
            CreateOrderPayload { order, idempotent_replay, user_errors }
        }))
    }

    /// Cancels the order, even while it is processing. Repeating the mutation returns the same
    /// result.
    async fn cancel_order(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The order and the reason.")] input: CancelOrderInput,
    ) -> Option<Result<CancelOrderPayload>> {
        let orders = &ctx.data_unchecked::<Arc<Services>>().orders;
        let outcome = match order_id(&input.order_id) {
            Ok(id) => match actor(ctx, None) {
                Ok(actor) => {
                    let order = orders.cancel(caller(ctx), id, &actor, input.reason).await;
                    split_outcome(order.map(Into::into))
                }
                Err(error) => Ok((None, vec![error])),
            },
            Err(error) => Ok((None, vec![error])),
        };
        Some(outcome.map(|(order, user_errors)| CancelOrderPayload { order, user_errors }))
    }

    /// Redrives a failed order: it gets a new set of attempts.
    async fn redrive_order(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The order and the reason.")] input: RedriveOrderInput,
    ) -> Option<Result<RedriveOrderPayload>> {
        let orders = &ctx.data_unchecked::<Arc<Services>>().orders;
        let outcome = match order_id(&input.order_id) {
            Ok(id) => match actor(ctx, input.requested_by) {
                Ok(actor) => {
                    let order = orders.redrive(caller(ctx), id, &actor, input.reason.as_deref()).await;
                    split_outcome(order.map(Into::into))
                }
                Err(error) => Ok((None, vec![error])),
            },
            Err(error) => Ok((None, vec![error])),
        };
        Some(outcome.map(|(order, user_errors)| RedriveOrderPayload { order, user_errors }))
    }
}

/// Reads the order id of an input.
pub(super) fn order_id(id: &ID) -> std::result::Result<OrderId, UserError> {
    id.parse().map_err(|error: domain::InvalidOrderId| UserError {
        code: ErrorCode::InvalidOrderId.to_string(),
        message: error.to_string(),
        field: Some(vec!["input".to_owned(), "orderId".to_owned()]),
    })
}

/// Splits an outcome into the order, user errors and a GraphQL error.
pub(super) fn split_outcome(
    outcome: std::result::Result<Order, Error>,
) -> Result<(Option<Order>, Vec<UserError>)> {
    let error = match outcome {
        Ok(order) => return Ok((Some(order), Vec::new())),
        Err(error) => error,
    };
    let code = error.code().to_string();
    let message = error.to_string();
    match error {
        Error::Invalid(problems) => {
            let one = |problem: domain::InvalidField| UserError {
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
        Error::ReferenceTaken(_) => {
            let field = Some(vec!["input".to_owned(), "externalReference".to_owned()]);
            Ok((None, vec![UserError { code, message, field }]))
        }
        Error::MetadataChanged { .. } => {
            let field = Some(vec!["input".to_owned(), "ifVersion".to_owned()]);
            Ok((None, vec![UserError { code, message, field }]))
        }
        Error::OrderChanged { .. } => {
            let field = Some(vec!["input".to_owned(), "ifSequence".to_owned()]);
            Ok((None, vec![UserError { code, message, field }]))
        }
        Error::Refused { .. } | Error::Started { .. } | Error::RowCount(_) | Error::OrderRefused => {
            Ok((None, vec![UserError { code, message, field: None }]))
        }
        Error::Forbidden(_)
        | Error::TooManyOpen { .. }
        | Error::CursorExpired(_)
        | Error::EventLogDisabled
        | Error::NoteLimit(_)
        | Error::ReaderBehind(_)
        | Error::ReaderLimit
        | Error::ReaderLeased(_)
        | Error::StaleReaderLease
        | Error::Unavailable { .. }
        | Error::OutcomeUnknown(_)
        | Error::Unreadable { .. }
        | Error::Internal => Err(to_graphql_error(error)),
    }
}

#[cfg(test)]
mod tests {
    use domain::transition::Refusal;
    use domain::{Currency, Status, Timestamp};

    use super::*;

    #[test]
    fn avoidable_errors_are_user_errors_and_others_graphql_errors() {
        let id = OrderId::new(Timestamp::from_micros(1));
        let invalid = Draft::default().check(Currency::USD).unwrap_err();
        let (order, errors) = split_outcome(Err(Error::Invalid(invalid))).unwrap();
        assert!(order.is_none());
        let fields: Vec<_> = errors.into_iter().filter_map(|error| error.field).collect();
        assert_eq!(fields, [["input", "item"], ["input", "quantity"], ["input", "price"]]);

        let refusal = Refusal::Final(Status::Completed);
        let (_, errors) = split_outcome(Err(Error::Refused { id, refusal })).unwrap();
        assert_eq!(errors[0].code, ErrorCode::OrderFinal.as_str());
        let (_, errors) = split_outcome(Err(Error::NotFound(id))).unwrap();
        assert_eq!(errors[0].code, ErrorCode::OrderNotFound.as_str());

        for error in [Error::overloaded(), Error::OutcomeUnknown(id), Error::Internal] {
            assert!(split_outcome(Err(error)).is_err());
        }
    }
}
