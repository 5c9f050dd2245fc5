//! Custom scalars. The output of both is a string: a number in JSON may be rounded by the client, and a local time has
//! no zone.

use async_graphql::{InputValueError, InputValueResult, Number, Scalar, ScalarType, Value};
use domain::{ErrorCode, JsonText, Money, Timestamp};

use crate::errors::CODE;

/// An exact decimal number: the string that a client sent, or that of an amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decimal(pub(crate) String);

/// Upper bound of the numbers that a double represents unambiguously, for amounts with up to four decimals. Below it,
/// two such amounts are never the same double, and 15 digits always distinguish them.
const EXACT_BELOW: f64 = 1e11;
const EXACT_DIGITS: usize = 15;

/// Exact decimal number as a string such as "1299.99". The input may also be a JSON number that has an
/// exact representation: whole numbers, and fractions below 100 billion with at most 15 digits.
#[Scalar(specified_by_url = "https://www.rfc-editor.org/rfc/rfc8259#section-6")]
impl ScalarType for Decimal {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => Ok(Self(text)),
            Value::Number(number) => exact_text(&number).map(Self).ok_or_else(|| {
                bad_input("this number may have been rounded on its way; send it as a string".to_owned())
            }),
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn is_valid(value: &Value) -> bool {
        matches!(value, Value::String(_) | Value::Number(_))
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

impl From<Money> for Decimal {
    fn from(money: Money) -> Self {
        Self(money.to_string())
    }
}

/// Returns a number as a string if it is certain to be the number that the client wrote.
fn exact_text(number: &Number) -> Option<String> {
    if number.is_i64() || number.is_u64() {
        return Some(number.to_string());
    }
    let value = number.as_f64().filter(|value| value.abs() < EXACT_BELOW)?;
    let text = value.to_string();
    let significant = text.trim_start_matches(['-', '0', '.']).bytes().filter(u8::is_ascii_digit).count();
    (significant <= EXACT_DIGITS).then_some(text)
}

/// JSON that a worker has produced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Json(pub(crate) JsonText);

/// Any JSON. Numbers are doubles or 64-bit integers, and members are sorted; REST has the text of the worker.
#[Scalar(name = "JSON", specified_by_url = "https://www.rfc-editor.org/rfc/rfc8259")]
impl ScalarType for Json {
    fn parse(value: Value) -> InputValueResult<Self> {
        let json = value.into_json().map_err(|error| bad_input(error.to_string()))?;
        JsonText::of(&json).map(Self).map_err(|error| bad_input(error.to_string()))
    }

    fn to_value(&self) -> Value {
        // It was valid JSON when it was stored.
        let json: serde_json::Value = serde_json::from_str(self.0.as_str()).unwrap_or_default();
        Value::from_json(json).unwrap_or_default()
    }
}

/// A point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DateTime(pub(crate) Timestamp);

/// RFC 3339 timestamp. Output is in UTC with six decimals, such as "2026-01-31T12:00:00.000000Z".
#[Scalar(specified_by_url = "https://www.rfc-editor.org/rfc/rfc3339")]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => {
                text.parse().map(Self).map_err(|error: domain::InvalidTimestamp| bad_input(error.to_string()))
            }
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn is_valid(value: &Value) -> bool {
        matches!(value, Value::String(_))
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

fn bad_input<T: async_graphql::InputType>(message: String) -> InputValueError<T> {
    InputValueError::custom(message).with_extension(CODE, ErrorCode::InvalidInput.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(json: &str) -> Option<String> {
        let value = Value::from_json(serde_json::from_str(json).unwrap()).unwrap();
        Decimal::parse(value).ok().map(|decimal| decimal.0)
    }

    #[test]
    fn numbers_are_accepted_only_if_exact() {
        for (json, text) in [
            (r#""1299.990""#, Some("1299.990")),
            (r#""1e3""#, Some("1e3")),
            ("1299.99", Some("1299.99")),
            ("5", Some("5")),
            ("-0.5", Some("-0.5")),
            ("0.0001", Some("0.0001")),
            ("9223372036854775807", Some("9223372036854775807")),
            ("18446744073709551615", Some("18446744073709551615")),
            ("99999999999.9999", Some("99999999999.9999")),
            // More digits than a double represents.
            ("1299.9900000000002", None),
            // A double rounds these two to 10^15 and 10^22.
            ("999999999999999.99", None),
            ("9999999999999999999999", None),
            ("true", None),
            ("null", None),
        ] {
            assert_eq!(decimal(json).as_deref(), text, "{json}");
        }
    }

    #[test]
    fn amounts_with_four_decimals_below_the_bound_are_exact() {
        for minor in [1_i64, 9_999, 10_001, 123_456_789_012_345, 999_999_999_999_999] {
            let text = format!("{}.{:04}", minor / 10_000, minor % 10_000);
            let read = decimal(&text).unwrap();
            let currency = "CLF".parse().unwrap();
            assert_eq!(Money::parse(&read, currency), Ok(Money::from_minor(minor, currency)), "{text}");
        }
    }

    #[test]
    fn json_is_a_value() {
        let json = Json(JsonText::parse(r#"{"b":[1,2.5,null],"a":"x"}"#).unwrap());
        let value = json.to_value();
        assert_eq!(value.to_string(), r#"{a: "x", b: [1, 2.5, null]}"#);
        assert_eq!(Json::parse(value).unwrap().to_value().to_string(), json.to_value().to_string());
    }

    #[test]
    fn times_are_written_in_utc() {
        let time = DateTime::parse(Value::from("2026-01-31T13:00:00+01:00")).unwrap();
        assert_eq!(time.to_value(), Value::from("2026-01-31T12:00:00.000000Z"));
        assert!(DateTime::parse(Value::from("yesterday")).is_err());
        assert!(DateTime::parse(Value::from(5)).is_err());
    }
}
