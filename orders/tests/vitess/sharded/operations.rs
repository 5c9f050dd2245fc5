//! Operations that concern more than one order, or what belongs to no order, on two shards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::State;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use crate::harness::eventually;
use crate::system::{QUICK, SHARDS, System, count, order, vtgate};

/// Creates orders of a customer until both shards have some.
pub(super) async fn create_on_both(system: &System, order: &Value) -> Vec<String> {
    let customer = order["customer"].as_str().expect("a customer");
    let mut ids = Vec::new();
    loop {
        ids.push(system.create(order).await);
        if ids.len() >= 8 && on_each(customer).await.into_iter().all(|count| count > 0) {
            return ids;
        }
        assert!(ids.len() < 64, "one shard has all orders");
    }
}

/// Returns the number of orders of a customer on each shard.
async fn on_each(customer: &str) -> Vec<i64> {
    let mut counts = Vec::new();
    for shard in SHARDS {
        let mut connection = vtgate(&format!(":{shard}@primary")).await;
        let sql = format!("SELECT COUNT(*) FROM orders WHERE customer = '{customer}'");
        counts.push(count(&mut connection, &sql).await);
    }
    counts
}

/// A customer that no other run has.
pub(super) fn customer(name: &str) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is after 1970");
    format!("{name}-{}", now.as_micros())
}

#[tokio::test]
async fn failed_orders_are_listed_and_redriven() {
    let mut system = System::start_with(&[QUICK, &["--simulate-failure-rate", "1"]].concat(), &[]).await;
    let customer = customer("failed");
    let mut own = order();
    own["customer"] = json!(customer);
    own["maxAttempts"] = json!(1);
    let mut ids = create_on_both(&system, &own).await;
    for id in &ids {
        system.api.wait_for_status(id, "failed").await;
    }
    let (status, listed) =
        system.api.get(&format!("/orders?customer={customer}&status=failed&limit=64")).await;
    assert_eq!((status, listed.as_array().map(Vec::len)), (200, Some(ids.len())), "{listed}");

    system.replace_processor(QUICK).await;
    let one = ids.pop().expect("an order");
    assert_eq!(system.api.post(&format!("/orders/{one}/redrive"), &json!({})).await.0, 200);
    let (status, others) =
        system.api.post("/dead-letters/redrive", &json!({"filter": {"customer": customer}})).await;
    assert_eq!((status, others["count"].as_u64()), (200, Some(ids.len() as u64)), "{others}");
    for id in ids.iter().chain([&one]) {
        system.api.wait_for_status(id, "completed").await;
    }
    system.command(&["doctor"]).await;
}

#[tokio::test]
async fn expired_leases_are_given_to_another_worker() {
    let slow = ["--simulate-min-delay", "10m", "--simulate-max-delay", "10m", "--concurrency", "64"];
    let mut system = System::start_with(&slow, &[]).await;
    let mut own = order();
    own["customer"] = json!(customer("expired"));
    let ids = create_on_both(&system, &own).await;
    for id in &ids {
        system.api.wait_for_status(id, "processing").await;
    }
    system.replace_processor(QUICK).await;
    for id in &ids {
        let order = system.api.wait_for_status(id, "completed").await;
        assert_eq!(order["attempt"], 2, "{order}");
    }
    system.command(&["doctor"]).await;
}

/// The events of each order that a webhook endpoint received.
type Received = Arc<Mutex<BTreeMap<String, Vec<u64>>>>;

async fn receive(State(received): State<Received>, Json(event): Json<Value>) {
    let data = &event["data"];
    let order = data["orderId"].as_str().expect("an order").to_owned();
    let sequence = data["sequence"].as_u64().expect("a sequence");
    received.lock().await.entry(order).or_default().push(sequence);
}

#[tokio::test]
async fn webhooks_deliver_the_events_of_both_shards() {
    let received = Received::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let router = Router::new().fallback(receive).with_state(received.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });

    let key = tempfile::NamedTempFile::new().expect("a temporary file");
    // 32 bytes in base64.
    std::fs::write(&key, format!("{}=\n", "A".repeat(43))).expect("it is ours");
    let path = key.path().display().to_string();
    let variables =
        [("ORDERS_WEBHOOK_ALLOW_NETWORKS", "127.0.0.0/8"), ("ORDERS_SECRET_KEY_FILE", path.as_str())];
    let system = System::start_with(QUICK, &variables).await;
    let (status, created) = system.api.post("/webhooks", &json!({"url": url, "payload": "thin"})).await;
    assert_eq!(status, 201, "{created}");
    let mut own = order();
    own["customer"] = json!(customer("webhook"));
    let ids = create_on_both(&system, &own).await;
    eventually("all events", || async {
        let received = received.lock().await;
        ids.iter().all(|id| received.get(id).is_some_and(|events| events[..] == [1, 2, 3])).then_some(())
    })
    .await;
    let endpoint = created["endpoint"]["id"].as_str().expect("an id");
    let (status, _) = system.request("DELETE", &format!("/webhooks/{endpoint}"), None, &json!(null)).await;
    assert_eq!(status, 204);
}

#[tokio::test]
async fn a_customer_is_exported_and_erased_and_old_orders_are_removed() {
    let mut system = System::start().await;
    let customer = customer("erased");
    let mut own = order();
    own["customer"] = json!(customer);
    let ids = create_on_both(&system, &own).await;
    for id in &ids {
        system.api.wait_for_status(id, "completed").await;
    }
    let exported = system.command(&["customer", "export", "--customer", &customer]).await;
    let mut found: Vec<String> = exported
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).expect("JSON")["id"].as_str().expect("an id").to_owned()
        })
        .collect();
    found.sort();
    let mut expected = ids.clone();
    expected.sort();
    assert_eq!(found, expected);
    system.command(&["customer", "erase", "--customer", &customer]).await;
    assert_eq!(on_each(&customer).await, [0, 0]);
    assert_ne!(system.api.order(&ids[0]).await["customer"], json!(customer));

    // No retention is shorter than that of idempotency keys, so the orders are made older.
    for shard in SHARDS {
        let mut connection = vtgate(&format!(":{shard}@primary")).await;
        let sql =
            "UPDATE orders SET created_at = created_at - 7200000000, updated_at = updated_at - 7200000000";
        sqlx::raw_sql(sql).execute(&mut connection).await.expect("an update");
    }
    system.restart(&[("ORDERS_RETAIN_COMPLETED", "1h"), ("ORDERS_IDEMPOTENCY_TTL", "1h")]).await;
    eventually("every order to be removed", || async {
        for id in &ids {
            if system.api.get(&format!("/orders/{id}")).await.0 != 404 {
                return None;
            }
        }
        Some(())
    })
    .await;
    for table in ["order_events", "idempotency_keys", "order_outputs"] {
        for shard in SHARDS {
            let mut connection = vtgate(&format!(":{shard}@primary")).await;
            let orphans = format!(
                "SELECT COUNT(*) FROM {table} LEFT JOIN orders ON orders.id = {table}.order_id WHERE orders.id IS NULL"
            );
            assert_eq!(count(&mut connection, &orphans).await, 0, "{table} of {shard}");
        }
    }
    system.command(&["doctor"]).await;
}
