//! The schema of an order to create, and its conversion to a [`Draft`].

use std::borrow::Cow;

use domain::{
    DEFAULT_MAX_ATTEMPTS, Draft, DraftLineItem, ErrorCode, MAX_KIND, MAX_LINE_ITEMS, MAX_MAX_ATTEMPTS,
    MAX_QUANTITY, strings,
};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::schema::{self, AmountInput, CurrencyCode, PriorityWord};
use gateway_http::json::{self, Decoder, Pointer};
use gateway_http::problem::{InputError, Problem};

const ORDER_FIELDS: &[&str] = &[
    "item",
    "quantity",
    "price",
    "lineItems",
    "currency",
    "customer",
    "externalReference",
    "maxAttempts",
    "priority",
    "processAfter",
    "kind",
    "metadata",
];
const LINE_ITEM_FIELDS: &[&str] = &["item", "quantity", "price"];

/// Returns the schema of the fields that a line item and the short form share.
fn line_item_fields() -> Value {
    json!({
        "item": {
            "type": "string", "description": "Item name: 1 to 200 characters, no control characters.",
            "minLength": 1, "maxLength": strings::MAX_ITEM, "pattern": schema::TEXT, "example": "Laptop",
        },
        "quantity": {
            "type": "integer", "description": "How many.", "minimum": 1, "maximum": MAX_QUANTITY, "example": 2,
        },
        "price": {"$ref": "#/components/schemas/AmountInput"},
    })
}

/// Returns the schema of a form of an order: its own fields and the common ones.
fn form(description: &str, own: Value, required: &[&str], example: Value) -> RefOr<Schema> {
    let mut properties = json!({
        "currency": {
            "description": "ISO 4217 code. Default: the gateway's default currency, which is USD unless it is configured.",
            "oneOf": [{"$ref": "#/components/schemas/Currency"}, {"type": "null"}],
        },
        "customer": schema::optional_text("Customer: 1 to 200 characters.", strings::MAX_CUSTOMER, "ann@example.com"),
        "externalReference": schema::optional_text(
            "Reference of the order in the client's system: 1 to 200 characters, not necessarily unique.",
            strings::MAX_EXTERNAL_REFERENCE,
            "WEB-1001",
        ),
        "maxAttempts": {
            "type": ["integer", "null"], "minimum": 1, "maximum": MAX_MAX_ATTEMPTS, "example": 5,
            "description": format!(
                "Failed attempts after which the order is `failed`; {DEFAULT_MAX_ATTEMPTS} when absent."
            ),
        },
        "priority": {
            "description": "Default: `normal`.",
            "oneOf": [{"$ref": "#/components/schemas/Priority"}, {"type": "null"}],
        },
        "processAfter": {
            "type": ["string", "null"], "format": "date-time", "pattern": schema::TIME, "example": "2026-01-31T12:00:00Z",
            "description": "Earliest start of processing (RFC 3339). Default: immediately.",
        },
        "kind": {
            "type": ["string", "null"], "pattern": schema::KIND, "maxLength": MAX_KIND, "example": "refund",
            "description": "Kind: the word that routes the order to workers. Default: `default`.",
        },
        "metadata": super::metadata_schema::values(),
    });
    if let (Some(properties), Value::Object(own)) = (properties.as_object_mut(), own) {
        properties.extend(own);
    }
    schema::of(json!({
        "type": "object", "description": description, "properties": properties, "required": required,
        "additionalProperties": false, "example": example,
    }))
}

/// The short form, with one line item.
struct NewSingleItemOrder;

impl PartialSchema for NewSingleItemOrder {
    fn schema() -> RefOr<Schema> {
        form(
            "A new order with one line item.",
            line_item_fields(),
            LINE_ITEM_FIELDS,
            json!({"item": "Laptop", "quantity": 2, "price": 1299.99}),
        )
    }
}

impl ToSchema for NewSingleItemOrder {}

/// The form with any number of line items.
struct NewLineItemsOrder;

impl PartialSchema for NewLineItemsOrder {
    fn schema() -> RefOr<Schema> {
        let lines = json!({"lineItems": {
            "type": "array", "items": {"$ref": "#/components/schemas/NewLineItem"},
            "description": "1 to 200 line items, with at most 64 KiB of text together.",
            "minItems": 1, "maxItems": MAX_LINE_ITEMS,
        }});
        form(
            "A new order with several line items.",
            lines,
            &["lineItems"],
            json!({
                "lineItems": [
                    {"item": "Laptop", "quantity": 2, "price": "1299.99"},
                    {"item": "Mouse", "quantity": 1, "price": 25}
                ],
                "currency": "EUR", "customer": "ann@example.com", "externalReference": "WEB-1001", "maxAttempts": 3,
                "priority": "high", "processAfter": "2026-01-31T12:00:00Z", "metadata": {"channel": "web"}
            }),
        )
    }
}

impl ToSchema for NewLineItemsOrder {}

/// A line item of an order to create.
struct NewLineItem;

impl PartialSchema for NewLineItem {
    fn schema() -> RefOr<Schema> {
        schema::of(json!({
            "type": "object", "description": "Line item of an order to create.", "properties": line_item_fields(),
            "required": LINE_ITEM_FIELDS, "additionalProperties": false,
        }))
    }
}

impl ToSchema for NewLineItem {}

/// The schema of an order to create, `NewOrder` in the document. Requests are parsed into a [`Draft`].
pub(super) struct DraftSchema;

impl PartialSchema for DraftSchema {
    fn schema() -> RefOr<Schema> {
        schema::of(json!({
            "description": "A new order: either `item`, `quantity` and `price` of its only line item, or `lineItems`. Null fields count as absent; unknown fields are rejected.",
            "oneOf": [
                {"$ref": "#/components/schemas/NewSingleItemOrder"},
                {"$ref": "#/components/schemas/NewLineItemsOrder"},
            ],
        }))
    }
}

impl ToSchema for DraftSchema {
    fn name() -> Cow<'static, str> {
        "NewOrder".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        fn add<T: ToSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) {
            schemas.push((T::name().into_owned(), T::schema()));
        }
        add::<NewSingleItemOrder>(schemas);
        add::<NewLineItemsOrder>(schemas);
        add::<NewLineItem>(schemas);
        add::<CurrencyCode>(schemas);
        add::<PriorityWord>(schemas);
        add::<AmountInput>(schemas);
    }
}

/// Parses the body of a create. Only its shape is checked here; [`Draft::check`] has the rules.
pub(super) fn read(body: &[u8]) -> Result<Draft, Problem> {
    let document = json::document(body)?;
    let mut decoder = Decoder::default();
    let draft = draft(&mut decoder, document);
    decoder.finish()?;
    // Without an error there is a draft.
    draft.ok_or_else(|| Problem::new(ErrorCode::InvalidInput, "the body is not an order"))
}

/// Parses one row of a bulk create, or returns all errors of its shape.
pub(super) fn read_row(document: &RawValue) -> Result<Draft, Vec<InputError>> {
    let mut decoder = Decoder::default();
    let draft = draft(&mut decoder, document);
    let errors = decoder.into_errors();
    // Without an error there is a draft.
    if errors.is_empty() { draft.ok_or(errors) } else { Err(errors) }
}

fn draft(decoder: &mut Decoder, document: &RawValue) -> Option<Draft> {
    let fields = decoder.object("", document, ORDER_FIELDS)?;
    Some(Draft {
        item: fields.get("item").and_then(|(at, value)| decoder.text(&at, value)),
        quantity: fields.get("quantity").and_then(|(at, value)| decoder.whole(&at, value)),
        price: fields.get("price").and_then(|(at, value)| decoder.decimal(&at, value)),
        line_items: fields.get("lineItems").and_then(|(at, value)| line_items(decoder, &at, value)),
        currency: fields.get("currency").and_then(|(at, value)| decoder.text(&at, value)),
        customer: fields.get("customer").and_then(|(at, value)| decoder.text(&at, value)),
        external_reference: fields.get("externalReference").and_then(|(at, value)| decoder.text(&at, value)),
        max_attempts: fields.get("maxAttempts").and_then(|(at, value)| decoder.whole(&at, value)),
        priority: fields.get("priority").and_then(|(at, value)| decoder.text(&at, value)),
        process_after: fields.get("processAfter").and_then(|(at, value)| decoder.text(&at, value)),
        kind: fields.get("kind").and_then(|(at, value)| decoder.text(&at, value)),
        metadata: fields.get("metadata").and_then(|(at, value)| metadata(decoder, &at, value)),
    })
}

/// A null value counts as absent, as a null field does.
fn metadata(decoder: &mut Decoder, at: &Pointer<'_>, value: &RawValue) -> Option<Vec<(String, String)>> {
    let entries = decoder.strings(at, value)?.into_iter();
    Some(entries.filter_map(|(key, value)| Some((key, value?))).collect())
}

fn line_items(decoder: &mut Decoder, at: &Pointer<'_>, value: &RawValue) -> Option<Vec<DraftLineItem>> {
    let elements = decoder.array(at, value)?.into_iter().enumerate();
    let lines = elements.map(|(index, element)| {
        // An order with too many line items is rejected as a whole, so the excess ones are only counted.
        if index >= MAX_LINE_ITEMS {
            return DraftLineItem::default();
        }
        let Some(fields) = decoder.object(format!("{at}/{index}"), element, LINE_ITEM_FIELDS) else {
            return DraftLineItem::default();
        };
        DraftLineItem {
            item: fields.get("item").and_then(|(at, value)| decoder.text(&at, value)),
            quantity: fields.get("quantity").and_then(|(at, value)| decoder.whole(&at, value)),
            price: fields.get("price").and_then(|(at, value)| decoder.decimal(&at, value)),
        }
    });
    Some(lines.collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use domain::Currency;

    use super::*;

    fn read(body: &str) -> Result<Draft, Vec<String>> {
        super::read(body.as_bytes()).map_err(|problem| {
            let json = serde_json::to_value(problem).unwrap();
            let errors = json["errors"].as_array().cloned().unwrap_or_default();
            errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
        })
    }

    #[test]
    fn the_short_form_keeps_the_digits_of_the_price() {
        let draft = read(r#"{"item":"Laptop","quantity":2,"price":1299.99}"#).unwrap();
        assert_eq!(draft.price.as_deref(), Some("1299.99"));
        assert_eq!((draft.item.as_deref(), draft.quantity), (Some("Laptop"), Some(2)));
        let draft = read(r#"{"item":"x","quantity":1,"price":"90071992547409.93"}"#).unwrap();
        assert_eq!(draft.check(Currency::USD).unwrap().total.minor(), 9_007_199_254_740_993);
    }

    #[test]
    fn all_errors_of_the_shape_are_reported_at_once() {
        let body = r#"{"lineItems":[{"item":"x","quantity":1,"price":1},{"item":7,"quantity":1.5,
            "price":[],"sku":"a"},3],"currency":1,"cust/omer":"x","maxAttempts":"3","maxAttempts":3}"#;
        assert_eq!(
            read(body).unwrap_err(),
            [
                "/cust~1omer",
                "/maxAttempts",
                "/lineItems/1/sku",
                "/lineItems/1/item",
                "/lineItems/1/quantity",
                "/lineItems/1/price",
                "/lineItems/2",
                "/currency",
                "/maxAttempts",
            ]
        );
        assert_eq!(read("[]").unwrap_err(), [""]);
    }

    #[test]
    fn null_is_the_same_as_absent() {
        let draft = read(r#"{"item":"x","quantity":1,"price":1,"lineItems":null,"customer":null}"#).unwrap();
        assert!(draft.check(Currency::USD).is_ok());
    }

    #[test]
    fn excess_line_items_are_counted_but_not_parsed() {
        let lines = vec![r#"{"item":"x","quantity":1,"price":1}"#; 201].join(",");
        let draft = read(&format!(r#"{{"lineItems":[{lines}]}}"#)).unwrap();
        let problems = draft.check(Currency::USD).unwrap_err();
        assert_eq!(problems[0].message, "must have 1 to 200 line items, has 201");
    }

    #[test]
    fn the_documented_examples_are_orders() {
        let mut documented = BTreeSet::new();
        for schema in [NewSingleItemOrder::schema(), NewLineItemsOrder::schema()] {
            let schema = serde_json::to_value(schema).unwrap();
            let draft = read(&schema["example"].to_string()).unwrap();
            assert!(draft.check(Currency::USD).is_ok(), "{schema}");
            documented.extend(schema["properties"].as_object().unwrap().keys().cloned());
        }
        let known: BTreeSet<String> = ORDER_FIELDS.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(documented, known);
    }
}
