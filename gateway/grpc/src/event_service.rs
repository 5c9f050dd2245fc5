//! The calls of the event log: pages of events, and the cursors of named readers.

use std::sync::Arc;
use std::time::Duration;

use domain::{Currency, EventTypes, Principal};
use gateway_http::auth::Credential;
use gateway_http::streams::{Client, StreamKind};
use gateway_service::event_log::{EventCursor, EventPage, EventQuery, MAX_EVENTS, ReaderName};
use proto::v1;
use proto::v1::events_server::Events;
use tonic::{Extensions, Request, Response, Status};

use crate::order_service::{caller, contained};
use crate::state::State;
use crate::status::{from_problem, invalid, to_status};

/// The kind of an open stream: a call that waits counts as one.
const WAITING: StreamKind = StreamKind::new("read_events");
/// Default number of events of a page.
const DEFAULT_LIMIT: u32 = 100;
/// Maximum wait of a call.
const MAX_WAIT: Duration = Duration::from_secs(55);
/// Maximum length of the JSON of the events of a page. Clients refuse messages of 4 MiB by default.
const MAX_PAGE_BYTES: usize = 2 * 1024 * 1024;

pub(super) struct Service {
    state: State,
}

#[tonic::async_trait]
impl Events for Service {
    async fn read(
        &self,
        request: Request<v1::ReadEventsRequest>,
    ) -> Result<Response<v1::ReadEventsResponse>, Status> {
        let principal = caller(request.extensions())?;
        contained(async {
            let (_, extensions, message) = request.into_parts();
            let page = self.page(&principal, &extensions, message).await?;
            Ok(Response::new(response(page)))
        })
        .await
    }

    async fn commit(
        &self,
        request: Request<v1::CommitRequest>,
    ) -> Result<Response<v1::CommitResponse>, Status> {
        let principal = caller(request.extensions())?;
        contained(async {
            let v1::CommitRequest { reader, cursor, rewind } = request.into_inner();
            let (reader, cursor) = (name(&reader)?, parsed::<EventCursor>("cursor", &cursor)?);
            self.state.event_log.commit(&principal, &reader, cursor, rewind).await.map_err(to_status)?;
            Ok(Response::new(v1::CommitResponse {}))
        })
        .await
    }

    async fn remove_reader(
        &self,
        request: Request<v1::RemoveReaderRequest>,
    ) -> Result<Response<v1::RemoveReaderResponse>, Status> {
        let principal = caller(request.extensions())?;
        contained(async {
            let reader = name(&request.into_inner().reader)?;
            let removed = self.state.event_log.remove_reader(&principal, &reader).await;
            Ok(Response::new(v1::RemoveReaderResponse { removed: removed.map_err(to_status)? }))
        })
        .await
    }
}

impl Service {
    pub(super) fn new(state: State) -> Self {
        Self { state }
    }

    async fn page(
        &self,
        principal: &Arc<Principal>,
        extensions: &Extensions,
        request: v1::ReadEventsRequest,
    ) -> Result<EventPage, Status> {
        let State { event_log, context, .. } = &self.state;
        let wait = Duration::from_millis(request.wait_ms.into());
        if wait > MAX_WAIT {
            return Err(invalid(format!("wait_ms must be at most {}", MAX_WAIT.as_millis())));
        }
        let mut query = query(&request, context.limits.max_response_size)?;
        if !request.reader.is_empty() {
            if query.after.is_some() {
                return Err(invalid("reader and after contradict each other: give one of them"));
            }
            let reader = name(&request.reader)?;
            query.after = event_log.committed_cursor(principal, &reader).await.map_err(to_status)?;
        }
        if wait.is_zero() {
            return event_log.page(principal, &query).await.map_err(to_status);
        }
        let client = extensions.get::<Client>().and_then(|client| client.0);
        let _open = context
            .streams
            .open(WAITING, client, Some(principal))
            .map_err(|problem| from_problem(&problem))?;
        let credential = extensions.get::<Credential>().cloned().unwrap_or(Credential::Authorization(None));
        tokio::select! {
            page = event_log.wait(principal, &query, wait) => page.map_err(to_status),
            () = context.drain_signal() => event_log.page(principal, &query).await.map_err(to_status),
            problem = context.auth.clone().until_ended(credential) => Err(from_problem(&problem)),
        }
    }
}

/// Parses the fields that select events.
fn query(request: &v1::ReadEventsRequest, max_response_size: usize) -> Result<EventQuery, Status> {
    let limit = match request.limit {
        0 => DEFAULT_LIMIT,
        limit if limit <= MAX_EVENTS => limit,
        _ => return Err(invalid(format!("limit must be at most {MAX_EVENTS}"))),
    };
    let types = request.types.join(",");
    Ok(EventQuery {
        after: optional(&request.after).map(|after| parsed("after", after)).transpose()?,
        types: optional(&types).map_or(Ok(EventTypes::ALL), |types| valid("types", types))?,
        customer: optional(&request.customer).map(str::to_owned),
        currency: optional(&request.currency).map(|code| valid::<Currency>("currency", code)).transpose()?,
        limit,
        max_bytes: max_response_size.min(MAX_PAGE_BYTES),
        with_orders: true,
    })
}

/// An empty string is an absent one.
fn optional(string: &str) -> Option<&str> {
    Some(string).filter(|string| !string.is_empty())
}

fn name(reader: &str) -> Result<ReaderName, Status> {
    parsed("reader", reader)
}

/// Parses a field; the message of the error continues the name of the field.
fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(field: &str, string: &str) -> Result<T, Status> {
    string.parse().map_err(|error| invalid(format!("{field} {error}")))
}

/// Parses a field; the message of the error is a sentence.
fn valid<T: std::str::FromStr<Err: std::fmt::Display>>(field: &str, string: &str) -> Result<T, Status> {
    string.parse().map_err(|error| invalid(format!("{field}: {error}")))
}

fn response(page: EventPage) -> v1::ReadEventsResponse {
    let event = |event: gateway_service::event_log::LogEvent| v1::LogEvent {
        id: event.id,
        r#type: event.kind.as_str().to_owned(),
        cursor: event.cursor.to_string(),
        json: event.json,
    };
    v1::ReadEventsResponse {
        events: page.events.into_iter().map(event).collect(),
        next: page.next.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_documented() {
        let most = limits_page::count(MAX_EVENTS as usize);
        limits_page::row(
            "events of a call of `Events.Read`; bytes of their JSON; wait",
            &format!(
                "{DEFAULT_LIMIT}, at most {most}; {}; {} s",
                limits_page::bytes(MAX_PAGE_BYTES),
                MAX_WAIT.as_secs()
            ),
        );
    }
}
