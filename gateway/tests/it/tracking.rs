//! Tracking links: what they show, and which of them are refused.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::{Limits, OrderId, Principal, Role, TenantId};
use gateway::Config;
use gateway::access::{self, KeyRequest, NewKeyTenant, TrackingLinks};
use gateway::service::{self, Service, ServiceParts};
use gateway::store::{KeyActor, TenantState};
use reqwest::Response;
use serde_json::{Value, json};

use crate::harness::{Backend, Gateway, eventually};
use crate::on_both;

const ORDER_FIELDS: [&str; 10] = [
    "code",
    "createdAt",
    "currency",
    "externalReference",
    "lineItems",
    "notes",
    "processAfter",
    "sequence",
    "status",
    "total",
];
const LINE_FIELDS: [&str; 3] = ["item", "price", "quantity"];
const EVENT_FIELDS: [&str; 3] = ["occurredAt", "sequence", "status"];

fn with_keys() -> Config {
    let mut config = Config::default();
    config.access.keys = true;
    config
}

fn actor() -> KeyActor {
    KeyActor { name: "test".to_owned(), tenant: None, request_id: None }
}

async fn key(backend: &Backend, role: Role, tenant: &str) -> String {
    let tenant: TenantId = tenant.parse().unwrap();
    backend.store.create_tenant(&tenant, "A shop", &Limits::default(), &actor()).await.unwrap();
    let request = KeyRequest {
        name: "test".to_owned(),
        tenant: NewKeyTenant::One(tenant),
        scopes: role.scopes(),
        ttl: Duration::from_secs(3_600),
        limits: Limits::default(),
    };
    let issued = access::create(&backend.store, &Principal::anonymous(), &request, None).await.unwrap();
    issued.key.expose().to_owned()
}

async fn post(gateway: &Gateway<'_>, key: &str, path: &str, body: &Value) -> (u16, Value) {
    let request = gateway.client.post(gateway.url(path)).bearer_auth(key).json(body);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or_default())
}

/// Creates a scheduled order, which therefore stays pending.
async fn order(gateway: &Gateway<'_>, key: &str) -> String {
    let body = json!({
        "lineItems": [{"item": "Tea", "quantity": 2, "price": 9.5}], "customer": "Ann", "externalReference": "WEB-1",
        "processAfter": "2099-01-01T00:00:00Z",
    });
    let (status, order) = post(gateway, key, "/orders", &body).await;
    assert_eq!(status, 201, "{order}");
    order["id"].as_str().unwrap().to_owned()
}

async fn link(gateway: &Gateway<'_>, key: &str, id: &str) -> String {
    let (status, link) = post(gateway, key, &format!("/orders/{id}/tracking-links"), &json!({})).await;
    assert_eq!(status, 201, "{link}");
    link["token"].as_str().unwrap().to_owned()
}

async fn get(gateway: &Gateway<'_>, path: &str, authorization: &str) -> Response {
    gateway.client.get(gateway.url(path)).header("authorization", authorization).send().await.unwrap()
}

async fn track(gateway: &Gateway<'_>, id: &str, what: &str, token: &str) -> Response {
    get(gateway, &format!("/track/{id}/{what}"), &format!("Tracking {token}")).await
}

/// Returns everything that a client learns from a refusal. There are more of them than an address may have in a second.
async fn refusal(gateway: &Gateway<'_>, id: &str, what: &str, token: &str) -> String {
    let attempt = async || {
        let response = track(gateway, id, what, token).await;
        let (status, mut headers) = (response.status(), response.headers().clone());
        headers.remove("x-request-id");
        headers.remove("date");
        let body = response.text().await.unwrap();
        (status != 429).then(|| format!("{status} {headers:?} {body}"))
    };
    eventually("a response that is not limited", attempt).await
}

fn fields(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Reads a stream of events until it contains a word, or to its end.
async fn read_until(response: &mut Response, word: &str) -> String {
    let mut received = String::new();
    while !received.contains(word) {
        match response.chunk().await.unwrap() {
            Some(chunk) => received.push_str(std::str::from_utf8(&chunk).unwrap()),
            None => break,
        }
    }
    received
}

on_both!(a_link_shows_only_what_a_customer_may_see, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_keys()).await;
    let key = key(&backend, Role::Operator, "shop").await;
    let id = order(&gateway, &key).await;
    let path = format!("/orders/{id}/tracking-links");
    let (status, created) = post(&gateway, &key, &path, &json!({"ttlDays": 400})).await;
    assert_eq!((status, fields(&created)), (201, BTreeSet::from(["expiresAt", "token", "url"])));
    let token = created["token"].as_str().unwrap();
    assert_eq!(created["url"], json!(format!("/track/{id}#t={token}")));
    for (body, field) in [(json!({"ttlDays": 401}), "/ttlDays"), (json!({"days": 1}), "/days")] {
        let (status, problem) = post(&gateway, &key, &path, &body).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (400, &json!(field)), "{problem}");
    }

    let tracked: Value = track(&gateway, &id, "order", token).await.json().await.unwrap();
    assert_eq!(fields(&tracked), BTreeSet::from(ORDER_FIELDS));
    assert_eq!(fields(&tracked["lineItems"][0]), BTreeSet::from(LINE_FIELDS));
    assert_eq!((&tracked["status"], &tracked["total"]), (&json!("pending"), &json!(19.00)));
    let mut events = track(&gateway, &id, "events", token).await;
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    let cancel = json!({"reason": "internal"});
    assert_eq!(post(&gateway, &key, &format!("/orders/{id}/cancel"), &cancel).await.0, 200);
    let received = read_until(&mut events, "cancelled").await;
    assert!(!received.contains("internal") && !received.contains("Ann"), "{received}");
    let data: Vec<Value> = received
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let statuses: Vec<&str> = data.iter().map(|event| event["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["pending", "cancelled"]);
    assert!(data.iter().all(|event| fields(event) == BTreeSet::from(EVENT_FIELDS)), "{received}");
    let all = gateway.client.get(gateway.url(&format!("/track/{id}/events"))).header("last-event-id", "2");
    let all = all.header("authorization", format!("Tracking {token}")).send().await.unwrap();
    assert_eq!(all.status(), 204, "the order is final");
    gateway.stop().await;
});

on_both!(every_invalid_link_has_the_same_response, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_keys()).await;
    let shop = key(&backend, Role::Operator, "shop").await;
    let other = key(&backend, Role::Operator, "other").await;
    let (id, second, foreign) =
        (order(&gateway, &shop).await, order(&gateway, &shop).await, order(&gateway, &other).await);
    let token = link(&gateway, &shop, &id).await;
    let unknown = OrderId::new(backend.store.now()).to_string();
    for what in ["order", "events"] {
        let expected = refusal(&gateway, &unknown, what, &token).await;
        assert!(expected.starts_with("401") && expected.contains("\"unauthenticated\""), "{expected}");
        for (id, token) in [
            (&second, token.as_str()),
            (&foreign, &token),
            (&id, ""),
            (&id, "v1.1.AAAAAAAAAAAAAAAAAAAAAA"),
            (&id, &token.replace("v1.", "v1.+")),
            (&id, &token.replace("v1.", "v1.0")),
            (&id, &format!("{token}A")),
            (&id, &shop),
        ] {
            assert_eq!(refusal(&gateway, id, what, token).await, expected, "{token}");
        }
    }
    let expected = refusal(&gateway, &unknown, "order", &token).await;
    for n in 0..token.len() {
        let mut changed = token.clone().into_bytes();
        changed[n] = if changed[n] == b'1' { b'2' } else { b'1' };
        let changed = String::from_utf8(changed).unwrap();
        assert_eq!(refusal(&gateway, &id, "order", &changed).await, expected, "byte {n}");
    }
    assert_eq!(track(&gateway, &id, "order", &token).await.status(), 200);
    // An order of another tenant does not exist for the caller.
    let path = |id: &str| format!("/orders/{id}/tracking-links");
    let (status, problem) = post(&gateway, &shop, &path(&foreign), &json!({})).await;
    let (_, none) = post(&gateway, &shop, &path(&unknown), &json!({})).await;
    assert_eq!((status, &problem["code"]), (404, &json!("order_not_found")));
    assert_eq!(problem.to_string().replace(&foreign, "ID"), none.to_string().replace(&unknown, "ID"));
    gateway.stop().await;
});

on_both!(a_link_opens_nothing_else, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_keys()).await;
    let key = key(&backend, Role::Operator, "shop").await;
    let id = order(&gateway, &key).await;
    let token = link(&gateway, &key, &id).await;
    let document: Value = serde_json::from_str(&gateway::openapi().to_json().unwrap()).unwrap();
    let mut paths: Vec<String> = document["paths"].as_object().unwrap().keys().cloned().collect();
    paths.retain(|path| !["/livez", "/healthz", "/readyz"].contains(&path.as_str()));
    paths.push("/graphql?query=%7B__typename%7D".to_owned());
    for path in paths {
        let methods = document["paths"][&path].as_object().map(|methods| methods.contains_key("get"));
        if methods == Some(false) {
            continue;
        }
        let target = path.replace("{id}", &id);
        for authorization in [format!("Tracking {token}"), format!("Bearer {token}")] {
            if path.starts_with("/track/") && authorization.starts_with("Tracking") {
                continue;
            }
            let attempt = async || {
                let response = get(&gateway, &target, &authorization).await;
                (response.status() != 429).then(|| response.status().as_u16())
            };
            assert_eq!(eventually("a response that is not limited", attempt).await, 401, "{target}");
        }
    }
    // Nor does a key open the routes of links.
    assert_eq!(get(&gateway, &format!("/track/{id}/order"), &format!("Bearer {key}")).await.status(), 401);
    gateway.stop().await;
});

on_both!(a_revocation_ends_all_links_of_one_tenant, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_keys()).await;
    let shop = key(&backend, Role::Operator, "shop").await;
    let other = key(&backend, Role::Operator, "other").await;
    let (id, foreign) = (order(&gateway, &shop).await, order(&gateway, &other).await);
    let (token, kept) = (link(&gateway, &shop, &id).await, link(&gateway, &other, &foreign).await);
    let mut events = track(&gateway, &id, "events", &token).await;
    let mut others = track(&gateway, &foreign, "events", &kept).await;
    read_until(&mut events, "pending").await;
    assert_eq!(post(&gateway, &shop, "/tracking-links/revoke", &Value::Null).await.0, 204);
    let rest = read_until(&mut events, "no such word").await;
    assert!(rest.contains("event: error") && rest.contains("token_expired"), "{rest}");
    assert_eq!(track(&gateway, &id, "order", &token).await.status(), 401);
    let new = link(&gateway, &shop, &id).await;
    assert_eq!(track(&gateway, &id, "order", &new).await.status(), 200);
    assert_eq!(track(&gateway, &foreign, "order", &kept).await.status(), 200);
    assert_eq!(post(&gateway, &other, &format!("/orders/{foreign}/cancel"), &json!({})).await.0, 200);
    assert!(read_until(&mut others, "cancelled").await.contains("cancelled"), "its stream is open");
    let entries = backend.store.audit_log(Some(&"shop".parse().unwrap()), None, 1).await.unwrap();
    let entry = &entries[0];
    assert_eq!((entry.action.as_str(), entry.target.as_str()), ("tenant.revoke_links", "shop"));
    assert!(entry.actor.starts_with("key:") && entry.request_id.is_some(), "{entry:?}");
    // A suspended tenant has no valid link.
    let tenant: TenantId = "shop".parse().unwrap();
    backend.store.set_tenant_state(&tenant, TenantState::Suspended, &actor()).await.unwrap();
    assert_eq!(track(&gateway, &id, "order", &new).await.status(), 401);
    let unknown: TenantId = "cafe".parse().unwrap();
    assert!(!backend.store.revoke_tracking_links(&unknown, &actor()).await.unwrap());
    gateway.stop().await;
});

on_both!(a_link_ends_at_its_end, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_keys()).await;
    let key = key(&backend, Role::Operator, "shop").await;
    let id = order(&gateway, &key).await;
    // Lifetimes of the API are days, so the link is created with the secret of the gateways.
    let (queue, bus) = (backend.queue.clone(), backend.bus.clone());
    let store = backend.gateway_store().await;
    let parts = ServiceParts { config: service::Config::default(), store: store.clone(), queue, bus };
    let service = Service::start(parts).await.unwrap();
    let links = TrackingLinks::new(store, &service.orders.keys().derive("tracking"));
    let (caller, order) = (Principal::anonymous(), id.parse().unwrap());
    let link = links.create(&caller, order, Duration::from_secs(4)).await.unwrap();
    for wrong in [Duration::ZERO, access::MAX_LINK_TTL + Duration::from_secs(1)] {
        assert!(links.create(&caller, order, wrong).await.is_err());
    }
    let mut events = track(&gateway, &id, "events", &link.token).await;
    assert_eq!(events.status(), 200);
    let all = read_until(&mut events, "no such word").await;
    assert!(all.contains("event: error") && all.contains("token_expired"), "{all}");
    let refused = refusal(&gateway, &id, "order", &link.token).await;
    let unknown = OrderId::new(backend.store.now()).to_string();
    assert_eq!(refused, refusal(&gateway, &unknown, "order", &link.token).await);
    gateway.stop().await;
});

on_both!(gateways_accept_the_links_of_each_other, |on| async move {
    let backend = Backend::new(on).await;
    let (first, second) = (backend.gateway(with_keys()).await, backend.gateway(with_keys()).await);
    let key = key(&backend, Role::Operator, "shop").await;
    let id = order(&first, &key).await;
    let token = link(&first, &key, &id).await;
    assert_eq!(track(&second, &id, "order", &token).await.status(), 200);
    let mut events = track(&second, &id, "events", &token).await;
    read_until(&mut events, "pending").await;
    assert_eq!(post(&first, &key, "/tracking-links/revoke", &Value::Null).await.0, 204);
    let rest = read_until(&mut events, "no such word").await;
    assert!(rest.contains("token_expired"), "{rest}");
    first.stop().await;
    second.stop().await;
});

on_both!(graphql_creates_and_revokes_links, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_keys()).await;
    let key = key(&backend, Role::Operator, "shop").await;
    let id = order(&gateway, &key).await;
    let create = async |input: String| {
        let query = format!(
            "mutation {{ createTrackingLink(input: {input}) {{ trackingLink {{ url token expiresAt }} userErrors {{ code \
             field }} }} }}"
        );
        let (status, body) = post(&gateway, &key, "/graphql", &json!({ "query": query })).await;
        assert_eq!(status, 200, "{body}");
        body["data"]["createTrackingLink"].clone()
    };
    let created = create(format!("{{orderId: \"{id}\", ttlDays: 1}}")).await;
    let token = created["trackingLink"]["token"].as_str().unwrap();
    assert_eq!(created["trackingLink"]["url"], json!(format!("/track/{id}#t={token}")));
    assert_eq!(track(&gateway, &id, "order", token).await.status(), 200);
    let unknown = OrderId::new(backend.store.now());
    for (input, code, field) in [
        (format!("{{orderId: \"{unknown}\"}}"), "order_not_found", "orderId"),
        (format!("{{orderId: \"{id}\", ttlDays: 401}}"), "invalid_input", "ttlDays"),
        ("{orderId: \"x\"}".to_owned(), "invalid_order_id", "orderId"),
    ] {
        let refused = create(input).await;
        assert_eq!(refused["userErrors"], json!([{"code": code, "field": ["input", field]}]));
    }
    let query = json!({"query": "mutation { revokeTrackingLinks { tenant userErrors { code } } }"});
    let (_, body) = post(&gateway, &key, "/graphql", &query).await;
    assert_eq!(body["data"]["revokeTrackingLinks"], json!({"tenant": "shop", "userErrors": []}));
    assert_eq!(track(&gateway, &id, "order", token).await.status(), 401);
    gateway.stop().await;
});

on_both!(without_authentication_the_order_id_is_sufficient, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let id = gateway.create_order().await;
    let tracked = gateway.client.get(gateway.url(&format!("/track/{id}/order"))).send().await.unwrap();
    assert_eq!(tracked.status(), 200);
    let tracked: Value = tracked.json().await.unwrap();
    assert_eq!(fields(&tracked), BTreeSet::from(ORDER_FIELDS));
    let mut events = gateway.client.get(gateway.url(&format!("/track/{id}/events"))).send().await.unwrap();
    assert!(read_until(&mut events, "pending").await.contains("pending"));
    let unknown = OrderId::new(backend.store.now());
    for (id, status) in [(unknown.to_string(), 404), ("x".to_owned(), 400)] {
        let response = gateway.client.get(gateway.url(&format!("/track/{id}/order"))).send().await.unwrap();
        assert_eq!(response.status(), status);
    }
    drop(events);
    gateway.stop().await;
});
