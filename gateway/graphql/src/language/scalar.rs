//! Coerces built-in and custom scalars.

use async_graphql::{Number, ScalarType, Value};

use super::type_system::Language;
use crate::schema::scalars::{DateTime, Decimal};

/// Maximum number of characters of a value in a message.
const MAX_SHOWN_CHARS: usize = 60;

impl Language {
    /// Coerces a scalar that is not null. In JSON a number with a zero fraction is an integer.
    pub(super) fn scalar(&self, name: &str, value: Value, json: bool) -> Result<Value, String> {
        let whole = |number: &Number| match number.as_i64() {
            Some(number) => Some(number),
            // 2^53: a double represents every integer up to here.
            None => {
                let number = number.as_f64().filter(|_| json)?;
                (number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0).then_some(number as i64)
            }
        };
        let coerced = match (name, &value) {
            ("Int", Value::Number(number)) => {
                whole(number).and_then(|number| i32::try_from(number).ok()).map(Value::from)
            }
            ("Float", Value::Number(_)) | ("String", Value::String(_)) | ("Boolean", Value::Boolean(_)) => {
                return Ok(value);
            }
            ("ID", Value::String(_)) => return Ok(value),
            ("ID", Value::Number(number)) => whole(number).map(|number| Value::String(number.to_string())),
            ("Int" | "Float" | "String" | "Boolean" | "ID", _) => None,
            ("Decimal", _) => return parsed::<Decimal>(name, value),
            ("DateTime", _) => return parsed::<DateTime>(name, value),
            _ => None,
        };
        coerced.ok_or_else(|| format!("{} is not a value of {name}", show(&value)))
    }
}

/// Validates the value of a custom scalar, which async-graphql parses again for the resolver.
fn parsed<T: ScalarType + async_graphql::InputType>(name: &str, value: Value) -> Result<Value, String> {
    let Err(error) = <T as ScalarType>::parse(value.clone()) else { return Ok(value) };
    let reason = error.into_server_error(async_graphql::Pos::default()).message;
    // "Failed to parse "DateTime": reason"
    let reason = reason.split_once("\": ").map_or("", |(_, reason)| reason);
    Err(format!("{} is not a value of {name}: {reason}", show(&value)))
}

/// Formats a value for a message.
pub(super) fn show(value: &Value) -> String {
    match value {
        // Not formatted, because it may be long.
        Value::List(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) => format!("{:?}", cut(text)),
        other => cut(&other.to_string()),
    }
}

pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
