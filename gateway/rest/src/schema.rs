//! JSON Schemas of request fields that are stricter than derived ones.
//!
//! They have no `default`, because generators make a field with a default required.

use domain::waiting::WaitsFor;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Pattern of a string that is not blank and has no control characters.
pub const TEXT: &str = "^[^\\u0000-\\u001F\\u007F-\\u009F]*[^\\s\\u0000-\\u001F\\u007F-\\u009F][^\\u0000-\\u001F\\u007F-\\u009F]*$";
/// Pattern of the beginning of a time from 1970 to 9999.
pub const TIME: &str = "^(19[7-9][0-9]|[2-9][0-9]{3})-";
/// Pattern of a decimal number without a sign.
const DECIMAL: &str = "^[0-9]+(\\.[0-9]+)?$";

/// Converts JSON to a schema.
pub(super) fn of(json: serde_json::Value) -> RefOr<Schema> {
    serde_json::from_value(json).expect("the schemas are constants, and a test reads the document")
}

/// Returns the schema of a string that can be absent or null.
pub(super) fn optional_text(description: &str, max: usize, example: &str) -> serde_json::Value {
    serde_json::json!({
        "type": ["string", "null"], "description": description, "minLength": 1, "maxLength": max, "pattern": TEXT,
        "example": example,
    })
}

/// Returns the schema of a value of a named schema, or null, which means absent.
pub(super) fn or_null(name: &str, description: &str) -> RefOr<Schema> {
    let reference = format!("#/components/schemas/{name}");
    of(serde_json::json!({"description": description, "oneOf": [{"$ref": reference}, {"type": "null"}]}))
}

/// The schema of a currency code.
pub(super) struct CurrencyCode;

impl PartialSchema for CurrencyCode {
    fn schema() -> RefOr<Schema> {
        let codes: Vec<&str> = domain::Currency::codes().collect();
        of(serde_json::json!({
            "type": "string", "description": "An ISO 4217 code.", "enum": codes, "example": "USD",
        }))
    }
}

impl ToSchema for CurrencyCode {
    fn name() -> std::borrow::Cow<'static, str> {
        "Currency".into()
    }
}

/// Pattern of a kind.
pub(super) const KIND: &str = "^[a-z0-9][a-z0-9_-]{0,31}$";

/// The schema of a priority.
pub(super) struct PriorityWord;

impl PartialSchema for PriorityWord {
    fn schema() -> RefOr<Schema> {
        of(serde_json::json!({
            "type": "string",
            "description": "Priority. While orders of all priorities wait, workers get six high, three normal and one low of every ten.",
            "enum": ["high", "normal", "low"], "example": "normal",
        }))
    }
}

impl ToSchema for PriorityWord {
    fn name() -> std::borrow::Cow<'static, str> {
        "Priority".into()
    }
}

/// Returns the schema of `waitsFor`.
pub(super) fn waits_for() -> RefOr<Schema> {
    let words = WaitsFor::ALL.map(|word| Some(word.as_str())).into_iter().chain([None]);
    of(serde_json::json!({
        "type": ["string", "null"],
        "description": "What a `pending` order waits for; null in other statuses. `worker`: a free worker; `retry`: the delay after a failed attempt; `schedule`: its scheduled time; `pause`: the resume of the queue.",
        "enum": words.collect::<Vec<_>>(), "example": "worker",
    }))
}

/// The schema of an amount in a request body.
pub(super) struct AmountInput;

impl PartialSchema for AmountInput {
    fn schema() -> RefOr<Schema> {
        of(serde_json::json!({
            "description": "Amount, zero or more, with at most the currency's decimals: a number or a decimal string. Both are read exactly.",
            "oneOf": [
                {"type": "number", "minimum": 0},
                {"type": "string", "pattern": DECIMAL, "maxLength": 100},
            ],
            "example": 1299.99,
        }))
    }
}

impl ToSchema for AmountInput {}

/// The schema of an amount in a query string.
pub(super) struct DecimalText;

impl PartialSchema for DecimalText {
    fn schema() -> RefOr<Schema> {
        of(serde_json::json!({"type": "string", "pattern": DECIMAL, "maxLength": 100, "example": "19.99"}))
    }
}

impl ToSchema for DecimalText {}
