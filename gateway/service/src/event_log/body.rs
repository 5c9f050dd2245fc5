//! The JSON of an event with the content of its order: the same bytes on every API.

use std::fmt::Write as _;

use domain::{Content, EventType, JsonText, Money, Order, OrderEvent, Priority, Timestamp, TraceContext};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// An event as subscribers receive it.
pub(super) struct Body {
    /// The JSON.
    pub(super) json: String,
    /// The place of its member `data`, which ends before the last character.
    pub(super) data_start: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    #[serde(flatten)]
    event: &'a OrderEvent,
    /// The request that created the order; absent if its trace is not recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<TraceContext>,
    /// The result of the order, in the event of its completion; absent without one, and if it is longer than
    /// [`MAX_EVENT_RESULT`].
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    /// Null if the order was removed.
    order: Option<OrderContent<'a>>,
}

/// The content of an order, which never changes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OrderContent<'a> {
    external_reference: Option<&'a str>,
    customer: Option<&'a str>,
    line_items: Vec<Line<'a>>,
    total: Amount,
    currency: String,
    priority: Priority,
    max_attempts: u32,
    process_after: Option<Timestamp>,
    kind: &'a str,
    created_at: Timestamp,
}

#[derive(Serialize)]
struct Line<'a> {
    item: &'a str,
    quantity: u32,
    price: Amount,
}

/// An amount of money, a number with all decimals of its currency.
struct Amount(Money);

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = RawValue::from_string(self.0.to_string()).map_err(serde::ser::Error::custom)?;
        number.serialize(serializer)
    }
}

/// Returns the id of an event.
pub(super) fn event_id(event: &OrderEvent) -> String {
    let mut id = event.order_id.to_string();
    // Writing to a String does not fail.
    let _ = write!(id, "-{}", event.sequence);
    id
}

/// The maximum length of a result in an event, in bytes. Readers read longer ones with the order.
pub(super) const MAX_EVENT_RESULT: usize = 8 * 1024;

/// Serialises an event with the content of its order. The id is the same for every delivery: the order and the sequence.
pub(super) fn body(id: &str, event: &OrderEvent, order: Option<&Order>, result: Option<&JsonText>) -> Body {
    let result = result.map(JsonText::as_str).filter(|json| json.len() <= MAX_EVENT_RESULT);
    let kind = EventType::of(event).as_str();
    let mut json = format!(r#"{{"id":"{id}","type":"{kind}","timestamp":"{}","data":"#, event.occurred_at);
    let data_start = json.len();
    // A struct of strings and numbers can always be serialised.
    json.push_str(
        &serde_json::to_string(&Data {
            event,
            traceparent: order.and_then(|order| order.trace),
            result: result.and_then(|json| serde_json::from_str(json).ok()),
            order: order.map(content),
        })
        .unwrap_or_default(),
    );
    json.push('}');
    Body { json, data_start }
}

fn content(order: &Order) -> OrderContent<'_> {
    let Content { line_items, total, customer, external_reference, .. } = &order.content;
    OrderContent {
        external_reference: external_reference.as_deref(),
        customer: customer.as_deref(),
        line_items: line_items
            .iter()
            .map(|line| Line { item: &line.item, quantity: line.quantity, price: Amount(line.price) })
            .collect(),
        total: Amount(*total),
        currency: total.currency().code().to_owned(),
        priority: order.priority,
        max_attempts: order.max_attempts,
        process_after: order.process_after,
        kind: order.kind.as_str(),
        created_at: order.created_at,
    }
}

#[cfg(test)]
mod tests {
    use domain::{Currency, Draft, OrderId, Status, TenantId};

    use super::*;

    #[test]
    fn json_of_an_event_is_exact() {
        let draft = Draft {
            item: Some("Laptop".into()),
            quantity: Some(2),
            price: Some("1299.99".into()),
            customer: Some("ann@example.com".into()),
            ..Draft::default()
        };
        let id: OrderId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let at = Timestamp::from_micros(1_700_000_000_123_456);
        let order = Order::pending(id, TenantId::default(), draft.check(Currency::USD).unwrap(), at);
        let event = OrderEvent {
            order_id: id,
            tenant_id: TenantId::default(),
            sequence: 3,
            status: Status::Completed,
            previous_status: Some(Status::Processing),
            attempt: 1,
            reason: None,
            error_class: None,
            worker: None,
            occurred_at: at,
        };
        let start = concat!(
            r#"{"id":"01890a5d-ac96-774b-bcce-b302099a8057-3","type":"order.completed","#,
            r#""timestamp":"2023-11-14T22:13:20.123456Z","data":{"#,
            r#""orderId":"01890a5d-ac96-774b-bcce-b302099a8057","sequence":3,"status":"completed","#,
            r#""previousStatus":"processing","attempt":1,"reason":null,"errorClass":null,"worker":null,"#,
            r#""occurredAt":"2023-11-14T22:13:20.123456Z","order":"#,
        );
        let content = concat!(
            r#"{"externalReference":null,"customer":"ann@example.com","#,
            r#""lineItems":[{"item":"Laptop","quantity":2,"price":1299.99}],"total":2599.98,"currency":"USD","#,
            r#""priority":"normal","maxAttempts":5,"processAfter":null,"kind":"default","createdAt":"2023-11-14T22:13:20.123456Z"}"#,
        );
        let json = |order| body(&event_id(&event), &event, order, None).json;
        assert_eq!(json(Some(&order)), format!("{start}{content}}}}}"));
        assert_eq!(json(None), format!("{start}null}}}}"));
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let traced = Order { trace: trace.parse().ok(), ..order.clone() };
        let start = start.replace(r#""order":"#, &format!(r#""traceparent":"{trace}","order":"#));
        assert_eq!(json(Some(&traced)), format!("{start}{content}}}}}"));
        let with_result =
            |json: &str| body(&event_id(&event), &event, None, Some(&JsonText::parse(json).unwrap())).json;
        assert!(with_result(r#"{"a": 1.10}"#).contains(r#","result":{"a":1.10},"order":null"#));
        let long = format!("\"{}\"", "x".repeat(MAX_EVENT_RESULT));
        assert_eq!(with_result(&long), json(None));
    }

    #[test]
    fn the_limits_are_documented() {
        limits_page::row("result in an event", &limits_page::bytes(MAX_EVENT_RESULT));
    }
}
