//! The filter of lists and redrives: one schema and parser for all inputs.

use domain::query::{FILTER_FIELDS, Filter, RawFilter, Sort};
use domain::waiting::WaitsFor;
use domain::{Currency, MAX_METADATA_CONDITIONS, MAX_METADATA_VALUE, Status, Timestamp};
use serde_json::value::RawValue;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::metadata_schema::{KEY, VALUE};
use super::schema::{self, CurrencyCode, DecimalText};
use gateway_http::json::{Decoder, Object, Pointer};
use gateway_http::query::Query;

/// Filter of orders; an order must match all fields that are set.
#[derive(Debug, ToSchema, IntoParams)]
#[schema(as = DeadLetterFilter, rename_all = "camelCase")]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "for the documentation; read field by field")]
pub(super) struct FilterParams {
    /// Order id or at least 8 hexadecimal digits of its beginning, code of an order, or prefix of the external reference or of the
    /// customer, case-insensitive.
    #[schema(min_length = 1, max_length = 200)]
    #[param(min_length = 1, max_length = 200)]
    search: Option<String>,
    /// Customer, exact match.
    #[schema(min_length = 1, max_length = 200)]
    #[param(min_length = 1, max_length = 200)]
    customer: Option<String>,
    /// Prefix of the customer, case-insensitive.
    #[schema(min_length = 1, max_length = 200)]
    #[param(min_length = 1, max_length = 200)]
    customer_prefix: Option<String>,
    /// External reference, exact match.
    #[schema(min_length = 1, max_length = 200)]
    #[param(min_length = 1, max_length = 200)]
    external_reference: Option<String>,
    /// Prefix of the external reference, case-insensitive.
    #[schema(min_length = 1, max_length = 200)]
    #[param(min_length = 1, max_length = 200)]
    reference_prefix: Option<String>,
    /// Error class of the latest event, exact match.
    #[schema(min_length = 1, max_length = 64)]
    #[param(min_length = 1, max_length = 64)]
    error_class: Option<String>,
    /// Worker of the latest attempt, exact match.
    #[schema(min_length = 1, max_length = 64)]
    #[param(min_length = 1, max_length = 64)]
    worker: Option<String>,
    /// Pattern of the reason of the latest event. Without `**` it selects the reasons with the same normal form: the
    /// `reason` of a group of dead letters. `**` stands for any characters. An empty pattern selects orders without
    /// a reason.
    #[schema(schema_with = reason)]
    #[param(inline, value_type = Option<ReasonPatternText>)]
    reason: Option<String>,
    /// Kind, exact match.
    #[schema(min_length = 1, max_length = 32)]
    #[param(min_length = 1, max_length = 32)]
    kind: Option<String>,
    /// What a pending order waits for. Orders in other statuses do not match.
    #[schema(schema_with = waits_for)]
    #[param(inline, value_type = Option<WaitsForWord>)]
    waits_for: Option<String>,
    /// Substring of the name of a line item. Case-insensitive; no wildcards.
    #[schema(min_length = 1, max_length = 200)]
    #[param(min_length = 1, max_length = 200)]
    item_contains: Option<String>,
    /// ISO 4217 currency. Default with a comparison of totals: the gateway's default currency.
    #[schema(schema_with = currency)]
    #[param(inline, value_type = Option<CurrencyCode>)]
    currency: Option<String>,
    /// Minimum total, inclusive.
    #[schema(schema_with = total_from)]
    #[param(inline, value_type = Option<DecimalText>)]
    total_from: Option<String>,
    /// Maximum total, inclusive.
    #[schema(schema_with = total_to)]
    #[param(inline, value_type = Option<DecimalText>)]
    total_to: Option<String>,
    /// Created at or after this time (RFC 3339).
    #[schema(format = DateTime)]
    #[param(format = DateTime)]
    created_from: Option<String>,
    /// Created before this time (RFC 3339).
    #[schema(format = DateTime)]
    #[param(format = DateTime)]
    created_before: Option<String>,
    /// Values of the metadata, exact match: `metadata.KEY=VALUE` in a query string, up to 10 keys. An object in a body.
    #[schema(schema_with = metadata)]
    #[param(style = Form, explode, inline, value_type = Option<MetadataParams>)]
    metadata: Option<String>,
}

/// The schema of the parameters of metadata, for the documentation. Each property is a parameter.
struct MetadataParams;

impl PartialSchema for MetadataParams {
    fn schema() -> RefOr<Schema> {
        schema::of(serde_json::json!({
            "type": "object", "maxProperties": MAX_METADATA_CONDITIONS, "example": {"metadata.channel": "web"},
            "propertyNames": {"type": "string", "pattern": format!("^metadata\\.{KEY}$")},
            "additionalProperties": {"type": "string", "maxLength": MAX_METADATA_VALUE, "pattern": VALUE},
        }))
    }
}

impl ToSchema for MetadataParams {}

fn metadata() -> RefOr<Schema> {
    schema::of(serde_json::json!({
        "type": ["object", "null"], "maxProperties": MAX_METADATA_CONDITIONS, "example": {"channel": "web"},
        "propertyNames": {"type": "string", "pattern": format!("^{KEY}$")},
        "additionalProperties": {"type": "string", "maxLength": MAX_METADATA_VALUE, "pattern": VALUE},
        "description": "Values of the metadata, exact match.",
    }))
}

/// The schema of a pattern of reasons, for the documentation.
struct ReasonPatternText;

impl PartialSchema for ReasonPatternText {
    fn schema() -> RefOr<Schema> {
        schema::of(serde_json::json!({"type": "string", "maxLength": 500, "pattern": OPTIONAL_TEXT}))
    }
}

impl ToSchema for ReasonPatternText {}

/// Pattern of a string that is empty or [`schema::TEXT`].
const OPTIONAL_TEXT: &str = "^([^\\u0000-\\u001F\\u007F-\\u009F]*[^\\s\\u0000-\\u001F\\u007F-\\u009F][^\\u0000-\\u001F\\u007F-\\u009F]*)?$";

/// The schema of what an order waits for, for the documentation.
struct WaitsForWord;

impl PartialSchema for WaitsForWord {
    fn schema() -> RefOr<Schema> {
        schema::of(serde_json::json!({"type": "string", "enum": WaitsFor::ALL.map(WaitsFor::as_str)}))
    }
}

impl ToSchema for WaitsForWord {}

fn waits_for() -> RefOr<Schema> {
    let words = WaitsFor::ALL.map(|word| Some(word.as_str())).into_iter().chain([None]);
    schema::of(serde_json::json!({
        "type": ["string", "null"], "enum": words.collect::<Vec<_>>(),
        "description": "What a pending order waits for. Orders in other statuses do not match.",
    }))
}

fn reason() -> RefOr<Schema> {
    schema::of(serde_json::json!({
        "type": ["string", "null"], "maxLength": 500, "pattern": OPTIONAL_TEXT, "example": "HTTP 503 from host-*",
        "description": "Pattern of the reason of the latest event. Without `**` it selects the reasons with the same \
            normal form: the `reason` of a group of dead letters. `**` stands for any characters. An empty pattern \
            selects orders without a reason.",
    }))
}

fn currency() -> RefOr<Schema> {
    schema::or_null(
        "Currency",
        "ISO 4217 currency. Default with a comparison of totals: the gateway's default currency.",
    )
}

fn total_from() -> RefOr<Schema> {
    schema::or_null("AmountInput", "Minimum total, inclusive.")
}

fn total_to() -> RefOr<Schema> {
    schema::or_null("AmountInput", "Maximum total, inclusive.")
}

/// Filter of orders to cancel; an order must match all fields that are set.
pub(super) struct CancelFilter;

impl PartialSchema for CancelFilter {
    fn schema() -> RefOr<Schema> {
        let mut schema = FilterParams::schema();
        if let RefOr::T(Schema::Object(object)) = &mut schema {
            let statuses = serde_json::json!({
                "type": ["array", "null"], "items": {"type": "string", "enum": ["pending", "processing"]},
                "description": "Statuses. Default: both.",
            });
            object.properties.insert(STATUS.to_owned(), schema::of(statuses));
        }
        schema
    }
}

impl ToSchema for CancelFilter {
    fn name() -> std::borrow::Cow<'static, str> {
        "CancelFilter".into()
    }
}

/// The beginning of the parameters of metadata; the key follows.
const METADATA: &str = "metadata.";
/// The statuses in a filter of orders to cancel.
const STATUS: &str = "status";
/// The fields of a filter of orders to cancel.
const CANCEL_FIELDS: [&str; FILTER_FIELDS.len() + 1] = {
    let mut fields = [STATUS; FILTER_FIELDS.len() + 1];
    let mut n = 0;
    while n < FILTER_FIELDS.len() {
        fields[n] = FILTER_FIELDS[n];
        n += 1;
    }
    fields
};

/// Returns the names of the parameters of a filter. One that ends with a dot is the beginning of names.
pub(super) fn parameters() -> impl Iterator<Item = &'static str> {
    FILTER_FIELDS.into_iter().map(|name| if name == "metadata" { METADATA } else { name })
}

/// The source of the fields of a filter.
trait Source {
    fn text(&mut self, name: &'static str) -> Option<String>;
    fn amount(&mut self, name: &'static str) -> Option<String>;
    fn time(&mut self, name: &'static str) -> Option<Timestamp>;
    fn metadata(&mut self) -> Vec<(String, String)>;
    fn add(&mut self, name: &'static str, message: String);
}

/// Parses the filter of a query string.
pub(super) fn from_query(
    query: &mut Query<'_>,
    statuses: Vec<Status>,
    sort: Sort,
    default_currency: Currency,
) -> Filter {
    read(query, statuses, sort, default_currency)
}

/// Parses the filter of a JSON body.
pub(super) fn from_json(
    decoder: &mut Decoder,
    at: &Pointer<'_>,
    value: &RawValue,
    default_currency: Currency,
) -> Filter {
    let Some(fields) = decoder.object(at, value, &FILTER_FIELDS) else { return Filter::default() };
    let at = at.to_string();
    read(&mut Body { decoder, at, fields }, Vec::new(), Sort::default(), default_currency)
}

/// Parses the filter of orders to cancel: as [`from_json`], with statuses.
pub(super) fn to_cancel(
    decoder: &mut Decoder,
    at: &Pointer<'_>,
    value: &RawValue,
    default_currency: Currency,
) -> Filter {
    let Some(fields) = decoder.object(at, value, &CANCEL_FIELDS) else { return Filter::default() };
    let mut statuses = Vec::new();
    if let Some((at, value)) = fields.get(STATUS) {
        for (n, value) in decoder.array(&at, value).unwrap_or_default().into_iter().enumerate() {
            let at = format!("{at}/{n}");
            match decoder.parsed(&at, value) {
                Some(status @ (Status::Pending | Status::Processing)) => statuses.push(status),
                Some(_) => decoder.note(at, "must be pending or processing: only these can be cancelled"),
                None => break,
            }
        }
    }
    let at = at.to_string();
    read(&mut Body { decoder, at, fields }, statuses, Sort::default(), default_currency)
}

fn read(source: &mut impl Source, statuses: Vec<Status>, sort: Sort, default_currency: Currency) -> Filter {
    let raw_filter = RawFilter {
        statuses,
        search: source.text("search"),
        customer: source.text("customer"),
        customer_prefix: source.text("customerPrefix"),
        external_reference: source.text("externalReference"),
        reference_prefix: source.text("referencePrefix"),
        error_class: source.text("errorClass"),
        worker: source.text("worker"),
        reason: source.text("reason"),
        kind: source.text("kind"),
        waits_for: source.text("waitsFor"),
        item_contains: source.text("itemContains"),
        currency: source.text("currency"),
        total_from: source.amount("totalFrom"),
        total_to: source.amount("totalTo"),
        created_from: source.time("createdFrom"),
        created_before: source.time("createdBefore"),
        metadata: source.metadata(),
    };
    raw_filter.check(sort, default_currency).unwrap_or_else(|problems| {
        problems.into_iter().for_each(|problem| source.add(problem.name, problem.message));
        Filter::default()
    })
}

impl Source for Query<'_> {
    fn text(&mut self, name: &'static str) -> Option<String> {
        self.one(name)
    }

    fn amount(&mut self, name: &'static str) -> Option<String> {
        self.one(name)
    }

    fn time(&mut self, name: &'static str) -> Option<Timestamp> {
        // An unescaped `+` of an offset arrives as a space, which no valid time contains.
        let text = self.one(name)?.replace(' ', "+");
        match text.parse() {
            Ok(time) => Some(time),
            Err(error) => {
                let error: domain::InvalidTimestamp = error;
                Self::add(self, name, format!("is {error}"));
                None
            }
        }
    }

    fn metadata(&mut self) -> Vec<(String, String)> {
        self.with_prefix(METADATA)
    }

    fn add(&mut self, name: &'static str, message: String) {
        Self::add(self, name, message);
    }
}

/// An object in a JSON body.
struct Body<'a> {
    decoder: &'a mut Decoder,
    at: String,
    fields: Object<'a>,
}

impl Source for Body<'_> {
    fn text(&mut self, name: &'static str) -> Option<String> {
        self.fields.get(name).and_then(|(at, value)| self.decoder.text(&at, value))
    }

    fn amount(&mut self, name: &'static str) -> Option<String> {
        self.fields.get(name).and_then(|(at, value)| self.decoder.decimal(&at, value))
    }

    fn time(&mut self, name: &'static str) -> Option<Timestamp> {
        self.fields.get(name).and_then(|(at, value)| self.decoder.parsed(&at, value))
    }

    fn metadata(&mut self) -> Vec<(String, String)> {
        let found = self.fields.get("metadata").and_then(|(at, value)| self.decoder.strings(&at, value));
        let entries = found.unwrap_or_default().into_iter();
        entries.filter_map(|(key, value)| Some((key, value?))).collect()
    }

    fn add(&mut self, name: &'static str, message: String) {
        self.decoder.note(format!("{}/{name}", self.at), message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schema_has_every_field_of_a_filter() {
        let schema = serde_json::to_value(<FilterParams as utoipa::PartialSchema>::schema()).unwrap();
        let mut described: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
        let mut fields = FILTER_FIELDS.to_vec();
        described.sort();
        fields.sort_unstable();
        assert_eq!(described, fields);
        let parameters = FilterParams::into_params(|| None);
        let names: Vec<&str> = parameters.iter().map(|parameter| parameter.name.as_str()).collect();
        assert_eq!(names, FILTER_FIELDS);
    }
}
