//! Creates many orders in one mutation.

use std::sync::Arc;

use async_graphql::{Context, Enum, InputObject, Object, Result, SimpleObject};
use domain::ErrorCode;

use crate::errors::{field_rejection, to_graphql_error};
use crate::response_budget::Budget;
use crate::schema::mutation::{CreateOrderInput, UserError};
use crate::schema::types::Order;
use crate::services::{Services, caller};
use gateway_http::quota;
use gateway_service::Error;
use gateway_service::orders::{BulkCreated, BulkRow, BulkRowOutcome};

/// Handling of a bulk create that contains invalid orders.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "gateway_service::orders::ErrorPolicy")]
pub(crate) enum ErrorPolicy {
    /// Creates no order unless all orders are valid.
    RejectEverything,
    /// Creates the valid orders and reports the invalid ones.
    RejectFailedRows,
}

/// Orders to create.
#[derive(InputObject)]
pub(crate) struct CreateOrdersInput {
    /// 1 to 1,000 orders.
    orders: Vec<CreateOrderInput>,
    /// Handling of invalid orders. Default: REJECT_EVERYTHING.
    error_policy: Option<ErrorPolicy>,
}

/// Outcomes of a bulk create.
#[derive(SimpleObject)]
pub(crate) struct CreateOrdersPayload {
    /// One result per input order, in input order; empty if the whole request was rejected.
    results: Vec<CreateOrdersResult>,
    /// True if an earlier request with the same idempotency key created the orders. The response is
    /// the original one.
    idempotent_replay: bool,
    /// Errors of the whole request; empty on success.
    user_errors: Vec<UserError>,
}

/// Outcome of one order of a bulk create.
#[derive(SimpleObject)]
pub(crate) struct CreateOrdersResult {
    /// The outcome.
    outcome: CreateOrdersOutcome,
    /// The order; null if it was not created.
    order: Option<Order>,
    /// Errors of the order. Empty if it was created, if it was not created because of another order,
    /// and if earlier orders reached the limit of 100 errors per response.
    user_errors: Vec<UserError>,
}

/// Outcome of one order of a bulk create.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CreateOrdersOutcome {
    /// The order is stored and will be processed.
    Created,
    /// The order is invalid.
    Invalid,
    /// Another order has the external reference, which is unique for the tenant; the error names it.
    ReferenceTaken,
    /// The order is valid but was not created because another order of the request was invalid.
    NotCreated,
    /// Internal server error; the order was not created.
    Failed,
}

/// Creating many orders.
#[derive(Default)]
pub(crate) struct BulkMutation;

/// Creating many orders.
#[Object]
impl BulkMutation {
    /// Creates up to 1,000 orders in one transaction.
    async fn create_orders(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The orders.")] input: CreateOrdersInput,
        #[graphql(
            desc = "Idempotency key of the whole request, preferably a UUID: 1 to 255 visible ASCII characters. Within a day, the same key with the same orders returns the original orders and creates no others."
        )]
        idempotency_key: Option<String>,
    ) -> Option<Result<CreateOrdersPayload>> {
        let key = match idempotency_key.map(|key| key.parse()).transpose() {
            Ok(key) => key,
            Err(error) => return Some(Ok(refused(UserError::bad_key(&error)))),
        };
        if let Err(problem) = quota::charge_rest(caller(ctx), input.orders.len()) {
            return Some(Err(field_rejection(&problem)));
        }
        let rows = input.orders.into_iter().map(|order| BulkRow::Draft(Box::new(order.into()))).collect();
        let policy = input.error_policy.map(Into::into).unwrap_or_default();
        let created =
            ctx.data_unchecked::<Arc<Services>>().orders.create_bulk(caller(ctx), rows, policy, key).await;
        Some(match created {
            Ok(created) => Ok(payload(created, Budget::of(ctx))),
            Err(error @ Error::RowCount(_)) => Ok(refused(whole(&error, &["input", "orders"]))),
            Err(error @ Error::KeyReused) => Ok(refused(whole(&error, &["idempotencyKey"]))),
            Err(error) => Err(to_graphql_error(error)),
        })
    }
}

fn payload(created: BulkCreated, budget: &Budget) -> CreateOrdersPayload {
    let results = created.rows.into_iter().enumerate().map(|(index, outcome)| match outcome {
        BulkRowOutcome::Created(order) => CreateOrdersResult {
            outcome: CreateOrdersOutcome::Created,
            order: Some(order.into()),
            user_errors: Vec::new(),
        },
        BulkRowOutcome::Invalid(problems) => {
            let shown = budget.take_errors(problems.len());
            let errors = problems.into_iter().take(shown).map(|problem| {
                let within = ["input".to_owned(), "orders".to_owned(), index.to_string()];
                UserError {
                    code: ErrorCode::InvalidOrder.to_string(),
                    message: problem.to_string(),
                    field: Some(within.into_iter().chain(problem.field.path()).collect()),
                }
            });
            let user_errors = errors.collect();
            CreateOrdersResult { outcome: CreateOrdersOutcome::Invalid, order: None, user_errors }
        }
        BulkRowOutcome::ReferenceTaken(taken) => {
            let index = index.to_string();
            let mut user_errors =
                vec![whole(&Error::ReferenceTaken(taken), &["input", "orders", &index, "externalReference"])];
            user_errors.truncate(budget.take_errors(1));
            CreateOrdersResult { outcome: CreateOrdersOutcome::ReferenceTaken, order: None, user_errors }
        }
        BulkRowOutcome::Failed => {
            let index = index.to_string();
            let error = whole(&Error::Internal, &["input", "orders", &index]);
            let mut user_errors = vec![error];
            user_errors.truncate(budget.take_errors(1));
            CreateOrdersResult { outcome: CreateOrdersOutcome::Failed, order: None, user_errors }
        }
        // `Unreadable` does not occur: GraphQL has read every row.
        BulkRowOutcome::NotCreated | BulkRowOutcome::Unreadable => CreateOrdersResult {
            outcome: CreateOrdersOutcome::NotCreated,
            order: None,
            user_errors: Vec::new(),
        },
    });
    CreateOrdersPayload {
        results: results.collect(),
        idempotent_replay: created.replayed,
        user_errors: Vec::new(),
    }
}

fn refused(error: UserError) -> CreateOrdersPayload {
    CreateOrdersPayload { results: Vec::new(), idempotent_replay: false, user_errors: vec![error] }
}

fn whole(error: &Error, field: &[&str]) -> UserError {
    UserError {
        code: error.code().to_string(),
        message: error.to_string(),
        field: Some(field.iter().map(|&name| name.to_owned()).collect()),
    }
}
