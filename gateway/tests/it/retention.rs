//! Retention removes final orders after their retention time, and no others.

use std::time::Duration;

use domain::transition::{Command, Rules};
use domain::{Draft, JsonText, LeaseToken, OrderId, Outcome, Status};
use gateway::store::{CreateRequest, Idempotency, NewOrder, PRUNE_BATCH, Retention, request_hash};
use gateway::{Config, Store};
use reqwest::StatusCode;
use serde_json::{Value, json};
use test_database::Database;

use crate::harness::{Backend, Gateway, On, check_invariants, eventually};
use crate::on_both;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MONTH: Retention = Retention { finished: Some(Duration::from_secs(30 * 24 * 60 * 60)), failed: None };

fn retaining(retention: Retention) -> Config {
    let mut config = Config::default();
    config.service.retention = retention;
    config
}

/// Orders of this age, each with an idempotency key, with this status since then.
async fn orders_of(backend: &Backend, days: u32, status: Status, count: usize) -> Vec<OrderId> {
    let created_at = backend.store.now() - days * DAY;
    let draft =
        Draft { item: Some("Laptop".into()), quantity: Some(1), price: Some("1".into()), ..Draft::default() };
    let content = draft.check(domain::Currency::USD).unwrap();
    let creation = |id: &OrderId| CreateRequest {
        orders: [NewOrder::new(*id, domain::TenantId::default(), content.clone(), created_at)].into(),
        idempotency: Some(Idempotency {
            key: format!("key-{id}").parse().unwrap(),
            request_hash: request_hash(&content),
            expires_at: backend.store.now() + DAY,
        }),
    };
    // The attempt before was released, so there are more events than the row contains.
    let (before, lease) = (LeaseToken::random(), LeaseToken::random());
    let commands = |id: &OrderId| -> Vec<(OrderId, Command)> {
        let back = Command::Finish { lease: before, outcome: Outcome::Released };
        let finish = |outcome| vec![Command::start(lease), Command::Finish { lease, outcome }];
        let last = match status {
            Status::Pending => return vec![],
            Status::Processing => vec![Command::start(lease)],
            Status::Completed => {
                finish(Outcome::CompletedWith(JsonText::parse(r#"{"parcel":"1Z"}"#).unwrap()))
            }
            Status::Failed => finish(Outcome::Failed { reason: "no".into(), class: None }),
            Status::Cancelled => vec![Command::Cancel { reason: None, requester: None }],
        };
        let all = [Command::start(before), back].into_iter().chain(last);
        all.map(|command| (*id, command)).collect()
    };
    let ids = OrderId::new(created_at).consecutive(count);
    for ids in ids.chunks(500) {
        backend.store.insert(ids.iter().map(creation).collect()).await.unwrap();
        let commands: Vec<_> = ids.iter().flat_map(commands).collect();
        backend.store.apply(commands.into(), Rules::default()).await.unwrap();
    }
    let created_at = created_at.as_micros();
    run(backend, &format!("UPDATE orders SET updated_at = created_at WHERE created_at = {created_at}")).await;
    ids
}

async fn connect(backend: &Backend) -> Database {
    Database::connect(backend.url()).await.unwrap()
}

async fn run(backend: &Backend, sql: &str) {
    connect(backend).await.run(sql).await.unwrap();
}

/// The number of rows of the tables of orders, events and keys.
async fn rows(backend: &Backend) -> [i64; 3] {
    let mut connection = connect(backend).await;
    let mut counts = [0; 3];
    for (count, table) in counts.iter_mut().zip(["orders", "order_events", "idempotency_keys"]) {
        let query = format!("SELECT COUNT(*) FROM {table}");
        *count = connection.value(query).await.unwrap();
    }
    counts
}

/// Applies the retention to one status, and returns the number of orders that each batch removed.
async fn prune(store: &Store, status: Status, retention: Retention) -> Vec<u64> {
    let (mut batches, mut after) = (Vec::new(), None);
    loop {
        let pruned = store.prune_orders(status, retention, after).await.unwrap();
        batches.push(pruned.orders);
        match pruned.next {
            Some(next) => after = Some(next),
            None => return batches,
        }
    }
}

async fn get(gateway: &Gateway<'_>, path: &str) -> (StatusCode, Value) {
    let response = gateway.client.get(gateway.url(path)).send().await.unwrap();
    (response.status(), serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

fn sorted(mut ids: Vec<OrderId>) -> Vec<OrderId> {
    ids.sort_unstable();
    ids
}

on_both!(retention_removes_old_final_orders_with_their_events_and_keys, |on| async move {
    gateway::metrics::install();
    let backend = Backend::new(on).await;
    let mut old = orders_of(&backend, 40, Status::Completed, 3).await;
    old.extend(orders_of(&backend, 31, Status::Cancelled, 2).await);
    let mut kept = Vec::new();
    for status in [Status::Pending, Status::Processing, Status::Failed] {
        kept.extend(orders_of(&backend, 41, status, 2).await);
    }
    kept.extend(orders_of(&backend, 29, Status::Completed, 2).await);
    // Created long ago, and completed now.
    let late = orders_of(&backend, 42, Status::Pending, 1).await[0];
    let lease = LeaseToken::random();
    let completed = Command::Finish { lease, outcome: Outcome::Completed };
    let commands = [(late, Command::start(lease)), (late, completed)];
    backend.store.apply(commands.into(), Rules::default()).await.unwrap();
    kept.push(late);
    let all: Vec<OrderId> = old.iter().chain(&kept).copied().collect();

    let gateway = backend.gateway(retaining(MONTH)).await;
    eventually("the end of the old orders", || async {
        backend.store.orders(&domain::Principal::anonymous(), &old).await.unwrap().is_empty().then_some(())
    })
    .await;
    let left = backend
        .store
        .orders(&domain::Principal::anonymous(), &all)
        .await
        .unwrap()
        .iter()
        .map(|order| order.id)
        .collect();
    assert_eq!(sorted(left), sorted(kept.clone()));
    let cursors: Vec<_> = old.iter().map(|id| (*id, 0)).collect();
    assert!(backend.store.events_after(&domain::Principal::anonymous(), &cursors).await.unwrap().is_empty());
    let outputs = backend.store.outputs(&all).await.unwrap();
    assert_eq!(outputs.len(), 2, "those of the completed orders that are kept: {outputs:?}");
    let [orders, _, keys] = rows(&backend).await;
    assert_eq!((orders, keys), (kept.len() as i64, kept.len() as i64));
    for path in [format!("/orders/{}", old[0]), format!("/orders/{}/events", old[4])] {
        let (status, problem) = get(&gateway, &path).await;
        assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("order_not_found")));
    }
    assert!(telemetry::recorder::render().contains("\norders_pruned_total "));
    gateway.stop().await;
});

on_both!(nothing_is_removed_without_a_retention_setting, |on| async move {
    let backend = Backend::new(on).await;
    orders_of(&backend, 20_000, Status::Completed, 2).await;
    for status in Status::ALL {
        assert_eq!(prune(&backend.store, status, Retention::default()).await, [0]);
    }
    assert_eq!(rows(&backend).await, [2, 4, 2]);
});

on_both!(failed_orders_have_a_separate_retention_time, |on| async move {
    let backend = Backend::new(on).await;
    let dead = orders_of(&backend, 10, Status::Failed, 2).await;
    orders_of(&backend, 10, Status::Completed, 1).await;
    orders_of(&backend, 6, Status::Failed, 1).await;
    let week = Retention { failed: Some(7 * DAY), ..MONTH };
    let redrive = Command::Redrive { reason: None, not_before: None, requester: None };
    backend.store.apply([(dead[0], redrive)].into(), Rules::default()).await.unwrap();
    let mut batches = Vec::new();
    for status in Status::ALL {
        batches.extend(prune(&backend.store, status, week).await);
    }
    assert_eq!(batches.iter().sum::<u64>(), 1);
    let left = backend.store.orders(&domain::Principal::anonymous(), &dead).await.unwrap();
    assert_eq!(left.iter().map(|order| order.id).collect::<Vec<_>>(), [dead[0]], "it was redriven");
    assert_eq!(rows(&backend).await[0], 3);
    check_invariants(&backend.store).await;
});

on_both!(retention_batches_are_bounded_and_pass_orders_that_remain, |on| async move {
    let backend = Backend::new(on).await;
    let batch = PRUNE_BATCH as u64;
    // More than a page of orders that changed since precede those that are removed.
    orders_of(&backend, 50, Status::Cancelled, PRUNE_BATCH + 1).await;
    let now = backend.store.now().as_micros();
    run(&backend, &format!("UPDATE orders SET updated_at = {now}")).await;
    orders_of(&backend, 40, Status::Cancelled, 2 * PRUNE_BATCH).await;
    let before = rows(&backend).await;
    assert_eq!(prune(&backend.store, Status::Cancelled, MONTH).await, [0, batch - 1, batch, 1,]);
    let gone = [2 * batch as i64; 3];
    let left: Vec<i64> = before.iter().zip(gone).map(|(before, gone)| before - gone).collect();
    assert_eq!(rows(&backend).await.to_vec(), left);
    check_invariants(&backend.store).await;
});

on_both!(an_order_that_cannot_be_removed_keeps_its_rows_and_blocks_no_other, |on| async move {
    let backend = Backend::new(on).await;
    let old = orders_of(&backend, 40, Status::Completed, 10).await;
    // The last statement of the transaction fails for one of them.
    run(&backend, "CREATE TABLE hold (id BINARY(16) NOT NULL, FOREIGN KEY (id) REFERENCES orders (id))")
        .await;
    let id = old[7].to_string().replace('-', "");
    run(&backend, &format!("INSERT INTO hold (id) VALUES (x'{id}')")).await;
    assert_eq!(prune(&backend.store, Status::Completed, MONTH).await, [9]);
    assert_eq!(rows(&backend).await, [1, 2, 1]);
    check_invariants(&backend.store).await;
    run(&backend, "DROP TABLE hold").await;
    assert_eq!(prune(&backend.store, Status::Completed, MONTH).await, [1]);
    assert_eq!(rows(&backend).await, [0, 0, 0]);
});

/// SQLite locks no rows. In a small table MySQL scans all rows of a DELETE, and waits.
#[tokio::test]
async fn retention_skips_a_locked_order() {
    let backend = Backend::new(On::Servers).await;
    orders_of(&backend, 40, Status::Failed, 500).await;
    let old = orders_of(&backend, 40, Status::Completed, 5).await;
    let mut other = connect(&backend).await;
    let id = old[2].to_string().replace('-', "");
    other.run("START TRANSACTION").await.unwrap();
    let lock = format!("SELECT id FROM orders WHERE id = x'{id}' FOR UPDATE");
    other.run(lock).await.unwrap();
    assert_eq!(prune(&backend.store, Status::Completed, MONTH).await, [4]);
    other.run("ROLLBACK").await.unwrap();
    assert_eq!(prune(&backend.store, Status::Completed, MONTH).await, [1]);
    assert_eq!(rows(&backend).await[0], 500);
}

async fn post(gateway: &Gateway<'_>, path: &str, body: &Value) -> (bool, Value) {
    let request = gateway.client.post(gateway.url(path)).header("idempotency-key", "the-key");
    let request = request.header("content-type", "application/json").body(body.to_string());
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    let replayed = response.headers().contains_key("idempotent-replayed");
    (replayed, serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

/// Cancels an order and removes it.
async fn remove(gateway: &Gateway<'_>, id: &Value) {
    let id: OrderId = id.as_str().unwrap().parse().unwrap();
    let store = &gateway.backend.store;
    store
        .apply([(id, Command::Cancel { reason: None, requester: None })].into(), Rules::default())
        .await
        .unwrap();
    run(gateway.backend, "UPDATE orders SET updated_at = 1, created_at = 1 WHERE status = 'cancelled'").await;
    assert_eq!(prune(store, Status::Cancelled, MONTH).await, [1]);
}

on_both!(a_repeated_create_after_retention_creates_a_new_order, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let body = json!({"item": "Laptop", "quantity": 1, "price": 1});
    let first = post(&gateway, "/orders", &body).await.1;
    assert_eq!(post(&gateway, "/orders", &body).await, (true, first.clone()));
    remove(&gateway, &first["id"]).await;
    let (replayed, second) = post(&gateway, "/orders", &body).await;
    assert!(!replayed && second["id"] != first["id"]);
    assert_eq!(post(&gateway, "/orders", &body).await, (true, second));
    gateway.stop().await;
});

on_both!(a_bulk_with_a_removed_order_is_created_again, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let row = json!({"item": "Laptop", "quantity": 1, "price": 1});
    let body = json!([row, row, row]);
    let first = post(&gateway, "/orders/bulk", &body).await.1;
    remove(&gateway, &first["results"][1]["order"]["id"]).await;
    let (replayed, second) = post(&gateway, "/orders/bulk", &body).await;
    assert!(!replayed && second["results"][0]["order"]["id"] != first["results"][0]["order"]["id"]);
    assert_eq!(post(&gateway, "/orders/bulk", &body).await, (true, second));
    assert_eq!(rows(&backend).await, [5, 0, 1]);
    gateway.stop().await;
});

on_both!(pages_continue_after_a_removed_order, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let mut kept = Vec::new();
    let mut newest = Vec::new();
    for days in 40..60 {
        kept.extend(orders_of(&backend, days, Status::Failed, 1).await);
        newest = [newest, orders_of(&backend, days, Status::Cancelled, 1).await].concat();
    }
    let mut seen: Vec<String> = Vec::new();
    let mut after = String::new();
    loop {
        let page = get(&gateway, &format!("/orders?limit=7{after}")).await.1;
        let ids: Vec<String> =
            page.as_array().unwrap().iter().map(|order| order["id"].as_str().unwrap().to_owned()).collect();
        let Some(last) = ids.last() else { break };
        after = format!("&after={last}");
        seen.extend(ids);
        // Some orders of earlier pages are removed, and some of later ones.
        prune(&backend.store, Status::Cancelled, MONTH).await;
    }
    let distinct: std::collections::HashSet<&String> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len(), "an order is shown twice");
    assert!(kept.iter().all(|id| distinct.contains(&id.to_string())), "an order is left out");
    gateway.stop().await;
});

/// Processes orders, one at a time, until this number is completed.
async fn work(gateway: &Gateway<'_>, orders: usize) {
    for _ in 0..orders {
        let id = gateway.next_job().await;
        gateway.report(&id, "processing", "").await.unwrap();
        gateway.report(&id, "completed", "").await.unwrap();
    }
}

on_both!(two_gateways_apply_retention_while_orders_are_processed, |on| async move {
    const OLD: usize = 20_000;
    const NEW: usize = 100;
    let backend = Backend::new(on).await;
    orders_of(&backend, 40, Status::Completed, OLD / 2).await;
    orders_of(&backend, 35, Status::Cancelled, OLD / 2).await;
    let a = backend.gateway(retaining(MONTH)).await;
    let b = backend.gateway(retaining(MONTH)).await;
    let create = |gateway: &'static str| {
        let gateway = if gateway == "a" { &a } else { &b };
        async move {
            let mut ids = Vec::new();
            for _ in 0..NEW {
                ids.push(gateway.create_order().await);
            }
            ids
        }
    };
    let (one, other, (), ()) = tokio::join!(create("a"), create("b"), work(&a, NEW), work(&b, NEW));
    let mut left = rows(&backend).await[0];
    while left > 2 * NEW as i64 {
        let before = left;
        left = eventually("fewer orders", || async {
            Some(rows(&backend).await[0]).filter(|left| *left < before)
        })
        .await;
    }
    let ids: Vec<OrderId> = one.iter().chain(&other).map(|id| id.parse().unwrap()).collect();
    let orders = backend.store.orders(&domain::Principal::anonymous(), &ids).await.unwrap();
    assert_eq!(orders.len(), 2 * NEW);
    assert!(orders.iter().all(|order| order.status == Status::Completed));
    assert_eq!(rows(&backend).await, [200, 0, 0]);
    a.stop().await;
    b.stop().await;
});
