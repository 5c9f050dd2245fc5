//! Metadata of an order: strings of the client under keys, which can change at any time.
//!
//! Metadata is no part of the status: a change has no event and no sequence.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The maximum number of keys of an order.
pub const MAX_METADATA_KEYS: usize = 50;
/// The maximum length of a key, in characters.
pub const MAX_METADATA_KEY: usize = 40;
/// The maximum length of a value, in characters.
pub const MAX_METADATA_VALUE: usize = 500;
/// The maximum length of the metadata of an order as JSON, in bytes.
pub const MAX_METADATA_BYTES: usize = 8 * 1024;
/// The maximum number of keys that a filter compares.
pub const MAX_METADATA_CONDITIONS: usize = 10;

/// The metadata of an order, in the order of its keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Metadata(BTreeMap<String, String>);

/// A change of metadata: a value sets a key, and `None` removes it. Other keys stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataPatch(pub Vec<(String, Option<String>)>);

impl Metadata {
    /// Checks pairs of keys and values.
    ///
    /// # Errors
    /// Sentences that continue the name of the field.
    pub fn check(pairs: Vec<(String, String)>) -> Result<Self, Vec<String>> {
        let patch = pairs.into_iter().map(|(key, value)| (key, Some(value))).collect();
        Self::default().patched(MetadataPatch(patch))
    }

    /// Returns the metadata after a change.
    ///
    /// # Errors
    /// Sentences that continue the name of the field.
    pub fn patched(&self, patch: MetadataPatch) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut entries = self.0.clone();
        let mut seen: Vec<String> = Vec::new();
        for (key, value) in patch.0 {
            // A client that sends many invalid keys needs no list of them.
            if problems.len() >= MAX_METADATA_KEYS {
                break;
            }
            if seen.contains(&key) {
                problems.push(format!("has the key '{key}' more than once"));
                continue;
            }
            if seen.len() > 2 * MAX_METADATA_KEYS {
                problems.push(format!("must have at most {MAX_METADATA_KEYS} keys"));
                break;
            }
            seen.push(key.clone());
            if let Err(problem) = check_key(&key) {
                problems.push(problem);
                continue;
            }
            match value.map(|value| check_value(&key, &value).map(|()| value)) {
                None => _ = entries.remove(&key),
                Some(Ok(value)) => _ = entries.insert(key, value),
                Some(Err(problem)) => problems.push(problem),
            }
        }
        let changed = Self(entries);
        if changed.0.len() > MAX_METADATA_KEYS {
            problems.push(format!("must have at most {MAX_METADATA_KEYS} keys, has {}", changed.0.len()));
        }
        let bytes = changed.json_bytes();
        if bytes > MAX_METADATA_BYTES {
            problems.push(format!("must have at most {MAX_METADATA_BYTES} bytes as JSON, has {bytes}"));
        }
        if problems.is_empty() { Ok(changed) } else { Err(problems) }
    }

    /// Returns whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Returns the keys and their values, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Returns the JSON object, with sorted keys.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.0).expect("strings always have a JSON form")
    }

    /// The length of [`Self::to_json`]: without control characters, JSON escapes only these two.
    fn json_bytes(&self) -> usize {
        let escaped = |text: &str| text.len() + text.matches(['"', '\\']).count() + 2;
        let entries = self.iter().map(|(key, value)| escaped(key) + escaped(value) + 2);
        entries.sum::<usize>() + if self.is_empty() { 2 } else { 1 }
    }
}

/// Checks the key of metadata or of a condition.
///
/// # Errors
/// A sentence that continues the name of the field.
pub fn check_key(key: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if key.is_empty() || key.len() > MAX_METADATA_KEY || !key.bytes().all(allowed) {
        let shown: String = key.chars().take(MAX_METADATA_KEY).collect();
        return Err(format!(
            "has the key '{shown}': a key has 1 to {MAX_METADATA_KEY} ASCII letters, digits, '_', '-' or '.'"
        ));
    }
    Ok(())
}

/// Checks the value of a key.
///
/// # Errors
/// A sentence that continues the name of the field.
pub fn check_value(key: &str, value: &str) -> Result<(), String> {
    let length = value.chars().count();
    if length > MAX_METADATA_VALUE {
        return Err(format!(
            "has a value of {length} characters under '{key}': a value has at most {MAX_METADATA_VALUE}"
        ));
    }
    if value.chars().any(char::is_control) {
        return Err(format!("has control characters in the value of '{key}': remove them"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn keys_and_values_have_limits() {
        let longest = ("k".repeat(MAX_METADATA_KEY), "ä".repeat(MAX_METADATA_VALUE));
        assert!(Metadata::check(vec![longest]).is_ok());
        assert!(Metadata::check(pairs(&[("a.b-c_9", "")])).is_ok());
        for (key, value) in [
            (String::new(), String::new()),
            ("k".repeat(MAX_METADATA_KEY + 1), String::new()),
            ("a b".to_owned(), String::new()),
            ("ä".to_owned(), String::new()),
            ("a".to_owned(), "x".repeat(MAX_METADATA_VALUE + 1)),
            ("a".to_owned(), "x\ny".to_owned()),
        ] {
            assert_eq!(Metadata::check(vec![(key, value)]).unwrap_err().len(), 1);
        }
        let many = |count: usize| (0..count).map(|n| (format!("k{n}"), String::new())).collect();
        assert!(Metadata::check(many(MAX_METADATA_KEYS)).is_ok());
        assert!(Metadata::check(many(MAX_METADATA_KEYS + 1)).is_err());
        assert!(Metadata::check(many(10_000)).unwrap_err().len() <= MAX_METADATA_KEYS + 2);
        assert!(Metadata::check(pairs(&[("a", "1"), ("a", "2")])).is_err());
    }

    #[test]
    fn the_length_is_that_of_the_json() {
        for entries in [&[][..], &[("a", "\"\\é😀")], &[("a", ""), ("b", "x")]] {
            let metadata = Metadata::check(pairs(entries)).unwrap();
            assert_eq!(metadata.json_bytes(), metadata.to_json().len());
        }
        let long =
            |count: usize| (0..count).map(|n| (format!("k{n}"), "x".repeat(MAX_METADATA_VALUE))).collect();
        assert!(Metadata::check(long(16)).is_ok());
        assert!(Metadata::check(long(17)).is_err());
    }

    #[test]
    fn a_patch_sets_and_removes_keys() {
        let metadata = Metadata::check(pairs(&[("a", "1"), ("b", "2")])).unwrap();
        let patch = |entries: &[(&str, Option<&str>)]| {
            let entries = entries.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned)));
            metadata.patched(MetadataPatch(entries.collect()))
        };
        let changed = patch(&[("a", None), ("c", Some("3")), ("absent", None)]).unwrap();
        assert_eq!(changed.to_json(), r#"{"b":"2","c":"3"}"#);
        assert_eq!(patch(&[]).unwrap(), metadata);
        assert!(patch(&[("a b", None)]).is_err());
    }
}
