//! Rows and what they mean.

use domain::transition::State;
use domain::{
    Currency, LeaseToken, LineItem, Money, Order, OrderEvent, OrderId, Priority, Status, Timestamp,
};
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{Any, ColumnIndex, Decode, Row, Type};

use super::Error;

/// The columns of [`state`], in its order.
pub(super) const STATE: &str = "id, status, version, attempt, failures, max_attempts, lease_token, due_at, \
    not_before, process_after, updated_at";
/// The columns of [`order`]: those of [`STATE`], then the rest.
pub(super) const ORDER: &str = "orders.id, status, version, attempt, failures, max_attempts, lease_token, due_at, \
    not_before, process_after, updated_at, tenant_id, external_reference, customer, line_items, currency, \
    total_minor, quantity, priority, reason, error_class, created_at";
/// The columns of [`event`], in its order.
pub(super) const EVENT: &str = "order_id, sequence, status, previous_status, attempt, reason, occurred_at";

/// A line item as it is stored. The currency is the order's.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredLineItem<'a> {
    #[serde(borrow)]
    item: std::borrow::Cow<'a, str>,
    quantity: u32,
    price_minor: i64,
}

/// What [`State`] does not have: when the order last changed.
#[derive(Clone)]
pub(super) struct Locked {
    pub(super) id: OrderId,
    pub(super) state: State,
    pub(super) updated_at: Timestamp,
}

pub(super) fn state(row: &AnyRow) -> Result<Locked, Error> {
    Ok(Locked {
        id: id(row, 0)?,
        state: State {
            status: status(&get::<String, _>(row, 1)?)?,
            version: number(row, 2)?,
            attempt: number(row, 3)?,
            failures: number(row, 4)?,
            max_attempts: number(row, 5)?,
            lease: get::<Option<i64>, _>(row, 6)?.map(LeaseToken::from_i64),
            due_at: get::<Option<i64>, _>(row, 7)?.map(Timestamp::from_micros),
            not_before: time(row, 8)?,
            process_after: get::<Option<i64>, _>(row, 9)?.map(Timestamp::from_micros),
        },
        updated_at: time(row, 10)?,
    })
}

pub(super) fn order(row: &AnyRow) -> Result<Order, Error> {
    let Locked { id, state, updated_at } = state(row)?;
    let currency: Currency = get::<String, _>(row, 15)?
        .parse()
        .map_err(|error| Error::Row(format!("currency of {id} {error}")))?;
    Ok(Order {
        id,
        tenant_id: get(row, 11)?,
        external_reference: get(row, 12)?,
        customer: get(row, 13)?,
        line_items: line_items_from_json(&get::<String, _>(row, 14)?, currency)?,
        total: Money::from_minor(get(row, 16)?, currency),
        quantity: number::<u64>(row, 17)?,
        status: state.status,
        version: state.version,
        attempt: state.attempt,
        failures: state.failures,
        max_attempts: state.max_attempts,
        priority: priority(&get::<String, _>(row, 18)?)?,
        process_after: state.process_after,
        reason: get(row, 19)?,
        error_class: get(row, 20)?,
        created_at: time(row, 21)?,
        updated_at,
    })
}

pub(super) fn event(row: &AnyRow) -> Result<OrderEvent, Error> {
    Ok(OrderEvent {
        order_id: id(row, 0)?,
        sequence: number(row, 1)?,
        status: status(&get::<String, _>(row, 2)?)?,
        previous_status: get::<Option<String>, _>(row, 3)?.map(|text| status(&text)).transpose()?,
        attempt: number(row, 4)?,
        reason: get(row, 5)?,
        occurred_at: time(row, 6)?,
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

pub(super) fn id<I: ColumnIndex<AnyRow>>(row: &AnyRow, index: I) -> Result<OrderId, Error> {
    let bytes: Vec<u8> = get(row, index)?;
    bytes.try_into().map(OrderId::from_bytes).map_err(|_| Error::Row("an id does not have 16 bytes".into()))
}

pub(super) fn number<N: TryFrom<i64>>(row: &AnyRow, index: usize) -> Result<N, Error> {
    let value: i64 = get(row, index)?;
    N::try_from(value).map_err(|_| Error::Row(format!("column {index} is out of range: {value}")))
}

pub(super) fn time(row: &AnyRow, index: usize) -> Result<Timestamp, Error> {
    Ok(Timestamp::from_micros(get(row, index)?))
}

pub(super) fn status(text: &str) -> Result<Status, Error> {
    text.parse().map_err(|_| Error::Row(format!("'{text}' is not a status")))
}

fn priority(text: &str) -> Result<Priority, Error> {
    text.parse().map_err(|_| Error::Row(format!("'{text}' is not a priority")))
}

pub(super) fn get<'r, T, I>(row: &'r AnyRow, index: I) -> Result<T, Error>
where
    T: Decode<'r, Any> + Type<Any>,
    I: ColumnIndex<AnyRow>,
{
    row.try_get(index).map_err(Error::Defect)
}
