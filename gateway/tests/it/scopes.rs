//! The scope that each route, GraphQL field and gRPC call requires, with real keys.
//!
//! The routes come from the OpenAPI document and the fields from the schema, so that a new one without a row here fails.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::{Scope, Scopes};
use gateway::Config;
use gateway::access::{self, KeyRequest, NewKeyTenant};
use proto::v1;
use serde_json::{Value, json};

use crate::harness::{Backend, Gateway, On};

/// The routes that need no scope. `/readyz?verbose` needs one, and those of tracking links need a link.
const PUBLIC: [&str; 6] =
    ["/livez", "/healthz", "/readyz", "/session", "/track/{id}/order", "/track/{id}/events"];

/// Method, path and scope of each route, and a body that its handler accepts.
const ROUTES: &[(&str, &str, Scope, &str)] = &[
    ("get", "/orders", Scope::OrdersRead, ""),
    ("post", "/orders", Scope::OrdersWrite, r#"{"item": "Tea", "quantity": 1, "price": 1}"#),
    ("post", "/orders/bulk", Scope::OrdersWrite, r#"[{"item": "Tea", "quantity": 1, "price": 1}]"#),
    ("get", "/orders/{id}", Scope::OrdersRead, ""),
    ("get", "/orders/{id}/events", Scope::OrdersRead, ""),
    ("post", "/orders/{id}/cancel", Scope::OrdersWrite, "{}"),
    ("post", "/orders/{id}/redrive", Scope::OrdersManage, "{}"),
    ("post", "/orders/{id}/tracking-links", Scope::OrdersManage, "{}"),
    ("post", "/tracking-links/revoke", Scope::OrdersManage, ""),
    ("get", "/dead-letters", Scope::OrdersRead, ""),
    ("post", "/dead-letters/redrive", Scope::OrdersManage, r#"{"filter": {}}"#),
    ("get", "/queue", Scope::OrdersRead, ""),
    ("post", "/queue/pause", Scope::Admin, "{}"),
    ("post", "/queue/resume", Scope::Admin, ""),
    ("get", "/metrics", Scope::MetricsRead, ""),
    ("get", "/api-keys", Scope::KeysManage, ""),
    ("post", "/api-keys", Scope::KeysManage, r#"{"name": "x", "scopes": ["keys:manage"]}"#),
    ("post", "/api-keys/{id}/rotate", Scope::KeysManage, "{}"),
    ("delete", "/api-keys/{id}", Scope::KeysManage, ""),
    ("get", "/audit-log", Scope::KeysManage, ""),
];

/// Type, name, scope and document of each root field.
const FIELDS: &[(&str, &str, Scope, &str)] = &[
    ("Query", "apiKeys", Scope::KeysManage, "{ apiKeys { nodes { id } } }"),
    ("Query", "auditLog", Scope::KeysManage, "{ auditLog { nodes { id } } }"),
    ("Query", "node", Scope::OrdersRead, r#"{ node(id: "ID") { id } }"#),
    ("Query", "order", Scope::OrdersRead, r#"{ order(id: "ID") { id } }"#),
    ("Query", "orders", Scope::OrdersRead, "{ orders { __typename } }"),
    ("Query", "queue", Scope::OrdersRead, "{ queue { paused } }"),
    (
        "Mutation",
        "cancelOrder",
        Scope::OrdersWrite,
        r#"mutation { cancelOrder(input: {orderId: "ID"}) { userErrors { code } } }"#,
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
        Scope::OrdersManage,
        r#"mutation { createTrackingLink(input: {orderId: "ID"}) { userErrors { code } } }"#,
    ),
    (
        "Mutation",
        "revokeTrackingLinks",
        Scope::OrdersManage,
        "mutation { revokeTrackingLinks { userErrors { code } } }",
    ),
    ("Mutation", "resumeQueue", Scope::Admin, "mutation { resumeQueue { userErrors { code } } }"),
    ("Subscription", "orderEvents", Scope::EventsRead, "subscription { orderEvents { __typename } }"),
    (
        "Subscription",
        "orderStatus",
        Scope::OrdersRead,
        r#"subscription { orderStatus(orderId: "ID", after: 0) { sequence } }"#,
    ),
];

/// A key with only one scope, and one with every other scope.
struct Keys(BTreeMap<&'static str, (String, String)>);

impl Keys {
    async fn new(backend: &Backend) -> Self {
        let mut keys = BTreeMap::new();
        for scope in Scope::ALL {
            let others = Scope::ALL.iter().copied().filter(|other| other != scope).collect::<Vec<_>>();
            let (only, without) = (Scopes::of(&[*scope]), Scopes::of(&others));
            keys.insert(scope.as_str(), (key(backend, only).await, key(backend, without).await));
        }
        Self(keys)
    }

    fn only(&self, scope: Scope) -> &str {
        &self.0[scope.as_str()].0
    }

    fn without(&self, scope: Scope) -> &str {
        &self.0[scope.as_str()].1
    }
}

async fn key(backend: &Backend, scopes: Scopes) -> String {
    let (name, ttl) = ("test".to_owned(), Duration::from_secs(3_600));
    let request = KeyRequest {
        name,
        tenant: NewKeyTenant::One(domain::TenantId::default()),
        scopes,
        ttl,
        limits: domain::Limits::default(),
    };
    let creator = domain::Principal::anonymous();
    access::create(&backend.store, &creator, &request, None).await.unwrap().key.expose().to_owned()
}

fn with_keys() -> Config {
    let mut config = Config::default();
    config.access.keys = true;
    config
}

/// Creates an order with a key that may do so, and returns its id.
async fn create_order(gateway: &Gateway<'_>, keys: &Keys) -> String {
    let (_, _, scope, body) = ROUTES[1];
    let (status, order) = send(gateway, "post", "/orders", keys.only(scope), body).await;
    assert_eq!(status, 201, "{order}");
    order["id"].as_str().unwrap().to_owned()
}

async fn send(gateway: &Gateway<'_>, method: &str, path: &str, key: &str, body: &str) -> (u16, Value) {
    let method = reqwest::Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
    let request = gateway.client.request(method, gateway.url(path)).bearer_auth(key);
    let request = match body {
        "" => request,
        body => request.header("content-type", "application/json").body(body.to_owned()),
    };
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
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
    let request = gateway.client.get(gateway.url(&format!("/graphql?query={query}"))).bearer_auth(key);
    let mut response = request.header("accept", "text/event-stream").send().await.unwrap();
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
        let document = document.replace("ID", &id);
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

#[tokio::test(flavor = "multi_thread")]
async fn every_call_requires_its_scope() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(with_keys()).await;
    let keys = Keys::new(&backend).await;
    let order_id = create_order(&gateway, &keys).await;
    let mut client = gateway.workers().await;
    for (scope, is_permitted) in
        [Scope::OrdersRead, Scope::Work].into_iter().flat_map(|scope| [(scope, false), (scope, true)])
    {
        let key = if is_permitted { keys.only(scope) } else { keys.without(scope) };
        let results = if scope == Scope::Work {
            let report = v1::UpdateStatusRequest {
                order_id: order_id.clone(),
                status: "unknown".to_owned(),
                ..v1::UpdateStatusRequest::default()
            };
            let no_messages = tokio_stream::empty::<v1::WorkerMessage>();
            [
                client.update_status(with_key(report, key)).await.map(drop),
                client.work(with_key(no_messages, key)).await.map(drop),
            ]
        } else {
            let get = v1::GetOrderRequest { order_id: order_id.clone() };
            let watch = v1::WatchOrderRequest { order_id: order_id.clone(), after_sequence: Some(0) };
            [
                client.get_order(with_key(get, key)).await.map(drop),
                client.watch_order(with_key(watch, key)).await.map(drop),
            ]
        };
        for (n, result) in results.into_iter().enumerate() {
            let code = result.err().map(|status| status.code());
            let is_refused = code == Some(tonic::Code::PermissionDenied);
            assert_eq!(is_refused, !is_permitted, "call {n} with {scope:?}: {code:?}");
        }
    }
    gateway.stop().await;
}

fn with_key<T>(message: T, key: &str) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    request
}
