//! Metadata of orders in inputs and outputs.

use async_graphql::{InputObject, SimpleObject};

/// A key of the metadata of an order.
#[derive(SimpleObject)]
pub(crate) struct MetadataEntry {
    /// Key.
    key: String,
    /// Value.
    value: String,
}

impl MetadataEntry {
    /// Returns the entries of metadata, sorted by key.
    pub(crate) fn all(metadata: &domain::Metadata) -> Vec<Self> {
        metadata.iter().map(|(key, value)| Self { key: key.to_owned(), value: value.to_owned() }).collect()
    }
}

/// A key and its value.
#[derive(InputObject)]
pub(crate) struct MetadataInput {
    /// Key: 1 to 40 ASCII letters, digits, `_`, `-` or `.`.
    key: String,
    /// Value: at most 500 characters, no control characters.
    value: String,
}

/// Returns the pairs of an input.
pub(crate) fn pairs(entries: Vec<MetadataInput>) -> Vec<(String, String)> {
    entries.into_iter().map(|entry| (entry.key, entry.value)).collect()
}
