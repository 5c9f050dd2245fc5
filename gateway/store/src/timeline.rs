//! Where the events of an order are stored.
//!
//! An order's row contains its first event (it was created, and is pending), its latest one (the present values) and
//! the one before that. Only the events between are in `order_events`: a change that makes a third event moves the
//! older of the two there, in the same transaction (`super::transition`). Most orders are created, started and
//! completed, and have no other row.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::{OrderEvent, OrderId, Status, TenantId, Timestamp, WorkerName};

use super::columns::{Column, EVENT, EventColumn, MOVED_EVENT, OrderRow, Selection};
use super::connection::Connection;
use super::isolate::select_orders;
use super::owner::Owner;
use super::row::Row;
use super::statement::{MAX_ROWS_PER_STATEMENT, Statement, padded_chunks};
use super::unreadable::{Cause, Unreadable};
use super::{Error, rows};

/// The columns of [`InlineEvents::new`].
static INLINE_EVENTS: Selection = Selection::new(&[
    Column::Id,
    Column::TenantId,
    Column::Version,
    Column::CreatedAt,
    Column::Status,
    Column::Attempt,
    Column::Reason,
    Column::UpdatedAt,
    Column::ErrorClass,
    Column::Worker,
    Column::PreviousStatus,
    Column::PreviousAttempt,
    Column::PreviousReason,
    Column::PreviousAt,
    Column::PreviousErrorClass,
]);

/// The first sequence that `order_events` can contain.
const SECOND: u32 = 2;

/// The events of some orders.
#[derive(Debug, Default)]
pub struct Timelines {
    /// The events of one order are in ascending sequence.
    pub events: Vec<Arc<OrderEvent>>,
    /// Orders whose events are not complete or cannot be read.
    pub unreadable: Vec<Unreadable>,
}

/// An event without its order and sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EventRow {
    pub(super) status: Status,
    attempt: u32,
    reason: Option<String>,
    at: Timestamp,
    error_class: Option<String>,
    /// Of a start.
    worker: Option<WorkerName>,
}

/// The events in an order's row.
#[derive(Debug, Clone)]
pub(super) struct InlineEvents {
    id: OrderId,
    tenant: TenantId,
    /// The sequence of the latest event.
    version: u32,
    created_at: Timestamp,
    latest: EventRow,
    previous: EventRow,
}

impl InlineEvents {
    pub(super) fn new(row: &OrderRow<'_>) -> Result<Self, Error> {
        let worker = rows::worker(row.get(Column::Worker)?);
        // Two successive events are not both starts.
        let of = |status: Status| worker.clone().filter(|_| status == Status::Processing);
        let (status, previous_status) = (row.status(Column::Status)?, row.status(Column::PreviousStatus)?);
        Ok(Self {
            id: row.id()?,
            tenant: row.tenant()?,
            version: row.number(Column::Version)?,
            created_at: row.time(Column::CreatedAt)?,
            latest: EventRow {
                status,
                attempt: row.number(Column::Attempt)?,
                reason: row.get(Column::Reason)?,
                at: row.time(Column::UpdatedAt)?,
                error_class: row.get(Column::ErrorClass)?,
                worker: of(status),
            },
            previous: EventRow {
                status: previous_status,
                attempt: row.number(Column::PreviousAttempt)?,
                reason: row.get(Column::PreviousReason)?,
                at: row.time(Column::PreviousAt)?,
                error_class: row.get(Column::PreviousErrorClass)?,
                worker: of(previous_status),
            },
        })
    }

    /// Returns the sequences that are in `order_events`.
    pub(super) fn stored(&self) -> std::ops::Range<u32> {
        SECOND..self.version.saturating_sub(1).max(SECOND)
    }

    /// Returns the whole timeline by sequence, together with the stored events.
    pub(super) fn timeline(self, stored: BTreeMap<u32, EventRow>) -> BTreeMap<u32, EventRow> {
        let Self { version, created_at, latest, previous, .. } = self;
        let mut timeline = stored;
        if version > SECOND {
            timeline.insert(version - 1, previous);
        }
        if version > 1 {
            let (status, at) = (Status::Pending, created_at);
            timeline.insert(
                1,
                EventRow { status, attempt: 0, reason: None, at, error_class: None, worker: None },
            );
        }
        timeline.insert(version, latest);
        timeline
    }
}

/// Reads an event of `order_events`, from the columns of [`EVENT`].
pub(super) fn overflow_event(row: &Row) -> Result<(OrderId, u32, EventRow), Error> {
    let moment = EventRow {
        status: rows::status(row.get(EventColumn::Status as usize)?)?,
        attempt: rows::number(row, EventColumn::Attempt as usize)?,
        reason: row.get(EventColumn::Reason as usize)?,
        at: rows::time(row, EventColumn::OccurredAt as usize)?,
        error_class: row.get(EventColumn::ErrorClass as usize)?,
        worker: rows::worker(row.get(EventColumn::Worker as usize)?),
    };
    let id = rows::id(row, EventColumn::OrderId as usize)?;
    Ok((id, rows::number(row, EventColumn::Sequence as usize)?, moment))
}

/// Begins the statement that moves events out of rows; the table and the condition follow.
pub(super) fn moved_events() -> Statement<'static> {
    Statement::new(format!("INSERT INTO order_events ({EVENT}) SELECT {MOVED_EVENT} FROM "))
}

/// Returns, for each order and sequence, the events of that order with a higher sequence, in ascending sequence.
///
/// An order with incomplete or unreadable events does not affect the others.
pub(super) async fn after(
    connection: &mut Connection,
    cursors: &[(OrderId, u32)],
    owner: &Owner,
) -> Result<Timelines, Error> {
    let mut found = Timelines::default();
    for piece in cursors.chunks(MAX_ROWS_PER_STATEMENT) {
        let mut seen: BTreeMap<OrderId, u32> = BTreeMap::new();
        for (id, after) in piece {
            let least = seen.entry(*id).or_insert(*after);
            *least = (*least).min(*after);
        }
        let ids: Vec<OrderId> = seen.keys().copied().collect();
        let rows = select_orders(connection, &INLINE_EVENTS, &ids, owner, "").await?;
        let mut ends = Vec::with_capacity(rows.iter().len());
        for row in rows.iter() {
            let id = row.id()?;
            match InlineEvents::new(&row) {
                Ok(one) => ends.push(one),
                Err(error) => found.unreadable.push(Unreadable::new(id, &error)),
            }
        }
        found.unreadable.extend(rows.unreadable);
        // An order that has changed since has moved events there, never away, so all of them are found.
        let Stored { mut events, unreadable } = stored(connection, &ends, &seen).await?;
        for ends in ends {
            if let Some(unreadable) = unreadable.get(&ends.id) {
                found.unreadable.push(unreadable.clone());
                continue;
            }
            let tenant = ends.tenant.clone();
            let (id, version, after) = (ends.id, ends.version, seen.get(&ends.id).copied().unwrap_or(0));
            let stored = events.remove(&id).unwrap_or_default();
            // The event before the first one contains its previous status.
            let from = after.max(1);
            let timeline = ends.timeline(stored);
            let timeline: Vec<(u32, EventRow)> = timeline.into_iter().filter(|(n, _)| *n >= from).collect();
            if from > version {
                continue;
            }
            // Missing events: lost, or removed together with the order since its row was read.
            if timeline.iter().map(|(sequence, _)| *sequence).eq(from..=version) {
                let events = shown(id, tenant, timeline).filter(|event| event.sequence > after);
                found.events.extend(events.map(Arc::new));
            } else {
                let detail = format!("has version {version}, but not every event up to it");
                found.unreadable.push(Unreadable { order_id: id, cause: Cause::Contradiction, detail });
            }
        }
    }
    Ok(found)
}

/// The stored events of some orders.
#[derive(Default)]
struct Stored {
    events: BTreeMap<OrderId, BTreeMap<u32, EventRow>>,
    unreadable: BTreeMap<OrderId, Unreadable>,
}

/// Reads stored events, by order and sequence.
async fn stored(
    connection: &mut Connection,
    ends: &[InlineEvents],
    seen: &BTreeMap<OrderId, u32>,
) -> Result<Stored, Error> {
    let wanted: Vec<(OrderId, u32, u32)> = ends
        .iter()
        .filter_map(|ends| {
            let range = ends.stored();
            let from = range.start.max(seen.get(&ends.id).copied().unwrap_or(0));
            (from < range.end).then_some((ends.id, from, range.end))
        })
        .collect();
    let mut stored = Stored::default();
    let mut pieces: Vec<&[(OrderId, u32, u32)]> = wanted.chunks(MAX_ROWS_PER_STATEMENT).collect();
    while let Some(piece) = pieces.pop() {
        let rows = match ranges(piece).fetch(connection).await {
            Ok(rows) => rows,
            Err(error) if error.cause().is_none() => return Err(error),
            Err(error) if piece.len() == 1 => {
                stored.unreadable.insert(piece[0].0, Unreadable::new(piece[0].0, &error));
                continue;
            }
            Err(_) => {
                let (first, second) = piece.split_at(piece.len() / 2);
                pieces.extend([first, second]);
                continue;
            }
        };
        for row in rows {
            let id = rows::id(&row, 0)?;
            match overflow_event(&row) {
                Ok((id, sequence, moment)) => {
                    stored.events.entry(id).or_default().insert(sequence, moment);
                }
                Err(error) => {
                    stored.unreadable.insert(id, Unreadable::new(id, &error));
                }
            }
        }
    }
    Ok(stored)
}

/// Builds the SELECT of the events of each order within its range of sequences.
fn ranges(wanted: &[(OrderId, u32, u32)]) -> Statement<'static> {
    let mut sql = Statement::new(format!("SELECT {EVENT} FROM order_events WHERE "));
    for (n, (id, from, to)) in padded_chunks(wanted).next().unwrap_or_default().iter().enumerate() {
        sql.push(if n == 0 { "" } else { " OR " });
        sql.push("(order_id = ? AND sequence >= ? AND sequence < ?)");
        sql.bind(*id).bind(i64::from(*from)).bind(i64::from(*to));
    }
    sql
}

/// Converts consecutive events. The status before the first of them is not known, unless it is event 1, which has none.
fn shown(
    order_id: OrderId,
    tenant_id: TenantId,
    timeline: Vec<(u32, EventRow)>,
) -> impl Iterator<Item = OrderEvent> {
    let mut before = None;
    timeline.into_iter().map(
        move |(sequence, EventRow { status, attempt, reason, at, error_class, worker })| OrderEvent {
            order_id,
            tenant_id: tenant_id.clone(),
            sequence,
            status,
            previous_status: before.replace(status),
            attempt,
            reason,
            error_class,
            worker,
            occurred_at: at,
        },
    )
}
