//! The calls of the event log: pages of events, and the cursors of named readers.

use std::sync::Arc;
use std::time::Duration;

use domain::{Currency, EventTypes, Principal};
use gateway_http::auth::Credential;
use gateway_http::streams::{Client, StreamKind};
use gateway_service::event_log::{
    CommittedReader, DEFAULT_LEASE, EventCursor, EventPage, EventQuery, MAX_EVENTS, MAX_LEASE, MAX_METADATA,
    MIN_LEASE, ReaderCommit, ReaderLease, ReaderName,
};
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
/// A call waits at most this fraction of its lease, so that the lease does not end during the wait.
const LEASE_PARTS: u32 = 3;
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
            let (page, reader) = self.page(&principal, &extensions, message).await?;
            Ok(Response::new(response(page, reader)))
        })
        .await
    }

    async fn commit(
        &self,
        request: Request<v1::CommitRequest>,
    ) -> Result<Response<v1::CommitResponse>, Status> {
        let principal = caller(request.extensions())?;
        contained(async {
            let request = request.into_inner();
            let (reader, commit) = (name(&request.reader)?, commit(request)?);
            self.state.event_log.commit(&principal, &reader, commit).await.map_err(to_status)?;
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
    ) -> Result<(EventPage, Option<CommittedReader>), Status> {
        let State { event_log, context, .. } = &self.state;
        let mut wait = Duration::from_millis(request.wait_ms.into());
        if wait > MAX_WAIT {
            return Err(invalid(format!("wait_ms must be at most {}", MAX_WAIT.as_millis())));
        }
        let mut query = query(&request, context.limits.max_response_size)?;
        let mut reader = None;
        if !request.reader.is_empty() {
            if query.after.is_some() {
                return Err(invalid("reader and after contradict each other: give one of them"));
            }
            let (name, lease) = (name(&request.reader)?, lease(&request.holder, request.lease_ms)?);
            let found = match lease {
                None => event_log.committed_reader(principal, &name).await,
                Some(lease) => {
                    wait = wait.min(lease.duration / LEASE_PARTS);
                    event_log.lease(principal, &name, lease, request.new_at_end).await
                }
            };
            let found = found.map_err(to_status)?;
            query.after = found.cursor;
            reader = Some(found);
        } else if !request.holder.is_empty() {
            return Err(invalid("holder needs a reader: give the name that the process uses"));
        }
        if wait.is_zero() {
            return Ok((event_log.page(principal, &query).await.map_err(to_status)?, reader));
        }
        let client = extensions.get::<Client>().and_then(|client| client.0);
        let _open = context
            .streams
            .open(WAITING, client, Some(principal))
            .map_err(|problem| from_problem(&problem))?;
        let credential = extensions.get::<Credential>().cloned().unwrap_or(Credential::Authorization(None));
        let page = tokio::select! {
            page = event_log.wait(principal, &query, wait) => page.map_err(to_status),
            () = context.drain_signal() => event_log.page(principal, &query).await.map_err(to_status),
            problem = context.auth.clone().until_ended(credential) => Err(from_problem(&problem)),
        };
        Ok((page?, reader))
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

/// Parses the lease that a process wants to have; `None` without a holder.
fn lease(holder: &str, lease_ms: u32) -> Result<Option<ReaderLease>, Status> {
    let Some(holder) = optional(holder) else { return Ok(None) };
    let holder = valid("holder", holder)?;
    let duration = match lease_ms {
        0 => DEFAULT_LEASE,
        millis => Duration::from_millis(millis.into()),
    };
    if !(MIN_LEASE..=MAX_LEASE).contains(&duration) {
        let (min, max) = (MIN_LEASE.as_millis(), MAX_LEASE.as_millis());
        return Err(invalid(format!("lease_ms must be {min} to {max}")));
    }
    Ok(Some(ReaderLease { holder, duration }))
}

/// Parses what a reader commits.
fn commit(request: v1::CommitRequest) -> Result<ReaderCommit, Status> {
    let v1::CommitRequest { reader: _, cursor, rewind, holder, lease_ms, release, metadata } = request;
    let lease = lease(&holder, lease_ms)?;
    let cursor = match optional(&cursor) {
        None if lease.is_some() => None,
        _ => Some(parsed::<EventCursor>("cursor", &cursor)?),
    };
    if metadata.as_ref().is_some_and(|metadata| metadata.len() > MAX_METADATA) {
        return Err(invalid(format!("metadata must be at most {MAX_METADATA} bytes")));
    }
    Ok(ReaderCommit { cursor, rewind, metadata, lease, release })
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

fn response(page: EventPage, reader: Option<CommittedReader>) -> v1::ReadEventsResponse {
    let (committed, metadata) =
        reader.map_or_else(Default::default, |reader| (reader.cursor, reader.metadata));
    let event = |event: gateway_service::event_log::LogEvent| v1::LogEvent {
        id: event.id,
        r#type: event.kind.as_str().to_owned(),
        cursor: event.cursor.to_string(),
        json: event.json,
    };
    v1::ReadEventsResponse {
        events: page.events.into_iter().map(event).collect(),
        next: page.next.to_string(),
        metadata,
        committed: committed.map_or_else(String::new, |cursor| cursor.to_string()),
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
