//! Runs an operation of a websocket and queues the messages with its results.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;

use async_graphql::parser::types::OperationType;
use domain::Principal;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::sync::mpsc;

use crate::execution_result::ExecutionResult;
use crate::executor::Executor;
use crate::request::Params;
use crate::transport::websocket_protocol::Protocol;
use gateway_http::buffer_limits::{Budget, Reservation};
use gateway_http::quota;

/// A message of an operation for the socket.
pub(super) struct Outgoing {
    pub(super) id: Arc<str>,
    pub(super) number: u64,
    pub(super) text: String,
    /// Whether it is the last message of the operation.
    pub(super) last: bool,
    /// Reserves the bytes of the message until they are sent.
    pub(super) held: Option<Reservation>,
}

/// Prepares an operation and returns its results.
pub(super) async fn results(
    executor: Executor,
    principal: Arc<Principal>,
    params: Params,
    held: Option<Reservation>,
) -> BoxStream<'static, ExecutionResult> {
    let Some(held) = held else { return stream::once(ready(ExecutionResult::overloaded())).boxed() };
    if let Err(problem) = quota::charge(&principal) {
        return stream::once(ready(ExecutionResult::from_problem(&problem))).boxed();
    }
    match executor.prepare(principal, params) {
        Ok(operation) if operation.kind() == OperationType::Subscription => executor.stream(operation),
        Ok(operation) => {
            let result = async move {
                let _held = held;
                executor.run(operation).await
            };
            stream::once(result).boxed()
        }
        Err(result) => stream::once(ready(result)).boxed(),
    }
}

/// Sends the results of one operation to the queue. Waits here while the socket is stalled.
pub(super) async fn forward_results(
    results: Pin<Box<impl Future<Output = BoxStream<'static, ExecutionResult>>>>,
    protocol: Protocol,
    id: Arc<str>,
    number: u64,
    queue: mpsc::Sender<Box<Outgoing>>,
    responses: Arc<Budget>,
) {
    let mut results = results.await;
    let mut first = true;
    loop {
        let (mut text, mut last) = match results.next().await {
            // A first result without data is sent as an error.
            Some(result) if first && result.is_failure() => (protocol.error(&id, &result), true),
            Some(result) => (protocol.next(&id, &result), false),
            None => (protocol.complete(&id), true),
        };
        first = false;
        let held = responses.reserve(text.len());
        if held.is_none() {
            (text, last) = (protocol.error(&id, &ExecutionResult::overloaded()), true);
        }
        let outgoing = Box::new(Outgoing { id: Arc::clone(&id), number, text, last, held });
        if queue.send(outgoing).await.is_err() || last {
            return;
        }
    }
}
