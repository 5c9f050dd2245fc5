//! Decodes JSON bodies strictly, and reports all errors with their JSON pointers.
//!
//! Unknown fields, repeated fields and wrong types are errors. Values are parsed from the bytes of the body, so a price
//! is never converted to a float. Types, lengths and ranges that the type of a field implies are checked here. The
//! rules about orders are in `domain`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use domain::ErrorCode;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::problem::{InputError, MAX_ERRORS, Problem};

/// Maximum length of a name of the client in an error, in characters.
const MAX_NAME: usize = 100;

/// Decodes one body and collects its errors.
#[derive(Debug, Default)]
pub struct Decoder {
    errors: Vec<InputError>,
}

/// The known fields of an object.
#[derive(Debug)]
pub struct Object<'a> {
    at: String,
    fields: Vec<(&'static str, &'a RawValue)>,
}

impl<'a> Object<'a> {
    /// Returns the field and its pointer, if it is present and not null.
    pub fn get(&self, name: &str) -> Option<(Pointer<'_>, &'a RawValue)> {
        let (name, value) = self.fields.iter().find(|(known, _)| *known == name)?;
        (value.get() != "null").then_some((Pointer { object: &self.at, name }, value))
    }

    /// Returns whether the field is present and null, which removes a value.
    pub fn is_null(&self, name: &str) -> bool {
        self.fields.iter().any(|(known, value)| *known == name && value.get() == "null")
    }
}

/// The JSON pointer of a field. It is formatted only when the field is invalid.
#[derive(Debug)]
pub struct Pointer<'a> {
    object: &'a str,
    name: &'static str,
}

impl fmt::Display for Pointer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.object, self.name)
    }
}

/// Parses the body as one JSON value.
pub fn document(body: &[u8]) -> Result<&RawValue, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::new(ErrorCode::MalformedJson, error.to_string()))
}

impl Decoder {
    /// Returns the collected errors as a problem.
    pub fn finish(self) -> Result<(), Problem> {
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(Problem::input(ErrorCode::InvalidInput, self.errors))
        }
    }

    /// Returns the collected errors of a part of a body.
    pub fn into_errors(self) -> Vec<InputError> {
        self.errors
    }

    /// Decodes an object whose fields are all `known`.
    pub fn object<'a>(
        &mut self,
        at: impl fmt::Display,
        value: &'a RawValue,
        known: &'static [&'static str],
    ) -> Option<Object<'a>> {
        self.is("an object", &at, value)?;
        let entries = match serde_json::Deserializer::from_str(value.get()).deserialize_map(Entries) {
            Ok(entries) => entries,
            // The value is valid JSON. The remaining errors are escapes that do not form a character.
            Err(_) => return self.add(at, "has a field name that is not valid text"),
        };
        let mut fields: Vec<(&'static str, &RawValue)> = Vec::new();
        for (Name(name), value) in entries {
            let Some(known) = known.iter().find(|known| **known == name) else {
                let pointer = format!("{at}/{}", pointer_part(&name));
                self.add::<()>(pointer, format!("is not known here; known are {}", known.join(", ")));
                continue;
            };
            if fields.iter().any(|(name, _)| name == known) {
                self.add::<()>(format!("{at}/{known}"), "is there more than once");
                continue;
            }
            fields.push((known, value));
        }
        Some(Object { at: at.to_string(), fields })
    }

    /// Returns the elements of an array.
    pub fn array<'a>(&mut self, at: impl fmt::Display, value: &'a RawValue) -> Option<Vec<&'a RawValue>> {
        self.is("an array", &at, value)?;
        // The value is valid JSON, so reading an array cannot fail.
        serde_json::from_str(value.get()).ok()
    }

    /// Decodes a string.
    pub fn text(&mut self, at: impl fmt::Display, value: &RawValue) -> Option<String> {
        self.is("a string", &at, value)?;
        match serde_json::from_str(value.get()) {
            Ok(text) => Some(text),
            Err(_) => self.add(at, "holds an escape that is not a character"),
        }
    }

    /// Decodes an object of strings with any names; a null is `None`. Of a repeated name, both entries are returned.
    pub fn strings(
        &mut self,
        at: impl fmt::Display,
        value: &RawValue,
    ) -> Option<Vec<(String, Option<String>)>> {
        self.is("an object", &at, value)?;
        let entries = match serde_json::Deserializer::from_str(value.get()).deserialize_map(Entries) {
            Ok(entries) => entries,
            Err(_) => return self.add(at, "has a field name that is not valid text"),
        };
        let mut strings = Vec::with_capacity(entries.len().min(MAX_ERRORS));
        for (Name(name), value) in entries {
            let text = match value.get() {
                "null" => None,
                _ => match self.text(format!("{at}/{}", pointer_part(&name)), value) {
                    None => continue,
                    text => text,
                },
            };
            strings.push((name.into_owned(), text));
        }
        Some(strings)
    }

    /// Decodes a whole number. As in JSON Schema, `2.0` and `2e0` are whole.
    pub fn whole(&mut self, at: impl fmt::Display, value: &RawValue) -> Option<i64> {
        self.is("a number", &at, value)?;
        let text = value.get();
        match text.parse().ok().or_else(|| whole(text)) {
            Some(number) => Some(number),
            None if text.bytes().all(|b| b.is_ascii_digit() || b == b'-') => {
                self.add(at, "is out of every range")
            }
            None => self.add(at, "must be a whole number that fits 64 bits"),
        }
    }

    /// Returns the digits of a number, or of a decimal number in a string.
    pub fn decimal(&mut self, at: impl fmt::Display, value: &RawValue) -> Option<String> {
        match kind(value) {
            "a number" => Some(value.get().to_owned()),
            "a string" => self.text(at, value),
            other => self.add(at, format!("must be a number or a decimal number as a string, is {other}")),
        }
    }

    /// Decodes a boolean.
    pub fn boolean(&mut self, at: impl fmt::Display, value: &RawValue) -> Option<bool> {
        self.is("a boolean", &at, value)?;
        Some(value.get() == "true")
    }

    /// Decodes a string and parses it. The parse error completes the sentence "is …".
    pub fn parsed<T: FromStr<Err: fmt::Display>>(
        &mut self,
        at: impl fmt::Display,
        value: &RawValue,
    ) -> Option<T> {
        match self.text(&at, value)?.parse() {
            Ok(read) => Some(read),
            Err(error) => self.add(at, format!("is {error}")),
        }
    }

    /// Decodes a string that [`domain::strings::validate`] accepts.
    pub fn checked(&mut self, at: impl fmt::Display, value: &RawValue, max: usize) -> Option<String> {
        let text = self.text(&at, value)?;
        match domain::strings::validate(&text, max) {
            Ok(()) => Some(text),
            Err(message) => self.add(at, message),
        }
    }

    /// Decodes a whole number from 1 to `max`.
    pub fn count(&mut self, at: impl fmt::Display, value: &RawValue, max: u32) -> Option<u32> {
        let number = self.whole(&at, value)?;
        match u32::try_from(number) {
            Ok(count) if (1..=max).contains(&count) => Some(count),
            _ => self.add(at, format!("must be a whole number from 1 to {max}, is {number}")),
        }
    }

    /// Notes that something is wrong beyond the shape of a value.
    pub fn note(&mut self, at: impl fmt::Display, detail: impl Into<Cow<'static, str>>) {
        self.add::<()>(at, detail);
    }

    fn is(&mut self, expected: &str, at: impl fmt::Display, value: &RawValue) -> Option<()> {
        match kind(value) {
            actual if actual == expected => Some(()),
            actual => self.add(at, format!("must be {expected}, is {actual}")),
        }
    }

    fn add<T>(&mut self, at: impl fmt::Display, detail: impl Into<Cow<'static, str>>) -> Option<T> {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(InputError::field(at.to_string(), detail));
        }
        None
    }
}

/// Returns the value of a number with a fraction or an exponent, if it is whole.
fn whole(number: &str) -> Option<i64> {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let digits = format!("{whole}{fraction}");
    let zeros = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    if digits.bytes().all(|byte| matches!(byte, b'0' | b'-')) {
        return Some(0);
    }
    match u32::try_from(zeros) {
        Ok(zeros) => digits.parse::<i64>().ok()?.checked_mul(10_i64.checked_pow(zeros)?),
        Err(_) => {
            let cut = usize::try_from(zeros.unsigned_abs()).ok()?;
            let rest = digits.len().checked_sub(cut)?;
            digits[rest..].bytes().all(|byte| byte == b'0').then(|| digits[..rest].parse().ok()).flatten()
        }
    }
}

/// Returns the type of a JSON value. The first byte suffices, because the value is valid JSON.
fn kind(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

fn pointer_part(name: &str) -> String {
    let short: String = name.chars().take(MAX_NAME).collect();
    short.replace('~', "~0").replace('/', "~1")
}

/// The name of a field, borrowed from the body unless it is written with escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Collects all entries of an object in their order, including repeated ones.
struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<(Name<'de>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(decoder: Decoder) -> Vec<(String, String)> {
        decoder.errors.into_iter().map(|e| (e.pointer.unwrap(), e.detail.into_owned())).collect()
    }

    #[test]
    fn malformed_json_is_reported_with_line_and_column() {
        for (body, at) in [
            (&b"{\n  \"item\": }"[..], "line 2 column 11"),
            (b"", "line 1 column 0"),
            (b"{} {}", "line 1 column 4"),
            (b"\"\xff\"", "line"),
        ] {
            let problem = serde_json::to_value(document(body).unwrap_err()).unwrap();
            assert_eq!(problem["code"], "malformed_json");
            assert!(problem["detail"].as_str().unwrap().contains(at), "{problem}");
        }
    }

    #[test]
    fn unknown_and_repeated_fields_are_rejected_by_name() {
        let body = document(br#"{"a":1,"b/~":2,"a":null}"#).unwrap();
        let mut decoder = Decoder::default();
        let object = decoder.object("", body, &["a"]).unwrap();
        assert_eq!(object.get("a").unwrap().0.to_string(), "/a");
        assert!(!object.is_null("a") && !object.is_null("b"));
        assert_eq!(
            errors(decoder),
            [
                ("/b~1~0".into(), "is not known here; known are a".into()),
                ("/a".into(), "is there more than once".into())
            ]
        );
    }

    #[test]
    fn null_is_distinguished_from_an_absent_field() {
        let body = document(br#"{"a":null}"#).unwrap();
        let object = Decoder::default().object("", body, &["a", "b"]).unwrap();
        assert!(object.is_null("a") && !object.is_null("b"));
        assert!(object.get("a").is_none() && object.get("b").is_none());
    }

    #[test]
    fn wrong_types_are_rejected() {
        let mut decoder = Decoder::default();
        let value = |text: &'static str| document(text.as_bytes()).unwrap();
        assert_eq!(decoder.text("/1", value("1")), None);
        assert_eq!(decoder.whole("/2", value("\"1\"")), None);
        assert_eq!(decoder.whole("/3", value("1.5")), None);
        assert_eq!(decoder.whole("/4", value("99999999999999999999")), None);
        assert_eq!(decoder.decimal("/5", value("true")), None);
        assert!(decoder.array("/6", value("{}")).is_none());
        assert!(decoder.object("", value("[]"), &[]).is_none());
        assert_eq!(decoder.text("/8", value(r#""\ud800""#)), None);
        let pointers: Vec<_> = errors(decoder).into_iter().map(|(pointer, _)| pointer).collect();
        assert_eq!(pointers, ["/1", "/2", "/3", "/4", "/5", "/6", "", "/8"]);
    }

    #[test]
    fn whole_numbers_may_have_an_empty_fraction() {
        let read = |text: &'static str| {
            let mut decoder = Decoder::default();
            decoder.whole("", document(text.as_bytes()).unwrap())
        };
        for (text, number) in [
            ("2", Some(2)),
            ("-2", Some(-2)),
            ("2.0", Some(2)),
            ("2.000", Some(2)),
            ("2e3", Some(2_000)),
            ("2.5E1", Some(25)),
            ("20e-1", Some(2)),
            ("-20.0e-1", Some(-2)),
            ("0.0", Some(0)),
            ("-0", Some(0)),
            ("0e99999", Some(0)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("1e19", None),
            ("1e2147483648", None),
            ("1e-2147483648", None),
            ("1e-1", None),
            ("2.5", None),
            ("25e-1", None),
            ("0.1", None),
        ] {
            assert_eq!(read(text), number, "{text}");
        }
    }

    #[test]
    fn decimals_keep_their_digits() {
        let mut decoder = Decoder::default();
        for text in ["1299.99", "1e3", "0.10", "123456789012345678.90"] {
            assert_eq!(decoder.decimal("", document(text.as_bytes()).unwrap()).as_deref(), Some(text));
        }
        assert_eq!(decoder.decimal("", document(b"\"0.10\"").unwrap()).as_deref(), Some("0.10"));
        assert!(decoder.finish().is_ok());
    }

    #[test]
    fn deeply_nested_body_is_rejected_and_errors_are_limited() {
        let deep = "[".repeat(100_000);
        assert!(document(deep.as_bytes()).is_err());
        let closed = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        // Both outcomes are valid; the call must only return.
        let _ = document(closed.as_bytes());
        let many = format!("{{{}}}", (0..1_000).map(|n| format!("\"f{n}\":1")).collect::<Vec<_>>().join(","));
        let mut decoder = Decoder::default();
        decoder.object("", document(many.as_bytes()).unwrap(), &["a"]);
        assert_eq!(decoder.errors.len(), MAX_ERRORS);
    }
}
