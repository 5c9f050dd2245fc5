//! The OpenAPI document, made from the handlers themselves, and the page that shows it.

use axum::Router;
use http::{HeaderValue, header};
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use crate::{App, Config};

/// What the document says besides the routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Orders",
        description = "Accepts orders, has them processed, and shows live what becomes of them.\n\n\
            Amounts are exact: they are JSON numbers with all decimals of their currency and go through no float.\n\n\
            Errors are `application/problem+json` (RFC 9457) with a stable `code`; `/problems` explains each. \
            Any request may be refused with 403 `origin_not_allowed`, 414 `uri_too_long`, 429 `too_many_connections` or \
            431 `head_too_large`. \
            Every answer has an `X-Request-Id`; one that is sent along is kept.",
        license(name = "MIT", identifier = "MIT"),
    ),
    tags(
        (name = "orders", description = "Create, read, watch, cancel and redrive orders."),
        (name = "dead letters", description = "Orders that failed for good: find them, redrive them."),
        (name = "queue", description = "Pause and resume processing."),
        (name = "operations", description = "For orchestrators and monitoring."),
    )
)]
struct Document;

/// Every documented route.
pub(super) fn documented(config: &Config) -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(super::rest::routes(config))
        .merge(super::health::routes())
}

/// The document.
pub fn openapi() -> utoipa::openapi::OpenApi {
    documented(&Config::default()).into_openapi()
}

/// `/openapi.json` and the page at `/docs`, whose files are all in the program.
pub(super) fn routes(document: utoipa::openapi::OpenApi) -> Router<App> {
    // Without a word the page would send the document to an online validator.
    let config = utoipa_swagger_ui::Config::default().validator_url("none").try_it_out_enabled(true);
    let page = SwaggerUi::new("/docs").url("/openapi.json", document).config(config);
    let policy = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                  base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    Router::from(page).layer(SetResponseHeaderLayer::overriding(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(policy),
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn document() -> Value {
        serde_json::from_str(&openapi().to_json().unwrap()).unwrap()
    }

    #[test]
    fn every_route_is_in_it() {
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
                "get /dead-letters",
                "get /healthz",
                "get /livez",
                "get /metrics",
                "get /orders",
                "get /orders/{id}",
                "get /orders/{id}/events",
                "get /queue",
                "get /readyz",
                "post /dead-letters/redrive",
                "post /orders",
                "post /orders/bulk",
                "post /orders/{id}/cancel",
                "post /orders/{id}/redrive",
                "post /queue/pause",
                "post /queue/resume",
            ]
        );
    }

    /// Clients are generated from this: nothing may be nameless or point nowhere.
    #[test]
    fn every_field_is_described_and_every_reference_leads_somewhere() {
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

    #[test]
    fn amounts_are_numbers_and_ids_are_uuids() {
        let document = document();
        let schemas = &document["components"]["schemas"];
        assert_eq!(schemas["Amount"]["type"], "number");
        assert_eq!(schemas["Order"]["properties"]["id"]["format"], "uuid");
        let new = schemas["NewOrder"]["properties"].as_object().unwrap();
        assert!(new.contains_key("lineItems") && new.contains_key("externalReference"));
    }
}
