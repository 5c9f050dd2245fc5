//! The JSON format of orders and their events.

use std::borrow::Cow;
use std::io::Write;

use axum::response::{IntoResponse, Response};
use domain::waiting::QueueSnapshot;
use domain::{
    JsonText, Kind, LineItem, Metadata, Money, Order, OrderCode, OrderId, Priority, Progress, Status,
    Timestamp, TraceContext, WorkerName,
};
use gateway_store::Outputs;
use http::{HeaderValue, header};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

use super::metadata_schema::MetadataView;
use super::schema::{self, CurrencyCode, PriorityWord};

/// An order. `item`, `quantity` and `price` are those of its first line item, the only one of an order created in
/// the short form.
#[derive(Debug, ToSchema)]
#[schema(as = Order, rename_all = "camelCase")]
pub(super) struct OrderView {
    /// The order's id, a UUID version 7: ids sort by time of creation.
    #[schema(value_type = String, format = Uuid, example = "01890a5d-ac96-774b-bcce-b302099a8057")]
    id: OrderId,
    /// The same as `id`.
    #[schema(value_type = String, format = Uuid, example = "01890a5d-ac96-774b-bcce-b302099a8057")]
    order_id: OrderId,
    /// Short form of the id for people. Two orders can have the same code; `search` finds them.
    #[schema(value_type = String, example = "K6M0AY2J", min_length = 8, max_length = 8)]
    code: OrderCode,
    /// Item of the first line item.
    #[schema(example = "Laptop")]
    item: String,
    /// Quantity of the first line item.
    #[schema(example = 2, minimum = 1, maximum = 1_000_000)]
    quantity: u32,
    /// Unit price of the first line item.
    price: Amount,
    /// All line items, 1 to 200.
    #[schema(min_items = 1, max_items = 200)]
    line_items: Vec<LineItemView>,
    /// The sum of the line items.
    total: Amount,
    /// ISO 4217 code of all amounts.
    #[schema(value_type = CurrencyCode)]
    currency: String,
    /// Customer.
    #[schema(required, example = "ann@example.com")]
    customer: Option<String>,
    /// Reference of the order in the client's system.
    #[schema(required, example = "WEB-1001")]
    external_reference: Option<String>,
    /// Status.
    status: StatusWord,
    /// Sequence of the latest event. Of two representations of an order, the one with the higher sequence is
    /// newer.
    #[schema(value_type = i64, example = 1, minimum = 1)]
    sequence: u32,
    /// Number of the latest attempt; 0 before the first.
    #[schema(value_type = i64, example = 0, minimum = 0)]
    attempt: u32,
    /// Failed attempts since the creation or the last redrive.
    #[schema(value_type = i64, example = 0, minimum = 0)]
    failures: u32,
    /// Number of failed attempts after which the order is `failed`.
    #[schema(example = 5, minimum = 1, maximum = 100)]
    max_attempts: u32,
    /// Priority.
    #[schema(value_type = PriorityWord)]
    priority: Priority,
    /// Earliest start of processing; null if it is not scheduled.
    #[schema(required, value_type = Option<String>, format = DateTime, example = "2026-01-31T12:00:00.000000Z")]
    process_after: Option<Timestamp>,
    /// Kind: the word that routes the order to workers.
    #[schema(value_type = String, example = "default")]
    kind: Kind,
    /// What it waits for.
    #[schema(required, schema_with = schema::waits_for)]
    waits_for: Option<&'static str>,
    /// Earliest time of the next attempt; null if a free worker can start it immediately, if the queue is
    /// paused without an end, and if it is not `pending`.
    #[schema(required, value_type = Option<String>, format = DateTime, example = "2026-01-31T12:00:00.000000Z")]
    next_attempt_at: Option<Timestamp>,
    /// Reason of the latest event, such as an error, a cancellation or a redrive.
    #[schema(required)]
    reason: Option<String>,
    /// Error class of the latest event if it is a failure: `http_503`, `lease_expired`.
    #[schema(required)]
    error_class: Option<String>,
    /// Worker of the latest attempt; null if it has stated no name.
    #[schema(required, value_type = Option<String>, example = "packer-2")]
    worker: Option<WorkerName>,
    /// Request that created the order, as a W3C `traceparent`; null if its trace is not recorded.
    #[schema(required, value_type = Option<String>, example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]
    traceparent: Option<TraceContext>,
    /// Order that this one has replaced.
    #[schema(required, value_type = Option<String>, format = Uuid)]
    replaces: Option<OrderId>,
    /// Order that has replaced this one.
    #[schema(required, value_type = Option<String>, format = Uuid)]
    replaced_by: Option<OrderId>,
    /// Metadata, which the client can change at any time.
    #[schema(value_type = MetadataView)]
    metadata: Metadata,
    /// Time of creation.
    #[schema(value_type = String, format = DateTime, example = "2026-01-31T12:00:00.000000Z")]
    created_at: Timestamp,
    /// Time of the last status change.
    #[schema(value_type = String, format = DateTime, example = "2026-01-31T12:00:00.000000Z")]
    updated_at: Timestamp,
    /// Result with which a worker has completed the order: any JSON, at most 64 KiB. Only in the response with one order,
    /// and absent without one.
    #[schema(required = false, value_type = AnyJson)]
    result: Option<JsonText>,
    /// Latest checkpoint of the order: any JSON, at most 64 KiB. Only in the response with one order, absent without one,
    /// and removed by the result.
    #[schema(required = false, value_type = AnyJson)]
    checkpoint: Option<JsonText>,
    /// Latest progress of the running attempt. Only in the response with one order, and absent without one.
    #[schema(required = false, value_type = ProgressView)]
    progress: Option<ProgressView>,
}

/// The progress of a running attempt. It is not stored.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OrderProgress)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProgressView {
    /// Number of the attempt.
    #[schema(value_type = i64, example = 1, minimum = 1)]
    attempt: u32,
    /// Done part of the work.
    #[schema(required, value_type = Option<i32>, example = 40, minimum = 0, maximum = 100)]
    percent: Option<u8>,
    /// What the worker does, at most 200 characters.
    #[schema(required, example = "packing")]
    note: Option<String>,
    /// Time of the report.
    #[schema(value_type = String, format = DateTime, example = "2026-01-31T12:00:00.000000Z")]
    reported_at: Timestamp,
}

impl From<&Progress> for ProgressView {
    fn from(progress: &Progress) -> Self {
        Self {
            attempt: progress.attempt,
            percent: progress.percent,
            note: progress.note.clone(),
            reported_at: progress.reported_at,
        }
    }
}

/// Any JSON, for the documentation.
struct AnyJson;

impl PartialSchema for AnyJson {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::AnyValue)
            .description(Some("Any JSON."))
            .examples([serde_json::json!({"parcel": "1Z999"})])
            .into()
    }
}

impl ToSchema for AnyJson {}

/// Line item of an order.
#[derive(Debug, ToSchema)]
#[schema(as = LineItem)]
struct LineItemView {
    /// Item name.
    #[schema(example = "Laptop")]
    item: String,
    /// Quantity.
    #[schema(example = 2, minimum = 1, maximum = 1_000_000)]
    quantity: u32,
    /// Unit price.
    price: Amount,
    /// Quantity multiplied by the unit price.
    total: Amount,
}

impl OrderView {
    /// Builds the view of an order, with the state of the queue at this snapshot.
    pub(super) fn new(order: &Order, snapshot: &QueueSnapshot) -> Self {
        let first = order.line_items.first();
        let waiting = order.waiting(snapshot);
        Self {
            order_id: order.id,
            id: order.id,
            code: order.code(),
            replaces: order.replaces,
            replaced_by: order.replaced_by,
            item: first.map(|line| line.item.clone()).unwrap_or_default(),
            quantity: first.map_or(0, |line| line.quantity),
            price: first.map_or(Money::zero(order.total.currency()), |line| line.price).into(),
            total: order.total.into(),
            currency: order.total.currency().code().to_owned(),
            line_items: order.line_items.iter().map(|line| LineItemView::new(line, order.total)).collect(),
            customer: order.customer.clone(),
            external_reference: order.external_reference.clone(),
            status: StatusWord(order.status),
            sequence: order.version,
            attempt: order.attempt,
            failures: order.failures,
            max_attempts: order.max_attempts,
            priority: order.priority,
            process_after: order.process_after,
            kind: order.kind.clone(),
            waits_for: waiting.map(|waiting| waiting.waits_for.as_str()),
            next_attempt_at: waiting.and_then(|waiting| waiting.next_attempt_at),
            reason: order.reason.clone(),
            error_class: order.error_class.clone(),
            worker: order.worker.clone(),
            traceparent: order.trace,
            metadata: order.metadata.clone(),
            created_at: order.created_at,
            updated_at: order.updated_at,
            result: None,
            checkpoint: None,
            progress: None,
        }
    }

    /// Adds what the worker of the order has produced.
    #[must_use]
    pub(super) fn with_outputs(self, outputs: Outputs, progress: Option<&Progress>) -> Self {
        let Outputs { result, checkpoint } = outputs;
        Self { result, checkpoint, progress: progress.map(ProgressView::from), ..self }
    }

    /// Builds the view of an order at its creation. A repeated create therefore returns the same bytes.
    pub(super) fn created(order: &Order, snapshot: &QueueSnapshot) -> Self {
        Self::new(order, &snapshot.at_creation(order.created_at))
    }
}

/// Maximum number of headers of a response with an order.
const ALL_HEADERS: usize = 10;

impl IntoResponse for OrderView {
    fn into_response(self) -> Response {
        let mut response = Response::new(self.json().into());
        // Reserves space for the headers that the middleware adds, because a header map that grows is rebuilt.
        let headers = response.headers_mut();
        headers.reserve(ALL_HEADERS);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

impl OrderView {
    /// Serialises the order as JSON.
    ///
    /// It is written by hand, because every accepted order is returned in it. serde writes each name in five pieces and
    /// searches it for characters that JSON escapes.
    pub(super) fn json(&self) -> Vec<u8> {
        // The capacity is sufficient for most orders, so that the buffer is not reallocated.
        let mut text = JsonBuffer(Vec::with_capacity(1_024));
        text.value(r#"{"id":"#, &self.id);
        text.value(r#","orderId":"#, &self.order_id);
        text.value(r#","code":"#, &self.code);
        text.value(r#","item":"#, &self.item);
        text.value(r#","quantity":"#, &self.quantity);
        text.amount(r#","price":"#, &self.price);
        text.plain(r#","lineItems":["#);
        for (n, line) in self.line_items.iter().enumerate() {
            text.value(if n == 0 { r#"{"item":"# } else { r#",{"item":"# }, &line.item);
            text.value(r#","quantity":"#, &line.quantity);
            text.amount(r#","price":"#, &line.price);
            text.amount(r#","total":"#, &line.total);
            text.plain("}");
        }
        text.amount(r#"],"total":"#, &self.total);
        text.value(r#","currency":"#, &self.currency);
        text.value(r#","customer":"#, &self.customer);
        text.value(r#","externalReference":"#, &self.external_reference);
        text.value(r#","status":"#, &self.status);
        text.value(r#","sequence":"#, &self.sequence);
        text.value(r#","attempt":"#, &self.attempt);
        text.value(r#","failures":"#, &self.failures);
        text.value(r#","maxAttempts":"#, &self.max_attempts);
        text.value(r#","priority":"#, &self.priority);
        text.value(r#","processAfter":"#, &self.process_after);
        text.value(r#","kind":"#, &self.kind);
        text.value(r#","waitsFor":"#, &self.waits_for);
        text.value(r#","nextAttemptAt":"#, &self.next_attempt_at);
        text.value(r#","reason":"#, &self.reason);
        text.value(r#","errorClass":"#, &self.error_class);
        text.value(r#","worker":"#, &self.worker);
        text.value(r#","traceparent":"#, &self.traceparent);
        text.value(r#","replaces":"#, &self.replaces);
        text.value(r#","replacedBy":"#, &self.replaced_by);
        text.value(r#","metadata":"#, &self.metadata);
        text.value(r#","createdAt":"#, &self.created_at);
        text.value(r#","updatedAt":"#, &self.updated_at);
        for (name, json) in [(r#","result":"#, &self.result), (r#","checkpoint":"#, &self.checkpoint)] {
            if let Some(json) = json {
                text.plain(name);
                text.plain(json.as_str());
            }
        }
        if let Some(progress) = &self.progress {
            text.value(r#","progress":"#, progress);
        }
        text.plain("}");
        text.0
    }
}

/// Embeds the same JSON in a larger document.
impl Serialize for OrderView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.json();
        let json: &RawValue = serde_json::from_slice(&text).map_err(serde::ser::Error::custom)?;
        json.serialize(serializer)
    }
}

/// A buffer of JSON. Each value is written after the names and punctuation that precede it.
struct JsonBuffer(Vec<u8>);

impl JsonBuffer {
    fn plain(&mut self, json: &str) {
        self.0.extend_from_slice(json.as_bytes());
    }

    fn value(&mut self, before: &str, value: &impl Serialize) {
        self.plain(before);
        serde_json::to_writer(&mut self.0, value).expect("strings and numbers have a JSON text");
    }

    /// Writes the amount as a number with all decimals of the currency.
    fn amount(&mut self, before: &str, Amount(money): &Amount) {
        self.plain(before);
        write!(self.0, "{money}").expect("a vector takes all that is written");
    }
}

impl LineItemView {
    fn new(line: &LineItem, order_total: Money) -> Self {
        Self {
            // The total of a line item does not overflow, because it is a part of the order's total.
            total: line.total().unwrap_or(order_total).into(),
            item: line.item.clone(),
            quantity: line.quantity,
            price: line.price.into(),
        }
    }
}

/// An amount of money, a number in JSON.
#[derive(Debug)]
pub(super) struct Amount(Money);

impl From<Money> for Amount {
    fn from(money: Money) -> Self {
        Self(money)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = RawValue::from_string(self.0.to_string()).map_err(serde::ser::Error::custom)?;
        number.serialize(serializer)
    }
}

impl PartialSchema for Amount {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::Number))
            .description(Some("Exact amount in the order's currency: parse it as a decimal, not as a float."))
            .minimum(Some(0))
            .examples([serde_json::json!(1299.99)])
            .into()
    }
}

impl ToSchema for Amount {}

/// A status in lower case.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct StatusWord(pub(super) Status);

impl PartialSchema for StatusWord {
    fn schema() -> RefOr<Schema> {
        status_schema("Status. `completed`, `failed` and `cancelled` are final.").into()
    }
}

impl ToSchema for StatusWord {
    fn name() -> Cow<'static, str> {
        "OrderStatus".into()
    }
}

pub(super) fn status_schema(description: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .description(Some(description))
        .enum_values(Some(Status::ALL.map(Status::as_str)))
        .examples([serde_json::json!("pending")])
}

#[cfg(test)]
mod tests {
    use domain::{Content, Currency};

    use std::sync::Arc;

    use domain::OrderEvent;

    use super::*;
    use crate::event_view::EventView;

    fn order() -> Order {
        let dollars = |minor| Money::from_minor(minor, Currency::USD);
        let line_items = vec![
            LineItem { item: "Laptop".into(), quantity: 2, price: dollars(129_999) },
            LineItem { item: "Mouse".into(), quantity: 1, price: dollars(500) },
        ];
        let content = Content { customer: Some("Ann".into()), ..Content::new(line_items, dollars(260_498)) };
        let id = "01890a5d-ac96-774b-bcce-b302099a8057".parse::<OrderId>().unwrap();
        Order::pending(
            id,
            domain::TenantId::default(),
            content,
            Timestamp::from_micros(1_700_000_000_000_000),
        )
    }

    fn view(order: &Order) -> OrderView {
        OrderView::new(order, &QueueSnapshot { now: order.created_at, paused_at: None, paused_until: None })
    }

    #[test]
    fn json_of_an_order_is_exact() {
        let json = serde_json::to_string(&view(&order())).unwrap();
        assert_eq!(
            json,
            concat!(
                r#"{"id":"01890a5d-ac96-774b-bcce-b302099a8057","#,
                r#""orderId":"01890a5d-ac96-774b-bcce-b302099a8057","#,
                r#""code":"K6M0AY2J","#,
                r#""item":"Laptop","quantity":2,"price":1299.99,"#,
                r#""lineItems":[{"item":"Laptop","quantity":2,"price":1299.99,"total":2599.98},"#,
                r#"{"item":"Mouse","quantity":1,"price":5.00,"total":5.00}],"#,
                r#""total":2604.98,"currency":"USD","customer":"Ann","externalReference":null,"#,
                r#""status":"pending","sequence":1,"attempt":0,"failures":0,"maxAttempts":5,"priority":"normal","processAfter":null,"kind":"default","waitsFor":"worker","nextAttemptAt":null,"reason":null,"errorClass":null,"#,
                r#""worker":null,"traceparent":null,"replaces":null,"replacedBy":null,"metadata":{},"createdAt":"2023-11-14T22:13:20.000000Z","updatedAt":"2023-11-14T22:13:20.000000Z"}"#,
            )
        );
    }

    #[test]
    fn every_order_is_serialised_as_valid_json() {
        let line = |item: &str| LineItem { item: item.into(), quantity: 1, price: order().total };
        for line_items in [vec![], vec![line("x")], vec![line("\"ä\u{7f}"), line("\\n"), line("z")]] {
            let lines = line_items.len();
            let first = line_items.first().map(|line| line.item.clone()).unwrap_or_default();
            let mut order = Order { reason: Some("\"why\"".into()), ..order() };
            order.content.line_items = line_items;
            let json: serde_json::Value = serde_json::from_slice(&view(&order).json()).unwrap();
            assert_eq!((&json["item"], &json["reason"]), (&first.into(), &"\"why\"".into()));
            assert_eq!(json["lineItems"].as_array().unwrap().len(), lines);
        }
    }

    #[test]
    fn the_largest_amount_keeps_every_digit() {
        let mut text = JsonBuffer(Vec::new());
        text.amount("", &Money::max(Currency::USD).into());
        assert_eq!(text.0, b"92233720368547758.07");
    }

    /// The documented names must equal the serialised ones.
    #[test]
    fn schemas_describe_the_serialised_fields() {
        /// Members that are absent without a value.
        const OPTIONAL: [&str; 3] = ["checkpoint", "progress", "result"];
        fn names(schema: RefOr<Schema>) -> Vec<String> {
            let schema = serde_json::to_value(schema).unwrap();
            let mut names: Vec<_> = schema["properties"].as_object().unwrap().keys().cloned().collect();
            let mut required: Vec<_> = schema["required"]
                .as_array()
                .unwrap()
                .iter()
                .map(|n| n.as_str().unwrap().to_owned())
                .collect();
            names.sort();
            required.sort();
            names.retain(|name| !OPTIONAL.contains(&name.as_str()));
            assert_eq!(names, required, "everything else is always sent");
            names
        }
        fn keys(value: impl Serialize) -> Vec<String> {
            serde_json::to_value(value).unwrap().as_object().unwrap().keys().cloned().collect()
        }
        let event = OrderEvent {
            tenant_id: domain::TenantId::default(),
            order_id: order().id,
            sequence: 1,
            status: Status::Pending,
            previous_status: None,
            attempt: 0,
            reason: None,
            error_class: None,
            worker: None,
            occurred_at: Timestamp::from_micros(0),
        };
        assert_eq!(names(EventView::schema()), keys(EventView::from(Arc::new(event))));
        assert_eq!(names(OrderView::schema()), keys(view(&order())));
        let json = |text| JsonText::parse(text).ok();
        let progress = Progress {
            order_id: order().id,
            tenant_id: domain::TenantId::default(),
            attempt: 1,
            percent: Some(5),
            note: None,
            reported_at: Timestamp::from_micros(0),
        };
        assert_eq!(names(ProgressView::schema()), keys(ProgressView::from(&progress)));
        let outputs = Outputs { result: json("[1.10]"), checkpoint: json("{}") };
        let whole = String::from_utf8(view(&order()).with_outputs(outputs, Some(&progress)).json()).unwrap();
        assert!(whole.contains(r#","result":[1.10],"checkpoint":{},"progress":{"attempt":1,"#), "{whole}");
    }
}
