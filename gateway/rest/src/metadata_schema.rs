//! The schemas of metadata, for the documentation.

use domain::{MAX_METADATA_KEY, MAX_METADATA_KEYS, MAX_METADATA_VALUE};
use serde_json::{Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::schema;

/// Pattern of a string without control characters.
pub(super) const VALUE: &str = "^[^\\u0000-\\u001F\\u007F-\\u009F]*$";
/// Pattern of a key.
pub(super) const KEY: &str = "[A-Za-z0-9_.-]{1,40}";

/// Returns the schema of the metadata in a request.
pub(super) fn values() -> Value {
    json!({
        "type": ["object", "null"], "maxProperties": MAX_METADATA_KEYS, "example": {"channel": "web", "gift": "yes"},
        "propertyNames": {"type": "string", "pattern": format!("^{KEY}$"), "maxLength": MAX_METADATA_KEY},
        "additionalProperties": {"type": "string", "maxLength": MAX_METADATA_VALUE, "pattern": VALUE},
        "description": "Metadata: up to 50 keys of ASCII letters, digits, `_`, `-` and `.` with strings, at most 8 KiB as JSON. It can change at any time.",
    })
}

/// The metadata of an order, for the documentation.
pub(super) struct MetadataView;

impl PartialSchema for MetadataView {
    fn schema() -> RefOr<Schema> {
        schema::of(json!({
            "type": "object", "description": "Metadata: strings of the client under its keys. It can change at any time.",
            "additionalProperties": {"type": "string"}, "example": {"channel": "web", "gift": "yes"},
        }))
    }
}

impl ToSchema for MetadataView {
    fn name() -> std::borrow::Cow<'static, str> {
        "Metadata".into()
    }
}

/// The change of metadata, for the documentation.
pub(super) struct PatchSchema;

impl PartialSchema for PatchSchema {
    fn schema() -> RefOr<Schema> {
        schema::of(json!({
            "type": "object", "maxProperties": MAX_METADATA_KEYS, "example": {"gift": "yes", "channel": null},
            "propertyNames": {"type": "string", "pattern": format!("^{KEY}$"), "maxLength": MAX_METADATA_KEY},
            "additionalProperties": {"type": ["string", "null"], "maxLength": MAX_METADATA_VALUE, "pattern": VALUE},
            "description": "A string sets a key, null removes it, other keys stay. The result has the limits of the metadata of a new order.",
        }))
    }
}

impl ToSchema for PatchSchema {
    fn name() -> std::borrow::Cow<'static, str> {
        "MetadataPatch".into()
    }
}
