//! Many orders in one mutation.

use std::sync::Arc;

use async_graphql::{Context, Enum, InputObject, Object, Result, SimpleObject};

use super::Services;
use super::budget::Budget;
use super::errors::fault;
use super::mutation::{CreateOrderInput, UserError};
use super::types::Order;
use crate::Error;
use crate::orders::{CreatedRows, Row, RowOutcome};

/// What is done with the good orders of a bulk create when others are wrong.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::orders::ErrorPolicy")]
pub(crate) enum ErrorPolicy {
    /// Nothing is created unless every order can be.
    RejectEverything,
    /// The good ones are created, the wrong ones are reported.
    RejectFailedRows,
}

/// New orders.
#[derive(InputObject)]
pub(crate) struct CreateOrdersInput {
    /// 1 to 1,000 orders.
    orders: Vec<CreateOrderInput>,
    /// What is done when some of them are wrong; REJECT_EVERYTHING when absent.
    error_policy: Option<ErrorPolicy>,
}

/// What became of each of the new orders.
#[derive(SimpleObject)]
pub(crate) struct CreateOrdersPayload {
    /// One result for each order of the input, in their order; empty when the request as a whole was refused.
    results: Vec<CreateOrdersResult>,
    /// Whether the orders were made before, by a request with the same idempotency key. They are shown as
    /// they were then.
    idempotent_replay: bool,
    /// Why the request as a whole was refused; empty when it was not.
    user_errors: Vec<UserError>,
}

/// What became of one of the new orders.
#[derive(SimpleObject)]
pub(crate) struct CreateOrdersResult {
    /// What became of it, in a word.
    outcome: CreateOrdersOutcome,
    /// The order; null when it was not created.
    order: Option<Order>,
    /// What is wrong with it. Empty when it was created, when it was left out because of another one, and
    /// when the 100 errors of a response were used up by the orders before it.
    user_errors: Vec<UserError>,
}

/// What became of one of the new orders.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CreateOrdersOutcome {
    /// It is stored and will be processed.
    Created,
    /// Something is wrong with it.
    Invalid,
    /// Nothing is wrong with it; it was left out because of another one.
    NotCreated,
    /// A defect of the server. Nothing was created for it.
    Failed,
}

/// Creating many orders.
#[derive(Default)]
pub(crate) struct BulkMutation;

/// Creating many orders.
#[Object]
impl BulkMutation {
    /// Accepts up to 1,000 orders at once, in one transaction.
    async fn create_orders(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The orders.")] input: CreateOrdersInput,
        #[graphql(
            desc = "What you call this create, best a UUID: 1 to 255 visible ASCII characters. It names the whole \
                    request: the same key with the same orders again, within a day, answers the first ones and makes \
                    no others."
        )]
        idempotency_key: Option<String>,
    ) -> Option<Result<CreateOrdersPayload>> {
        let key = match idempotency_key.map(|key| key.parse()).transpose() {
            Ok(key) => key,
            Err(error) => return Some(Ok(refused(UserError::bad_key(&error)))),
        };
        let rows = input.orders.into_iter().map(|order| Row::Draft(order.into())).collect();
        let policy = input.error_policy.map(Into::into).unwrap_or_default();
        let created = ctx.data_unchecked::<Arc<Services>>().orders.create_rows(rows, policy, key).await;
        Some(match created {
            Ok(created) => Ok(payload(created, Budget::of(ctx))),
            Err(error @ Error::RowCount(_)) => Ok(refused(whole(&error, &["input", "orders"]))),
            Err(error @ Error::KeyReused) => Ok(refused(whole(&error, &["idempotencyKey"]))),
            Err(error) => Err(fault(error)),
        })
    }
}

fn payload(created: CreatedRows, budget: &Budget) -> CreateOrdersPayload {
    let results = created.rows.into_iter().enumerate().map(|(index, outcome)| match outcome {
        RowOutcome::Created(order) => CreateOrdersResult {
            outcome: CreateOrdersOutcome::Created,
            order: Some(order.into()),
            user_errors: Vec::new(),
        },
        RowOutcome::Invalid(problems) => {
            let shown = budget.take_errors(problems.len());
            let errors = problems.into_iter().take(shown).map(|problem| {
                let within = ["input".to_owned(), "orders".to_owned(), index.to_string()];
                UserError {
                    code: Error::Invalid(Vec::new()).code().to_owned(),
                    message: problem.to_string(),
                    field: Some(within.into_iter().chain(problem.field.path()).collect()),
                }
            });
            let user_errors = errors.collect();
            CreateOrdersResult { outcome: CreateOrdersOutcome::Invalid, order: None, user_errors }
        }
        RowOutcome::Failed => {
            let index = index.to_string();
            let error = whole(&Error::Internal, &["input", "orders", &index]);
            let mut user_errors = vec![error];
            user_errors.truncate(budget.take_errors(1));
            CreateOrdersResult { outcome: CreateOrdersOutcome::Failed, order: None, user_errors }
        }
        // GraphQL has read every row.
        RowOutcome::NotCreated | RowOutcome::Unreadable => CreateOrdersResult {
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
        code: error.code().to_owned(),
        message: error.to_string(),
        field: Some(field.iter().map(|&name| name.to_owned()).collect()),
    }
}
