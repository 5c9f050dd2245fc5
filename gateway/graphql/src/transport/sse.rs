//! GraphQL over server-sent events, in distinct connections mode.
//!
//! A request is one stream of `next` events with a `complete` event at the end. A stream that ends without `complete`
//! was interrupted. The client then reconnects, and a browser's `EventSource` sends the `id` of its last event, after
//! which the stream continues.
//!
//! Hand-written: axum's `Sse` omits an empty `data` line, and browsers drop a `complete` event without one. Its speed
//! was not measured.

use std::convert::Infallible;
use std::time::Duration;

use async_graphql::parser::types::OperationType;
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::{FutureExt, Stream, StreamExt, stream};

use crate::execution_result::ExecutionResult;
use crate::executor::Operation;
use crate::schema::subscription::EventPosition;
use crate::state::State;
use gateway_http::streams::{Client, StreamKind};

/// The kind of an open stream.
const STREAM: StreamKind = StreamKind::new("graphql_events");

/// A comment, which clients ignore.
const COMMENT: &str = ":\n\n";

/// Streams the results of an operation; a subscription starts after the sequence `after`.
///
/// The stream ends with the operation, when the client disconnects, or at a random moment of the drain window when the
/// gateway shuts down.
pub(crate) fn stream(state: &State, client: Client, after: u32, operation: Operation) -> Response {
    let context = state.context();
    let open = match context.streams.open(STREAM, client.0, Some(operation.principal())) {
        Ok(open) => open,
        Err(problem) => return problem.into_response(),
    };
    let position = EventPosition::new(after);
    let results = match operation.kind() {
        OperationType::Subscription => {
            let at = position.clone();
            let results = state.executor().stream(operation.at(position));
            results.map(move |result| next(&result, at.get())).boxed()
        }
        OperationType::Query | OperationType::Mutation => {
            let executor = state.executor().clone();
            async move { next(&executor.run(operation).await, None) }.into_stream().boxed()
        }
    };
    let token = context.tasks.token();
    let events =
        results.chain(stream::iter([complete()])).take_until(context.drain_signal()).map(move |event| {
            // Shutdown waits until all tokens are dropped.
            let _held = (&token, &open);
            event
        });
    response(events, state.config().ping_interval)
}

/// Returns a stream of one result.
pub(crate) fn single(result: ExecutionResult) -> Response {
    response(stream::iter([next(&result, None), complete()]), Duration::MAX)
}

/// Returns the response of a stream, with a comment after each silence of `keep_alive`.
fn response(events: impl Stream<Item = String> + Send + 'static, keep_alive: Duration) -> Response {
    let with_keep_alive = stream::unfold(events.boxed(), move |mut events| async move {
        match tokio::time::timeout(keep_alive, events.next()).await {
            Ok(Some(event)) => Some((event, events)),
            Ok(None) => None,
            Err(_) => Some((COMMENT.to_owned(), events)),
        }
    });
    // The first comment shows clients and proxies immediately that the stream is open.
    let text = stream::iter([COMMENT.to_owned()]).chain(with_keep_alive);
    let headers = [
        (CONTENT_TYPE.as_str(), "text/event-stream"),
        (CACHE_CONTROL.as_str(), "no-cache"),
        // nginx buffers streams without this header.
        ("x-accel-buffering", "no"),
    ];
    (headers, Body::from_stream(text.map(Ok::<_, Infallible>))).into_response()
}

/// Returns a `next` event. The JSON has no line breaks, so it is one line of data.
fn next(result: &ExecutionResult, sequence: Option<u32>) -> String {
    let json = result.json();
    match sequence {
        Some(sequence) => format!("id: {sequence}\nevent: next\ndata: {json}\n\n"),
        None => format!("event: next\ndata: {json}\n\n"),
    }
}

/// Returns a `complete` event. Browsers drop an event without a data line.
fn complete() -> String {
    "event: complete\ndata: \n\n".to_owned()
}

#[cfg(test)]
mod tests {
    use async_graphql::ServerError;
    use domain::ErrorCode;
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn stream_has_a_comment_results_and_complete() {
        let result = ExecutionResult::refused(ErrorCode::InvalidInput, ServerError::new("a\nb", None));
        let body = single(result).into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        let expected =
            ":\n\nevent: next\ndata: {\"errors\":[{\"message\":\"a\\nb\"}]}\n\nevent: complete\ndata: \n\n";
        assert_eq!(text, expected);
    }
}
