//! Pages of the event log for one caller.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::{
    Currency, EventType, EventTypes, JsonText, Order, OrderEvent, OrderId, OrderMap, Principal, Scope,
    Status, Timestamp, TraceContext,
};
use futures_util::stream::{self, Stream};
use gateway_store::{LogPage, LoggedEvent};
use tokio::sync::watch;
use tokio::time::Instant;

use super::body::{Body, body, event_id};
use super::{EventCursor, EventLog};
use crate::error::Error;

/// Maximum number of events of a page.
pub const MAX_EVENTS: u32 = 1_000;
/// The number of events after which a page ends, also if the filter has removed most of them.
const MAX_EXAMINED: usize = 20_000;
/// Maximum number of orders that are read at once.
const ORDERS_READ: usize = 100;
/// Maximum wait of a follower for one page. It then learns the position after the events that its filter has removed.
const FOLLOW_WAIT: Duration = Duration::from_secs(12);

/// Which events to read.
#[derive(Debug, Clone)]
pub struct EventQuery {
    /// The position after which to begin; the oldest event that is kept if absent.
    pub after: Option<EventCursor>,
    /// The types.
    pub types: EventTypes,
    /// Only orders of this customer.
    pub customer: Option<String>,
    /// Only orders in this currency.
    pub currency: Option<Currency>,
    /// Maximum number of events, 1 to [`MAX_EVENTS`].
    pub limit: u32,
    /// Maximum number of bytes of the events; at least one is returned.
    pub max_bytes: usize,
    /// Whether the events contain their orders. Without, the JSON states `null`.
    pub with_orders: bool,
}

/// An event of a page.
#[derive(Debug, Clone)]
pub struct LogEvent {
    /// The position after it.
    pub cursor: EventCursor,
    /// The id, the same for every delivery.
    pub id: String,
    /// The type.
    pub kind: EventType,
    /// The order.
    pub order_id: OrderId,
    /// The number of the event within its order.
    pub sequence: u32,
    /// The time of the change, by the clock of the database.
    pub occurred_at: Timestamp,
    /// The request that created the order, if its trace is recorded.
    pub trace: Option<TraceContext>,
    /// The event with the content of its order, as JSON: the same bytes on every API.
    pub json: String,
    data_start: usize,
}

impl LogEvent {
    /// Returns the member `data` of the JSON.
    pub fn data(&self) -> &str {
        self.json.get(self.data_start..self.json.len().saturating_sub(1)).unwrap_or_default()
    }
}

/// A page of events.
#[derive(Debug, Clone)]
pub struct EventPage {
    /// The events, oldest first.
    pub events: Vec<LogEvent>,
    /// The position after everything that was examined. The next page begins here.
    pub next: EventCursor,
    /// Whether the log had no further events.
    pub is_end: bool,
}

/// A reader that waits: events of other gateways are then looked for more often.
struct Waiting(EventLog);

impl Waiting {
    fn new(log: &EventLog) -> Self {
        if log.0.waiting.fetch_add(1, Ordering::Relaxed) == 0 {
            log.0.reader_began.notify_one();
        }
        // Looks for events of other gateways at once, not after the interval of a gateway without readers.
        log.0.committed.notify_one();
        Self(log.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Wakes a reader when the log has further events.
pub struct LogWatch {
    next: watch::Receiver<u64>,
    _waiting: Waiting,
}

impl LogWatch {
    /// Takes the present end of the log as seen: only a later one wakes the reader.
    pub fn mark_seen(&mut self) {
        self.next.mark_unchanged();
    }

    /// Waits until the log has another end than the one seen.
    pub async fn changed(&mut self) {
        if self.next.changed().await.is_err() {
            // The log has ended, and so will its readers.
            std::future::pending::<()>().await;
        }
    }
}

impl EventLog {
    /// Reads a page of events of the orders that the caller may see.
    ///
    /// # Errors
    /// [`Error::Forbidden`] without `events:read`, [`Error::EventLogDisabled`], [`Error::CursorExpired`] and
    /// [`Error::Unavailable`].
    pub async fn page(&self, principal: &Principal, query: &EventQuery) -> Result<EventPage, Error> {
        principal.require(Scope::EventsRead)?;
        let start = self.start(query.after).await?;
        let mut page = EventPage { events: Vec::new(), next: self.cursor(start), is_end: false };
        let (mut examined, mut bytes) = (0, 0);
        while !page.is_end && examined < MAX_EXAMINED {
            let logged = match self.0.store.read_event_log(page.next.position).await? {
                LogPage::Events(logged) => logged,
                LogPage::Expired(first) => return Err(self.expired(first)),
            };
            page.is_end = logged.is_empty();
            for piece in logged.chunks(ORDERS_READ) {
                let orders = self.orders(principal, query, piece).await?;
                let results = match query.with_orders {
                    true => self.results(&orders, piece.iter().map(|logged| &*logged.event)).await?,
                    false => OrderMap::default(),
                };
                for LoggedEvent { position, event } in piece {
                    let cursor = self.cursor(*position);
                    if let Some(event) = select(principal, query, event, &orders, &results, cursor) {
                        bytes += event.json.len();
                        if !page.events.is_empty() && bytes > query.max_bytes {
                            return Ok(page);
                        }
                        page.events.push(event);
                    }
                    page.next = cursor;
                    if page.events.len() >= query.limit as usize {
                        return Ok(page);
                    }
                }
            }
            examined += logged.len();
        }
        Ok(page)
    }

    /// Returns the cursor after the newest committed event, where a reader of only new events begins.
    ///
    /// # Errors
    /// As [`Self::page`].
    pub async fn end(&self, principal: &Principal) -> Result<EventCursor, Error> {
        principal.require(Scope::EventsRead)?;
        self.start(None).await?;
        Ok(self.cursor(self.newest_position().await?))
    }

    /// As [`Self::page`], but waits up to `longest` for an event.
    ///
    /// # Errors
    /// As [`Self::page`].
    pub async fn wait(
        &self,
        principal: &Principal,
        query: &EventQuery,
        longest: Duration,
    ) -> Result<EventPage, Error> {
        let end = Instant::now() + longest;
        let _waiting = Waiting::new(self);
        let mut next = self.0.next.subscribe();
        let mut query = query.clone();
        loop {
            next.borrow_and_update();
            let page = self.page(principal, &query).await?;
            if !page.events.is_empty() || Instant::now() >= end {
                return Ok(page);
            }
            query.after = Some(page.next);
            if page.is_end {
                let changed = tokio::time::timeout_at(end, next.changed()).await;
                if !matches!(changed, Ok(Ok(()))) {
                    return Ok(page);
                }
            }
        }
    }

    /// Returns one event of an order, from the order itself. `None` if it does not exist, or the caller may not see it.
    ///
    /// # Errors
    /// [`Error::Forbidden`] without `events:read`, [`Error::EventLogDisabled`] and [`Error::Unavailable`].
    pub async fn event(
        &self,
        principal: &Principal,
        order: OrderId,
        sequence: u32,
    ) -> Result<Option<LogEvent>, Error> {
        principal.require(Scope::EventsRead)?;
        let store = &self.0.store;
        let Some(order) = store.find(principal, &[order]).await?.orders.into_iter().next() else {
            return Ok(None);
        };
        let timelines = store.timelines(principal, &[(order.id, sequence.saturating_sub(1))]).await?;
        let event = timelines.events.into_iter().find(|event| event.sequence == sequence);
        let outputs = store.outputs(&[order.id]).await?.remove(&order.id).unwrap_or_default();
        let result = outputs.result.as_ref();
        Ok(event.map(|event| log_event(&event, Some(&order), result, self.cursor(0))))
    }

    /// Returns the wake-up of a reader that reads pages itself.
    pub fn watch(&self) -> LogWatch {
        LogWatch { next: self.0.next.subscribe(), _waiting: Waiting::new(self) }
    }

    /// Streams the pages from a position on: those with events, and those whose filter has removed all events.
    ///
    /// The stream ends after an error, as of [`Self::page`].
    pub fn follow(
        self,
        principal: Arc<Principal>,
        query: EventQuery,
    ) -> impl Stream<Item = Result<EventPage, Error>> + Send + 'static {
        stream::unfold(Some((self, principal, query)), |reader| async {
            let (log, principal, mut query) = reader?;
            loop {
                let page = match log.wait(&principal, &query, FOLLOW_WAIT).await {
                    Ok(page) => page,
                    Err(error) => return Some((Err(error), None)),
                };
                if query.after.replace(page.next) != Some(page.next) {
                    return Some((Ok(page), Some((log, principal, query))));
                }
            }
        })
    }

    /// Returns the position at which to begin.
    async fn start(&self, after: Option<EventCursor>) -> Result<u64, Error> {
        if !self.0.is_enabled {
            return Err(Error::EventLogDisabled);
        }
        match after {
            Some(cursor) if cursor.installation == self.0.installation => Ok(cursor.position),
            // The database was replaced by another one.
            Some(_) => Err(self.expired(self.0.store.event_log_ends().await?.first)),
            None => Ok(self.0.store.event_log_ends().await?.first.saturating_sub(1)),
        }
    }

    pub(super) fn expired(&self, first: u64) -> Error {
        Error::CursorExpired(self.cursor(first.saturating_sub(1)))
    }

    /// Returns the cursor of a position.
    pub fn cursor(&self, position: u64) -> EventCursor {
        EventCursor { installation: self.0.installation, position }
    }

    /// Reads the orders of the events that the query may select.
    async fn orders(
        &self,
        principal: &Principal,
        query: &EventQuery,
        logged: &[LoggedEvent],
    ) -> Result<HashMap<OrderId, Order>, Error> {
        let wanted = logged.iter().filter(|logged| is_candidate(principal, query, &logged.event));
        let mut ids: Vec<OrderId> = wanted.map(|logged| logged.event.order_id).collect();
        ids.sort_unstable();
        ids.dedup();
        let is_needed = query.with_orders || query.customer.is_some() || query.currency.is_some();
        if ids.is_empty() || !is_needed {
            return Ok(HashMap::new());
        }
        let found = self.0.store.find(principal, &ids).await?;
        Ok(found.orders.into_iter().map(|order| (order.id, order)).collect())
    }

    /// Reads the results of orders whose completion the query may select.
    async fn results(
        &self,
        orders: &HashMap<OrderId, Order>,
        events: impl Iterator<Item = &OrderEvent>,
    ) -> Result<OrderMap<JsonText>, Error> {
        let completed = events.filter(|event| event.status == Status::Completed).map(|event| event.order_id);
        let mut ids: Vec<OrderId> = completed.filter(|id| orders.contains_key(id)).collect();
        ids.sort_unstable();
        ids.dedup();
        let outputs = self.0.store.outputs(&ids).await?;
        Ok(outputs.into_iter().filter_map(|(id, outputs)| Some((id, outputs.result?))).collect())
    }
}

fn is_candidate(principal: &Principal, query: &EventQuery, event: &OrderEvent) -> bool {
    query.types.contains(EventType::of(event)) && principal.covers(&event.tenant_id)
}

/// Returns the event if the query selects it.
fn select(
    principal: &Principal,
    query: &EventQuery,
    event: &Arc<OrderEvent>,
    orders: &HashMap<OrderId, Order>,
    results: &OrderMap<JsonText>,
    cursor: EventCursor,
) -> Option<LogEvent> {
    if !is_candidate(principal, query, event) {
        return None;
    }
    let order = orders.get(&event.order_id);
    let of_customer =
        |customer: &String| order.is_some_and(|order| order.customer.as_ref() == Some(customer));
    let in_currency = |currency: &Currency| order.is_some_and(|order| order.total.currency() == *currency);
    if !query.customer.as_ref().is_none_or(of_customer) || !query.currency.as_ref().is_none_or(in_currency) {
        return None;
    }
    Some(log_event(event, order, results.get(&event.order_id), cursor))
}

fn log_event(
    event: &OrderEvent,
    order: Option<&Order>,
    result: Option<&JsonText>,
    cursor: EventCursor,
) -> LogEvent {
    let id = event_id(event);
    let result = result.filter(|_| event.status == Status::Completed);
    let Body { json, data_start } = body(&id, event, order, result);
    let (order_id, sequence, occurred_at) = (event.order_id, event.sequence, event.occurred_at);
    let (kind, trace) = (EventType::of(event), order.and_then(|order| order.trace));
    LogEvent { cursor, id, kind, order_id, sequence, occurred_at, trace, json, data_start }
}

#[cfg(test)]
mod tests {
    use gateway_store::LogRetention;

    use super::*;

    #[test]
    fn limits_are_documented() {
        let examined = limits_page::count(MAX_EXAMINED);
        limits_page::row("events that a page of the event log examines", &examined);
        let LogRetention { age, bytes } = crate::Config::default().log_retention;
        let days = age.unwrap().as_secs() / 86_400;
        let size = bytes.unwrap() / 1024 / 1024 / 1024;
        limits_page::row("events of the event log: age; size", &format!("{days}d; {size} GiB"));
    }
}
