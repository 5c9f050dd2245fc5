//! Runs operations. HTTP, SSE and websockets all come through here, so that limits, masking,
//! deadlines and metrics are the same whichever way an operation came.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use async_graphql::parser::types::{DocumentOperations, ExecutableDocument, OperationType};
use async_graphql::{Positioned, Request, Response, ServerError, Value};
use axum::http::StatusCode;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use metrics::{counter, gauge};
use serde::Serialize;
use tokio::time::Instant;

use super::OrdersSchema;
use super::budget::{Budget, Budgets};
use super::documents::Documents;
use super::errors::{
    BAD_USER_INPUT, CODE, ORIGIN_NOT_ALLOWED, TIMEOUT, VALIDATION_FAILED, internal, limit_error,
    request_error, tidy, with_code,
};
use super::guard::{self, TooMuch};
use super::language::{Document, Language, Unusable};
use super::live::Handover;
use super::params::Params;
use super::parsed::Parsed;
use super::subscription::Position;
use crate::{Config, Error, panics};

/// The same schema twice.
#[derive(Clone)]
pub(super) struct Schemas {
    /// Counts the bytes of what is resolved.
    pub(super) metered: OrdersSchema,
    /// Does not, which takes less time: for operations that select no lists.
    pub(super) plain: OrdersSchema,
}

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Engine {
    schemas: Schemas,
    config: Arc<Config>,
    language: Arc<Language>,
    documents: Arc<Documents>,
    parsed: Arc<Parsed>,
    budgets: Budgets,
}

/// An operation that may run: validated, within the limits, its variables coerced.
pub(crate) struct Operation {
    kind: OperationType,
    request: Request,
    complexity: usize,
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
        self.complexity
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
    pub(crate) fn refused(status: StatusCode, error: ServerError) -> Self {
        Self::new(&Value::Null, vec![error], Stage::Refused(status))
    }

    /// All requests together hold too many bytes.
    pub(crate) fn overloaded() -> Self {
        let error = Error::overloaded();
        Self::refused(StatusCode::SERVICE_UNAVAILABLE, request_error(error.code(), error.to_string()))
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
            None => Self::failed(budget.exceeded()),
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
    pub(crate) fn new(schemas: Schemas, config: Arc<Config>) -> Self {
        let documents = Arc::new(Documents::new(&config.graphql));
        let budgets = Budgets::new(config.http.response_bytes);
        let language = Arc::new(Language::new());
        Self { schemas, config, language, documents, parsed: Arc::default(), budgets }
    }

    /// The budget of a new response.
    pub(super) fn budget(&self) -> Budget {
        self.budgets.budget()
    }

    /// Reads a document once, chooses its operation and coerces the variables. What is returned as an
    /// error is the whole answer.
    pub(crate) fn prepare(&self, params: Params) -> Result<Operation, Answer> {
        catch_unwind(AssertUnwindSafe(|| self.prepare_or_panic(params)))
            .unwrap_or_else(|panic| Err(Answer::failed(panicked(&*panic))))
    }

    fn prepare_or_panic(&self, params: Params) -> Result<Operation, Answer> {
        let limits = &self.config.graphql;
        let found = self.documents.find(&params)?;
        let document = self.document(&found.text)?;
        if let Some(hash) = found.register {
            self.documents.register(hash, &found.text);
        }
        let name = params.operation_name.as_deref();
        let plan = document
            .operation(name)
            .map_err(|message| Answer::rejected(vec![request_error(VALIDATION_FAILED, message)]))?;
        if params.read_only && plan.kind == OperationType::Mutation {
            let message = "pages of other sites may only read here; the operators can allow a site by its name with \
                           --cors-origins";
            return Err(Answer::refused(StatusCode::FORBIDDEN, request_error(ORIGIN_NOT_ALLOWED, message)));
        }
        let wrong_input = |error| Answer::rejected(vec![with_code(error, BAD_USER_INPUT)]);
        let variables = self.language.coerce(plan, params.variables).map_err(wrong_input)?;
        let complexity = guard::check_variables(&document.ast, plan.name.as_deref(), &variables, limits)
            .map_err(refuse)?;
        let operation = plan.select(&variables).map_err(wrong_input)?;
        let (kind, has_lists) = (plan.kind, plan.has_lists);
        let fields = operation.selection_set.node.items.len();
        let mut request = Request::new("");
        request.set_parsed_query(ExecutableDocument {
            operations: DocumentOperations::Single(Positioned::new(operation, Default::default())),
            fragments: Default::default(),
        });
        Ok(Operation { kind, request, complexity, fields, has_lists })
    }

    fn document(&self, text: &Arc<str>) -> Result<Arc<Document>, Answer> {
        if let Some(document) = self.parsed.get(text) {
            return Ok(document);
        }
        let read = self.language.read(text, &self.config.graphql);
        let document = Arc::new(read.map_err(|unusable| match unusable {
            Unusable::TooMuch(too_much) => refuse(too_much),
            Unusable::Wrong(errors) => Answer::rejected(errors),
        })?);
        self.parsed.keep(text, &document);
        Ok(document)
    }

    /// Runs a query or a mutation. Stops when it takes too long, or when the caller goes away.
    pub(crate) async fn run(&self, operation: Operation) -> Answer {
        self.run_until(operation, self.deadline(), self.budget()).await
    }

    /// When an operation that begins now has to be done.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.config.graphql.execution_timeout
    }

    /// The same for one of several operations that share their time and the length of the response.
    pub(crate) async fn run_until(&self, operation: Operation, deadline: Instant, budget: Budget) -> Answer {
        if Instant::now() >= deadline {
            let message = "the operation was not run: those before it took all the time";
            return Answer::failed(request_error(TIMEOUT, message));
        }
        let before = budget.left();
        budget.reserve_errors(operation.fields);
        let schema = self.schema(&operation);
        let request = operation.request.data(budget.clone());
        let work = AssertUnwindSafe(schema.execute(request)).catch_unwind();
        match tokio::time::timeout_at(deadline, work).await {
            Ok(Ok(response)) => written(response, budget, before).await,
            Ok(Err(panic)) => Answer::failed(panicked(&*panic)),
            Err(_) => {
                counter!("graphql_refusals_total", "limit" => "execution_time").increment(1);
                let limit = self.config.graphql.execution_timeout;
                let message = format!("the operation was stopped after {} ms", limit.as_millis());
                Answer::failed(request_error(TIMEOUT, message))
            }
        }
    }

    fn schema(&self, operation: &Operation) -> &OrdersSchema {
        if operation.has_lists { &self.schemas.metered } else { &self.schemas.plain }
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
                    counter!("graphql_events_sent_total").increment(1);
                    Answer::from_response(response, &budget, before)
                }
                Err(panic) => Answer::failed(panicked(&*panic)),
            };
            budget.renew();
            answer
        });
        answers.boxed()
    }
}

/// Writes a response. A large one is written, and its values freed, where nothing else waits.
async fn written(response: Response, budget: Budget, before: usize) -> Answer {
    let is_large = budget.is_large();
    let write = move || {
        let answer = Answer::from_response(response, &budget, before);
        budget.release();
        answer
    };
    if !is_large {
        return write();
    }
    match tokio::task::spawn_blocking(write).await {
        Ok(answer) => answer,
        Err(error) => Answer::failed(internal(&error.to_string())),
    }
}

/// Counts a subscription for as long as it lives.
struct Active;

impl Active {
    fn new() -> Self {
        gauge!("graphql_subscriptions").increment(1.0);
        Self
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        gauge!("graphql_subscriptions").decrement(1.0);
    }
}

fn refuse(too_much: TooMuch) -> Answer {
    let mut error = limit_error(too_much.limit, too_much.message);
    error.extensions.get_or_insert_default().set(CODE, too_much.code);
    Answer::refused(too_much.status, error)
}

/// The answer to a panic, which is counted and logged.
fn panicked(panic: &(dyn Any + Send)) -> ServerError {
    panics::note("graphql", panic);
    internal("it panicked")
}
