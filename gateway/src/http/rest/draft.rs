//! What a client sends to create an order.

use domain::{Draft, DraftLineItem, MAX_LINE_ITEMS};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::http::json::{self, Pointer, Shape};
use crate::http::problem::{InputError, Problem};

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
];
const LINE_ITEM_FIELDS: &[&str] = &["item", "quantity", "price"];

/// A new order: either `item`, `quantity` and `price` of its only line item, or `lineItems`.
/// Any other field is refused.
#[derive(Debug, ToSchema)]
#[schema(
    rename_all = "camelCase",
    examples(
        json!({"item": "Laptop", "quantity": 2, "price": 1299.99}),
        json!({
            "lineItems": [
                {"item": "Laptop", "quantity": 2, "price": "1299.99"},
                {"item": "Mouse", "quantity": 1, "price": 25}
            ],
            "currency": "EUR", "customer": "ann@example.com", "externalReference": "WEB-1001", "maxAttempts": 3,
            "priority": "high", "processAfter": "2026-01-31T12:00:00Z"
        })
    )
)]
pub(super) struct NewOrder {
    /// What: 1 to 200 characters, no control characters.
    #[schema(min_length = 1, max_length = 200, example = "Laptop")]
    item: Option<String>,
    /// How many.
    #[schema(minimum = 1, maximum = 1_000_000, example = 2)]
    quantity: Option<i64>,
    /// The price of one: zero or more, with at most as many decimals as the currency has. A number,
    /// or a string with a decimal number; either is taken exactly as written.
    #[schema(value_type = Option<f64>, minimum = 0, example = 1299.99)]
    price: Option<String>,
    /// Several line items in place of `item`, `quantity` and `price`.
    #[schema(min_items = 1, max_items = 200)]
    line_items: Option<Vec<NewLineItem>>,
    /// ISO 4217 code; when absent, the gateway's default (USD unless it is configured otherwise).
    #[schema(min_length = 3, max_length = 3, example = "USD")]
    currency: Option<String>,
    /// Who bought; 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200, example = "ann@example.com")]
    customer: Option<String>,
    /// The shop's own number for the order; 1 to 200 characters. Need not be unique.
    #[schema(min_length = 1, max_length = 200, example = "WEB-1001")]
    external_reference: Option<String>,
    /// With so many failed attempts the order is `failed`.
    #[schema(minimum = 1, maximum = 100, default = 5)]
    max_attempts: Option<i64>,
    /// `high`, `normal` or `low`: while orders of all priorities wait, of ten that are handed to the
    /// workers six are high, three normal and one low.
    #[schema(example = "normal", default = "normal")]
    priority: Option<String>,
    /// The order is not started before this time (RFC 3339); at once when it is past.
    #[schema(format = DateTime, example = "2026-01-31T12:00:00Z")]
    process_after: Option<String>,
}

/// One position of a new order.
#[derive(Debug, Default, ToSchema)]
pub(super) struct NewLineItem {
    /// What: 1 to 200 characters, no control characters.
    #[schema(required, min_length = 1, max_length = 200, example = "Laptop")]
    item: Option<String>,
    /// How many.
    #[schema(required, minimum = 1, maximum = 1_000_000, example = 2)]
    quantity: Option<i64>,
    /// The price of one, as in the short form.
    #[schema(required, value_type = f64, minimum = 0, example = 1299.99)]
    price: Option<String>,
}

impl NewOrder {
    /// Reads a body. Only its shape is checked here.
    pub(super) fn read(body: &[u8]) -> Result<Self, Problem> {
        let document = json::document(body)?;
        let mut shape = Shape::default();
        let order = Self::from_json(&mut shape, document);
        shape.finish()?;
        // Without an error there is an order.
        order.ok_or_else(|| Problem::new("invalid_body", "the body is not an order"))
    }

    /// Reads one of many, and says all that is wrong with its shape.
    pub(super) fn read_value(document: &RawValue) -> Result<Self, Vec<InputError>> {
        let mut shape = Shape::default();
        let order = Self::from_json(&mut shape, document);
        let errors = shape.into_errors();
        // Without an error there is an order.
        if errors.is_empty() { order.ok_or(errors) } else { Err(errors) }
    }

    fn from_json(shape: &mut Shape, document: &RawValue) -> Option<Self> {
        let fields = shape.object("", document, ORDER_FIELDS)?;
        Some(Self {
            item: fields.get("item").and_then(|(at, value)| shape.text(&at, value)),
            quantity: fields.get("quantity").and_then(|(at, value)| shape.whole(&at, value)),
            price: fields.get("price").and_then(|(at, value)| shape.decimal(&at, value)),
            line_items: fields.get("lineItems").and_then(|(at, value)| line_items(shape, &at, value)),
            currency: fields.get("currency").and_then(|(at, value)| shape.text(&at, value)),
            customer: fields.get("customer").and_then(|(at, value)| shape.text(&at, value)),
            external_reference: fields
                .get("externalReference")
                .and_then(|(at, value)| shape.text(&at, value)),
            max_attempts: fields.get("maxAttempts").and_then(|(at, value)| shape.whole(&at, value)),
            priority: fields.get("priority").and_then(|(at, value)| shape.text(&at, value)),
            process_after: fields.get("processAfter").and_then(|(at, value)| shape.text(&at, value)),
        })
    }
}

fn line_items(shape: &mut Shape, at: &Pointer<'_>, value: &RawValue) -> Option<Vec<NewLineItem>> {
    let elements = shape.array(at, value)?.into_iter().enumerate();
    let lines = elements.map(|(index, element)| {
        // Too many are refused as a whole; there is no point in reading each of them.
        if index >= MAX_LINE_ITEMS {
            return NewLineItem::default();
        }
        let Some(fields) = shape.object(format!("{at}/{index}"), element, LINE_ITEM_FIELDS) else {
            return NewLineItem::default();
        };
        NewLineItem {
            item: fields.get("item").and_then(|(at, value)| shape.text(&at, value)),
            quantity: fields.get("quantity").and_then(|(at, value)| shape.whole(&at, value)),
            price: fields.get("price").and_then(|(at, value)| shape.decimal(&at, value)),
        }
    });
    Some(lines.collect())
}

impl From<NewOrder> for Draft {
    fn from(new: NewOrder) -> Self {
        Self {
            item: new.item,
            quantity: new.quantity,
            price: new.price,
            line_items: new.line_items.map(|lines| lines.into_iter().map(Into::into).collect()),
            currency: new.currency,
            customer: new.customer,
            external_reference: new.external_reference,
            max_attempts: new.max_attempts,
            priority: new.priority,
            process_after: new.process_after,
        }
    }
}

impl From<NewLineItem> for DraftLineItem {
    fn from(new: NewLineItem) -> Self {
        Self { item: new.item, quantity: new.quantity, price: new.price }
    }
}

#[cfg(test)]
mod tests {
    use domain::Currency;
    use utoipa::PartialSchema;

    use super::*;

    fn read(body: &str) -> Result<Draft, Vec<String>> {
        NewOrder::read(body.as_bytes()).map(Into::into).map_err(|problem| {
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
    fn everything_wrong_with_the_shape_is_said_at_once() {
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
    fn too_many_line_items_are_counted_but_not_read() {
        let lines = vec![r#"{"item":"x","quantity":1,"price":1}"#; 201].join(",");
        let draft = read(&format!(r#"{{"lineItems":[{lines}]}}"#)).unwrap();
        let problems = draft.check(Currency::USD).unwrap_err();
        assert_eq!(problems[0].message, "must have 1 to 200 line items, has 201");
    }

    #[test]
    fn the_documented_examples_are_orders() {
        let schema = serde_json::to_value(NewOrder::schema()).unwrap();
        let examples = schema["examples"].as_array().unwrap();
        assert_eq!(examples.len(), 2);
        for example in examples {
            let draft = read(&example.to_string()).unwrap();
            assert!(draft.check(Currency::USD).is_ok(), "{example}");
        }
        let mut documented: Vec<_> = schema["properties"].as_object().unwrap().keys().cloned().collect();
        let mut known = ORDER_FIELDS.to_vec();
        documented.sort();
        known.sort_unstable();
        assert_eq!(documented, known);
    }
}
