//! GraphQL over HTTP: `POST` with JSON for all operations, `GET` for queries and event streams.
//!
//! | status | condition |
//! |---|---|
//! | 200 | the operation was executed, or was rejected and the client accepts `application/json` |
//! | 400 | not a GraphQL request, a limit exceeded, a hash of another document, or the operation was rejected and the client accepts `application/graphql-response+json` |
//! | 401 | no valid credential |
//! | 403 | the document is not in the list of trusted documents |
//! | 405 | a mutation by `GET` |
//! | 406 | the client accepts no supported media type |
//! | 408 | the body did not arrive in time |
//! | 413 | the body or the document is too long |
//! | 415 | the body is not JSON |
//! | 429 | the key or the tenant exceeds its rate |
//! | 503 | all requests together hold too many bytes |
//!
//! Hand-written: the handlers of async-graphql-axum run mutations by `GET` and from forms of other sites, and respond
//! to malformed requests with 200. `docs/graphql-audits.md` has the results of graphql-http's audits of this module.

use std::sync::Arc;

use async_graphql::parser::types::OperationType;
use axum::extract::{self, Request};
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, EXPECT, RETRY_AFTER, VARY};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use domain::{ErrorCode, Principal};

use crate::errors::{limit_error, request_error};
use crate::execution_result::{ExecutionResult, Stage};
use crate::executor::Operation;
use crate::request::{Params, Requests};
use crate::state::State;
use crate::transport::negotiate::{Accepted, Media, accepted};
use crate::transport::sse;
use crate::transport::websocket;
use gateway_http::auth;
use gateway_http::body::{Failure, Rule, receive};
use gateway_http::last_event_id::last_event_id;
use gateway_http::media::is_json;
use gateway_http::origins::ReadOnly;
use gateway_http::problem::retry_after;
use gateway_http::quota;
use gateway_http::server::Overloaded;
use gateway_http::streams::Client;

/// Handles `POST /graphql`.
pub(crate) async fn post(extract::State(state): extract::State<State>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let limits = &state.context().limits;
    let rule = Rule {
        bytes: limits.max_body_size,
        step: limits.request_read_timeout,
        drain: !parts.headers.contains_key(EXPECT),
    };
    let body = match receive(body, rule, &state.context().buffers.bodies).await {
        Err(Failure::Late) => {
            return error_response(ErrorCode::BodyTimeout, "the body did not come in time");
        }
        Err(Failure::Overloaded) => return overloaded(),
        body => body,
    };
    let Some(accepts) = accepted(&parts.headers) else { return not_acceptable() };
    if !is_json(&parts.headers) {
        let message = "the body must be application/json in UTF-8";
        return error_response(ErrorCode::UnsupportedMediaType, message);
    }
    let body = match body {
        Ok(body) => body,
        Err(Failure::TooLarge) => {
            let message = format!("the body has more than {} bytes", limits.max_body_size);
            return limit_response(ErrorCode::BodyTooLarge, "body", &message);
        }
        Err(Failure::Broken | Failure::Late | Failure::Overloaded) => {
            return error_response(ErrorCode::BodyIncomplete, "the body could not be read");
        }
    };
    let principal = match auth::principal(&parts.extensions) {
        Ok(principal) => principal,
        Err(problem) => return error_response(problem.code(), problem.detail()),
    };
    let read_only = parts.extensions.get::<ReadOnly>().is_some();
    let request_id = parts.headers.get("x-request-id");
    match Requests::from_body(&body) {
        Ok(Requests::One(params)) => {
            let operation = state
                .executor()
                .prepare(principal, Params { read_only, request_id: request_id.cloned(), ..params });
            respond_to_operation(&state, &parts, accepts, operation).await
        }
        Ok(Requests::Batch(batch)) => {
            let batch = batch.into_iter().map(|params| Params {
                read_only,
                request_id: request_id.cloned(),
                ..params
            });
            run_batch(&state, principal, accepts, batch.collect()).await
        }
        Err(error) => error_response(error.code, &error.to_string()),
    }
}

/// Handles `GET /graphql`, also the upgrade to a websocket.
pub(crate) async fn get(extract::State(state): extract::State<State>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    if websocket::is_upgrade(&parts.headers) {
        return websocket::upgrade(state, parts).await;
    }
    let Some(accepts) = accepted(&parts.headers) else { return not_acceptable() };
    let params = match Params::from_url_query(parts.uri.query().unwrap_or_default()) {
        Ok(params) => params,
        Err(error) => return error_response(error.code, &error.to_string()),
    };
    let principal = match auth::principal(&parts.extensions) {
        Ok(principal) => principal,
        Err(problem) => return error_response(problem.code(), problem.detail()),
    };
    let operation = state.executor().prepare(principal, params);
    if operation.as_ref().is_ok_and(|operation| operation.kind() == OperationType::Mutation) {
        let message = "mutations must be sent by POST";
        let mut response = error_response(ErrorCode::MethodNotAllowed, message);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    respond_to_operation(&state, &parts, accepts, operation).await
}

async fn respond_to_operation(
    state: &State,
    parts: &Parts,
    accepts: Accepted,
    operation: Result<Operation, ExecutionResult>,
) -> Response {
    let stream = |operation| match last_event_id(parts.uri.query(), &parts.headers) {
        Ok(after) => {
            let client = Client::of(parts, &state.context().limits);
            sse::stream(state, client, after.unwrap_or(0), operation)
        }
        Err(error) => error_response(ErrorCode::InvalidInput, &error.to_string()),
    };
    let Some(media) = accepts.media else {
        // The client accepts only an event stream, so every result except a refusal becomes one.
        return match operation {
            Ok(operation) => stream(operation),
            Err(result) => match result.stage() {
                Stage::Refused(_) => respond(Media::Json, result),
                Stage::Rejected | Stage::Executed => sse::single(result),
            },
        };
    };
    match operation {
        Err(result) => respond(media, result),
        Ok(operation) if operation.kind() != OperationType::Subscription => {
            respond(media, state.executor().run(operation).await)
        }
        Ok(operation) if accepts.event_stream => stream(operation),
        Ok(_) => {
            let message = "a subscription is a stream: accept text/event-stream, or use a websocket";
            error_response(ErrorCode::NotAcceptable, message)
        }
    }
}

/// Runs the operations of a batch one after the other.
///
/// Together they have the time, the complexity and the length of the response of one operation.
async fn run_batch(
    state: &State,
    principal: Arc<Principal>,
    accepts: Accepted,
    batch: Vec<Params>,
) -> Response {
    let limits = state.config();
    if limits.max_batch_size < 2 {
        let message = "several operations in one request are not accepted here: send each by itself";
        return error_response(ErrorCode::InvalidInput, message);
    }
    let Some(media) = accepts.media else { return not_acceptable() };
    if batch.is_empty() {
        return error_response(ErrorCode::InvalidInput, "the batch has no operation");
    }
    if batch.len() > limits.max_batch_size {
        let (length, most) = (batch.len(), limits.max_batch_size);
        let message = format!("the batch has {length} operations: the most is {most}");
        return limit_response(ErrorCode::LimitExceeded, "batch", &message);
    }
    if let Err(problem) = quota::charge_rest(&principal, batch.len()) {
        return respond(media, ExecutionResult::from_problem(&problem));
    }
    let mut operations = Vec::with_capacity(batch.len());
    let mut complexity: usize = 0;
    for params in batch {
        let operation = state.executor().prepare(principal.clone(), params);
        complexity = complexity.saturating_add(operation.as_ref().map_or(0, Operation::complexity));
        operations.push(operation);
    }
    if complexity > limits.max_complexity {
        let most = limits.max_complexity;
        let message =
            format!("the operations of the batch have too many fields times page sizes: the most is {most}");
        return limit_response(ErrorCode::LimitExceeded, "complexity", &message);
    }
    let deadline = state.executor().deadline();
    let budget = state.executor().budget();
    let mut results = Vec::with_capacity(operations.len());
    for operation in operations {
        let result = match operation {
            Ok(operation) if operation.kind() == OperationType::Subscription => {
                let message = "a subscription cannot be part of a batch";
                let code = ErrorCode::InvalidInput;
                ExecutionResult::refused(code, request_error(code, message))
            }
            Ok(operation) => state.executor().run_until(operation, deadline, budget.clone()).await,
            Err(result) => result,
        };
        results.push(result.into_json());
    }
    write(StatusCode::OK, media, format!("[{}]", results.join(",")))
}

fn not_acceptable() -> Response {
    let message = "accept application/graphql-response+json, application/json or text/event-stream";
    error_response(ErrorCode::NotAcceptable, message)
}

fn error_response(code: ErrorCode, message: &str) -> Response {
    respond(Media::Json, ExecutionResult::refused(code, request_error(code, message)))
}

fn limit_response(code: ErrorCode, limit: &'static str, message: &str) -> Response {
    respond(Media::Json, ExecutionResult::refused(code, limit_error(code, limit, message)))
}

/// Returns the response that replaces one which does not fit into the shared buffer of responses.
fn overloaded() -> Response {
    respond(Media::Json, ExecutionResult::overloaded())
}

fn respond(media: Media, result: ExecutionResult) -> Response {
    let status = media.status(result.stage());
    let retry_after = result.retry_after().map(retry_after);
    let mut response = write(status, media, result.into_json());
    if let Some(value) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, value);
    }
    response
}

fn write(status: StatusCode, media: Media, json: String) -> Response {
    let headers = [(CONTENT_TYPE, media.content_type()), (CACHE_CONTROL, "no-store"), (VARY, "Accept")];
    let mut response = (status, headers, json).into_response();
    response.extensions_mut().insert(Overloaded(overloaded));
    response
}
