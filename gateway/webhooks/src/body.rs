//! The bodies of messages.
//!
//! A full body in the standard form has the bytes of the event in `GET /events`.

use bytes::Bytes;
use domain::{EndpointId, Timestamp, TraceContext, WebhookFormat, WebhookPayload};
use gateway_service::event_log::LogEvent;
use gateway_store::WebhookEndpoint;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

/// The media type of the standard form.
const JSON: &str = "application/json";
/// The media type of CloudEvents.
const CLOUD_EVENTS: &str = "application/cloudevents+json";

/// A message as it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// The id, the same for every attempt.
    pub(crate) id: String,
    /// The type.
    pub(crate) kind: String,
    /// The body.
    pub(crate) body: Bytes,
    /// Its media type.
    pub(crate) content_type: &'static str,
    /// The request that created the order of an event, if its trace is recorded.
    pub(crate) trace: Option<TraceContext>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Thin {
    order_id: String,
    sequence: u32,
}

/// A message of CloudEvents 1.0 in structured mode.
#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: &'a str,
    source: String,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    time: Timestamp,
    /// The distributed tracing extension of CloudEvents.
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<TraceContext>,
    datacontenttype: &'static str,
    data: &'a RawValue,
}

/// Returns the message of an event for an endpoint.
pub(crate) fn event(endpoint: &WebhookEndpoint, event: &LogEvent) -> Message {
    let settings = &endpoint.settings;
    let thin = match settings.payload {
        WebhookPayload::Full => None,
        WebhookPayload::Thin => {
            Some(to_json(&Thin { order_id: event.order_id.to_string(), sequence: event.sequence }))
        }
    };
    let data = thin.as_deref().unwrap_or_else(|| event.data());
    let kind = event.kind.as_str();
    let body = match settings.format {
        WebhookFormat::Standard if thin.is_none() => event.json.clone(),
        WebhookFormat::Standard => standard(&event.id, kind, event.occurred_at, data),
        WebhookFormat::CloudEvents => {
            let subject = Some(event.order_id.to_string());
            cloud_event(endpoint, (&event.id, kind, event.occurred_at), subject, event.trace, data)
        }
    };
    Message { trace: event.trace, ..message(endpoint, event.id.clone(), kind, body) }
}

/// Returns a message that only shows that the endpoint works.
pub(crate) fn ping(endpoint: &WebhookEndpoint, id: String, now: Timestamp) -> Message {
    let data = json!({ "endpointId": endpoint.id.to_string() }).to_string();
    with_data(endpoint, id, "webhook.ping", now, &data)
}

/// Returns the message of a notice, whose stored body is in the standard form.
pub(crate) fn notice(endpoint: &WebhookEndpoint, id: String, stored: &str) -> Message {
    #[derive(serde::Deserialize)]
    struct Stored<'a> {
        #[serde(rename = "type")]
        kind: String,
        timestamp: Timestamp,
        #[serde(borrow)]
        data: &'a RawValue,
    }
    match serde_json::from_str::<Stored<'_>>(stored) {
        Ok(Stored { kind, timestamp, data }) => with_data(endpoint, id, &kind, timestamp, data.get()),
        // It was written by this program; send it as it is.
        Err(_) => message(endpoint, id, "webhook.failing", stored.to_owned()),
    }
}

/// Returns the stored body of a notice about an endpoint.
pub(crate) fn stored_notice(
    id: &str,
    kind: &str,
    now: Timestamp,
    about: EndpointId,
    failing_since: Timestamp,
    reason: &str,
) -> String {
    let data = json!({
        "endpointId": about.to_string(),
        "failingSince": failing_since.to_string(),
        "reason": reason,
    });
    standard(id, kind, now, &data.to_string())
}

fn with_data(endpoint: &WebhookEndpoint, id: String, kind: &str, time: Timestamp, data: &str) -> Message {
    let body = match endpoint.settings.format {
        WebhookFormat::Standard => standard(&id, kind, time, data),
        WebhookFormat::CloudEvents => cloud_event(endpoint, (&id, kind, time), None, None, data),
    };
    message(endpoint, id, kind, body)
}

fn message(endpoint: &WebhookEndpoint, id: String, kind: &str, body: String) -> Message {
    let content_type = match endpoint.settings.format {
        WebhookFormat::Standard => JSON,
        WebhookFormat::CloudEvents => CLOUD_EVENTS,
    };
    Message { id, kind: kind.to_owned(), body: body.into(), content_type, trace: None }
}

/// The values are ids, types and times, which need no escapes.
fn standard(id: &str, kind: &str, time: Timestamp, data: &str) -> String {
    format!(r#"{{"id":"{id}","type":"{kind}","timestamp":"{time}","data":{data}}}"#)
}

fn cloud_event(
    endpoint: &WebhookEndpoint,
    (id, kind, time): (&str, &str, Timestamp),
    subject: Option<String>,
    traceparent: Option<TraceContext>,
    data: &str,
) -> String {
    let Ok(data) = serde_json::from_str(data) else { return String::new() };
    let source = format!("/tenants/{}/orders", endpoint.tenant);
    let event = CloudEvent {
        specversion: "1.0",
        id,
        source,
        kind,
        subject,
        time,
        traceparent,
        datacontenttype: JSON,
        data,
    };
    to_json(&event)
}

fn to_json(value: &impl Serialize) -> String {
    // A struct of strings and numbers can always be serialised.
    serde_json::to_string(value).unwrap_or_default()
}
