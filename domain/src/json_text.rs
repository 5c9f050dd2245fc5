//! JSON that a worker produces: the result of an order, or a checkpoint.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::IgnoredAny;

/// The maximum length of a result or a checkpoint, in bytes of JSON without insignificant whitespace.
pub const MAX_OUTPUT_BYTES: usize = 64 * 1024;

/// JSON of at most [`MAX_OUTPUT_BYTES`] without insignificant whitespace, so it has one line. Cheap to clone.
///
/// It is kept as text: numbers keep their digits, and objects the sequence of their members.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct JsonText(Arc<str>);

/// Why a string is no result and no checkpoint. Continues the name of the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJsonText {
    /// It is not JSON.
    #[error("must be JSON: {0}")]
    NotJson(String),
    /// It is too long.
    #[error("must have at most {MAX_OUTPUT_BYTES} bytes of JSON, has {0}")]
    TooLong(usize),
}

impl JsonText {
    /// Parses JSON.
    ///
    /// # Errors
    /// It is not JSON, is nested more than 127 levels deep, or is too long.
    pub fn parse(text: &str) -> Result<Self, InvalidJsonText> {
        if text.len() > 4 * MAX_OUTPUT_BYTES {
            return Err(InvalidJsonText::TooLong(text.len()));
        }
        serde_json::from_str::<IgnoredAny>(text)
            .map_err(|error| InvalidJsonText::NotJson(error.to_string()))?;
        let compact = without_whitespace(text);
        match compact.len() {
            0..=MAX_OUTPUT_BYTES => Ok(Self(compact.into())),
            length => Err(InvalidJsonText::TooLong(length)),
        }
    }

    /// Serializes a value.
    ///
    /// # Errors
    /// It cannot be serialized, or is too long.
    pub fn of(value: &impl Serialize) -> Result<Self, InvalidJsonText> {
        let text =
            serde_json::to_string(value).map_err(|error| InvalidJsonText::NotJson(error.to_string()))?;
        Self::parse(&text)
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Results can contain personal data, so logs contain only the length.
impl fmt::Debug for JsonText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "JSON of {} bytes", self.0.len())
    }
}

/// Removes the whitespace outside of strings from a valid JSON text.
fn without_whitespace(text: &str) -> String {
    let mut compact = String::with_capacity(text.len());
    let (mut in_string, mut is_escaped) = (false, false);
    for character in text.chars() {
        if in_string {
            compact.push(character);
            in_string = is_escaped || character != '"';
            is_escaped = !is_escaped && character == '\\';
        } else if !matches!(character, ' ' | '\t' | '\n' | '\r') {
            compact.push(character);
            in_string = character == '"';
        }
    }
    compact
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whitespace_outside_of_strings_is_removed() {
        let text = "{ \"b\" : [ 1.10,\n2e400 ],\t\"a\\\\\" : \" x \\\" y \" }\r\n";
        let json = JsonText::parse(text).unwrap();
        assert_eq!(json.as_str(), "{\"b\":[1.10,2e400],\"a\\\\\":\" x \\\" y \"}");
        assert_eq!(JsonText::parse(json.as_str()), Ok(json));
        assert_eq!(JsonText::of(&Some([1, 2])).unwrap().as_str(), "[1,2]");
    }

    #[test]
    fn invalid_json_is_refused() {
        for string in ["", "{", "{}{}", "'a'", "nul", "\u{feff}{}", &"[".repeat(200)] {
            assert!(matches!(JsonText::parse(string), Err(InvalidJsonText::NotJson(_))), "{string}");
        }
        let string = |length: usize| format!("\"{}\"", "x".repeat(length - 2));
        assert!(JsonText::parse(&string(MAX_OUTPUT_BYTES)).is_ok());
        assert!(JsonText::parse(&format!("   {}", string(MAX_OUTPUT_BYTES))).is_ok());
        let long = JsonText::parse(&string(MAX_OUTPUT_BYTES + 1));
        assert_eq!(long, Err(InvalidJsonText::TooLong(MAX_OUTPUT_BYTES + 1)));
        assert!(matches!(JsonText::parse(&" ".repeat(1 << 20)), Err(InvalidJsonText::TooLong(_))));
    }
}
