//! Returns the timeline of an order, as a list or as server-sent events.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use domain::{ErrorCode, OrderEvent, OrderId, Principal, Progress};
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;

use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::api_error::{ApiError, ProblemSchema, UNAVAILABLE};
use super::event_view::EventView;
use super::long_poll::{self, Waiter};
use super::order_path::OrderPath;
use super::order_view::ProgressView;
use super::schema;
use crate::RestState;
use gateway_http::auth::{Caller, Credential};
use gateway_http::last_event_id::{self, InvalidEventId, last_event_id};
use gateway_http::problem::Problem;
use gateway_http::query::Query;
use gateway_http::streams::{Client, StreamKind};
use gateway_service::Error;
use gateway_service::feed::{WatchFrom, WatchItem};

/// The kind of an open stream.
const STREAM: StreamKind = StreamKind::new("events");

/// Interval of the keep-alive comments of a stream. Proxies close silent streams after a minute.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(12);
/// Time that a client waits before it reconnects.
pub(super) const RETRY: Duration = Duration::from_secs(1);

/// The schema of the event id after which a stream resumes, for the documentation.
pub(super) struct LastEventId;

impl PartialSchema for LastEventId {
    fn schema() -> RefOr<Schema> {
        let sequence = serde_json::json!({"type": "integer", "minimum": 0, "maximum": u32::MAX});
        let none =
            serde_json::json!({"type": "string", "maxLength": 0, "description": "The same as absent."});
        schema::of(serde_json::json!({"oneOf": [sequence, none]}))
    }
}

impl ToSchema for LastEventId {}

/// Returns the events of an order. With Accept: text/event-stream it streams them, each once and in order: stored
/// events first, then new events, until the order is final. id: is the sequence, so a client that reconnects with
/// Last-Event-ID misses no event; after the last event the response is 204, which stops the reconnects.
#[utoipa::path(
    get, path = "/orders/{id}/events", tag = "orders", operation_id = "listOrderEvents",
    params(
        ("id" = String, Path, format = Uuid, description = "The order's id."),
        ("after" = Option<i64>, Query, description = "Return only events with a higher sequence.", minimum = 0, maximum = 4294967295_i64),
        ("timeout" = Option<u32>, Query, description = "For lists: maximum wait in seconds if there is no event yet; a final order is not waited for. Default: 0, maximum: 55.", minimum = 0, maximum = 60),
        ("progress" = Option<bool>, Query, description = "For streams: `true` also streams the progress of attempts, as events with the name `progress` and without `id:`. Default: `false`."),
        ("lastEventId" = inline(Option<LastEventId>), Query, description = "The same as `Last-Event-ID`, for clients that cannot set headers."),
        ("Last-Event-ID" = inline(Option<LastEventId>), Header, description = "Last sequence that the client received. It has precedence over `lastEventId`, and both over `after`."),
    ),
    responses(
        (status = 200, description = "The events, oldest first.", content(
            (Vec<EventView> = "application/json"),
            (String = "text/event-stream"),
        )),
        (status = 204, description = "The client requested a stream, but the order is final and the client has received all events."),
        (status = 400, description = "`invalid_order_id`, `invalid_input`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 404, description = "`order_not_found`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn events(
    State(state): State<RestState>,
    Caller(principal): Caller,
    OrderPath(id): OrderPath,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    credential: Credential,
    client: Client,
) -> Result<Response, ApiError> {
    let resumed = last_event_id(query.as_deref(), &headers);
    let mut query = Query::new(query.as_deref(), &["after", "timeout", "progress", last_event_id::PARAMETER]);
    let after = query.one("after").map(|text| {
        text.parse().unwrap_or_else(|_| {
            query.add("after", "must be a whole number, the sequence of an event");
            0
        })
    });
    let with_progress = match query.one("progress").as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => {
            query.add("progress", "must be true or false");
            false
        }
    };
    if resumed == Err(InvalidEventId::Parameter) {
        query.add(last_event_id::PARAMETER, "must be a whole number, the sequence of an event");
    }
    let longest = long_poll::timeout(&mut query).unwrap_or_default();
    query.finish()?;
    let resumed = resumed.map_err(|error| Problem::new(ErrorCode::InvalidInput, error.to_string()))?;
    let after = resumed.or(after).unwrap_or(0);
    if wants_stream(&headers) {
        let progress = with_progress.then_some(progress_message as ProgressMessage);
        return live(&state, &principal, client, id, after, Messages { event: message, progress }).await;
    }
    let mut events = state.orders.events(&principal, id, after).await?;
    if events.is_empty() && !longest.is_zero() {
        let waiter = Waiter { principal: &principal, credential, client };
        long_poll::for_sequence(&state, waiter, id, after.saturating_add(1), longest).await?;
        events = state.orders.events(&principal, id, after).await?;
    }
    let events: Vec<EventView> = events.into_iter().map(Into::into).collect();
    Ok(([(header::VARY, "accept")], Json(events)).into_response())
}

/// Builds what a client receives of an event.
type EventMessage = fn(&OrderEvent) -> Event;
/// Builds what a client receives of progress.
type ProgressMessage = fn(&Progress) -> Event;

/// What a client receives.
#[derive(Clone, Copy)]
pub(super) struct Messages {
    pub(super) event: EventMessage,
    /// `None` for clients without progress.
    pub(super) progress: Option<ProgressMessage>,
}

/// Streams the events of an order.
pub(super) async fn live(
    state: &RestState,
    principal: &Arc<Principal>,
    client: Client,
    id: OrderId,
    after: u32,
    messages: Messages,
) -> Result<Response, ApiError> {
    let order = state.orders.get(principal, id).await?;
    if order.status.is_final() && after >= order.version {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let (feed, after) = (&state.feed, WatchFrom::After(after));
    let items = match messages.progress {
        Some(_) => feed.watch_with_progress(principal, id, after).await?,
        None => feed.watch(principal, id, after).await?.map(|event| event.map(WatchItem::Event)).boxed(),
    };
    let open = state.context.streams.open(STREAM, client.0, Some(principal))?;
    let body = sse(items, state.context.drain_signal(), messages).map(move |event| {
        // The stream counts as open until the end of the response.
        let _open = &open;
        event
    });
    let mut response = Sse::new(body).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    // Otherwise nginx buffers events.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

fn sse(
    items: BoxStream<'static, Result<WatchItem, Error>>,
    leave: impl Future<Output = ()> + Send + 'static,
    messages: Messages,
) -> impl Stream<Item = Result<Event, Infallible>> + Send + 'static {
    let start = Event::default().retry(RETRY);
    let events = items.take_until(leave).map(move |item| match item {
        Ok(WatchItem::Event(event)) => (messages.event)(&event),
        Ok(WatchItem::Progress(_, progress)) => match messages.progress {
            Some(message) => message(&progress),
            None => Event::default().comment("progress"),
        },
        // The stream ends here; the client reconnects and resumes after its last event.
        Err(error) => Event::default().comment(error.code().as_str()),
    });
    stream::once(async { start }).chain(events).map(Ok)
}

/// Returns the message with progress. It has no id, so a client that reconnects continues after its last event.
pub(super) fn progress_message(progress: &Progress) -> Event {
    // A struct of strings and numbers can always be serialised.
    let json = serde_json::to_string(&ProgressView::from(progress)).unwrap_or_default();
    Event::default().event("progress").data(json)
}

fn message(event: &OrderEvent) -> Event {
    numbered(event.sequence, event)
}

/// Returns the message with a JSON document, whose id is the sequence.
pub(super) fn numbered(sequence: u32, document: &impl Serialize) -> Event {
    // A struct of strings and numbers can always be serialised, and its JSON has no line breaks.
    let json = serde_json::to_string(document).unwrap_or_default();
    Event::default().id(sequence.to_string()).data(json)
}

pub(super) fn wants_stream(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_stream = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/event-stream"));
        // A weight of 0 excludes the media type.
        let is_excluded = |parameter: &str| {
            let weight = parameter.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
            weight.and_then(|(_, weight)| weight.trim().parse::<f32>().ok()) == Some(0.0)
        };
        is_stream && !parts.any(is_excluded)
    })
}

#[cfg(test)]
mod tests {
    use domain::{Status, Timestamp};
    use http_body_util::BodyExt;

    use super::*;

    fn event(sequence: u32) -> Arc<OrderEvent> {
        Arc::new(OrderEvent {
            tenant_id: domain::TenantId::default(),
            order_id: OrderId::from_bytes([1; 16]),
            sequence,
            status: Status::Pending,
            previous_status: None,
            attempt: 0,
            reason: Some("a\u{2028}b".into()),
            error_class: None,
            worker: None,
            occurred_at: Timestamp::from_micros(0),
        })
    }

    async fn text(
        events: Vec<Result<Arc<OrderEvent>, Error>>,
        leave: impl Future<Output = ()> + Send + 'static,
    ) -> String {
        let items = stream::iter(events).map(|event| event.map(WatchItem::Event)).boxed();
        let messages = Messages { event: message, progress: None };
        let body = Sse::new(sse(items, leave, messages)).into_response().into_body();
        String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn stream_has_a_retry_time_and_an_id_and_one_line_of_json_for_each_event() {
        let text = text(vec![Ok(event(1)), Ok(event(2))], std::future::pending()).await;
        let blocks: Vec<&str> = text.trim_end().split("\n\n").collect();
        assert_eq!(blocks[0], "retry: 1000");
        assert_eq!(blocks[1], format!("id: 1\ndata: {}", serde_json::to_string(&event(1)).unwrap()));
        assert!(blocks[2].starts_with("id: 2\n"));
        assert_eq!(blocks.len(), 3);
    }

    #[tokio::test]
    async fn an_error_or_a_shutdown_ends_the_stream() {
        let broken =
            text(vec![Ok(event(1)), Err(Error::database_unavailable())], std::future::pending()).await;
        assert!(broken.ends_with(": database_unavailable\n\n"));
        let left = text(vec![Ok(event(1))], std::future::ready(())).await;
        assert!(!left.contains("data:"));
    }

    #[test]
    fn accept_header_selects_the_stream() {
        let accept = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(value));
            wants_stream(&headers)
        };
        assert!(accept("text/event-stream"));
        assert!(accept("application/json;q=0.5, Text/Event-Stream;q=1"));
        assert!(!accept("text/event-stream;q=0, */*"));
        assert!(!accept("text/event-stream; q=0.000"));
        assert!(!accept("*/*"));
        assert!(!accept("application/json"));
        assert!(!wants_stream(&HeaderMap::new()));
    }
}
