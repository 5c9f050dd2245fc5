//! The bodies of requests about webhook endpoints.

use std::time::Duration;

use domain::{ErrorCode, EventType, Timestamp};
use gateway_http::json::{self, Decoder, Object};
use gateway_http::problem::{InputError, Problem};
use gateway_webhooks::{
    EndpointChanges, EndpointInput, InvalidInput, MAX_OVERLAP, NewEndpoint, OVERLAP, RecoveryRange,
    RotateSecret, Secret, Webhooks,
};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::schema;
use super::webhook_views::{FormatWord, PayloadWord};

const HOUR: Duration = Duration::from_secs(60 * 60);
/// The members of an endpoint that can be changed.
const SETTINGS: [&str; 9] = [
    "url",
    "description",
    "types",
    "customer",
    "currency",
    "payload",
    "format",
    "ratePerSecond",
    "concurrency",
];
const NEW: [&str; 10] = [
    "url",
    "description",
    "types",
    "customer",
    "currency",
    "payload",
    "format",
    "ratePerSecond",
    "concurrency",
    "secret",
];

/// The schema of a type of messages.
struct TypeWord;

impl PartialSchema for TypeWord {
    fn schema() -> RefOr<Schema> {
        let events = EventType::ALL.into_iter().map(EventType::as_str);
        let words: Vec<&str> = events.chain(["order.*", "webhook.*"]).collect();
        schema::of(serde_json::json!({"type": "string", "enum": words}))
    }
}

impl ToSchema for TypeWord {}

fn currency() -> RefOr<Schema> {
    schema::or_null("Currency", "Only events of orders in this currency. Null is every currency.")
}

/// A webhook endpoint to create.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({
    "url": "https://shop.example.com/hooks/orders", "types": ["order.completed", "order.failed"]
}))]
#[expect(dead_code, reason = "`new_endpoint` decodes the members")]
pub(super) struct CreateWebhookEndpoint {
    /// Where messages are sent: an `https` URL of at most 2,000 bytes.
    #[schema(max_length = 2000, pattern = "^https?://")]
    url: String,
    /// A note: at most 200 characters.
    #[schema(
        max_length = 200,
        pattern = "^([^\\u0000-\\u001F\\u007F-\\u009F]*[^\\s\\u0000-\\u001F\\u007F-\\u009F][^\\u0000-\\u001F\\u007F-\\u009F]*)?$"
    )]
    description: Option<String>,
    /// Types of events such as `order.completed`; `order.*` is every event, and `webhook.*` are notices about the other
    /// endpoints of the tenant. Default: every event.
    #[schema(value_type = Option<Vec<TypeWord>>, inline)]
    types: Option<Vec<String>>,
    /// Only events of orders of this customer: 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200)]
    customer: Option<String>,
    /// Only events of orders in this currency.
    #[schema(schema_with = currency, required = false)]
    currency: Option<String>,
    /// What a body contains. Default: `full`.
    #[schema(value_type = Option<PayloadWord>, inline)]
    payload: Option<String>,
    /// The form of a body. Default: `standard`.
    #[schema(value_type = Option<FormatWord>, inline)]
    format: Option<String>,
    /// Maximum number of requests in a second: 1 to 10,000. Default: none.
    #[schema(minimum = 1, maximum = 10000)]
    rate_per_second: Option<u32>,
    /// Maximum number of requests at once: 1 to 32. Default: 8.
    #[schema(minimum = 1, maximum = 32)]
    concurrency: Option<u32>,
    /// The secret: `whsec_` and 24 to 64 bytes in base64. Default: a random one.
    #[schema(pattern = "^whsec_[A-Za-z0-9+/]+={0,2}$", max_length = 94)]
    secret: Option<String>,
}

/// Changes of a webhook endpoint. An absent member stays.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"types": ["order.*"], "ratePerSecond": null}))]
#[expect(dead_code, reason = "`changes` decodes the members")]
pub(super) struct UpdateWebhookEndpoint {
    /// Where messages are sent: an `https` URL of at most 2,000 bytes.
    #[schema(max_length = 2000, pattern = "^https?://")]
    url: Option<String>,
    /// A note: at most 200 characters.
    #[schema(
        max_length = 200,
        pattern = "^([^\\u0000-\\u001F\\u007F-\\u009F]*[^\\s\\u0000-\\u001F\\u007F-\\u009F][^\\u0000-\\u001F\\u007F-\\u009F]*)?$"
    )]
    description: Option<String>,
    /// Types of events, as in a new endpoint.
    #[schema(value_type = Option<Vec<TypeWord>>, inline)]
    types: Option<Vec<String>>,
    /// Only events of orders of this customer: 1 to 200 characters. Null removes the filter.
    #[schema(min_length = 1, max_length = 200)]
    customer: Option<String>,
    /// Only events of orders in this currency. Null removes the filter.
    #[schema(schema_with = currency, required = false)]
    currency: Option<String>,
    /// What a body contains.
    #[schema(value_type = Option<PayloadWord>, inline)]
    payload: Option<String>,
    /// The form of a body.
    #[schema(value_type = Option<FormatWord>, inline)]
    format: Option<String>,
    /// Maximum number of requests in a second: 1 to 10,000. Null removes the limit.
    #[schema(minimum = 1, maximum = 10000)]
    rate_per_second: Option<u32>,
    /// Maximum number of requests at once: 1 to 32.
    #[schema(minimum = 1, maximum = 32)]
    concurrency: Option<u32>,
}

/// Options of a rotation; optional.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"overlapHours": 24}))]
#[expect(dead_code, reason = "`rotation` decodes the members")]
pub(super) struct RotateWebhookSecret {
    /// The new secret: `whsec_` and 24 to 64 bytes in base64. Default: a random one.
    #[schema(pattern = "^whsec_[A-Za-z0-9+/]+={0,2}$", max_length = 94)]
    secret: Option<String>,
    /// Time in hours for which the old secret signs as well: 0 to 720. Default: 24.
    #[schema(minimum = 0, maximum = 720)]
    overlap_hours: Option<u32>,
}

/// An event to send again.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"eventId": "01890a5d-ac96-774b-bcce-b302099a8057-3"}))]
#[expect(dead_code, reason = "`event_id` decodes the member")]
pub(super) struct ResendEvent {
    /// The id of the event: that of its order, a hyphen and its sequence.
    event_id: String,
}

/// The range of events to deliver again.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase", example = json!({"since": "2026-01-31T12:00:00Z", "dryRun": true}))]
#[expect(dead_code, reason = "`range` decodes the members")]
pub(super) struct RecoverEvents {
    /// The time of the first event.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// The time before which the last event is. Default: now.
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// True to count the events only. Default: false.
    dry_run: Option<bool>,
}

/// Decodes and checks a new endpoint.
pub(super) fn new_endpoint(body: &[u8], webhooks: &Webhooks) -> Result<NewEndpoint, Problem> {
    endpoint(body, &NEW, |input| webhooks.check_new(input))
}

/// Decodes and checks the changes of an endpoint.
pub(super) fn changes(body: &[u8], webhooks: &Webhooks) -> Result<EndpointChanges, Problem> {
    endpoint(body, &SETTINGS, |input| webhooks.check_changes(input))
}

/// Decodes an endpoint, and returns every error of the body and of its values.
fn endpoint<T>(
    body: &[u8],
    known: &'static [&'static str],
    check: impl Fn(EndpointInput) -> Result<T, Vec<InvalidInput>>,
) -> Result<T, Problem> {
    let document = json::document(body)?;
    let mut decoder = Decoder::default();
    let Some(fields) = decoder.object("", document, known) else {
        return Err(decoder.finish().err().unwrap_or_else(Problem::internal));
    };
    let mut text = |name: &str| fields.get(name).and_then(|(at, value)| decoder.text(&at, value));
    let (url, description) = (text("url"), text("description"));
    let (customer, currency) = (text("customer"), text("currency"));
    let (payload, format, secret) = (text("payload"), text("format"), text("secret"));
    let types = fields.get("types").and_then(|(at, value)| {
        let words = decoder.array(&at, value)?;
        words.into_iter().map(|word| decoder.text(&at, word)).collect::<Option<Vec<_>>>()
    });
    let mut whole = |name: &str| fields.get(name).and_then(|(at, value)| decoder.whole(&at, value));
    let (rate, concurrency) = (whole("ratePerSecond"), whole("concurrency"));
    let input = EndpointInput {
        url,
        description,
        types,
        customer: removable(&fields, "customer", customer),
        currency: removable(&fields, "currency", currency),
        payload,
        format,
        rate_per_s: removable(&fields, "ratePerSecond", rate),
        concurrency,
        secret,
    };
    let errors = decoder.into_errors();
    match check(input) {
        Ok(checked) if errors.is_empty() => Ok(checked),
        checked => Err(problem(errors, checked.err().unwrap_or_default())),
    }
}

/// Returns a value that null removes.
fn removable<T>(fields: &Object<'_>, name: &str, value: Option<T>) -> Option<Option<T>> {
    if fields.is_null(name) { Some(None) } else { value.map(Some) }
}

/// Returns the problem with the errors of the body and those of its values.
fn problem(mut errors: Vec<InputError>, invalid: Vec<InvalidInput>) -> Problem {
    let first = invalid.first().map(|invalid| invalid.code).filter(|_| errors.is_empty());
    let code = first.filter(|first| invalid.iter().all(|invalid| invalid.code == *first));
    for InvalidInput { field, message, .. } in invalid {
        let pointer = format!("/{field}");
        // A member of the wrong type is reported once.
        if !errors.iter().any(|error| error.pointer.as_deref() == Some(&pointer)) {
            errors.push(InputError::field(pointer, message));
        }
    }
    Problem::input(code.unwrap_or(ErrorCode::InvalidInput), errors)
}

/// Decodes the options of a rotation.
pub(super) fn rotation(body: &[u8]) -> Result<RotateSecret, Problem> {
    let document = json::document(body)?;
    let mut decoder = Decoder::default();
    let Some(fields) = decoder.object("", document, &["secret", "overlapHours"]) else {
        return Err(decoder.finish().err().unwrap_or_else(Problem::internal));
    };
    let secret = fields.get("secret").and_then(|(at, value)| {
        let secret = decoder.text(&at, value)?;
        if let Err(error) = secret.parse::<Secret>() {
            decoder.note(&at, error.to_string());
        }
        Some(secret)
    });
    let max = u32::try_from(MAX_OVERLAP.as_secs() / HOUR.as_secs()).unwrap_or(u32::MAX);
    let hours = fields.get("overlapHours").and_then(|(at, value)| {
        let hours = u32::try_from(decoder.whole(&at, value)?).ok().filter(|hours| *hours <= max);
        if hours.is_none() {
            decoder.note(&at, format!("must be a whole number from 0 to {max}"));
        }
        hours
    });
    decoder.finish()?;
    Ok(RotateSecret { secret, overlap: hours.map_or(OVERLAP, |hours| HOUR * hours) })
}

/// Decodes the event to send again.
pub(super) fn event_id(body: &[u8]) -> Result<String, Problem> {
    let document = json::document(body)?;
    let mut decoder = Decoder::default();
    let fields = decoder.object("", document, &["eventId"]);
    let given = fields.as_ref().and_then(|fields| fields.get("eventId"));
    if fields.is_some() && given.is_none() {
        decoder.note("/eventId", "is required");
    }
    let id = given.and_then(|(at, value)| decoder.text(&at, value));
    decoder.finish()?;
    Ok(id.unwrap_or_default())
}

/// Decodes a range, and whether it is only counted.
pub(super) fn range(body: &[u8]) -> Result<(RecoveryRange, bool), Problem> {
    let document = json::document(body)?;
    let mut decoder = Decoder::default();
    let Some(fields) = decoder.object("", document, &["since", "until", "dryRun"]) else {
        return Err(decoder.finish().err().unwrap_or_else(Problem::internal));
    };
    let mut time = |name: &str| -> Option<Timestamp> {
        fields.get(name).and_then(|(at, value)| decoder.parsed(&at, value))
    };
    let (since, until) = (time("since"), time("until"));
    if fields.get("since").is_none() {
        decoder.note("/since", "is required");
    }
    let dry_run = fields.get("dryRun").and_then(|(at, value)| decoder.boolean(&at, value));
    decoder.finish()?;
    Ok((RecoveryRange { since: since.unwrap_or_default(), until }, dry_run.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_has_an_overlap() {
        assert_eq!(rotation(b"{}").unwrap().overlap, OVERLAP);
        assert_eq!(rotation(br#"{"overlapHours": 0}"#).unwrap().overlap, Duration::ZERO);
        assert_eq!(rotation(br#"{"overlapHours": 720}"#).unwrap().overlap, MAX_OVERLAP);
        for body in [r#"{"overlapHours": 721}"#, r#"{"overlapHours": -1}"#, r#"{"secret": "x"}"#, "[]"] {
            assert_eq!(rotation(body.as_bytes()).unwrap_err().code(), ErrorCode::InvalidInput, "{body}");
        }
        let both = rotation(br#"{"overlapHours": 721, "secret": "x"}"#).unwrap_err();
        let both = serde_json::to_value(&both).unwrap();
        assert_eq!(both["errors"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn a_range_has_a_beginning() {
        let (read, dry_run) = range(br#"{"since": "2026-01-31T12:00:00Z"}"#).unwrap();
        assert_eq!((read.since.to_string().as_str(), read.until), ("2026-01-31T12:00:00.000000Z", None));
        assert!(!dry_run);
        assert!(range(br#"{"since": "2026-01-31T12:00:00Z", "dryRun": true}"#).unwrap().1);
        for body in ["{}", r#"{"since": "2h"}"#, r#"{"since": "2026-01-31T12:00:00Z", "until": 5}"#] {
            assert_eq!(range(body.as_bytes()).unwrap_err().code(), ErrorCode::InvalidInput, "{body}");
        }
        assert_eq!(event_id(br#"{"eventId": "x"}"#).unwrap(), "x");
        for body in ["{}", "[]", r#"{"eventId": 5}"#] {
            assert_eq!(event_id(body.as_bytes()).unwrap_err().code(), ErrorCode::InvalidInput, "{body}");
        }
    }
}
