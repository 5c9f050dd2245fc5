//! The meaning of stored values: states, line items, numbers and times.

use domain::transition::OrderState;
use domain::{
    Currency, LineItem, Metadata, Money, OrderId, Status, TenantId, Timestamp, TraceContext, WorkerName,
};
use serde::{Deserialize, Serialize};

use super::Error;
use super::row::Row;
use super::statement::Statement;

/// A line item as it is stored. The currency is the order's.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredLineItem<'a> {
    #[serde(borrow)]
    item: std::borrow::Cow<'a, str>,
    quantity: u32,
    price_minor: i64,
}

/// The due time of an order that returns from the queue, with the present time twice.
///
/// It was due before, so it is due now, also when the clock was set back since. A schedule is kept exactly.
pub(super) const DUE_AGAIN: &str = "CASE WHEN not_before <= ? OR (process_after IS NOT NULL AND attempt = 0) THEN not_before \
    ELSE ? END";

/// The stage of an order that dispatch pushes when it is due.
pub(super) const WAITING: &str = "waiting";
/// The stage of an order that the queue or a worker holds.
pub(super) const HELD: &str = "held";
/// `due_at` of an order that does not wait.
pub(super) const NEVER: i64 = i64::MAX;

/// The state of an order for dispatch: three columns that follow from its status and its due time.
pub(super) struct DispatchState {
    pub(super) name: &'static str,
    pub(super) due_at: i64,
    pub(super) held_until: i64,
}

impl DispatchState {
    /// The state of an order that waits for dispatch.
    pub(super) fn waiting(due_at: Timestamp) -> Self {
        Self { name: WAITING, due_at: due_at.as_micros(), held_until: 0 }
    }

    /// The state of an order that the queue or a worker holds.
    pub(super) fn held(held_until: Timestamp) -> Self {
        Self { name: HELD, due_at: NEVER, held_until: held_until.as_micros() }
    }

    /// The state of an order after a change. One that becomes pending again is not held.
    pub(super) fn after(status: Status, due_at: Option<Timestamp>) -> Self {
        match (status, due_at) {
            (Status::Pending, Some(at)) => Self::waiting(at),
            (Status::Processing, Some(at)) => Self::held(at),
            (status, _) => Self { name: status.as_str(), due_at: NEVER, held_until: 0 },
        }
    }
}

/// A segment of the index `orders_by_stage`: the orders of one stage and, where two statuses share it, one of them.
#[derive(Clone, Copy)]
pub(super) struct Segment {
    pub(super) stage: &'static str,
    pub(super) status: Option<Status>,
}

impl Segment {
    /// Returns the segments that together contain the orders with these statuses.
    pub(super) fn of(statuses: &[Status]) -> Vec<Self> {
        let (pending, processing) =
            (statuses.contains(&Status::Pending), statuses.contains(&Status::Processing));
        let part = |stage, status| Self { stage, status };
        let finals = statuses.iter().filter(|status| status.is_final());
        let mut parts: Vec<Self> = finals.map(|status| part(status.as_str(), None)).collect();
        if pending {
            parts.push(part(WAITING, None));
        }
        match (pending, processing) {
            (false, false) => {}
            (true, true) => parts.push(part(HELD, None)),
            (true, false) => parts.push(part(HELD, Some(Status::Pending))),
            (false, true) => parts.push(part(HELD, Some(Status::Processing))),
        }
        parts
    }

    /// Adds the condition of its orders: those of one tenant, or of all.
    pub(super) fn condition(self, sql: &mut Statement<'_>, tenant: Option<&TenantId>) {
        sql.push("stage = ?").bind(self.stage);
        if let Some(tenant) = tenant {
            sql.push(" AND tenant_id = ?").bind(tenant.as_str().to_owned());
        }
        if let Some(status) = self.status {
            sql.push(" AND status = ?").bind(status.as_str());
        }
    }
}

/// An order and its state.
#[derive(Clone)]
pub(super) struct LockedRow {
    pub(super) id: OrderId,
    pub(super) tenant: TenantId,
    pub(super) state: OrderState,
    /// The worker of the latest attempt.
    pub(super) worker: Option<WorkerName>,
    /// The span that created the order.
    pub(super) trace: Option<TraceContext>,
}

pub(super) fn line_items_to_json(lines: &[LineItem]) -> String {
    let stored: Vec<StoredLineItem<'_>> = lines
        .iter()
        .map(|line| StoredLineItem {
            item: line.item.as_str().into(),
            quantity: line.quantity,
            price_minor: line.price.minor(),
        })
        .collect();
    serde_json::to_string(&stored).expect("strings and numbers always have a JSON form")
}

pub(super) fn line_items_from_json(json: &str, currency: Currency) -> Result<Vec<LineItem>, Error> {
    let stored: Vec<StoredLineItem<'_>> =
        serde_json::from_str(json).map_err(|error| Error::Row(format!("line items: {error}")))?;
    Ok(stored
        .into_iter()
        .map(|line| LineItem {
            item: line.item.into_owned(),
            quantity: line.quantity,
            price: Money::from_minor(line.price_minor, currency),
        })
        .collect())
}

pub(super) fn metadata_from_json(json: &str) -> Result<Metadata, Error> {
    serde_json::from_str(json).map_err(|error| Error::Row(format!("metadata: {error}")))
}

/// Returns whether one of the line items has a name that `matches`.
pub(super) fn any_item(json: &str, matches: impl FnMut(&str) -> bool) -> Result<bool, Error> {
    let stored: Vec<StoredLineItem<'_>> =
        serde_json::from_str(json).map_err(|error| Error::Row(format!("line items: {error}")))?;
    Ok(stored.iter().map(|line| line.item.as_ref()).any(matches))
}

pub(super) fn id(row: &Row, column: usize) -> Result<OrderId, Error> {
    id_of(row.get(column)?)
}

pub(super) fn optional_id(bytes: Option<&[u8]>) -> Result<Option<OrderId>, Error> {
    bytes.map(id_of).transpose()
}

fn id_of(bytes: &[u8]) -> Result<OrderId, Error> {
    bytes.try_into().map(OrderId::from_bytes).map_err(|_| Error::Row("an id does not have 16 bytes".into()))
}

pub(super) fn number<N: TryFrom<i64>>(row: &Row, column: usize) -> Result<N, Error> {
    let value: i64 = row.get(column)?;
    N::try_from(value).map_err(|_| Error::Row(format!("{} is out of range: {value}", row.name(column))))
}

pub(super) fn optional_number<N: TryFrom<i64>>(row: &Row, column: usize) -> Result<Option<N>, Error> {
    if row.get::<Option<i64>>(column)?.is_some() { number(row, column).map(Some) } else { Ok(None) }
}

pub(super) fn time(row: &Row, column: usize) -> Result<Timestamp, Error> {
    Ok(Timestamp::from_micros(row.get(column)?))
}

pub(super) fn status(text: &str) -> Result<Status, Error> {
    text.parse().map_err(|_| Error::Row(format!("'{text}' is not a status")))
}

/// The length to which the name of a worker is padded with spaces. The row of an order then keeps its length when it is
/// started, and the database changes it in place: a row that grows costs MariaDB 5 µs more.
const WORKER_WIDTH: usize = 32;

/// Returns the name of a worker as a row of `orders` contains it; only spaces without one.
pub(super) fn padded_worker(name: Option<&str>) -> String {
    format!("{:<WORKER_WIDTH$}", name.unwrap_or_default())
}

/// Reads the name of a worker. A name in another form, which a manual change can have written, is cleaned.
pub(super) fn worker(stored: Option<&str>) -> Option<WorkerName> {
    stored.and_then(WorkerName::clean)
}
