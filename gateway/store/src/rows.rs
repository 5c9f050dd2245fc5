//! Rows and what they mean.

use domain::transition::OrderState;
use domain::{
    Currency, DEFAULT_TENANT, LeaseToken, LineItem, Money, Order, OrderId, Priority, Status, Timestamp,
};
use serde::{Deserialize, Serialize};

use super::Error;
use super::isolate::Unreadable;
use super::row::Row;
use super::statement::Statement;

/// The columns of [`state`], in its order.
pub(super) const STATE: &str = "id, status, version, attempt, failures, max_attempts, lease_token, due_at, \
    not_before, process_after, updated_at, stage, held_until";
/// The columns of [`order`]: those of [`STATE`], then the rest.
pub(super) const ORDER: &str = "orders.id, status, version, attempt, failures, max_attempts, lease_token, due_at, \
    not_before, process_after, updated_at, stage, held_until, tenant_id, external_reference, customer, line_items, currency, \
    total_minor, quantity, priority, reason, error_class, created_at";
/// The places of these columns in [`ORDER`].
pub(super) const DUE_AT: usize = 7;
pub(super) const HELD_UNTIL: usize = 12;
pub(super) const TOTAL: usize = 18;
/// A line item as it is stored. The currency is the order's.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredLineItem<'a> {
    #[serde(borrow)]
    item: std::borrow::Cow<'a, str>,
    quantity: u32,
    price_minor: i64,
}

/// When an order is due that comes back from the queue, with the present time twice: it was due before, so its time has
/// come, also when the clock was set back since. A schedule is kept to the letter.
pub(super) const DUE_AGAIN: &str = "CASE WHEN not_before <= ? OR (process_after IS NOT NULL AND attempt = 0) THEN not_before \
    ELSE ? END";

/// The stage of an order that dispatch is to push when it is due.
pub(super) const WAITING: &str = "waiting";
/// The stage of an order that the queue or a worker has.
pub(super) const HELD: &str = "held";
/// `due_at` of an order that does not wait.
pub(super) const NEVER: i64 = i64::MAX;

/// Where an order is: the three columns that its status and its due time make.
pub(super) struct Stage {
    pub(super) name: &'static str,
    pub(super) due_at: i64,
    pub(super) held_until: i64,
}

impl Stage {
    /// Of an order that waits for dispatch.
    pub(super) fn waiting(due_at: Timestamp) -> Self {
        Self { name: WAITING, due_at: due_at.as_micros(), held_until: 0 }
    }

    /// Of an order that the queue or a worker has.
    pub(super) fn held(held_until: Timestamp) -> Self {
        Self { name: HELD, due_at: NEVER, held_until: held_until.as_micros() }
    }

    /// Of an order after a change. One that becomes pending again is in nobody's hands.
    pub(super) fn after(status: Status, due_at: Option<Timestamp>) -> Self {
        match (status, due_at) {
            (Status::Pending, Some(at)) => Self::waiting(at),
            (Status::Processing, Some(at)) => Self::held(at),
            (status, _) => Self { name: status.as_str(), due_at: NEVER, held_until: 0 },
        }
    }
}

/// Orders that stand in a row in the index `orders_by_stage`: those of one stage, and where two statuses share
/// it, the one that is meant.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) stage: &'static str,
    pub(super) status: Option<Status>,
}

impl Part {
    /// The parts that make up the orders with these statuses.
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

    /// The condition of its orders.
    pub(super) fn condition(self, sql: &mut Statement<'_>) {
        sql.push("tenant_id = ? AND stage = ?").bind(DEFAULT_TENANT).bind(self.stage);
        if let Some(status) = self.status {
            sql.push(" AND status = ?").bind(status.as_str());
        }
    }
}

/// An order and its state.
#[derive(Clone)]
pub(super) struct Locked {
    pub(super) id: OrderId,
    pub(super) state: OrderState,
}

pub(super) fn state(row: &Row) -> Result<Locked, Error> {
    let status = status(row.get(1)?)?;
    let version = number(row, 2)?;
    // Each order has event 1, and the next one has a number as well.
    if !(1..u32::MAX).contains(&version) {
        return Err(Error::Row(format!("version is out of range: {version}")));
    }
    let due_at = match (status, row.get(11)?) {
        (Status::Pending, WAITING) => {
            Some(row.get(7)?).filter(|due| *due != NEVER).map(Timestamp::from_micros)
        }
        (Status::Pending | Status::Processing, HELD) => Some(time(row, 12)?),
        // An order that is not final has to be in one of these stages, and one that is final in none.
        (Status::Completed | Status::Failed | Status::Cancelled, stage) if stage != status.as_str() => {
            Some(time(row, 10)?)
        }
        _ => None,
    };
    Ok(Locked {
        id: id(row, 0)?,
        state: OrderState {
            status,
            version,
            attempt: number(row, 3)?,
            failures: number(row, 4)?,
            max_attempts: number(row, 5)?,
            lease: LeaseToken::from_i64(row.get(6)?),
            due_at,
            not_before: time(row, 8)?,
            process_after: row.get::<Option<i64>>(9)?.map(Timestamp::from_micros),
            updated_at: time(row, 10)?,
        },
    })
}

/// The id of the order, and what [`order`] says of the rest.
pub(super) fn whole(row: &Row) -> Result<(OrderId, Result<Order, Unreadable>), Error> {
    let id = id(row, 0)?;
    Ok((id, order(row).map_err(|error| Unreadable::new(id, &error))))
}

/// The order, from the columns of [`ORDER`]. Every error is about this row.
pub(super) fn order(row: &Row) -> Result<Order, Error> {
    let Locked { id, state } = state(row)?;
    let text: String = row.get(17)?;
    let currency: Currency =
        text.parse().map_err(|error| Error::Row(format!("currency '{text}' {error}")))?;
    Ok(Order {
        id,
        tenant_id: row.get(13)?,
        external_reference: row.get(14)?,
        customer: row.get(15)?,
        line_items: line_items_from_json(row.get(16)?, currency)?,
        total: Money::from_minor(row.get(18)?, currency),
        quantity: number::<u64>(row, 19)?,
        status: state.status,
        version: state.version,
        attempt: state.attempt,
        failures: state.failures,
        max_attempts: state.max_attempts,
        priority: priority(row.get(20)?)?,
        process_after: state.process_after,
        not_before: state.not_before,
        reason: row.get(21)?,
        error_class: row.get(22)?,
        created_at: time(row, 23)?,
        updated_at: state.updated_at,
    })
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

fn line_items_from_json(json: &str, currency: Currency) -> Result<Vec<LineItem>, Error> {
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

/// Whether one of the line items has a name that `matches`.
pub(super) fn any_item(json: &str, matches: impl FnMut(&str) -> bool) -> Result<bool, Error> {
    let stored: Vec<StoredLineItem<'_>> =
        serde_json::from_str(json).map_err(|error| Error::Row(format!("line items: {error}")))?;
    Ok(stored.iter().map(|line| line.item.as_ref()).any(matches))
}

pub(super) fn id(row: &Row, column: usize) -> Result<OrderId, Error> {
    let bytes: &[u8] = row.get(column)?;
    bytes.try_into().map(OrderId::from_bytes).map_err(|_| Error::Row("an id does not have 16 bytes".into()))
}

pub(super) fn number<N: TryFrom<i64>>(row: &Row, column: usize) -> Result<N, Error> {
    let value: i64 = row.get(column)?;
    N::try_from(value).map_err(|_| Error::Row(format!("{} is out of range: {value}", row.name(column))))
}

pub(super) fn time(row: &Row, column: usize) -> Result<Timestamp, Error> {
    Ok(Timestamp::from_micros(row.get(column)?))
}

pub(super) fn status(text: &str) -> Result<Status, Error> {
    text.parse().map_err(|_| Error::Row(format!("'{text}' is not a status")))
}

fn priority(text: &str) -> Result<Priority, Error> {
    text.parse().map_err(|_| Error::Row(format!("'{text}' is not a priority")))
}
