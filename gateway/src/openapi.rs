//! Generates the OpenAPI document from the handlers.

use axum::routing::get;
use axum::{Json, Router};
use utoipa::openapi::schema::{AdditionalProperties, KnownFormat, SchemaFormat, SchemaType, Type};
use utoipa::openapi::{OpenApi, RefOr, Schema};

use crate::Config;
use crate::health::{self, HealthState};
use crate::session;
use gateway_rest::{RestState, schema};

/// The parts of the document that are not generated from routes.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Orders",
        description = "Order processing with live status.\n\n\
            Amounts are exact: they are JSON numbers with all decimals of their currency and go through no float.\n\n\
            Errors are `application/problem+json` (RFC 9457) with a stable `code`; `/problems` explains each. \
            Any request may be refused with 400 `malformed_request`, 401 `unauthenticated` or `token_expired`, \
            403 `forbidden` or `origin_not_allowed`, 414 `uri_too_long`, \
            421 `host_not_allowed`, 429 `too_many_connections`, 431 `head_too_large` or 503 `overloaded`. \
            Every answer has an `X-Request-Id`; one that is sent along is kept.",
        license(name = "MIT", identifier = "MIT"),
    ),
    servers((url = "/", description = "The gateway that serves this document.")),
    tags(
        (name = "orders", description = "Create, read, watch, cancel and redrive orders."),
        (name = "events", description = "Read the events of all orders."),
        (name = "dead letters", description = "List and redrive failed orders."),
        (name = "webhooks", description = "Endpoints that receive the events as signed requests."),
        (name = "queue", description = "Pause and resume processing."),
        (name = "tracking", description = "Links for customers to their orders."),
        (name = "access", description = "Sessions of browsers, API keys and the audit log."),
        (name = "operations", description = "Endpoints for orchestrators and monitoring."),
    )
)]
struct Document;

/// The documented routes and their document.
pub(crate) struct Documented {
    pub(crate) rest: Router<RestState>,
    /// The endpoints for the holders of tracking links.
    pub(crate) tracking: Router<RestState>,
    /// The public endpoints of orchestrators.
    pub(crate) probes: Router<HealthState>,
    pub(crate) metrics: Router<HealthState>,
    /// The sessions of browsers.
    pub(crate) sessions: Router<HealthState>,
    pub(crate) document: OpenApi,
}

/// Returns every documented route.
pub(crate) fn documented(config: &Config) -> Documented {
    let (rest, of_rest) = gateway_rest::routes(config.response_timeout()).split_for_parts();
    let (tracking, of_tracking) = gateway_rest::tracking_routes(config.response_timeout()).split_for_parts();
    let (probes, of_probes) = health::probes().split_for_parts();
    let (metrics, of_metrics) = health::metrics_route().split_for_parts();
    let (sessions, of_sessions) = session::routes().split_for_parts();
    let mut document = <Document as utoipa::OpenApi>::openapi();
    document.merge(of_rest);
    document.merge(of_tracking);
    document.merge(of_probes);
    document.merge(of_metrics);
    document.merge(of_sessions);
    Documented { rest, tracking, probes, metrics, sessions, document: complete(document) }
}

/// Returns the document.
pub fn openapi() -> OpenApi {
    documented(&Config::default()).document
}

/// The schemas of request bodies, which have no additional properties.
const REQUESTS: [&str; 16] = [
    "BeginSession",
    "CancelFilter",
    "CancelOrders",
    "Command",
    "CreateKey",
    "CreateTrackingLink",
    "CreateWebhookEndpoint",
    "DeadLetterFilter",
    "PauseQueue",
    "RecoverEvents",
    "RedriveCommand",
    "RedriveDeadLetters",
    "ResendEvent",
    "RotateKey",
    "RotateWebhookSecret",
    "UpdateWebhookEndpoint",
];

/// Adds what the attributes of handlers and types cannot express.
fn complete(mut document: OpenApi) -> OpenApi {
    let schemas = document.components.iter_mut().flat_map(|components| &mut components.schemas);
    for (_, schema) in schemas.filter(|(name, _)| REQUESTS.contains(&name.as_str())) {
        if let RefOr::T(Schema::Object(object)) = schema {
            object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
            object.properties.values_mut().for_each(pattern);
        }
    }
    // Viewers show summaries as plain text.
    let paths = document.paths.paths.values_mut();
    let operations =
        paths.flat_map(|path| [&mut path.get, &mut path.post, &mut path.patch, &mut path.delete]).flatten();
    for operation in operations {
        operation.summary = operation.summary.take().map(|summary| summary.replace('`', ""));
    }
    let paths = document.paths.paths.values_mut();
    let operations = paths.flat_map(|path| [&mut path.get, &mut path.post]).flatten();
    for parameter in operations.flat_map(|operation| operation.parameters.iter_mut().flatten()) {
        let RefOr::T(parameter) = parameter else { continue };
        if let Some(schema) = &mut parameter.schema {
            pattern(schema);
        }
        // A header is absent or a string, never null.
        match &mut parameter.schema {
            Some(RefOr::T(Schema::Object(object))) => {
                if let SchemaType::Array(types) = &object.schema_type
                    && let [kind, Type::Null] = &types[..]
                {
                    object.schema_type = SchemaType::Type(kind.clone());
                }
            }
            Some(RefOr::T(Schema::OneOf(choice))) => choice.items.retain(|item| !is_null(item)),
            _ => {}
        }
    }
    document
}

/// `/openapi.json`. The page at `/docs` shows it.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>(document: OpenApi) -> Router<S> {
    Router::new().route("/openapi.json", get(|| async { Json(document) }))
}

fn is_null(schema: &RefOr<Schema>) -> bool {
    matches!(schema, RefOr::T(Schema::Object(object)) if object.schema_type == SchemaType::Type(Type::Null))
}

/// Adds the pattern of a field of a request.
///
/// A string with a maximum length is checked by `domain::strings`, and times have a range of years.
fn pattern(schema: &mut RefOr<Schema>) {
    let RefOr::T(Schema::Object(object)) = schema else { return };
    if object.pattern.is_some() {
        return;
    }
    if object.max_length.is_some() {
        object.pattern = Some(schema::TEXT.to_owned());
    } else if object.format == Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)) {
        object.pattern = Some(schema::TIME.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn document() -> Value {
        serde_json::from_str(&openapi().to_json().unwrap()).unwrap()
    }

    #[test]
    fn document_has_every_route() {
        let document = document();
        let paths = document["paths"].as_object().unwrap();
        let mut found: Vec<String> = paths
            .iter()
            .flat_map(|(path, methods)| {
                methods.as_object().unwrap().keys().map(move |method| format!("{method} {path}"))
            })
            .collect();
        found.sort();
        assert_eq!(
            found,
            [
                "delete /api-keys/{id}",
                "delete /session",
                "delete /webhooks/{id}",
                "delete /webhooks/{id}/recover",
                "get /api-keys",
                "get /audit-log",
                "get /dead-letters",
                "get /dead-letters/groups",
                "get /events",
                "get /health",
                "get /healthz",
                "get /livez",
                "get /metrics",
                "get /orders",
                "get /orders/by-reference/{reference}",
                "get /orders/export",
                "get /orders/{id}",
                "get /orders/{id}/events",
                "get /orders/{id}/metadata",
                "get /orders/{id}/notes",
                "get /queue",
                "get /readyz",
                "get /session",
                "get /stats",
                "get /system",
                "get /track/{id}/events",
                "get /track/{id}/order",
                "get /webhooks",
                "get /webhooks/{id}",
                "get /webhooks/{id}/attempts",
                "get /webhooks/{id}/messages",
                "get /workers",
                "get /workers/{name}",
                "patch /orders/{id}/metadata",
                "patch /webhooks/{id}",
                "post /api-keys",
                "post /api-keys/{id}/rotate",
                "post /dead-letters/redrive",
                "post /orders",
                "post /orders/bulk",
                "post /orders/cancel",
                "post /orders/{id}/cancel",
                "post /orders/{id}/notes",
                "post /orders/{id}/redrive",
                "post /orders/{id}/replace",
                "post /orders/{id}/tracking-links",
                "post /queue/pause",
                "post /queue/resume",
                "post /session",
                "post /tracking-links/revoke",
                "post /webhooks",
                "post /webhooks/{id}/disable",
                "post /webhooks/{id}/enable",
                "post /webhooks/{id}/recover",
                "post /webhooks/{id}/resend",
                "post /webhooks/{id}/rotate-secret",
                "post /webhooks/{id}/test",
            ]
        );
    }

    /// Clients are generated from the document, which therefore must be complete.
    #[test]
    fn every_field_is_described_and_every_reference_has_a_target() {
        let document = document();
        let mut bare = Vec::new();
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            let Some(properties) = schema["properties"].as_object() else { continue };
            for (field, property) in properties {
                let described = property.get("description").is_some() || property.get("$ref").is_some();
                if !described {
                    bare.push(format!("{name}.{field}"));
                }
            }
        }
        assert!(bare.is_empty(), "without a description: {bare:?}");
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer} leads nowhere");
        }
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                assert!(operation["summary"].is_string(), "{method} {path} has no summary");
                assert!(operation["operationId"].is_string(), "{method} {path} has no operationId");
            }
        }
    }

    /// Generators make a field with a default required. Strict clients reject extra fields of a response.
    #[test]
    fn requests_are_closed_and_have_no_defaults() {
        let document = document();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let requests = REQUESTS.into_iter().chain(["NewSingleItemOrder", "NewLineItemsOrder", "NewLineItem"]);
        for name in requests {
            assert_eq!(schemas[name]["additionalProperties"], false, "{name}");
            assert!(!schemas[name].to_string().contains("\"default\""), "{name}");
        }
        assert!(!document["paths"].to_string().contains("\"default\":"));
        assert_eq!(document["servers"][0]["url"], "/");
    }

    #[test]
    fn amounts_are_numbers_and_ids_are_uuids() {
        let document = document();
        let schemas = &document["components"]["schemas"];
        assert_eq!(schemas["Amount"]["type"], "number");
        assert_eq!(schemas["AmountInput"]["oneOf"].as_array().unwrap().len(), 2);
        assert_eq!(schemas["Order"]["properties"]["id"]["format"], "uuid");
        for (form, required) in [("NewSingleItemOrder", 3), ("NewLineItemsOrder", 1)] {
            let new = &schemas[form];
            assert!(new["properties"]["externalReference"].is_object());
            assert_eq!(new["required"].as_array().unwrap().len(), required);
        }
        let events = document["paths"]["/orders/{id}/events"]["get"]["parameters"].as_array().unwrap();
        let header = events.iter().find(|parameter| parameter["name"] == "Last-Event-ID").unwrap();
        assert!(!header["schema"].to_string().contains("null"), "{header}");
    }
}
