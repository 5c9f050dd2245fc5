//! Each route, GraphQL field and gRPC call with each kind of credential: none, expired, revoked, without the scope, of
//! another tenant, and the right one.
//!
//! The routes come from the OpenAPI document, the fields from the schema and the calls from the descriptors, so that a new
//! one without a row here fails.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::{ErrorCode, Limits, Principal, Scope, Scopes, TenantId};
use gateway::Config;
use gateway::access::{self, IssuedKey, KeyRequest, NewKeyTenant};
use gateway::store::KeyActor;
use gateway::webhooks::SecretKeys;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use proto::v1;
use proto::v1::events_client::EventsClient;
use proto::v1::order_service_client::OrderServiceClient;
use proto::v1::worker_service_client::WorkerServiceClient;
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::harness::{Backend, Gateway, On, eventually};

/// The routes that need no scope. `/readyz?verbose` needs one, and those of tracking links need a link.
const PUBLIC: [&str; 6] =
    ["/livez", "/healthz", "/readyz", "/session", "/track/{id}/order", "/track/{id}/events"];

/// Method, path and scope of each route, and a body that its handler accepts.
const ROUTES: &[(&str, &str, Scope, &str)] = &[
    ("get", "/orders", Scope::OrdersRead, ""),
    ("post", "/orders", Scope::OrdersWrite, r#"{"item": "Tea", "quantity": 1, "price": 1}"#),
    ("post", "/orders/bulk", Scope::OrdersWrite, r#"[{"item": "Tea", "quantity": 1, "price": 1}]"#),
    ("get", "/orders/export", Scope::OrdersRead, ""),
    ("get", "/orders/{id}", Scope::OrdersRead, ""),
    ("get", "/orders/by-reference/{reference}", Scope::OrdersRead, ""),
    ("get", "/orders/{id}/events", Scope::OrdersRead, ""),
    ("get", "/events", Scope::EventsRead, ""),
    ("post", "/orders/cancel", Scope::OrdersWrite, r#"{"filter": {}, "dryRun": true}"#),
    ("post", "/orders/{id}/cancel", Scope::OrdersWrite, "{}"),
    ("get", "/orders/{id}/metadata", Scope::OrdersRead, ""),
    ("patch", "/orders/{id}/metadata", Scope::OrdersWrite, "{}"),
    ("get", "/orders/{id}/notes", Scope::OrdersRead, ""),
    ("post", "/orders/{id}/notes", Scope::OrdersWrite, r#"{"text": "x"}"#),
    ("post", "/orders/{id}/replace", Scope::OrdersWrite, r#"{"item": "Tea", "quantity": 1, "price": 1}"#),
    ("post", "/orders/{id}/redrive", Scope::OrdersManage, "{}"),
    ("post", "/orders/{id}/tracking-links", Scope::OrdersWrite, "{}"),
    ("post", "/tracking-links/revoke", Scope::OrdersManage, ""),
    ("get", "/dead-letters", Scope::OrdersRead, ""),
    ("get", "/dead-letters/groups", Scope::OrdersRead, ""),
    ("post", "/dead-letters/redrive", Scope::OrdersManage, r#"{"filter": {}}"#),
    ("get", "/queue", Scope::OrdersRead, ""),
    ("get", "/stats", Scope::OrdersRead, ""),
    ("get", "/workers", Scope::MetricsRead, ""),
    ("get", "/workers/{name}", Scope::MetricsRead, ""),
    ("get", "/health", Scope::MetricsRead, ""),
    ("get", "/system", Scope::MetricsRead, ""),
    ("post", "/queue/pause", Scope::Admin, "{}"),
    ("post", "/queue/resume", Scope::Admin, ""),
    ("get", "/metrics", Scope::MetricsRead, ""),
    ("get", "/api-keys", Scope::KeysManage, ""),
    ("post", "/api-keys", Scope::KeysManage, r#"{"name": "x", "scopes": ["keys:manage"]}"#),
    ("post", "/api-keys/{id}/rotate", Scope::KeysManage, "{}"),
    ("delete", "/api-keys/{id}", Scope::KeysManage, ""),
    ("get", "/audit-log", Scope::KeysManage, ""),
    ("get", "/webhooks", Scope::WebhooksManage, ""),
    ("post", "/webhooks", Scope::WebhooksManage, r#"{"url": "http://127.0.0.1:1025"}"#),
    ("get", "/webhooks/{id}", Scope::WebhooksManage, ""),
    ("patch", "/webhooks/{id}", Scope::WebhooksManage, r#"{"description": "x"}"#),
    ("delete", "/webhooks/{id}", Scope::WebhooksManage, ""),
    ("post", "/webhooks/{id}/rotate-secret", Scope::WebhooksManage, "{}"),
    ("post", "/webhooks/{id}/enable", Scope::WebhooksManage, ""),
    ("post", "/webhooks/{id}/disable", Scope::WebhooksManage, ""),
    ("post", "/webhooks/{id}/test", Scope::WebhooksManage, ""),
    ("post", "/webhooks/{id}/resend", Scope::WebhooksManage, r#"{"eventId": "x-1"}"#),
    ("post", "/webhooks/{id}/recover", Scope::WebhooksManage, r#"{"since": "2026-01-31T12:00:00Z"}"#),
    ("delete", "/webhooks/{id}/recover", Scope::WebhooksManage, ""),
    ("get", "/webhooks/{id}/attempts", Scope::WebhooksManage, ""),
    ("get", "/webhooks/{id}/messages", Scope::WebhooksManage, ""),
];

/// Type, name, scope and document of each root field.
const FIELDS: &[(&str, &str, Scope, &str)] = &[
    ("Query", "apiKeys", Scope::KeysManage, "{ apiKeys { nodes { id } } }"),
    ("Query", "auditLog", Scope::KeysManage, "{ auditLog { nodes { id } } }"),
    ("Query", "deadLetterGroups", Scope::OrdersRead, "{ deadLetterGroups { orders } }"),
    ("Query", "events", Scope::EventsRead, "{ events { nodes { json } } }"),
    ("Query", "node", Scope::OrdersRead, r#"{ node(id: "ID") { id } }"#),
    ("Query", "order", Scope::OrdersRead, r#"{ order(id: "ID") { id } }"#),
    ("Query", "orderByReference", Scope::OrdersRead, r#"{ orderByReference(reference: "x") { id } }"#),
    ("Query", "orders", Scope::OrdersRead, "{ orders { __typename } }"),
    ("Query", "queue", Scope::OrdersRead, "{ queue { paused } }"),
    ("Query", "stats", Scope::OrdersRead, "{ stats { from } }"),
    ("Query", "workers", Scope::MetricsRead, "{ workers { name } }"),
    ("Query", "worker", Scope::MetricsRead, r#"{ worker(name: "x") { name } }"#),
    ("Query", "health", Scope::MetricsRead, "{ health { status } }"),
    ("Query", "system", Scope::MetricsRead, "{ system { settings { name } } }"),
    (
        "Mutation",
        "cancelOrder",
        Scope::OrdersWrite,
        r#"mutation { cancelOrder(input: {orderId: "ID"}) { userErrors { code } } }"#,
    ),
    (
        "Mutation",
        "cancelOrders",
        Scope::OrdersWrite,
        "mutation { cancelOrders(input: {filter: {}, dryRun: true}) { userErrors { code } } }",
    ),
    (
        "Mutation",
        "createOrder",
        Scope::OrdersWrite,
        r#"mutation { createOrder(input: {item: "Tea", quantity: 1, price: 1}) { userErrors { code } } }"#,
    ),
    (
        "Mutation",
        "createOrders",
        Scope::OrdersWrite,
        r#"mutation { createOrders(input: {orders: [{item: "Tea", quantity: 1, price: 1}]}) { __typename } }"#,
    ),
    (
        "Mutation",
        "updateMetadata",
        Scope::OrdersWrite,
        r#"mutation { updateMetadata(input: {orderId: "ID", metadata: []}) { userErrors { code } } }"#,
    ),
    ("Query", "orderNotes", Scope::OrdersRead, r#"{ orderNotes(orderId: "ID") { number } }"#),
    (
        "Mutation",
        "addNote",
        Scope::OrdersWrite,
        r#"mutation { addNote(input: {orderId: "ID", text: "x"}) { userErrors { code } } }"#,
    ),
    (
        "Mutation",
        "replaceOrder",
        Scope::OrdersWrite,
        r#"mutation { replaceOrder(input: {orderId: "ID", order: {item: "Tea", quantity: 1, price: 1}}) { userErrors { code } } }"#,
    ),
    (
        "Mutation",
        "createApiKey",
        Scope::KeysManage,
        r#"mutation { createApiKey(input: {name: "x", scopes: ["keys:manage"]}) { userErrors { code } } }"#,
    ),
    (
        "Mutation",
        "rotateApiKey",
        Scope::KeysManage,
        r#"mutation { rotateApiKey(input: {id: "ID"}) { userErrors { code } } }"#,
    ),
    (
        "Mutation",
        "revokeApiKey",
        Scope::KeysManage,
        r#"mutation { revokeApiKey(input: {id: "ID"}) { userErrors { code } } }"#,
    ),
    ("Mutation", "pauseQueue", Scope::Admin, "mutation { pauseQueue { userErrors { code } } }"),
    (
        "Mutation",
        "redriveOrder",
        Scope::OrdersManage,
        r#"mutation { redriveOrder(input: {orderId: "ID"}) { userErrors { code } } }"#,
    ),
    (
        "Mutation",
        "redriveOrders",
        Scope::OrdersManage,
        "mutation { redriveOrders(input: {filter: {}}) { userErrors { code } } }",
    ),
    (
        "Mutation",
        "createTrackingLink",
        Scope::OrdersWrite,
        r#"mutation { createTrackingLink(input: {orderId: "ID"}) { userErrors { code } } }"#,
    ),
    (
        "Mutation",
        "revokeTrackingLinks",
        Scope::OrdersManage,
        "mutation { revokeTrackingLinks { userErrors { code } } }",
    ),
    ("Mutation", "resumeQueue", Scope::Admin, "mutation { resumeQueue { userErrors { code } } }"),
    ("Query", "webhookEndpoints", Scope::WebhooksManage, r#"{ webhookEndpoints { nodes { id } } }"#),
    (
        "Query",
        "webhookEndpoint",
        Scope::WebhooksManage,
        r#"{ webhookEndpoint(id: "ID") { id attempts { nodes { id } } messages { nodes { id } } } }"#,
    ),
    (
        "Mutation",
        "createWebhookEndpoint",
        Scope::WebhooksManage,
        r#"mutation { createWebhookEndpoint(input: {url: "http://127.0.0.1:1025"}) { userErrors { code } } }"#,
    ),
    (
        "Mutation",
        "updateWebhookEndpoint",
        Scope::WebhooksManage,
        r#"mutation { updateWebhookEndpoint(input: {id: "ID"}) { userErrors { code } } }"#,
    ),
    (
        "Mutation",
        "deleteWebhookEndpoint",
        Scope::WebhooksManage,
        r#"mutation { deleteWebhookEndpoint(input: {id: "ID"}) { userErrors { code } } }"#,
    ),
    (
        "Mutation",
        "rotateWebhookSecret",
        Scope::WebhooksManage,
        r#"mutation { rotateWebhookSecret(input: {id: "ID"}) { userErrors { code } } }"#,
    ),
    (
        "Mutation",
        "enableWebhookEndpoint",
        Scope::WebhooksManage,
        r#"mutation { enableWebhookEndpoint(input: {id: "ID"}) { userErrors { code } } }"#,
    ),
    (
        "Mutation",
        "disableWebhookEndpoint",
        Scope::WebhooksManage,
        r#"mutation { disableWebhookEndpoint(input: {id: "ID"}) { userErrors { code } } }"#,
    ),
    (
        "Mutation",
        "testWebhookEndpoint",
        Scope::WebhooksManage,
        r#"mutation { testWebhookEndpoint(input: {id: "ID"}) { userErrors { code } } }"#,
    ),
    (
        "Mutation",
        "stopRecovery",
        Scope::WebhooksManage,
        r#"mutation { stopRecovery(input: {id: "ID"}) { userErrors { code } } }"#,
    ),
    (
        "Mutation",
        "resendEvent",
        Scope::WebhooksManage,
        r#"mutation { resendEvent(input: {id: "ID", eventId: "ID-1"}) { userErrors { code } } }"#,
    ),
    (
        "Mutation",
        "recoverEvents",
        Scope::WebhooksManage,
        r#"mutation { recoverEvents(input: {id: "ID", since: "2026-01-31T12:00:00Z"}) { userErrors { code } } }"#,
    ),
    ("Subscription", "eventLog", Scope::EventsRead, "subscription { eventLog { nodes { json } } }"),
    ("Subscription", "orderEvents", Scope::EventsRead, "subscription { orderEvents { __typename } }"),
    (
        "Subscription",
        "orderStatus",
        Scope::OrdersRead,
        r#"subscription { orderStatus(orderId: "ID", after: 0) { sequence } }"#,
    ),
];

/// The scope of each gRPC call.
const CALLS: &[(&str, Scope)] = &[
    ("UpdateStatus", Scope::Work),
    ("Work", Scope::Work),
    ("Claim", Scope::Work),
    ("GetOrder", Scope::OrdersRead),
    ("WatchOrder", Scope::OrdersRead),
    ("Read", Scope::EventsRead),
    ("Commit", Scope::EventsRead),
    ("RemoveReader", Scope::EventsRead),
];

/// An id that no order has.
const UNKNOWN: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// The keys with one scope or without it.
struct OfScope {
    only: String,
    without: String,
    of_other_tenant: String,
}

struct Keys {
    by_scope: BTreeMap<&'static str, OfScope>,
    expired: String,
    revoked: String,
}

impl Keys {
    async fn new(backend: &Backend) -> Self {
        let other: TenantId = "other".parse().unwrap();
        let actor = KeyActor { name: "test".to_owned(), tenant: None, request_id: None };
        backend.store.create_tenant(&other, "Other", &Limits::default(), &actor).await.unwrap();
        let mut by_scope = BTreeMap::new();
        for scope in Scope::ALL {
            let others = Scope::ALL.iter().copied().filter(|other| other != scope).collect::<Vec<_>>();
            let (scopes, without) = (Scopes::of(&[*scope]), Scopes::of(&others));
            let keys = OfScope {
                only: key(backend, &TenantId::default(), scopes).await.key.expose().to_owned(),
                without: key(backend, &TenantId::default(), without).await.key.expose().to_owned(),
                of_other_tenant: key(backend, &other, scopes).await.key.expose().to_owned(),
            };
            by_scope.insert(scope.as_str(), keys);
        }
        let revoked = key(backend, &TenantId::default(), Scopes::ALL).await;
        access::revoke(&backend.store, &Principal::anonymous(), &revoked.stored.id, None).await.unwrap();
        // A key that is stored with an end in the past, as after the end of its lifetime.
        let mut expired = key(backend, &TenantId::default(), Scopes::ALL).await;
        expired.key = access::Key::generate();
        expired.stored.id = expired.key.id().to_owned();
        expired.stored.hash = expired.key.hash();
        // Keys that ended long ago are deleted.
        expired.stored.expires_at = backend.store.now() - Duration::from_secs(60);
        backend.store.create_api_key(&expired.stored, &actor).await.unwrap();
        Self { by_scope, expired: expired.key.expose().to_owned(), revoked: revoked.key.expose().to_owned() }
    }

    fn only(&self, scope: Scope) -> &str {
        &self.by_scope[scope.as_str()].only
    }

    fn without(&self, scope: Scope) -> &str {
        &self.by_scope[scope.as_str()].without
    }

    fn of_other_tenant(&self, scope: Scope) -> &str {
        &self.by_scope[scope.as_str()].of_other_tenant
    }

    /// Returns the keys that no surface accepts, each with the code of its error. An empty key is none.
    fn refused(&self) -> [(&str, ErrorCode); 3] {
        [
            ("", ErrorCode::Unauthenticated),
            (&self.expired, ErrorCode::TokenExpired),
            (&self.revoked, ErrorCode::Unauthenticated),
        ]
    }
}

async fn key(backend: &Backend, tenant: &TenantId, scopes: Scopes) -> IssuedKey {
    let (name, ttl) = ("test".to_owned(), Duration::from_secs(3_600));
    let tenant = NewKeyTenant::One(tenant.clone());
    let request = KeyRequest { name, tenant, scopes, ttl, limits: Limits::default() };
    access::create(&backend.store, &Principal::anonymous(), &request, None).await.unwrap()
}

fn with_keys() -> Config {
    let mut config = Config::default();
    config.access.keys = true;
    config.webhooks.allowed_networks = "127.0.0.0/8".parse().unwrap();
    config.webhooks.secret_keys = SecretKeys::generate_line().parse().unwrap();
    config
}

/// Creates an order with a key that may do so, and returns its id.
async fn create_order(gateway: &Gateway<'_>, keys: &Keys) -> String {
    let (_, _, scope, body) = ROUTES[1];
    let (status, order) = send(gateway, "post", "/orders", keys.only(scope), body).await;
    assert_eq!(status, 201, "{order}");
    order["id"].as_str().unwrap().to_owned()
}

/// Sends a request. An address may fail 20 times in a second, so a limited request is repeated.
async fn send(gateway: &Gateway<'_>, method: &str, path: &str, key: &str, body: &str) -> (u16, Value) {
    let method = reqwest::Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
    let attempt = async || {
        let request = with_credential(gateway.client.request(method.clone(), gateway.url(path)), key);
        let request = match body {
            "" => request,
            body => request.header("content-type", "application/json").body(body.to_owned()),
        };
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let body = serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default();
        (status != 429).then_some((status, body))
    };
    eventually("a response that is not limited", attempt).await
}

fn with_credential(request: RequestBuilder, key: &str) -> RequestBuilder {
    if key.is_empty() { request } else { request.bearer_auth(key) }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_requires_its_scope() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(with_keys()).await;
    let keys = Keys::new(&backend).await;
    let id = create_order(&gateway, &keys).await;
    let document: Value = serde_json::from_str(&gateway::openapi().to_json().unwrap()).unwrap();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            if PUBLIC.contains(&path.as_str()) {
                continue;
            }
            let row = ROUTES.iter().find(|(other, of, ..)| other == method && of == path);
            let (_, _, scope, body) = row.unwrap_or_else(|| panic!("{method} {path} has no row"));
            let target = path.replace("{id}", &id);
            for (key, code) in keys.refused() {
                let (status, problem) = send(&gateway, method, &target, key, body).await;
                assert_eq!((status, &problem["code"]), (401, &json!(code.as_str())), "{method} {path}");
            }
            let of_other = keys.of_other_tenant(*scope);
            let (status, hidden) = send(&gateway, method, &target, of_other, body).await;
            let hidden = hidden.to_string();
            if path.contains("{id}") {
                let unknown = path.replace("{id}", UNKNOWN);
                let expected = send(&gateway, method, &unknown, of_other, body).await;
                assert_eq!(
                    (status, hidden.replace(&id, UNKNOWN)),
                    (expected.0, expected.1.to_string()),
                    "{path}"
                );
            } else {
                assert!(
                    ![400, 401, 403].contains(&status) && !hidden.contains(&id),
                    "{method} {path}: {hidden}"
                );
            }
            let (status, problem) = send(&gateway, method, &target, keys.without(*scope), body).await;
            assert_eq!((status, &problem["code"]), (403, &json!("forbidden")), "{method} {path}");
            assert!(problem["detail"].as_str().unwrap().contains(scope.as_str()), "{problem}");
            let (status, body) = send(&gateway, method, &target, keys.only(*scope), body).await;
            assert!(![400, 401, 403].contains(&status), "{method} {path}: {status} {body}");
        }
    }
    let verbose = async |key| send(&gateway, "get", "/readyz?verbose", key, "").await.0;
    assert_eq!(verbose(keys.without(Scope::MetricsRead)).await, 403);
    assert_eq!(verbose(keys.only(Scope::MetricsRead)).await, 200);
    gateway.stop().await;
}

/// Returns the root fields of the schema: the type and the name of each.
async fn root_fields(gateway: &Gateway<'_>, keys: &Keys) -> Vec<(&'static str, String)> {
    let query = "{ __schema { queryType { fields { name } } mutationType { fields { name } } \
                 subscriptionType { fields { name } } } }";
    let (_, schema) = graphql(gateway, keys.only(Scope::Work), query).await;
    let types = [("Query", "queryType"), ("Mutation", "mutationType"), ("Subscription", "subscriptionType")];
    let mut found = Vec::new();
    for (kind, member) in types {
        for field in schema["data"]["__schema"][member]["fields"].as_array().unwrap() {
            found.push((kind, field["name"].as_str().unwrap().to_owned()));
        }
    }
    found
}

async fn graphql(gateway: &Gateway<'_>, key: &str, query: &str) -> (u16, Value) {
    send(gateway, "post", "/graphql", key, &json!({ "query": query }).to_string()).await
}

/// Returns the first result of a subscription over SSE.
async fn first_result(gateway: &Gateway<'_>, key: &str, query: &str) -> Value {
    let query = url::form_urlencoded::byte_serialize(query.as_bytes()).collect::<String>();
    let url = gateway.url(&format!("/graphql?query={query}"));
    let attempt = async || {
        let request = with_credential(gateway.client.get(&url), key).header("accept", "text/event-stream");
        Some(request.send().await.unwrap()).filter(|response| response.status() != 429)
    };
    let mut response = eventually("a response that is not limited", attempt).await;
    if !response.status().is_success() {
        return response.json().await.unwrap();
    }
    let mut received = String::new();
    loop {
        if let Some((_, data)) = received.split_once("data: ")
            && let Some((data, _)) = data.split_once('\n')
        {
            return serde_json::from_str(data).unwrap();
        }
        let chunk = response.chunk().await.unwrap().expect("a result precedes the end");
        received.push_str(std::str::from_utf8(&chunk).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_requires_its_scope() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(with_keys()).await;
    let keys = Keys::new(&backend).await;
    let id = create_order(&gateway, &keys).await;
    for (kind, name) in root_fields(&gateway, &keys).await {
        let row = FIELDS.iter().find(|(other, field, ..)| *other == kind && *field == name);
        let (_, _, scope, document) = row.unwrap_or_else(|| panic!("{kind}.{name} has no row"));
        let of_unknown = document.replace("ID", UNKNOWN);
        let document = document.replace("ID", &id);
        let result = async |key: &str, document: &str| match kind {
            "Subscription" => first_result(&gateway, key, document).await,
            _ => graphql(&gateway, key, document).await.1,
        };
        for (key, code) in keys.refused() {
            let refused = result(key, &document).await.to_string();
            let code = format!(r#""code":"{code}""#);
            assert!(refused.contains(&code) && !refused.contains(r#""data":{"#), "{kind}.{name}: {refused}");
        }
        // The stream of all orders has no first result.
        if name != "orderEvents" {
            let hidden = result(keys.of_other_tenant(*scope), &document).await.to_string();
            let is_about_an_order = document != of_unknown;
            let hidden = if is_about_an_order { hidden.replace(&id, UNKNOWN) } else { hidden };
            assert!(!hidden.contains(&id), "{kind}.{name}: {hidden}");
            if is_about_an_order {
                let expected = result(keys.of_other_tenant(*scope), &of_unknown).await;
                assert_eq!(hidden, expected.to_string(), "{kind}.{name}");
            }
        }
        let (refused, accepted) = if kind == "Subscription" {
            let refused = first_result(&gateway, keys.without(*scope), &document).await;
            // No event of all orders is pending, so that its stream has no first result.
            let accepted = match name.as_str() {
                "orderEvents" => Value::Null,
                _ => first_result(&gateway, keys.only(*scope), &document).await,
            };
            (refused, accepted)
        } else {
            let refused = graphql(&gateway, keys.without(*scope), &document).await.1;
            (refused, graphql(&gateway, keys.only(*scope), &document).await.1)
        };
        assert_eq!(refused["errors"][0]["extensions"]["code"], "forbidden", "{kind}.{name}: {refused}");
        let message = refused["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains(scope.as_str()), "{kind}.{name}: {message}");
        assert_eq!(accepted["errors"], Value::Null, "{kind}.{name}: {accepted}");
    }
    gateway.stop().await;
}

/// Returns the names of the calls, from the descriptors that reflection serves.
fn calls() -> Vec<String> {
    let descriptors = FileDescriptorSet::decode(proto::DESCRIPTORS).unwrap();
    let services = descriptors.file.into_iter().filter(|file| file.package() == "orders.v1");
    let services = services.flat_map(|file| file.service);
    services.flat_map(|service| service.method).map(|method| method.name().to_owned()).collect()
}

type Clients = (OrderServiceClient<Channel>, EventsClient<Channel>, WorkerServiceClient<Channel>);

/// Makes a call about an order, and returns its error. A call that is limited, as in [`send`], is repeated.
async fn call(clients: &Clients, name: &str, order_id: &str, key: &str) -> Option<tonic::Status> {
    let attempt = async || {
        let error = call_once(clients.clone(), name, order_id, key).await;
        let is_limited = error.as_ref().is_some_and(|error| error.code() == tonic::Code::ResourceExhausted);
        (!is_limited).then_some(error)
    };
    eventually("a call that is not limited", attempt).await
}

async fn call_once(
    (mut client, mut events, mut workers): Clients,
    name: &str,
    order_id: &str,
    key: &str,
) -> Option<tonic::Status> {
    let order_id = order_id.to_owned();
    let result = match name {
        "UpdateStatus" => {
            // Without a report of its start, the status is invalid for every order that the caller sees.
            let status = "completed".to_owned();
            let report = v1::UpdateStatusRequest { order_id, status, ..v1::UpdateStatusRequest::default() };
            client.update_status(with_key(report, key)).await.map(drop)
        }
        "Claim" => {
            let requests = tokio_stream::empty::<v1::ClaimRequest>();
            workers.claim(with_key(requests, key)).await.map(drop)
        }
        "Work" => client.work(with_key(tokio_stream::empty::<v1::WorkerMessage>(), key)).await.map(drop),
        "GetOrder" => client.get_order(with_key(v1::GetOrderRequest { order_id }, key)).await.map(drop),
        "WatchOrder" => {
            let watch = v1::WatchOrderRequest { order_id, after_sequence: Some(0) };
            client.watch_order(with_key(watch, key)).await.map(drop)
        }
        "Read" => events.read(with_key(v1::ReadEventsRequest::default(), key)).await.map(drop),
        "Commit" => {
            // The cursor is invalid, which the gateway finds after the scope.
            let commit = v1::CommitRequest { reader: "x".to_owned(), ..v1::CommitRequest::default() };
            events.commit(with_key(commit, key)).await.map(drop)
        }
        "RemoveReader" => {
            let remove = v1::RemoveReaderRequest { reader: "x".to_owned() };
            events.remove_reader(with_key(remove, key)).await.map(drop)
        }
        other => panic!("{other} has no call"),
    };
    result.err()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_requires_its_scope() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(with_keys()).await;
    let keys = Keys::new(&backend).await;
    let id = create_order(&gateway, &keys).await;
    let clients = (gateway.workers().await, gateway.events().await, gateway.claimers().await);
    let names = calls();
    assert_eq!(names.len(), CALLS.len());
    for name in names {
        let row = CALLS.iter().find(|(call, _)| *call == name);
        let (_, scope) = row.unwrap_or_else(|| panic!("{name} has no row"));
        for (key, code) in keys.refused() {
            let error = call(&clients, &name, &id, key).await.unwrap();
            assert_eq!(error.code(), tonic::Code::Unauthenticated, "{name}: {error}");
            assert_eq!(error.metadata().get("orders-error").unwrap(), code.as_str(), "{name}");
        }
        let error = call(&clients, &name, &id, keys.without(*scope)).await.unwrap();
        assert_eq!(error.code(), tonic::Code::PermissionDenied, "{name}: {error}");
        assert!(error.message().contains(scope.as_str()), "{name}: {error}");
        // The stream of a worker and the event log are about no order.
        if !["Work", "Claim", "Read", "Commit", "RemoveReader"].contains(&name.as_str()) {
            let hidden = call(&clients, &name, &id, keys.of_other_tenant(*scope)).await.unwrap();
            let unknown = call(&clients, &name, UNKNOWN, keys.of_other_tenant(*scope)).await.unwrap();
            assert_eq!(hidden.code(), tonic::Code::NotFound, "{name}: {hidden}");
            assert_eq!(hidden.message().replace(&id, UNKNOWN), unknown.message(), "{name}");
        }
        let error = call(&clients, &name, &id, keys.only(*scope)).await;
        let refused = [tonic::Code::Unauthenticated, tonic::Code::PermissionDenied, tonic::Code::NotFound];
        assert!(!error.is_some_and(|error| refused.contains(&error.code())), "{name}");
    }
    gateway.stop().await;
}

fn with_key<T>(message: T, key: &str) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    if !key.is_empty() {
        request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    }
    request
}
