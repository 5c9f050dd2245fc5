//! The events of all orders, in pages or as server-sent events.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use domain::{Currency, EventType, EventTypes, Principal, strings};
use futures_util::stream::{self, Stream, StreamExt};
use gateway_http::auth::{Caller, Credential};
use gateway_http::last_event_id;
use gateway_http::query::Query;
use gateway_http::streams::{Client, StreamKind};
use gateway_service::event_log::{
    EventCursor, EventLog, EventPage, EventQuery, InvalidEventCursor, MAX_EVENTS,
};
use http::{HeaderMap, HeaderValue, header};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::api_error::{ApiError, ProblemSchema, UNAVAILABLE};
use super::events::{KEEP_ALIVE, RETRY, wants_stream};
use super::long_poll;
use super::schema::{self, CurrencyCode};
use crate::RestState;

/// The kind of an open stream.
const STREAM: StreamKind = StreamKind::new("event_log");
/// Default number of events on a page.
const DEFAULT_LIMIT: u32 = 100;
/// The header with the cursor of the last event that a stream has received.
const LAST_EVENT_ID: &str = "last-event-id";
const PARAMETERS: [&str; 8] =
    ["after", "from", "types", "customer", "currency", "limit", "wait", last_event_id::PARAMETER];

/// The schema of a cursor in a request, for the documentation.
pub(super) struct CursorText;

impl PartialSchema for CursorText {
    fn schema() -> RefOr<Schema> {
        // An empty string is the same as an absent one.
        schema::of(serde_json::json!({"type": "string", "maxLength": 200, "pattern": "^[A-Za-z0-9_-]*$"}))
    }
}

impl ToSchema for CursorText {}

/// The schema of the beginning of a reader without a cursor, for the documentation.
struct FromWord;

impl PartialSchema for FromWord {
    fn schema() -> RefOr<Schema> {
        schema::of(serde_json::json!({"type": "string", "enum": ["oldest", "end"]}))
    }
}

impl ToSchema for FromWord {
    fn name() -> std::borrow::Cow<'static, str> {
        "EventsFrom".into()
    }
}

/// The schema of a page, for the documentation.
pub(super) struct PageSchema;

impl PartialSchema for PageSchema {
    fn schema() -> RefOr<Schema> {
        let types: Vec<&str> = EventType::ALL.into_iter().map(EventType::as_str).collect();
        schema::of(serde_json::json!({
            "type": "object",
            "required": ["events", "next"],
            "properties": {
                "events": {
                    "type": "array",
                    "description": "The events, oldest first.",
                    "items": {
                        "type": "object",
                        "required": ["id", "type", "timestamp", "data"],
                        "properties": {
                            "id": {
                                "type": "string",
                                "description": "The same for every delivery of the event.",
                                "example": "01890a5d-ac96-774b-bcce-b302099a8057-3",
                            },
                            "type": {"type": "string", "enum": types},
                            "timestamp": {"type": "string", "format": "date-time"},
                            "data": {
                                "type": "object",
                                "required": ["orderId", "sequence", "status", "order"],
                                "description": "The event as in `/orders/{id}/events`, and the content of its order.",
                            },
                        },
                    },
                },
                "next": {"type": "string", "description": "The cursor for the next request."},
            },
        }))
    }
}

impl ToSchema for PageSchema {
    fn name() -> std::borrow::Cow<'static, str> {
        "EventPage".into()
    }
}

/// Returns the events of all orders of the tenant, each once, in the order of their commits. The events of an order are in
/// their sequence. Without `after` the page begins with the oldest event that is kept. Save `next` with the effects of the
/// events: a reader that continues there misses nothing. With Accept: text/event-stream it streams them; id: is the cursor
/// after each event.
#[utoipa::path(
    get, path = "/events", tag = "events", operation_id = "listEvents",
    params(
        ("after" = inline(Option<CursorText>), Query, description = "Return events after this cursor, the `next` of an earlier page."),
        ("from" = inline(Option<FromWord>), Query, description = "Where a reader without a cursor begins: with the `oldest` event that is kept (default), or at the `end`, with the events from now on."),
        ("types" = Option<String>, Query, description = "Types separated by commas; `order.*` is every type. Default: every type.", example = "order.completed,order.failed"),
        ("customer" = Option<String>, Query, description = "Return only events of orders of this customer.", min_length = 1, max_length = 200),
        ("currency" = inline(Option<CurrencyCode>), Query, description = "Return only events of orders in this currency."),
        ("limit" = Option<u32>, Query, description = "Maximum number of events. Default: 100. A page can have fewer events, also none, before the end of the log.", minimum = 1, maximum = 1000),
        ("wait" = Option<u32>, Query, description = "Maximum wait in seconds if there is no event yet. Default: 0, maximum: 55.", minimum = 0, maximum = 60),
        ("lastEventId" = inline(Option<CursorText>), Query, description = "The same as `Last-Event-ID`, for clients that cannot set headers."),
        ("Last-Event-ID" = inline(Option<CursorText>), Header, description = "The id of the last event that the client received. It has precedence over `lastEventId`, and both over `after`."),
    ),
    responses(
        (status = 200, description = "The events, oldest first, and the cursor for the next request.", content(
            (PageSchema = "application/json"),
            (String = "text/event-stream"),
        )),
        (status = 400, description = "`invalid_input`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 409, description = "`event_log_disabled`", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 410, description = "`cursor_expired`: events after the cursor are no longer kept; `oldest` is the oldest cursor.", body = ProblemSchema, content_type = "application/problem+json"),
        (status = 503, description = UNAVAILABLE, body = ProblemSchema, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(state): State<RestState>,
    Caller(principal): Caller,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    credential: Credential,
    client: Client,
) -> Result<Response, ApiError> {
    let mut parameters = Query::new(query.as_deref(), &PARAMETERS);
    let longest = long_poll::seconds(&mut parameters, "wait").unwrap_or_default();
    let mut query = read(&mut parameters, &headers, state.context.limits.max_response_size);
    let at_end = from_end(&mut parameters);
    parameters.finish()?;
    if at_end && query.after.is_none() {
        query.after = Some(state.event_log.end(&principal).await?);
    }
    if wants_stream(&headers) {
        return live(&state, principal, client, query).await;
    }
    if longest.is_zero() {
        let page = state.event_log.page(&principal, &query).await?;
        return Ok(response(&page));
    }
    let _open = state.context.streams.open(long_poll::LONG_POLL, client.0, Some(&principal))?;
    tokio::select! {
        page = state.event_log.wait(&principal, &query, longest) => Ok(response(&page?)),
        () = state.context.drain_signal() => Ok(response(&state.event_log.page(&principal, &query).await?)),
        problem = state.context.auth.clone().until_ended(credential) => Err(problem.into()),
    }
}

/// Parses the parameters of a page.
fn read(query: &mut Query<'_>, headers: &HeaderMap, max_bytes: usize) -> EventQuery {
    let limit = query.one("limit").map_or(DEFAULT_LIMIT, |text| match text.parse() {
        Ok(limit) if (1..=MAX_EVENTS).contains(&limit) => limit,
        _ => {
            query.add("limit", format!("must be a whole number from 1 to {MAX_EVENTS}"));
            DEFAULT_LIMIT
        }
    });
    let after = cursor(query, "after");
    let last = cursor(query, last_event_id::PARAMETER);
    let header = headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty());
    let resumed = header.map(|value| value.to_str().ok().and_then(|value| value.parse().ok()));
    if resumed == Some(None) {
        query.add("Last-Event-ID", InvalidEventCursor.to_string());
    }
    EventQuery {
        after: resumed.flatten().or(last).or(after),
        types: parsed(query, "types").unwrap_or(EventTypes::ALL),
        customer: customer(query),
        currency: parsed::<Currency>(query, "currency"),
        limit,
        max_bytes,
        with_orders: true,
    }
}

/// Returns whether a reader without a cursor begins at the end.
fn from_end(query: &mut Query<'_>) -> bool {
    match query.one("from").as_deref() {
        None | Some("oldest") => false,
        Some("end") => true,
        Some(_) => {
            query.add("from", "must be oldest or end");
            false
        }
    }
}

fn customer(query: &mut Query<'_>) -> Option<String> {
    let customer = query.one("customer")?;
    if let Err(error) = strings::validate(&customer, strings::MAX_CUSTOMER) {
        query.add("customer", error);
    }
    Some(customer)
}

fn cursor(query: &mut Query<'_>, name: &'static str) -> Option<EventCursor> {
    let text = query.one(name).filter(|text| !text.is_empty())?;
    match text.parse() {
        Ok(cursor) => Some(cursor),
        Err(error) => {
            query.add(name, InvalidEventCursor::to_string(&error));
            None
        }
    }
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    query: &mut Query<'_>,
    name: &'static str,
) -> Option<T> {
    let text = query.one(name)?;
    match text.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            query.add(name, format!("is not valid: {error}"));
            None
        }
    }
}

/// Writes a page as JSON, with the bytes of each event unchanged.
fn response(page: &EventPage) -> Response {
    let length = page.events.iter().map(|event| event.json.len() + 1).sum::<usize>();
    let mut json = String::with_capacity(length + 64);
    json.push_str(r#"{"events":["#);
    for (n, event) in page.events.iter().enumerate() {
        json.push_str(if n == 0 { "" } else { "," });
        json.push_str(&event.json);
    }
    json.push_str(r#"],"next":""#);
    json.push_str(&page.next.to_string());
    json.push_str(r#""}"#);
    ([(header::CONTENT_TYPE, "application/json"), (header::VARY, "accept")], json).into_response()
}

/// Streams events from a cursor on.
async fn live(
    state: &RestState,
    principal: Arc<Principal>,
    client: Client,
    query: EventQuery,
) -> Result<Response, ApiError> {
    // An expired cursor is an error of the request, and not the end of a stream, after which the client reconnects.
    let page = state.event_log.page(&principal, &EventQuery { limit: 1, ..query.clone() }).await?;
    let query = if page.events.is_empty() { EventQuery { after: Some(page.next), ..query } } else { query };
    let open = state.context.streams.open(STREAM, client.0, Some(&principal))?;
    let events = messages(state.event_log.clone(), principal, query, state.context.drain_signal());
    let body = events.map(move |event| {
        // The stream counts as open until the end of the response.
        let _open = &open;
        Ok::<_, Infallible>(event)
    });
    let mut response = Sse::new(body).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    // Otherwise nginx buffers events.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

fn messages(
    log: EventLog,
    principal: Arc<Principal>,
    query: EventQuery,
    leave: impl Future<Output = ()> + Send + 'static,
) -> impl Stream<Item = Event> + Send + 'static {
    let messages = log.follow(principal, query).flat_map(|page| {
        stream::iter(match page {
            Ok(page) => {
                let mut messages: Vec<Event> = page
                    .events
                    .iter()
                    .map(|event| Event::default().id(event.cursor.to_string()).data(&event.json))
                    .collect();
                // Without data a client only remembers the id: it has examined everything before it.
                if page.events.last().is_none_or(|last| last.cursor != page.next) {
                    messages.push(Event::default().id(page.next.to_string()));
                }
                messages
            }
            // The stream ends here; the client reconnects and resumes after its last event.
            Err(error) => vec![Event::default().comment(error.code().as_str())],
        })
    });
    let start = Event::default().retry(RETRY);
    stream::once(async { start }).chain(messages).take_until(leave)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_documented() {
        let most = limits_page::count(MAX_EVENTS as usize);
        limits_page::row("events on a page of the event log", &format!("{DEFAULT_LIMIT}, at most {most}"));
    }
}
