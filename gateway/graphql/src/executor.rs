//! Runs operations. HTTP, server-sent events and websockets use this executor, so that limits, masking of errors,
//! deadlines and metrics do not depend on the transport.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_graphql::parser::types::{DocumentOperations, ExecutableDocument, OperationType};
use async_graphql::{Positioned, Request, ServerError};
use domain::{ErrorCode, Principal};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use metrics::{counter, gauge};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::errors::{internal, limit_error, request_error, with_code};
use crate::execution_result::ExecutionResult;
use crate::language::{Document, DocumentError, Language};
use crate::large_operations::LargeOperationLimiter;
use crate::limits::{self, LimitExceeded, OperationCost};
use crate::parsed_document_cache::ParsedDocumentCache;
use crate::persisted_queries::{DocumentSource, TrustedDocuments};
use crate::request::{Params, RequestId};
use crate::response_budget::Budget;
use crate::schema::OrdersSchema;
use crate::schema::subscription::EventPosition;
use crate::stream_slot::StreamSlot;
use gateway_http::quota;
use telemetry::panics::{self, Panicked};

/// The complexity that costs as much of a rate as one request.
const COMPLEXITY_PER_REQUEST: usize = 100;

/// The schema with and without metering.
#[derive(Clone)]
pub(crate) struct Schemas {
    /// Counts the bytes of resolved values.
    pub(crate) metered: OrdersSchema,
    /// Does not count bytes, which takes less time. For operations that select no lists.
    pub(crate) plain: OrdersSchema,
}

/// Prepares and runs operations. Cheap to clone: each request clones it.
#[derive(Clone)]
pub(crate) struct Executor(Arc<Shared>);

struct Shared {
    schemas: Schemas,
    config: Arc<Config>,
    max_response_size: usize,
    language: Language,
    document_source: DocumentSource,
    parsed_documents: ParsedDocumentCache,
    large_operations: LargeOperationLimiter,
}

/// An operation that is ready to run: validated, within the limits, with coerced variables.
pub(crate) struct Operation {
    kind: OperationType,
    principal: Arc<Principal>,
    request: Request,
    cost: OperationCost,
    /// Number of root fields.
    fields: usize,
    has_lists: bool,
}

impl Operation {
    /// Returns whether it is a query, a mutation or a subscription.
    pub(crate) fn kind(&self) -> OperationType {
        self.kind
    }

    /// Returns its complexity. The complexity of a batch is the sum.
    pub(crate) fn complexity(&self) -> usize {
        self.cost.complexity
    }

    /// Returns its caller.
    pub(crate) fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Sets the position at which a subscription resumes and which follows its events.
    pub(crate) fn at(self, position: EventPosition) -> Self {
        Self { request: self.request.data(position), ..self }
    }
}

impl Executor {
    pub(crate) fn new(
        schemas: Schemas,
        config: Arc<Config>,
        trusted_documents: Option<Arc<TrustedDocuments>>,
        max_response_size: usize,
    ) -> Self {
        let document_source = DocumentSource::new(&config, trusted_documents);
        Self(Arc::new(Shared {
            schemas,
            config,
            max_response_size,
            language: Language::new(),
            document_source,
            parsed_documents: ParsedDocumentCache::default(),
            large_operations: LargeOperationLimiter::default(),
        }))
    }

    /// Returns the budget of a new response.
    pub(crate) fn budget(&self) -> Budget {
        Budget::new(self.0.max_response_size)
    }

    /// Reads the document of a caller, selects its operation and coerces the variables. An error is the whole result.
    pub(crate) fn prepare(
        &self,
        principal: Arc<Principal>,
        params: Params,
    ) -> Result<Operation, ExecutionResult> {
        panics::catch("graphql", || self.prepare_or_panic(principal, params))
            .unwrap_or_else(|Panicked| Err(ExecutionResult::failed(panicked())))
    }

    fn prepare_or_panic(
        &self,
        principal: Arc<Principal>,
        params: Params,
    ) -> Result<Operation, ExecutionResult> {
        let limits = &self.0.config;
        let resolved = self.0.document_source.find(&params)?;
        let document = self.document(&resolved.text)?;
        if let Some(hash) = resolved.register {
            self.0.document_source.register(hash, &resolved.text);
        }
        let name = params.operation_name.as_deref();
        let plan = document.operation(name).map_err(|message| {
            ExecutionResult::rejected(vec![request_error(ErrorCode::ValidationFailed, message)])
        })?;
        if params.read_only && plan.kind == OperationType::Mutation {
            let message = "pages of other sites may only read here; the operators can allow a site by its name with \
                           --cors-origins";
            let code = ErrorCode::OriginNotAllowed;
            return Err(ExecutionResult::refused(code, request_error(code, message)));
        }
        let wrong_input = |error| ExecutionResult::rejected(vec![with_code(error, ErrorCode::InvalidInput)]);
        let variables = self.0.language.coerce(plan, params.variables).map_err(wrong_input)?;
        let cost = limits::check_variables(&document.ast, plan.name.as_deref(), &variables, limits)
            .map_err(limit_result)?;
        let operation = plan.select(&variables).map_err(wrong_input)?;
        let (kind, has_lists) = (plan.kind, plan.has_lists);
        let fields = operation.selection_set.node.items.len();
        // The transport has charged the operation for a cost of 1.
        quota::charge_rest(&principal, rate_cost(kind, cost, fields))
            .map_err(|problem| ExecutionResult::from_problem(&problem))?;
        let mut request = Request::new("").variables(variables.into_variables()).data(Arc::clone(&principal));
        if plan.kind == OperationType::Mutation {
            request = request.data(RequestId(params.request_id));
        }
        request.set_parsed_query(ExecutableDocument {
            operations: DocumentOperations::Single(Positioned::new(operation, Default::default())),
            fragments: Default::default(),
        });
        Ok(Operation { kind, principal, request, cost, fields, has_lists })
    }

    fn document(&self, text: &Arc<str>) -> Result<Arc<Document>, ExecutionResult> {
        if let Some(document) = self.0.parsed_documents.get(text) {
            return Ok(document);
        }
        let read = self.0.language.read(text, &self.0.config);
        let document = Arc::new(read.map_err(|error| match error {
            DocumentError::LimitExceeded(exceeded) => limit_result(exceeded),
            DocumentError::Invalid(errors) => ExecutionResult::rejected(errors),
        })?);
        self.0.parsed_documents.insert(text, &document);
        Ok(document)
    }

    /// Runs a query or a mutation. Stops at the deadline, or when the caller drops the future.
    pub(crate) async fn run(&self, operation: Operation) -> ExecutionResult {
        self.run_until(operation, self.deadline(), self.budget()).await
    }

    /// Returns the deadline of an operation that begins now.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.0.config.execution_timeout
    }

    /// Runs one operation of a batch, whose operations share the deadline and the budget of the response.
    pub(crate) async fn run_until(
        &self,
        operation: Operation,
        deadline: Instant,
        budget: Budget,
    ) -> ExecutionResult {
        if Instant::now() >= deadline {
            let message = "the operation was not run: those before it took all the time";
            return ExecutionResult::failed(request_error(ErrorCode::RequestTimeout, message));
        }
        // The response has no room for its result.
        if budget.is_spent() {
            return ExecutionResult::failed(budget.exceeded());
        }
        budget.reserve_errors(operation.fields);
        if LargeOperationLimiter::is_large(operation.cost.orders) {
            // Boxed: its future is large, and few operations need it.
            Box::pin(self.execute_large(operation, deadline, budget)).await
        } else {
            self.execute(operation, deadline, budget).await
        }
    }

    async fn execute(&self, operation: Operation, deadline: Instant, budget: Budget) -> ExecutionResult {
        let before = budget.left();
        let schema = self.schema(&operation);
        let request = operation.request.data(budget.clone());
        let work = panics::catch_async("graphql", schema.execute(request));
        match tokio::time::timeout_at(deadline, work).await {
            Ok(Ok(response)) => ExecutionResult::from_response(response, &budget, before),
            Ok(Err(Panicked)) => ExecutionResult::failed(panicked()),
            Err(_) => self.timed_out(),
        }
    }

    /// Waits for a permit, then runs on a blocking thread, so that short requests are not delayed.
    async fn execute_large(
        &self,
        mut operation: Operation,
        deadline: Instant,
        budget: Budget,
    ) -> ExecutionResult {
        let permit =
            tokio::time::timeout_at(deadline, self.0.large_operations.acquire(operation.cost.orders));
        let Ok(Some(permit)) = permit.await else { return self.timed_out() };
        operation.request = operation.request.data(Arc::clone(&permit));
        let caller_left = CancellationToken::new();
        // Cancelled when this future is dropped.
        let _caller = caller_left.clone().drop_guard();
        let (executor, runtime) = (self.clone(), Handle::current());
        let work = move || {
            let work = caller_left.run_until_cancelled(executor.execute(operation, deadline, budget));
            let result = runtime.block_on(work);
            drop(permit);
            result
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(Some(result)) => result,
            // The caller is gone, or a panic occurred outside of resolvers.
            Ok(None) | Err(_) => ExecutionResult::failed(panicked()),
        }
    }

    fn timed_out(&self) -> ExecutionResult {
        counter!("orders_graphql_rejections_total", "reason" => "execution_time").increment(1);
        let limit = self.0.config.execution_timeout;
        let message = format!("the operation was stopped after {} ms", limit.as_millis());
        ExecutionResult::failed(request_error(ErrorCode::RequestTimeout, message))
    }

    fn schema(&self, operation: &Operation) -> &OrdersSchema {
        if operation.has_lists { &self.0.schemas.metered } else { &self.0.schemas.plain }
    }

    /// Runs a subscription until it ends or the stream is dropped.
    pub(crate) fn stream(&self, operation: Operation) -> BoxStream<'static, ExecutionResult> {
        let active = ActiveSubscription::new();
        let slot = StreamSlot::default();
        let budget = self.budget();
        let before = budget.left();
        let schema = self.schema(&operation);
        let request = operation.request.data(slot.writer()).data(budget.clone());
        let begun = schema.execute_stream(request);
        let results = begun.chain(stream::once(async move { slot.take() }).flatten());
        let results = AssertUnwindSafe(results).catch_unwind().map(move |result| {
            let _active = &active;
            let result = match result {
                Ok(response) => {
                    counter!("orders_graphql_events_sent_total").increment(1);
                    ExecutionResult::from_response(response, &budget, before)
                }
                Err(panic) => {
                    panics::record("graphql", &*panic);
                    ExecutionResult::failed(panicked())
                }
            };
            budget.renew();
            result
        });
        results.boxed()
    }
}

/// Counts a subscription while it is active.
struct ActiveSubscription;

impl ActiveSubscription {
    fn new() -> Self {
        gauge!("orders_graphql_subscriptions").increment(1.0);
        Self
    }
}

impl Drop for ActiveSubscription {
    fn drop(&mut self) {
        gauge!("orders_graphql_subscriptions").decrement(1.0);
    }
}

/// Returns the cost of an operation for the rate of its caller, at least 1.
///
/// Each mutation counts, because it writes. A mutation that creates several orders charges the others itself.
fn rate_cost(kind: OperationType, cost: OperationCost, fields: usize) -> usize {
    let mutations = if kind == OperationType::Mutation { fields } else { 1 };
    (cost.complexity / COMPLEXITY_PER_REQUEST).max(mutations).max(1)
}

fn limit_result(exceeded: LimitExceeded) -> ExecutionResult {
    let LimitExceeded { limit, code, message } = exceeded;
    ExecutionResult::refused(code, limit_error(code, limit, message))
}

/// Returns the error of a panic, which was counted and logged before.
fn panicked() -> ServerError {
    internal("it panicked")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_cost_their_complexity_or_their_mutations() {
        let cost =
            |kind, complexity, fields| rate_cost(kind, OperationCost { complexity, orders: 0 }, fields);
        for (kind, complexity, fields, expected) in [
            (OperationType::Query, 0, 1, 1),
            (OperationType::Query, 199, 5, 1),
            (OperationType::Query, 2_050, 1, 20),
            (OperationType::Subscription, 30, 1, 1),
            (OperationType::Mutation, 30, 3, 3),
            (OperationType::Mutation, 500, 3, 5),
        ] {
            assert_eq!(cost(kind, complexity, fields), expected, "{kind} {complexity} {fields}");
        }
        limits_page::row(
            "cost of a request for these rates",
            &format!(
                "1; 1 for each order of a bulk create; 1 for each {COMPLEXITY_PER_REQUEST} of the complexity of an operation"
            ),
        );
    }
}
