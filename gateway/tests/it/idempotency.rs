//! Repeated creates with an idempotency key.

use std::sync::Arc;
use std::time::Duration;

use domain::{Draft, OrderId};
use gateway::Config;
use gateway::store::{CreateRequest, Idempotency, InsertOutcome, NewOrder, request_hash};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use test_database::Database;

use crate::harness::{Backend, Gateway, On};
use crate::on_both;

async fn post(gateway: &Gateway<'_>, key: &str, body: &Value) -> Response {
    let request = gateway.client.post(gateway.url("/orders")).header("idempotency-key", key);
    request.header("content-type", "application/json").body(body.to_string()).send().await.unwrap()
}

fn laptop() -> Value {
    json!({"item": "Laptop", "quantity": 2, "price": 1299.99, "customer": "Ann"})
}

async fn code(response: Response) -> (StatusCode, String) {
    let status = response.status();
    let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    (status, body["code"].as_str().unwrap().to_owned())
}

fn new_order(backend: &Backend, key: &str, item: &str) -> CreateRequest {
    let now = backend.store.now();
    let draft =
        Draft { item: Some(item.into()), quantity: Some(1), price: Some("1".into()), ..Draft::default() };
    let content = draft.check(domain::Currency::USD).unwrap();
    let idempotency = Idempotency {
        key: key.parse().unwrap(),
        request_hash: request_hash(&content),
        expires_at: now + Duration::from_secs(3_600),
    };
    let order = NewOrder::new(OrderId::new(now), domain::TenantId::default(), content, now);
    CreateRequest { orders: [order].into(), idempotency: Some(idempotency) }
}

on_both!(a_repeated_create_replays_the_original_response, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let first = post(&gateway, "key-1", &laptop()).await;
    assert_eq!((first.status(), first.headers().get("idempotent-replayed")), (StatusCode::CREATED, None));
    let first = first.text().await.unwrap();
    let id = serde_json::from_str::<Value>(&first).unwrap()["id"].as_str().unwrap().to_owned();
    gateway.report(&id, "processing", "").await.unwrap();
    gateway.report(&id, "completed", "").await.unwrap();

    // A quoted key, as in the draft standard; fields in another order and the price as a JSON string.
    let reordered = json!({"customer": "Ann", "price": "1299.990", "quantity": 2, "item": "Laptop"});
    for (key, body) in [("key-1", laptop()), ("\"key-1\"", laptop()), ("key-1", reordered)] {
        let again = post(&gateway, key, &body).await;
        assert_eq!(again.status(), StatusCode::CREATED);
        assert_eq!(again.headers()["idempotent-replayed"], "true");
        assert_eq!(again.text().await.unwrap(), first);
    }
    // InstallationKeys are compared by their bytes.
    let other = post(&gateway, "KEY-1", &laptop()).await;
    assert_eq!(other.headers().get("idempotent-replayed"), None);
    gateway.stop().await;
});

on_both!(a_key_identifies_one_order_only, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    post(&gateway, "key-1", &laptop()).await;
    let reused = (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused".to_owned());
    for (field, value) in [
        ("quantity", json!(3)),
        ("customer", json!("Bob")),
        ("currency", json!("EUR")),
        ("maxAttempts", json!(2)),
    ] {
        let mut body = laptop();
        body[field] = value;
        assert_eq!(code(post(&gateway, "key-1", &body).await).await, reused, "{field}");
    }
    // A rejected order does not use its key.
    let mut wrong = laptop();
    wrong["quantity"] = json!(0);
    assert_eq!(post(&gateway, "key-2", &wrong).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(post(&gateway, "key-2", &laptop()).await.status(), StatusCode::CREATED);

    let long = "k".repeat(256);
    for key in ["", "two words", &long] {
        let refused = (StatusCode::BAD_REQUEST, "invalid_idempotency_key".to_owned());
        assert_eq!(code(post(&gateway, key, &laptop()).await).await, refused, "{key}");
    }
    gateway.stop().await;
});

on_both!(graphql_and_rest_share_idempotency_keys, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let order: Value =
        serde_json::from_str(&post(&gateway, "key-1", &laptop()).await.text().await.unwrap()).unwrap();
    let create = |key: &str, quantity: i32| {
        let query = "mutation ($input: CreateOrderInput!, $key: String) { createOrder(input: $input, \
                     idempotencyKey: $key) { order { id sequence } idempotentReplay userErrors { code field } } }";
        let input = json!({"item": "Laptop", "quantity": quantity, "price": "1299.99", "customer": "Ann"});
        let request = json!({"query": query, "variables": {"input": input, "key": key}});
        let request = gateway
            .client
            .post(gateway.url("/graphql"))
            .header("content-type", "application/json")
            .body(request.to_string());
        async move {
            let body = request.send().await.unwrap().text().await.unwrap();
            serde_json::from_str::<Value>(&body).unwrap()["data"]["createOrder"].clone()
        }
    };
    let expected =
        json!({"order": {"id": order["id"], "sequence": 1}, "idempotentReplay": true, "userErrors": []});
    assert_eq!(create("key-1", 2).await, expected);
    let refused = |code: &str| {
        let error = json!({"code": code, "field": ["idempotencyKey"]});
        json!({"order": null, "idempotentReplay": false, "userErrors": [error]})
    };
    assert_eq!(create("key-1", 3).await, refused("idempotency_key_reused"));
    assert_eq!(create("a b", 2).await, refused("invalid_idempotency_key"));
    assert_eq!(create("key-2", 2).await["idempotentReplay"], false);
    gateway.stop().await;
});

/// With servers the requests are sent to two gateways, with embedded back ends to one.
async fn many_at_once(on: On) {
    let backend = Backend::new(on).await;
    let a = backend.gateway(Config::default()).await;
    let b = if on == On::Servers { Some(backend.gateway(Config::default()).await) } else { None };
    let posts = (0..200).map(|n| {
        let gateway = b.as_ref().filter(|_| n % 2 == 1).unwrap_or(&a);
        async move {
            let response = post(gateway, "the-key", &laptop()).await;
            let replayed = response.headers().contains_key("idempotent-replayed");
            (response.status(), replayed, response.text().await.unwrap())
        }
    });
    let answers = futures_util::future::join_all(posts).await;
    assert!(answers.iter().all(|(status, _, body)| (*status, body) == (StatusCode::CREATED, &answers[0].2)));
    assert_eq!(answers.iter().filter(|(_, replayed, _)| !replayed).count(), 1);
    let stored = backend
        .store
        .list(&domain::Principal::anonymous(), &domain::query::Filter::default(), None, 10)
        .await
        .unwrap();
    assert_eq!(stored.len(), 1);
    a.stop().await;
    if let Some(b) = b {
        b.stop().await;
    }
}

on_both!(two_hundred_creates_with_one_key_create_one_order, many_at_once);

/// A gateway that froze during a create keeps the key locked until its transaction ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_locked_key_blocks_no_other_create() {
    let backend = Backend::new(On::Servers).await;
    let gateway = backend.gateway(Config::default()).await;
    let mut frozen = Database::connect(backend.url()).await.unwrap();
    for statement in [
        "START TRANSACTION",
        "INSERT INTO idempotency_keys (tenant_id, idempotency_key, request_hash, order_id, created_at, expires_at) \
         VALUES ('default', 'locked', UNHEX(REPEAT('00', 32)), UNHEX(REPEAT('00', 16)), 0, 0)",
    ] {
        frozen.run(statement).await.unwrap();
    }
    let keys: Vec<String> =
        (0..20).map(|n| if n == 7 { "locked".to_owned() } else { format!("key-{n}") }).collect();
    let a = &gateway;
    let posts = keys.iter().map(|key| async move {
        let answer = post(a, key, &laptop()).await;
        (key == "locked", answer.status())
    });
    for (locked, status) in futures_util::future::join_all(posts).await {
        let expected = if locked { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::CREATED };
        assert_eq!(status, expected);
    }
    frozen.run("ROLLBACK").await.unwrap();
    assert_eq!(post(&gateway, "locked", &laptop()).await.status(), StatusCode::CREATED);
    gateway.stop().await;
}

// An upgrade must recognise the keys of the version before: the stored hash never changes.
on_both!(the_stored_hash_of_a_request_is_fixed, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    assert_eq!(post(&gateway, "key-1", &laptop()).await.status(), StatusCode::CREATED);
    let mut database = Database::connect(backend.url()).await.unwrap();
    let stored: Vec<u8> = database.value("SELECT request_hash FROM idempotency_keys").await.unwrap();
    let hex: String = stored.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "016ea47947bd2742631fa977024ff6a8a5beef88d77ea7f2b6827b1b26572e4b");
    database.close().await;
    gateway.stop().await;
});

on_both!(one_batch_accepts_the_same_key_twice, |on| async move {
    let backend = Backend::new(on).await;
    let orders: Arc<[CreateRequest]> =
        [new_order(&backend, "k", "a"), new_order(&backend, "k", "a"), new_order(&backend, "k", "b")].into();
    let expected =
        [InsertOutcome::Inserted, InsertOutcome::Replayed(orders[0].id()), InsertOutcome::KeyConflict];
    assert_eq!(backend.store.insert(orders.clone()).await.unwrap(), expected);
    assert_eq!(
        backend
            .store
            .orders(&domain::Principal::anonymous(), &[orders[0].id(), orders[1].id()])
            .await
            .unwrap()
            .len(),
        1
    );
});

on_both!(expired_keys_are_removed_and_can_be_used_again, |on| async move {
    let backend = Backend::new(on).await;
    let (mut old, fresh) = (new_order(&backend, "old", "a"), new_order(&backend, "fresh", "a"));
    old.idempotency.as_mut().unwrap().expires_at = backend.store.now();
    backend.store.insert([old, fresh].into()).await.unwrap();
    assert!(!backend.store.prune_idempotency_keys().await.unwrap(), "nothing more to remove");
    let again = [new_order(&backend, "old", "b"), new_order(&backend, "fresh", "b")];
    let inserted = backend.store.insert(again.into()).await.unwrap();
    assert_eq!(inserted, [InsertOutcome::Inserted, InsertOutcome::KeyConflict]);
});
