//! Entries of the audit log: written in the transaction of their action, with the caller.

use std::time::Duration;

use domain::transition::{Command, Rules};
use domain::{LeaseToken, Limits, Outcome, Principal, Role, Timestamp};
use gateway::Config;
use gateway::access::{self, KeyRequest, NewKeyTenant};
use gateway::store::AuditEntry;
use serde_json::{Value, json};

use crate::harness::{Backend, Gateway, eventually};
use crate::on_both;

async fn entries(backend: &Backend) -> Vec<AuditEntry> {
    let mut entries = backend.store.audit_log(None, None, 500).await.unwrap();
    entries.reverse();
    entries
}

fn shown(entry: &AuditEntry) -> (&str, &str, &str, Option<&str>) {
    (&entry.actor, &entry.action, &entry.target, entry.request_id.as_deref())
}

pub(crate) async fn fail(backend: &Backend, id: &str) {
    let (id, lease) = (id.parse().unwrap(), LeaseToken::random());
    let outcome = Outcome::failed("no carrier");
    for command in [Command::start(lease), Command::Finish { lease, outcome }] {
        backend.store.apply([(id, command)].into(), Rules::default()).await.unwrap();
    }
}

async fn post(gateway: &Gateway<'_>, key: &str, path: &str, body: Value) -> Value {
    let request = gateway.client.post(gateway.url(path)).header("x-request-id", "request-1");
    let request = if key.is_empty() { request } else { request.bearer_auth(key) };
    let response = request.json(&body).send().await.unwrap();
    let status = response.status();
    let body: Value = response.json().await.unwrap();
    assert!(status.is_success(), "{path}: {body}");
    body
}

async fn create(gateway: &Gateway<'_>, key: &str) -> String {
    let order = post(gateway, key, "/orders", json!({"item": "Tea", "quantity": 1, "price": 1})).await;
    order["id"].as_str().unwrap().to_owned()
}

on_both!(actions_of_operators_are_recorded, |on| async move {
    let backend = Backend::new(on).await;
    let mut config = Config::default();
    config.access.keys = true;
    let gateway = backend.gateway(config).await;
    let request = KeyRequest {
        name: "ops".to_owned(),
        tenant: NewKeyTenant::All,
        scopes: Role::Admin.scopes(),
        ttl: Duration::from_secs(3_600),
        limits: Limits::default(),
    };
    let issued = access::create(&backend.store, &Principal::anonymous(), &request, None).await.unwrap();
    let (key, actor) = (issued.key.expose(), format!("key:{}", issued.stored.id));

    post(&gateway, key, "/queue/pause", json!({"requestedBy": "ann"})).await;
    let paused: Value = {
        let request = gateway.client.get(gateway.url("/queue")).bearer_auth(key);
        request.send().await.unwrap().json().await.unwrap()
    };
    assert_eq!(paused["pausedBy"], format!("{actor} (ann)"));
    let cancelled = create(&gateway, key).await;
    let redriven = create(&gateway, key).await;
    for _ in 0..2 {
        post(&gateway, key, "/queue/resume", json!({})).await;
    }
    fail(&backend, &redriven).await;
    for _ in 0..2 {
        post(&gateway, key, &format!("/orders/{cancelled}/cancel"), json!({"reason": "changed"})).await;
    }
    post(&gateway, key, &format!("/orders/{redriven}/redrive"), json!({"requestedBy": "ann"})).await;
    fail(&backend, &redriven).await;
    let mutation =
        json!({"query": "mutation { redriveOrders(input: {filter: {}}) { count userErrors { code } } }"});
    let outcome = post(&gateway, key, "/graphql", mutation).await;
    assert_eq!(outcome["data"]["redriveOrders"]["count"], 1, "{outcome}");

    let entries = entries(&backend).await;
    let (actor, request) = (actor.as_str(), Some("request-1"));
    let expected = [
        (actor, "queue.pause", "queue", request),
        (actor, "queue.resume", "queue", request),
        (actor, "order.cancel", cancelled.as_str(), request),
        (actor, "order.redrive", redriven.as_str(), request),
        (actor, "order.redrive", redriven.as_str(), request),
    ];
    // The first entry is that of the key. A repeated action changes nothing and has none.
    assert_eq!(entries[1..].iter().map(shown).collect::<Vec<_>>(), expected);
    let order: Value = {
        let request = gateway.client.get(gateway.url(&format!("/orders/{redriven}/events"))).bearer_auth(key);
        request.send().await.unwrap().json().await.unwrap()
    };
    assert!(order.to_string().contains(&format!("redriven by {actor} (ann)")), "{order}");
    gateway.stop().await;
});

on_both!(actions_without_authentication_are_recorded_as_anonymous, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let id = create(&gateway, "").await;
    post(&gateway, "", &format!("/orders/{id}/cancel"), json!({})).await;
    let entries = entries(&backend).await;
    let expected = [("anonymous", "order.cancel", id.as_str(), Some("request-1"))];
    assert_eq!(entries.iter().map(shown).collect::<Vec<_>>(), expected);
    gateway.stop().await;
});

on_both!(old_entries_are_removed, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    for _ in 0..2 {
        let id = create(&gateway, "").await;
        post(&gateway, "", &format!("/orders/{id}/cancel"), json!({})).await;
        // An id contains its time in milliseconds.
        let next = backend.store.now() + Duration::from_millis(2);
        eventually("the next millisecond", async || (backend.store.now() > next).then_some(())).await;
    }
    let second = entries(&backend).await[1].clone();
    assert!(!backend.store.prune_audit_log(second.at).await.unwrap(), "there are no more");
    assert_eq!(entries(&backend).await, [second]);
    backend.store.prune_audit_log(backend.store.now() + Duration::from_secs(1)).await.unwrap();
    assert_eq!(entries(&backend).await, []);
    assert!(!backend.store.prune_audit_log(Timestamp::from_micros(0)).await.unwrap());
    gateway.stop().await;
});
