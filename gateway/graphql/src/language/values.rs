//! Coerced values of variables, and the size of values in JSON.

use async_graphql::{Name, Value, Variables};

/// The coerced variables of one request, without absent variables that have no default.
#[derive(Debug, Default)]
pub(crate) struct Coerced(Variables);

impl Coerced {
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Returns whether a variable has a value other than null.
    pub(super) fn has_value(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| *value != Value::Null)
    }

    /// Returns variables that each have a value.
    pub(super) fn with_values<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut variables = Variables::default();
        for name in names {
            variables.insert(Name::new(name), Value::Boolean(true));
        }
        Self(variables)
    }

    /// Returns the variables for async-graphql.
    pub(crate) fn into_variables(self) -> Variables {
        self.0
    }

    #[cfg(test)]
    pub(crate) fn unchecked(variables: Variables) -> Self {
        Self(variables)
    }
}

impl From<Variables> for Coerced {
    fn from(variables: Variables) -> Self {
        Self(variables)
    }
}

/// Returns the length of a value in JSON.
pub(crate) fn json_size(value: &Value) -> usize {
    match value {
        Value::Null => 4,
        Value::Boolean(value) => 5 - usize::from(*value),
        Value::Number(number) => number.to_string().len(),
        Value::String(text) => text_size(text),
        Value::Enum(name) => name.len() + 2,
        Value::Binary(bytes) => bytes.len(),
        Value::List(items) => 2 + items.iter().map(|item| json_size(item) + 1).sum::<usize>(),
        Value::Object(fields) => {
            2 + fields.iter().map(|(name, value)| name.len() + 4 + json_size(value)).sum::<usize>()
        }
    }
}

/// Returns the length of a string in JSON, with quotes and escapes.
pub(crate) fn text_size(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 1,
        0..0x20 => 5,
        _ => 0,
    };
    2 + text.len() + text.bytes().map(escaped).sum::<usize>()
}
