//! Runs operations. HTTP, SSE and websockets all come through here, so that limits, masking,
//! deadlines and metrics are the same whichever way an operation came.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_graphql::parser::types::{DocumentOperations, ExecutableDocument, OperationType};
use async_graphql::{Positioned, Request, Response, ServerError, Value};
use axum::http::StatusCode;
use domain::ErrorCode;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use metrics::{counter, gauge};
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::budget::Budget;
use super::config::Config;
use super::documents::{Documents, TrustedDocuments};
use super::errors::{internal, limit_error, request_error, status, tidy, with_code};
use super::guard::{self, Price, TooMuch};
use super::language::{Document, Language, Unusable};
use super::live::Handover;
use super::params::Params;
use super::parsed::Parsed;
use super::room::Rooms;
use super::schema::OrdersSchema;
use super::subscription::Position;
use gateway_service::Error;
use telemetry::panics::{self, Panicked};

/// The same schema twice.
#[derive(Clone)]
pub(super) struct Schemas {
    /// Counts the bytes of what is resolved.
    pub(super) metered: OrdersSchema,
    /// Does not, which takes less time: for operations that select no lists.
    pub(super) plain: OrdersSchema,
}

/// Cheap to clone: each request takes one.
#[derive(Clone)]
pub(crate) struct Engine(Arc<Shared>);

struct Shared {
    schemas: Schemas,
    config: Arc<Config>,
    max_response_size: usize,
    language: Language,
    documents: Documents,
    parsed: Parsed,
    rooms: Rooms,
}

/// An operation that may run: validated, within the limits, its variables coerced.
pub(crate) struct Operation {
    kind: OperationType,
    request: Request,
    price: Price,
    /// Fields at its root.
    fields: usize,
    has_lists: bool,
}

/// One result of an operation.
#[derive(Debug)]
pub(crate) struct Answer {
    json: String,
    errors: Vec<ServerError>,
    stage: Stage,
    has_data: bool,
}

/// How far an operation came. The status over HTTP depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// A limit refused it.
    Refused(StatusCode),
    /// It was found wrong before anything ran: it did not parse, did not validate, or a variable is
    /// missing or cannot be coerced.
    Rejected,
    /// It ran. Fields may have failed.
    Executed,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [ServerError],
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Value>,
}

impl Operation {
    /// Query, mutation or subscription.
    pub(crate) fn kind(&self) -> OperationType {
        self.kind
    }

    /// What it costs; a batch costs the sum.
    pub(crate) fn complexity(&self) -> usize {
        self.price.complexity
    }

    /// Lets a subscription resume, and follow it.
    pub(crate) fn at(self, position: Position) -> Self {
        Self { request: self.request.data(position), ..self }
    }
}

impl Answer {
    fn new(data: &Value, errors: Vec<ServerError>, stage: Stage) -> Self {
        // There is no `data` when nothing ran.
        let shown = match stage {
            Stage::Executed => Some(data),
            Stage::Refused(_) | Stage::Rejected => None,
        };
        let json = serde_json::to_string(&Body { errors: &errors, data: shown })
            .expect("a result has only string keys and no values that JSON lacks");
        Self { json, errors, stage, has_data: *data != Value::Null }
    }

    /// A request that did not come to an operation.
    pub(crate) fn refused(code: ErrorCode, error: ServerError) -> Self {
        Self::new(&Value::Null, vec![error], Stage::Refused(status(code.kind())))
    }

    /// All requests together hold too many bytes.
    pub(crate) fn overloaded() -> Self {
        let error = Error::overloaded();
        Self::refused(error.code(), request_error(error.code(), error.to_string()))
    }

    fn rejected(errors: Vec<ServerError>) -> Self {
        Self::new(&Value::Null, errors, Stage::Rejected)
    }

    fn failed(error: ServerError) -> Self {
        Self::new(&Value::Null, vec![error], Stage::Executed)
    }

    /// The result of an operation, or the error that it is too long.
    fn from_response(response: Response, budget: &Budget, before: usize) -> Self {
        if budget.is_spent() {
            return Self::failed(budget.exceeded());
        }
        let Response { data, errors, .. } = response;
        let ran = data != Value::Null || errors.iter().any(|error| !error.path.is_empty());
        let stage = if ran || errors.is_empty() { Stage::Executed } else { Stage::Rejected };
        let answer = Self::new(&data, tidy(budget.first_errors(errors)), stage);
        match before.checked_sub(answer.json.len()) {
            Some(left) => {
                budget.settle(left);
                answer
            }
            None => {
                budget.spend();
                Self::failed(budget.exceeded())
            }
        }
    }

    /// How far it came.
    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    /// Its errors.
    pub(crate) fn errors(&self) -> &[ServerError] {
        &self.errors
    }

    /// Whether there is no data at all.
    pub(crate) fn is_failure(&self) -> bool {
        !self.has_data && !self.errors.is_empty()
    }

    /// The JSON of the result.
    pub(crate) fn json(&self) -> &str {
        &self.json
    }

    /// The same.
    pub(crate) fn into_json(self) -> String {
        self.json
    }
}

impl Engine {
    pub(super) fn new(
        schemas: Schemas,
        config: Arc<Config>,
        trusted_documents: Option<Arc<TrustedDocuments>>,
        max_response_size: usize,
    ) -> Self {
        let documents = Documents::new(&config, trusted_documents);
        Self(Arc::new(Shared {
            schemas,
            config,
            max_response_size,
            language: Language::new(),
            documents,
            parsed: Parsed::default(),
            rooms: Rooms::default(),
        }))
    }

    /// The budget of a new response.
    pub(super) fn budget(&self) -> Budget {
        Budget::new(self.0.max_response_size)
    }

    /// Reads a document once, chooses its operation and coerces the variables. What is returned as an
    /// error is the whole answer.
    pub(crate) fn prepare(&self, params: Params) -> Result<Operation, Answer> {
        panics::catch("graphql", || self.prepare_or_panic(params))
            .unwrap_or_else(|Panicked| Err(Answer::failed(panicked())))
    }

    fn prepare_or_panic(&self, params: Params) -> Result<Operation, Answer> {
        let limits = &self.0.config;
        let found = self.0.documents.find(&params)?;
        let document = self.document(&found.text)?;
        if let Some(hash) = found.register {
            self.0.documents.register(hash, &found.text);
        }
        let name = params.operation_name.as_deref();
        let plan = document
            .operation(name)
            .map_err(|message| Answer::rejected(vec![request_error(ErrorCode::ValidationFailed, message)]))?;
        if params.read_only && plan.kind == OperationType::Mutation {
            let message = "pages of other sites may only read here; the operators can allow a site by its name with \
                           --cors-origins";
            let code = ErrorCode::OriginNotAllowed;
            return Err(Answer::refused(code, request_error(code, message)));
        }
        let wrong_input = |error| Answer::rejected(vec![with_code(error, ErrorCode::InvalidInput)]);
        let variables = self.0.language.coerce(plan, params.variables).map_err(wrong_input)?;
        let price = guard::check_variables(&document.ast, plan.name.as_deref(), &variables, limits)
            .map_err(refuse)?;
        let operation = plan.select(&variables).map_err(wrong_input)?;
        let (kind, has_lists) = (plan.kind, plan.has_lists);
        let fields = operation.selection_set.node.items.len();
        let mut request = Request::new("").variables(variables.into_variables());
        request.set_parsed_query(ExecutableDocument {
            operations: DocumentOperations::Single(Positioned::new(operation, Default::default())),
            fragments: Default::default(),
        });
        Ok(Operation { kind, request, price, fields, has_lists })
    }

    fn document(&self, text: &Arc<str>) -> Result<Arc<Document>, Answer> {
        if let Some(document) = self.0.parsed.get(text) {
            return Ok(document);
        }
        let read = self.0.language.read(text, &self.0.config);
        let document = Arc::new(read.map_err(|unusable| match unusable {
            Unusable::TooMuch(too_much) => refuse(too_much),
            Unusable::Wrong(errors) => Answer::rejected(errors),
        })?);
        self.0.parsed.keep(text, &document);
        Ok(document)
    }

    /// Runs a query or a mutation. Stops when it takes too long, or when the caller goes away.
    pub(crate) async fn run(&self, operation: Operation) -> Answer {
        self.run_until(operation, self.deadline(), self.budget()).await
    }

    /// When an operation that begins now has to be done.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.0.config.execution_timeout
    }

    /// The same for one of several operations that share their time and the length of the response.
    pub(crate) async fn run_until(&self, operation: Operation, deadline: Instant, budget: Budget) -> Answer {
        if Instant::now() >= deadline {
            let message = "the operation was not run: those before it took all the time";
            return Answer::failed(request_error(ErrorCode::RequestTimeout, message));
        }
        // Its result could not be shown.
        if budget.is_spent() {
            return Answer::failed(budget.exceeded());
        }
        budget.reserve_errors(operation.fields);
        if Rooms::is_large(operation.price.orders) {
            // Boxed, because few operations need its room.
            Box::pin(self.execute_large(operation, deadline, budget)).await
        } else {
            self.execute(operation, deadline, budget).await
        }
    }

    async fn execute(&self, operation: Operation, deadline: Instant, budget: Budget) -> Answer {
        let before = budget.left();
        let schema = self.schema(&operation);
        let request = operation.request.data(budget.clone());
        let work = panics::catch_async("graphql", schema.execute(request));
        match tokio::time::timeout_at(deadline, work).await {
            Ok(Ok(response)) => Answer::from_response(response, &budget, before),
            Ok(Err(Panicked)) => Answer::failed(panicked()),
            Err(_) => self.too_slow(),
        }
    }

    /// Waits until there is room, and does not run where short requests wait for their turn.
    async fn execute_large(&self, mut operation: Operation, deadline: Instant, budget: Budget) -> Answer {
        let room = tokio::time::timeout_at(deadline, self.0.rooms.enter(operation.price.orders));
        let Ok(Some(room)) = room.await else { return self.too_slow() };
        operation.request = operation.request.data(Arc::clone(&room));
        let caller_left = CancellationToken::new();
        // Cancelled when this future is dropped.
        let _caller = caller_left.clone().drop_guard();
        let (engine, runtime) = (self.clone(), Handle::current());
        let work = move || {
            let work = caller_left.run_until_cancelled(engine.execute(operation, deadline, budget));
            let answer = runtime.block_on(work);
            drop(room);
            answer
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(Some(answer)) => answer,
            // Only when nobody waits for it, or when it panicked outside of resolvers.
            Ok(None) | Err(_) => Answer::failed(panicked()),
        }
    }

    fn too_slow(&self) -> Answer {
        counter!("orders_graphql_rejections_total", "reason" => "execution_time").increment(1);
        let limit = self.0.config.execution_timeout;
        let message = format!("the operation was stopped after {} ms", limit.as_millis());
        Answer::failed(request_error(ErrorCode::RequestTimeout, message))
    }

    fn schema(&self, operation: &Operation) -> &OrdersSchema {
        if operation.has_lists { &self.0.schemas.metered } else { &self.0.schemas.plain }
    }

    /// Runs a subscription until it ends or the stream is dropped.
    pub(crate) fn stream(&self, operation: Operation) -> BoxStream<'static, Answer> {
        let active = Active::new();
        let handover = Handover::default();
        let budget = self.budget();
        let before = budget.left();
        let schema = self.schema(&operation);
        let request = operation.request.data(handover.taker()).data(budget.clone());
        let begun = schema.execute_stream(request);
        let answers = begun.chain(stream::once(async move { handover.take() }).flatten());
        let answers = AssertUnwindSafe(answers).catch_unwind().map(move |answer| {
            let _active = &active;
            let answer = match answer {
                Ok(response) => {
                    counter!("orders_graphql_events_sent_total").increment(1);
                    Answer::from_response(response, &budget, before)
                }
                Err(panic) => {
                    panics::record("graphql", &*panic);
                    Answer::failed(panicked())
                }
            };
            budget.renew();
            answer
        });
        answers.boxed()
    }
}

/// Counts a subscription for as long as it lives.
struct Active;

impl Active {
    fn new() -> Self {
        gauge!("orders_graphql_subscriptions").increment(1.0);
        Self
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        gauge!("orders_graphql_subscriptions").decrement(1.0);
    }
}

fn refuse(too_much: TooMuch) -> Answer {
    let TooMuch { limit, code, message } = too_much;
    Answer::refused(code, limit_error(code, limit, message))
}

/// The answer to a panic, which was counted and logged.
fn panicked() -> ServerError {
    internal("it panicked")
}
