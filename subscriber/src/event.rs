//! An event, from the JSON of the gateway.

use domain::{Currency, EventType, Money, OrderId, Priority, Status, Timestamp, TraceContext};
use proto::v1;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::Error;

/// A change of an order, with the content of the order.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The order and the sequence: the same for every delivery, on every API.
    pub id: String,
    /// What happened.
    pub kind: EventType,
    /// The time of the change, by the clock of the database.
    pub timestamp: Timestamp,
    /// The order.
    pub order_id: OrderId,
    /// The number of the event within its order: 1, 2, 3, without gaps.
    pub sequence: u32,
    /// The new status.
    pub status: Status,
    /// The status before; `None` for the first event.
    pub previous_status: Option<Status>,
    /// The number of the attempt; 0 before the first.
    pub attempt: u32,
    /// The reason of an error, a cancellation or a redrive.
    pub reason: Option<String>,
    /// The error class, if the event is a failure.
    pub error_class: Option<String>,
    /// The request that created the order, if its trace is recorded.
    pub trace: Option<TraceContext>,
    /// The content of the order, which does not change; `None` if the order was removed.
    pub order: Option<OrderContent>,
    /// The JSON as the gateway sent it: the same bytes as in `GET /events`.
    pub json: String,
}

/// The content of an order.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderContent {
    /// The reference of the client.
    pub external_reference: Option<String>,
    /// The customer.
    pub customer: Option<String>,
    /// The line items, at least one.
    pub line_items: Vec<LineItem>,
    /// The total.
    pub total: Money,
    /// The priority.
    pub priority: Priority,
    /// The kind: the word that routes the order to workers.
    pub kind: String,
    /// The maximum number of attempts.
    pub max_attempts: u32,
    /// The earliest start of processing.
    pub process_after: Option<Timestamp>,
    /// The time of creation.
    pub created_at: Timestamp,
}

/// A line item.
#[derive(Clone, Debug, PartialEq)]
pub struct LineItem {
    /// The name of the item.
    pub item: String,
    /// The quantity.
    pub quantity: u32,
    /// The price of one.
    pub price: Money,
}

/// The JSON.
#[derive(Deserialize)]
struct Body {
    data: Data,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    order_id: OrderId,
    sequence: u32,
    status: Status,
    previous_status: Option<Status>,
    attempt: u32,
    reason: Option<String>,
    error_class: Option<String>,
    occurred_at: Timestamp,
    traceparent: Option<String>,
    order: Option<Content>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    external_reference: Option<String>,
    customer: Option<String>,
    line_items: Vec<Line>,
    /// A number, whose digits are exact.
    total: Box<RawValue>,
    currency: String,
    priority: Priority,
    /// Absent in events of gateways of an earlier version.
    kind: Option<String>,
    max_attempts: u32,
    process_after: Option<Timestamp>,
    created_at: Timestamp,
}

#[derive(Deserialize)]
struct Line {
    item: String,
    quantity: u32,
    price: Box<RawValue>,
}

impl Event {
    /// Parses an event of a page.
    pub(crate) fn parse(event: v1::LogEvent) -> Result<Self, Error> {
        let v1::LogEvent { id, r#type, cursor: _, json } = event;
        Self::read(&id, &r#type, json).map_err(|detail| Error::Unreadable { id, detail })
    }

    /// Parses the JSON of an event, such as one of `GET /events` or of a test.
    ///
    /// # Errors
    /// [`Error::Unreadable`].
    pub fn from_json(json: impl Into<String>) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Head {
            id: String,
            r#type: String,
        }
        let json = json.into();
        let unreadable = |detail: serde_json::Error| Error::Unreadable {
            id: "without an id".to_owned(),
            detail: detail.to_string(),
        };
        let Head { id, r#type } = serde_json::from_str(&json).map_err(unreadable)?;
        Self::read(&id, &r#type, json).map_err(|detail| Error::Unreadable { id, detail })
    }

    fn read(id: &str, kind: &str, json: String) -> Result<Self, String> {
        let Body { data } = serde_json::from_str(&json).map_err(|error| error.to_string())?;
        let kind = EventType::ALL.into_iter().find(|known| known.as_str() == kind);
        let Data { order_id, sequence, status, previous_status, attempt, reason, error_class, .. } = data;
        Ok(Self {
            id: id.to_owned(),
            kind: kind.ok_or("its type is unknown")?,
            timestamp: data.occurred_at,
            order_id,
            sequence,
            status,
            previous_status,
            attempt,
            reason,
            error_class,
            trace: data.traceparent.and_then(|text| text.parse().ok()),
            order: data.order.map(Content::parse).transpose()?,
            json,
        })
    }
}

impl Content {
    fn parse(self) -> Result<OrderContent, String> {
        let currency: Currency = self.currency.parse().map_err(|error| format!("currency: {error}"))?;
        let money = |amount: &RawValue| {
            Money::parse(amount.get(), currency).map_err(|error| format!("amount: {error}"))
        };
        let line = |Line { item, quantity, price }: Line| {
            Ok::<_, String>(LineItem { item, quantity, price: money(&price)? })
        };
        Ok(OrderContent {
            total: money(&self.total)?,
            line_items: self.line_items.into_iter().map(line).collect::<Result<_, _>>()?,
            external_reference: self.external_reference,
            customer: self.customer,
            priority: self.priority,
            kind: self.kind.unwrap_or_else(|| domain::Kind::DEFAULT.to_owned()),
            max_attempts: self.max_attempts,
            process_after: self.process_after,
            created_at: self.created_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = concat!(
        r#"{"id":"01890a5d-ac96-774b-bcce-b302099a8057-3","type":"order.completed","#,
        r#""timestamp":"2023-11-14T22:13:20.123456Z","data":{"#,
        r#""orderId":"01890a5d-ac96-774b-bcce-b302099a8057","sequence":3,"status":"completed","#,
        r#""previousStatus":"processing","attempt":1,"reason":null,"errorClass":null,"#,
        r#""occurredAt":"2023-11-14T22:13:20.123456Z","order":"#,
        r#"{"externalReference":null,"customer":"ann@example.com","#,
        r#""lineItems":[{"item":"Laptop","quantity":2,"price":90071992547409.93}],"total":180143985094819.86,"#,
        r#""currency":"USD","priority":"normal","maxAttempts":5,"processAfter":null,"#,
        r#""createdAt":"2023-11-14T22:13:20.123456Z","later":1}}}"#,
    );

    #[test]
    fn amounts_are_exact() {
        let event = Event::from_json(JSON).unwrap();
        assert_eq!((event.kind, event.sequence, event.attempt), (EventType::Completed, 3, 1));
        assert_eq!(event.id, format!("{}-{}", event.order_id, event.sequence));
        let order = event.order.unwrap();
        assert_eq!(order.total.minor(), 18_014_398_509_481_986);
        assert_eq!(order.line_items[0].price.to_string(), "90071992547409.93");
        assert_eq!(event.json, JSON);
    }

    #[test]
    fn what_this_version_does_not_know_is_an_error() {
        for (from, to) in [("order.completed", "order.shipped"), ("USD", "usd."), ("\"sequence\":3,", "")] {
            let error = Event::from_json(JSON.replace(from, to)).unwrap_err();
            assert!(error.to_string().contains("01890a5d-ac96-774b-bcce-b302099a8057-3"), "{error}");
        }
        let start = JSON.find(r#"{"externalReference"#).unwrap();
        let removed = Event::from_json(format!("{}null}}}}", &JSON[..start])).unwrap();
        assert_eq!(removed.order, None);
    }
}
