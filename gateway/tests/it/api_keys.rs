//! API keys and the audit log over REST and GraphQL, on both pairs of back ends.

use std::time::Duration;

use domain::{Limits, Principal, Role, TenantId};
use gateway::Config;
use gateway::access::{self, KeyRequest, NewKeyTenant};
use gateway::store::KeyActor;
use serde_json::{Value, json};

use crate::harness::{Backend, Gateway, eventually};
use crate::on_both;

fn with_keys() -> Config {
    let mut config = Config::default();
    config.access.keys = true;
    config
}

async fn key(backend: &Backend, tenant: NewKeyTenant, role: Role) -> String {
    let ttl = Duration::from_secs(3_600);
    let request = KeyRequest {
        name: role.as_str().to_owned(),
        tenant,
        scopes: role.scopes(),
        ttl,
        limits: Limits::default(),
    };
    let issued = access::create(&backend.store, &Principal::anonymous(), &request, None).await.unwrap();
    issued.key.expose().to_owned()
}

fn id_of(key: &str) -> &str {
    key.split('_').nth(1).unwrap()
}

async fn send(gateway: &Gateway<'_>, method: &str, path: &str, key: &str, body: Value) -> (u16, Value) {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let request = gateway.client.request(method, gateway.url(path)).bearer_auth(key);
    let request = request.header("x-request-id", "request-1");
    let request = if body.is_null() { request } else { request.json(&body) };
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
}

async fn graphql(gateway: &Gateway<'_>, key: &str, query: &str) -> Value {
    send(gateway, "POST", "/graphql", key, json!({ "query": query })).await.1
}

/// Waits until a key that was accepted is refused.
async fn refused(gateway: &Gateway<'_>, key: &str) {
    let attempt = async || (send(gateway, "GET", "/queue", key, Value::Null).await.0 == 401).then_some(());
    eventually("the revocation", attempt).await;
}

on_both!(keys_are_managed_over_rest, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_keys()).await;
    let admin = key(&backend, NewKeyTenant::All, Role::Admin).await;
    let new = json!({"name": "shop", "role": "reader", "ttlDays": 7});
    let (status, created) = send(&gateway, "POST", "/api-keys", &admin, new).await;
    assert_eq!(status, 201, "{created}");
    let reader = created["key"].as_str().unwrap();
    assert_eq!(created["stored"]["scopes"], json!(["orders:read", "events:read"]));
    assert_eq!(created["stored"]["id"], id_of(reader));
    assert_eq!(created["stored"]["createdBy"], format!("key:{}", id_of(&admin)));
    assert_eq!(send(&gateway, "GET", "/queue", reader, Value::Null).await.0, 200);

    let (status, listed) = send(&gateway, "GET", "/api-keys", &admin, Value::Null).await;
    assert_eq!((status, listed.as_array().unwrap().len()), (200, 2));
    assert!(!listed.to_string().contains(reader), "no list contains a key");
    let first = send(&gateway, "GET", "/api-keys?limit=1", &admin, Value::Null).await.1;
    let after = first[0]["id"].as_str().unwrap();
    let second =
        send(&gateway, "GET", &format!("/api-keys?limit=1&after={after}"), &admin, Value::Null).await.1;
    assert_eq!(json!([first[0], second[0]]), listed);

    let path = format!("/api-keys/{}/rotate", id_of(reader));
    let (status, rotated) = send(&gateway, "POST", &path, &admin, json!({"graceHours": 0})).await;
    assert_eq!((status, &rotated["stored"]["name"]), (201, &json!("shop")));
    let rotated = rotated["key"].as_str().unwrap();
    assert_eq!(send(&gateway, "GET", "/queue", rotated, Value::Null).await.0, 200);
    refused(&gateway, reader).await;

    let path = format!("/api-keys/{}", id_of(rotated));
    for _ in 0..2 {
        let (status, revoked) = send(&gateway, "DELETE", &path, &admin, Value::Null).await;
        assert_eq!((status, &revoked["state"]), (200, &json!("revoked")));
    }
    refused(&gateway, rotated).await;
    let (status, problem) = send(&gateway, "DELETE", "/api-keys/unknown1", &admin, Value::Null).await;
    assert_eq!((status, &problem["code"]), (404, &json!("key_not_found")));

    let (status, log) = send(&gateway, "GET", "/audit-log?limit=3", &admin, Value::Null).await;
    assert_eq!(status, 200);
    let entry = |n: usize| (log[n]["action"].as_str().unwrap(), log[n]["target"].as_str().unwrap());
    assert_eq!(entry(0), ("key.revoke", id_of(rotated)));
    assert_eq!(entry(1), ("key.rotate", id_of(rotated)));
    assert_eq!(entry(2), ("key.create", id_of(reader)));
    assert_eq!(log[2]["actor"], format!("key:{}", id_of(&admin)));
    assert_eq!(log[2]["requestId"], "request-1");
    let before = log[2]["id"].as_str().unwrap();
    let next = send(&gateway, "GET", &format!("/audit-log?before={before}"), &admin, Value::Null).await.1;
    assert_eq!((next.as_array().unwrap().len(), &next[0]["target"]), (1, &json!(id_of(&admin))));
    gateway.stop().await;
});

on_both!(keys_are_managed_over_graphql, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_keys()).await;
    let admin = key(&backend, NewKeyTenant::All, Role::Admin).await;
    let create = r#"mutation { createApiKey(input: {name: "shop", scopes: ["orders:read"]}) {
        secret apiKey { id name scopes tenant state } userErrors { code } } }"#;
    let created = graphql(&gateway, &admin, create).await;
    let created = &created["data"]["createApiKey"];
    assert_eq!(created["apiKey"]["scopes"], json!(["orders:read"]), "{created}");
    let secret = created["secret"].as_str().unwrap();
    assert_eq!(send(&gateway, "GET", "/queue", secret, Value::Null).await.0, 200);

    let rotate = format!(
        r#"mutation {{ rotateApiKey(input: {{id: "{}", graceHours: 1}}) {{ secret apiKey {{ id }} userErrors {{ code }} }} }}"#,
        id_of(secret)
    );
    let rotated = graphql(&gateway, &admin, &rotate).await;
    let rotated = rotated["data"]["rotateApiKey"]["secret"].as_str().unwrap().to_owned();
    assert_eq!(send(&gateway, "GET", "/queue", secret, Value::Null).await.0, 200, "within the grace period");

    let revoke = format!(
        r#"mutation {{ revokeApiKey(input: {{id: "{}"}}) {{ apiKey {{ state }} userErrors {{ code field }} }} }}"#,
        id_of(&rotated)
    );
    let revoked = graphql(&gateway, &admin, &revoke).await;
    assert_eq!(revoked["data"]["revokeApiKey"]["apiKey"]["state"], "revoked");
    refused(&gateway, &rotated).await;
    let unknown = graphql(&gateway, &admin, &revoke.replace(id_of(&rotated), "unknown1")).await;
    let error = json!({"code": "key_not_found", "field": ["input", "id"]});
    assert_eq!(unknown["data"]["revokeApiKey"], json!({"apiKey": null, "userErrors": [error]}));

    let pages = "{ apiKeys(first: 1) { nodes { id } pageInfo { hasNextPage endCursor } }
        auditLog(first: 1) { nodes { action actor requestId } pageInfo { hasNextPage endCursor } } }";
    let page = graphql(&gateway, &admin, pages).await["data"].take();
    assert_eq!(page["apiKeys"]["pageInfo"]["hasNextPage"], true, "{page}");
    assert_eq!(page["auditLog"]["nodes"][0]["action"], "key.revoke");
    assert_eq!(page["auditLog"]["nodes"][0]["requestId"], "request-1");
    let after = page["auditLog"]["pageInfo"]["endCursor"].as_str().unwrap();
    let second = format!(r#"{{ auditLog(first: 1, after: "{after}") {{ nodes {{ action }} }} }}"#);
    let second = graphql(&gateway, &admin, &second).await;
    assert_eq!(second["data"]["auditLog"]["nodes"], json!([{"action": "key.rotate"}]));
    gateway.stop().await;
});

on_both!(an_owner_manages_only_the_keys_of_its_tenant, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_keys()).await;
    let shop: TenantId = "shop".parse().unwrap();
    let actor = KeyActor { name: "test".to_owned(), tenant: None, request_id: None };
    backend.store.create_tenant(&shop, "Shop", &Limits::default(), &actor).await.unwrap();
    let owner = key(&backend, NewKeyTenant::One(shop.clone()), Role::Owner).await;
    let other = key(&backend, NewKeyTenant::One(TenantId::default()), Role::Reader).await;

    let (_, listed) = send(&gateway, "GET", "/api-keys", &owner, Value::Null).await;
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["id"]), (1, &json!(id_of(&owner))));
    let (_, log) = send(&gateway, "GET", "/audit-log", &owner, Value::Null).await;
    assert!(log.as_array().unwrap().iter().all(|entry| entry["tenant"] == "shop"), "{log}");
    for (method, path) in [("DELETE", ""), ("POST", "/rotate")] {
        let path = format!("/api-keys/{}{path}", id_of(&other));
        let unknown = path.replace(id_of(&other), "unknown1");
        let (status, problem) = send(&gateway, method, &path, &owner, Value::Null).await;
        let of_unknown = send(&gateway, method, &unknown, &owner, Value::Null).await;
        assert_eq!(status, 404);
        let same = problem.to_string().replace(id_of(&other), "unknown1");
        assert_eq!(same, of_unknown.1.to_string(), "the response is that of an unknown key");
    }
    for wrong in [
        json!({"name": "x", "role": "admin"}),
        json!({"name": "x", "role": "reader", "allTenants": true}),
        json!({"name": "x", "role": "reader", "tenant": "default"}),
    ] {
        let (status, problem) = send(&gateway, "POST", "/api-keys", &owner, wrong.clone()).await;
        assert_eq!((status, &problem["code"]), (403, &json!("forbidden")), "{wrong}");
    }
    let (status, created) =
        send(&gateway, "POST", "/api-keys", &owner, json!({"name": "x", "role": "reader"})).await;
    assert_eq!((status, &created["stored"]["tenant"]), (201, &json!("shop")));
    assert_eq!(send(&gateway, "GET", "/queue", &other, Value::Null).await.0, 200);
    gateway.stop().await;
});
