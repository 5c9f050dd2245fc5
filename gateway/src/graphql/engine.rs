//! Runs operations. HTTP, SSE and websockets all come through here, so that limits, masking,
//! deadlines and metrics are the same whichever way an operation came.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, OperationDefinition, OperationType, Selection,
};
use async_graphql::parser::{Positioned, parse_query};
use async_graphql::{Request, Response, ServerError, Value, Variables};
use axum::http::StatusCode;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use metrics::{counter, gauge};
use serde::Serialize;
use tokio::time::Instant;

use super::OrdersSchema;
use super::documents::{Documents, Validator};
use super::errors::{
    BAD_USER_INPUT, CODE, ORIGIN_NOT_ALLOWED, PARSE_FAILED, TIMEOUT, VALIDATION_FAILED, internal,
    limit_error, request_error, tidy, with_code,
};
use super::guard::{self, TooMuch};
use super::live::Handover;
use super::params::Params;
use super::parsed::Parsed;
use super::subscription::Position;
use crate::Config;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Engine {
    schema: OrdersSchema,
    config: Arc<Config>,
    documents: Arc<Documents>,
    parsed: Arc<Parsed>,
    validator: Validator,
}

/// A document that may run: parsed, within the limits, its operation chosen.
pub(crate) struct Operation {
    kind: OperationType,
    request: Request,
    complexity: usize,
}

/// One result of an operation.
#[derive(Debug)]
pub(crate) struct Answer {
    data: Value,
    errors: Vec<ServerError>,
    stage: Stage,
}

/// How far an operation came. The status over HTTP depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// A limit refused it.
    Refused(StatusCode),
    /// It was found wrong before anything ran: it did not parse, did not validate, or a variable is
    /// missing.
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
    /// A request that did not come to an operation.
    pub(crate) fn refused(status: StatusCode, error: ServerError) -> Self {
        Self { data: Value::Null, errors: vec![error], stage: Stage::Refused(status) }
    }

    pub(crate) fn rejected(error: ServerError) -> Self {
        Self { data: Value::Null, errors: vec![error], stage: Stage::Rejected }
    }

    fn from_response(response: Response) -> Self {
        let ran = response.data != Value::Null || response.errors.iter().any(|error| !error.path.is_empty());
        let stage = if ran || response.errors.is_empty() { Stage::Executed } else { Stage::Rejected };
        Self { data: response.data, errors: tidy(response.errors), stage }
    }

    fn failed(error: ServerError) -> Self {
        Self { data: Value::Null, errors: vec![error], stage: Stage::Executed }
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
        self.data == Value::Null && !self.errors.is_empty()
    }

    /// The JSON of the result. There is no `data` when nothing ran.
    pub(crate) fn to_json(&self) -> String {
        let data = match self.stage {
            Stage::Executed => Some(&self.data),
            Stage::Refused(_) | Stage::Rejected => None,
        };
        serde_json::to_string(&Body { errors: &self.errors, data })
            .expect("a result has only string keys and no values that JSON lacks")
    }
}

impl Engine {
    pub(crate) fn new(schema: OrdersSchema, config: Arc<Config>) -> Self {
        let documents = Arc::new(Documents::new(&config.graphql));
        Self { schema, config, documents, parsed: Arc::default(), validator: Validator::new() }
    }

    /// Parses a document once, checks it and chooses its operation. What is returned as an error is
    /// the whole answer.
    pub(crate) async fn prepare(&self, params: Params) -> Result<Operation, Answer> {
        let limits = &self.config.graphql;
        let found = self.documents.find(&params)?;
        let document = match self.parsed.get(&found.text) {
            Some(document) => document,
            None => {
                guard::check_text(&found.text, limits).map_err(refuse)?;
                let document = parse_query(&*found.text)
                    .map_err(|error| Answer::rejected(with_code(error.into(), PARSE_FAILED)))?;
                let document = Arc::new(document);
                self.parsed.keep(&found.text, &document);
                document
            }
        };
        let complexity = guard::check(&document, &params.variables, limits).map_err(refuse)?;
        if let Some(hash) = found.register
            && self.validator.check(ExecutableDocument::clone(&document)).await.is_ok()
        {
            self.documents.register(hash, &found.text);
        }

        let name = params.operation_name.as_deref();
        let operation = choose(&document, name)
            .map_err(|message| Answer::rejected(request_error(VALIDATION_FAILED, message)))?;
        require_variables(&operation.node, &params.variables)?;
        let kind = operation.node.ty;
        if params.read_only && kind == OperationType::Mutation {
            let message = "pages of other sites may only read here; the operators can allow a site by its name with \
                           --cors-origins";
            return Err(Answer::refused(StatusCode::FORBIDDEN, request_error(ORIGIN_NOT_ALLOWED, message)));
        }
        let hidden = match kind {
            OperationType::Subscription => guard::hidden_root_field(&document, &operation.node).cloned(),
            OperationType::Query | OperationType::Mutation => None,
        };
        let mut document = Arc::unwrap_or_clone(document);
        if let Some(field) = hidden {
            show_root_field(&mut document, name, field);
        }
        let mut request = Request::new(&*found.text).variables(params.variables);
        request.operation_name = params.operation_name;
        request.set_parsed_query(document);
        Ok(Operation { kind, request, complexity })
    }

    /// Runs a query or a mutation. Stops when it takes too long, or when the caller goes away.
    pub(crate) async fn run(&self, operation: Operation) -> Answer {
        self.run_until(operation, self.deadline()).await
    }

    /// When an operation that begins now has to be done.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.config.graphql.execution_timeout
    }

    /// The same for one of several operations that share their time.
    pub(crate) async fn run_until(&self, operation: Operation, deadline: Instant) -> Answer {
        if Instant::now() >= deadline {
            let message = "the operation was not run: those before it took all the time";
            return Answer::failed(request_error(TIMEOUT, message));
        }
        let limit = self.config.graphql.execution_timeout;
        let work = AssertUnwindSafe(self.schema.execute(operation.request)).catch_unwind();
        match tokio::time::timeout_at(deadline, work).await {
            Ok(Ok(response)) => Answer::from_response(response),
            Ok(Err(panic)) => Answer::failed(internal(&panic_text(&*panic))),
            Err(_) => {
                counter!("graphql_refusals_total", "limit" => "execution_time").increment(1);
                let message = format!("the operation was stopped after {} ms", limit.as_millis());
                Answer::failed(request_error(TIMEOUT, message))
            }
        }
    }

    /// Runs a subscription until it ends or the stream is dropped.
    pub(crate) fn stream(&self, operation: Operation) -> BoxStream<'static, Answer> {
        let active = Active::new();
        let handover = Handover::default();
        let begun = self.schema.execute_stream(operation.request.data(handover.taker()));
        let answers = begun.chain(stream::once(async move { handover.take() }).flatten());
        let answers = AssertUnwindSafe(answers).catch_unwind().map(move |answer| {
            let _active = &active;
            match answer {
                Ok(response) => {
                    counter!("graphql_events_sent_total").increment(1);
                    Answer::from_response(response)
                }
                Err(panic) => Answer::failed(internal(&panic_text(&*panic))),
            }
        });
        answers.boxed()
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

fn choose<'a>(
    document: &'a ExecutableDocument,
    name: Option<&str>,
) -> Result<&'a Positioned<OperationDefinition>, String> {
    match (&document.operations, name) {
        (DocumentOperations::Single(operation), None) => Ok(operation),
        (DocumentOperations::Multiple(operations), None) => match operations.len() {
            1 => operations.values().next().ok_or_else(String::new),
            _ => Err("the document has several operations: operationName must name one".to_owned()),
        },
        (DocumentOperations::Multiple(operations), Some(name)) => {
            operations.get(name).ok_or_else(|| format!("the document has no operation {name}"))
        }
        (DocumentOperations::Single(_), Some(name)) => Err(format!("the document has no operation {name}")),
    }
}

/// async-graphql would notice a missing variable only while it runs.
fn require_variables(operation: &OperationDefinition, variables: &Variables) -> Result<(), Answer> {
    for definition in &operation.variable_definitions {
        let (name, kind) = (&definition.node.name.node, &definition.node.var_type.node);
        let required = !kind.nullable && definition.node.default_value.is_none();
        let given = variables.get(name);
        if (required && given.is_none()) || (!kind.nullable && given == Some(&Value::Null)) {
            let mut error =
                request_error(BAD_USER_INPUT, format!("the variable ${name} of type {kind} is required"));
            error.locations.push(definition.pos);
            return Err(Answer::rejected(error));
        }
    }
    Ok(())
}

/// async-graphql follows the root field of a subscription only when it stands at the root itself, so
/// a copy is put there. Both are the same field to validation.
fn show_root_field(
    document: &mut ExecutableDocument,
    name: Option<&str>,
    field: Positioned<async_graphql::parser::types::Field>,
) {
    let operation = match (&mut document.operations, name) {
        (DocumentOperations::Single(operation), _) => Some(operation),
        (DocumentOperations::Multiple(operations), Some(name)) => operations.get_mut(name),
        (DocumentOperations::Multiple(operations), None) => operations.values_mut().next(),
    };
    if let Some(operation) = operation {
        let position = field.pos;
        let copy = Positioned::new(Selection::Field(field), position);
        operation.node.selection_set.node.items.insert(0, copy);
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("a resolver panicked: {}", text.unwrap_or_else(|| "no message".to_owned()))
}
