//! All operations on two shards, the routes of the statements, and a shard that is killed.

mod operations;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, MySqlConnection, Row};

use self::operations::{create_on_both, customer};
use crate::harness::{eventually, id};
use crate::system::{QUICK, SHARDS, System, count, order, setting, vtgate};

fn hex(id: &str) -> String {
    format!("x'{}'", id.replace('-', ""))
}

#[tokio::test]
async fn every_operation_passes_on_two_shards() {
    let system = System::start().await;
    let api = &system.api;
    let mark = format!("C{}", std::process::id());
    let mut own = order();
    own["customer"] = json!(mark);

    // Accept and complete.
    let mut ids = Vec::new();
    for _ in 0..24 {
        ids.push(system.create(&own).await);
    }
    for id in &ids {
        api.wait_for_status(id, "completed").await;
    }
    // Both shards have some of them.
    for shard in SHARDS {
        let mut connection = vtgate(&format!(":{shard}@primary")).await;
        let sql = format!("SELECT COUNT(*) FROM orders WHERE customer = '{mark}'");
        assert!(count(&mut connection, &sql).await > 0, "{shard}");
    }

    // Repeat by key, alone and as a bulk.
    for n in 0..8 {
        let key = format!("{mark}-{n}");
        let (_, first) = system.request("POST", "/orders", Some(&key), &own).await;
        let (status, again) = system.request("POST", "/orders", Some(&key), &own).await;
        assert_eq!((status, &again["id"]), (201, &first["id"]));
        let (status, other) = system.request("POST", "/orders", Some(&key), &order()).await;
        assert_eq!((status, &other["code"]), (422, &json!("idempotency_key_reused")));
        ids.push(id(&first));
    }
    let rows = Value::Array(vec![own.clone(); 30]);
    let (status, bulk) = system.request("POST", "/orders/bulk", Some(&mark), &rows).await;
    assert_eq!(status, 201, "{bulk}");
    assert_eq!(system.request("POST", "/orders/bulk", Some(&mark), &rows).await.1["orders"], bulk["orders"]);

    // Pages of a list, newest first, contain each order once.
    let mut seen: Vec<String> = Vec::new();
    loop {
        let after = seen.last().map(|id| format!("&after={id}")).unwrap_or_default();
        let (status, page) = api.get(&format!("/orders?customer={mark}&limit=7{after}")).await;
        assert_eq!(status, 200, "{page}");
        let page: Vec<String> = page.as_array().expect("a list").iter().map(id).collect();
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    assert!(seen.is_sorted_by(|a, b| a > b), "{seen:?}");
    assert_eq!(seen.len(), 24 + 8 + 30);

    // Pause, cancel, replace, notes, metadata, resume.
    assert_eq!(api.post("/queue/pause", &json!({})).await.0, 200);
    for shard in SHARDS {
        let mut connection = vtgate(&format!(":{shard}@primary")).await;
        assert_eq!(
            count(&mut connection, "SELECT COUNT(*) FROM queues WHERE paused_at IS NOT NULL").await,
            1
        );
    }
    let mut waiting = Vec::new();
    for _ in 0..8 {
        waiting.push(system.create(&own).await);
    }
    for id in &waiting[..4] {
        let (status, cancelled) = api.post(&format!("/orders/{id}/cancel"), &json!({})).await;
        assert_eq!((status, &cancelled["status"]), (200, &json!("cancelled")));
    }
    let (status, new) = api.post(&format!("/orders/{}/replace", waiting[4]), &own).await;
    assert_eq!(status, 201, "{new}");
    assert_eq!(api.post(&format!("/orders/{}/notes", waiting[5]), &json!({"text": "packed"})).await.0, 201);
    let (status, _) =
        system.request("PATCH", &format!("/orders/{}/metadata", waiting[5]), None, &json!({"a": "b"})).await;
    assert_eq!(status, 200);
    assert_eq!(api.order(&waiting[6]).await["status"], "pending");
    assert_eq!(api.post("/queue/resume", &json!({})).await.0, 200);
    for id in waiting[5..].iter().chain([&id(&new)]) {
        api.wait_for_status(id, "completed").await;
    }
    assert_eq!(api.watch(&waiting[6]).await.len(), 3);

    // The log gets the events of both shards.
    eventually("every event to be numbered", || async {
        let mut left = 0;
        for shard in SHARDS {
            let mut connection = vtgate(&format!(":{shard}@primary")).await;
            left += count(&mut connection, "SELECT COUNT(*) FROM event_log WHERE position IS NULL").await;
        }
        (left == 0).then_some(())
    })
    .await;

    // References that are unique for a tenant, whatever the shards of their orders are.
    system.command(&["tenants", "update", "default", "--unique-references", "on"]).await;
    let mut referenced = Vec::new();
    for n in 0..12 {
        let mut own = own.clone();
        own["externalReference"] = json!(format!("{mark}-{n}"));
        referenced.push(system.create(&own).await);
        let (status, taken) = system.request("POST", "/orders", None, &own).await;
        assert_eq!((status, &taken["code"]), (409, &json!("reference_taken")), "{taken}");
    }
    // A reservation whose order was never written is taken over.
    let lost = format!("{mark}-lost");
    for shard in SHARDS {
        let sql = format!(
            "INSERT INTO order_references (tenant_id, reference, order_id) VALUES ('default', '{lost}', {})",
            hex("01890a5d-ac96-774b-bcce-b302099a8057")
        );
        let mut connection = vtgate(&format!(":{shard}@primary")).await;
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.expect("an insert");
    }
    let mut own = own.clone();
    own["externalReference"] = json!(lost);
    system.create(&own).await;
    assert_eq!(system.request("POST", "/orders", None, &own).await.0, 409);
    system.command(&["tenants", "update", "default", "--unique-references", "off"]).await;
    system.command(&["doctor"]).await;

    // Every row is where vtgate looks for it, by the VSchema.
    let mut all = vtgate("").await;
    for id in ids.iter().chain(&waiting) {
        let sql = format!("SELECT COUNT(*) FROM orders WHERE id = {}", hex(id));
        assert_eq!(count(&mut all, &sql).await, 1, "{id}");
    }
    for (table, column) in [("audit_log", "id"), ("idempotency_keys", "order_id")] {
        for shard in SHARDS {
            let mut connection = vtgate(&format!(":{shard}@primary")).await;
            let rows = sqlx::raw_sql(AssertSqlSafe(format!("SELECT HEX({column}) FROM {table} LIMIT 20")));
            for row in rows.fetch_all(&mut connection).await.expect("rows") {
                let value: String = row.get(0);
                let sql = format!("SELECT COUNT(*) FROM {table} WHERE {column} = x'{value}'");
                assert_eq!(count(&mut all, &sql).await, 1, "{table} {value} of {shard}");
            }
        }
    }
}

/// Statements about orders by id, in any session, and those of a shard's session.
#[tokio::test]
async fn no_hot_statement_is_scattered() {
    let system = System::start().await;
    let order = system.create(&order()).await;
    system.api.wait_for_status(&order, "completed").await;
    let id = hex(&order);
    let mut all = vtgate("").await;
    for sql in [
        format!("SELECT * FROM orders WHERE id = {id} FOR UPDATE"),
        format!("UPDATE orders SET version = 3 WHERE version = 2 AND id IN ({id})"),
        format!("DELETE FROM order_events WHERE order_id IN ({id})"),
        format!("SELECT * FROM order_outputs WHERE order_id IN ({id})"),
    ] {
        let plan = plan(&mut all, &sql).await;
        assert!(plan.contains("EqualUnique") || plan.contains("\"IN\""), "{sql}: {plan}");
        assert!(!plan.contains("Scatter"), "{sql}: {plan}");
    }
    // The statements of creates, starts, reports, dispatch, expiry, retention, keys and the event log.
    for shard in SHARDS {
        let mut connection = vtgate(&format!(":{shard}@primary")).await;
        for sql in [
            "SELECT id FROM orders FORCE INDEX (orders_due) WHERE kind = 'default' AND priority = 'normal' AND tenant_id = 'default' AND due_at <= 5 ORDER BY due_at LIMIT 9 FOR UPDATE SKIP LOCKED",
            "SELECT id FROM orders FORCE INDEX (orders_by_stage) WHERE stage = 'held' AND held_until <= 5 LIMIT 9",
            "SELECT paused_at FROM queues WHERE name = 'orders' LOCK IN SHARE MODE",
            "INSERT INTO event_log (events, created_at, payload) VALUES (1, 1, x'00')",
            "SELECT id FROM event_log WHERE position IS NULL ORDER BY id LIMIT 9",
            "SELECT order_id FROM idempotency_keys WHERE tenant_id = 'default' AND idempotency_key IN ('a', 'b')",
            "DELETE FROM orders WHERE id IN (x'00', x'01')",
        ] {
            let plan = plan(&mut connection, sql).await;
            assert!(plan.contains(&format!("Shard({shard})")) && !plan.contains("Scatter"), "{sql}: {plan}");
        }
    }
    // What the gateway really sent.
    let http = setting("ORDERS_TEST_VTGATE_HTTP");
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let plans = client.get(format!("{http}/debug/query_plans")).send().await.expect("a response");
    let plans: Value = plans.json().await.expect("JSON");
    let plans = plans.as_object().expect("an object");
    let of_gateway = plans.values().filter(|plan| {
        let text = plan["Original"].as_str().unwrap_or_default();
        text.contains("orders") && !text.to_lowercase().contains("count(*)")
    });
    let mut checked = 0;
    for plan in of_gateway {
        assert!(!plan["Instructions"].to_string().contains("Scatter"), "{plan}");
        checked += 1;
    }
    assert!(checked > 5, "{checked}");
}

async fn plan(connection: &mut MySqlConnection, sql: &str) -> String {
    let sql = AssertSqlSafe(format!("VEXPLAIN PLAN {sql}"));
    sqlx::raw_sql(sql).fetch_one(connection).await.expect("a plan").get(0)
}

#[tokio::test]
async fn a_killed_tablet_stops_only_its_own_orders() {
    kill_under_load("tablet2", Some("80-")).await;
}

#[tokio::test]
async fn a_killed_mysql_stops_only_its_own_orders() {
    kill_under_load("mysqld2", Some("80-")).await;
}

/// The first shard has what belongs to no order as well.
#[tokio::test]
async fn a_killed_first_shard_stops_only_its_own_orders() {
    kill_under_load("mysqld1", Some("-80")).await;
}

#[tokio::test]
async fn a_killed_vtgate_loses_nothing() {
    kill_under_load("vtgate", None).await;
}

/// A worker with one slot gets jobs of the lost shard first. It must still get those of the other one.
#[tokio::test]
async fn jobs_of_a_lost_shard_keep_no_slots() {
    let mut system = System::start().await;
    system.kill_processor().await;
    let mut own = order();
    own["customer"] = json!(customer("lost"));
    let ids = create_on_both(&system, &own).await;
    let queued = format!(
        "SELECT COUNT(*) FROM orders WHERE customer = {} AND status = 'pending' AND stage = 'held'",
        own["customer"].to_string().replace('"', "'")
    );
    eventually("jobs for all orders", || async {
        let queued = count(&mut vtgate("").await, &queued).await;
        (usize::try_from(queued) == Ok(ids.len())).then_some(())
    })
    .await;

    script(["kill", "mysqld2"]).await;
    system.wait_for_shards(false).await;
    system.replace_processor(&[QUICK, &["--concurrency", "1"]].concat()).await;
    let others = [system.create(&own).await, system.create(&own).await];
    for id in &others {
        system.api.wait_for_status(id, "completed").await;
    }

    script(["restart", "mysqld2"]).await;
    system.wait_for_shards(true).await;
    for id in &ids {
        let order = system.api.wait_for_status(id, "completed").await;
        assert_eq!(order["attempt"], 1, "{order}");
    }
    system.command(&["doctor"]).await;
}

async fn script(arguments: [&str; 2]) {
    let status =
        tokio::process::Command::new(setting("ORDERS_TEST_VITESS_SCRIPT")).args(arguments).status().await;
    assert!(status.expect("the script runs").success(), "{arguments:?}");
}

/// Kills a process of Vitess for some seconds while orders are created. `shard` is the one that does not respond meanwhile.
async fn kill_under_load(process: &str, shard: Option<&str>) {
    let system = Arc::new(System::start().await);
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..8)
        .map(|n| {
            let (system, stop, process) = (system.clone(), stop.clone(), process.to_owned());
            tokio::spawn(async move {
                let (mut accepted, mut refused) = (Vec::new(), Vec::new());
                let mut k = 0;
                while !stop.load(Ordering::Relaxed) {
                    k += 1;
                    let key = (n % 4 == 0).then(|| format!("{process}-{}-{n}-{k}", std::process::id()));
                    match system.request("POST", "/orders", key.as_deref(), &order()).await {
                        (201, order) => accepted.push(id(&order)),
                        (status, error) => refused.push((Instant::now(), key.is_some(), status, error)),
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                (accepted, refused)
            })
        })
        .collect();
    system.api.wait_for_status(&system.create(&order()).await, "completed").await;
    script(["kill", process]).await;
    if let Some(shard) = shard {
        let named = system.wait_for_shards(false).await;
        assert!(named.contains(shard), "{named}");
        // The other shard continues: creates without a key succeed, and their orders are completed.
        let degraded = Instant::now();
        for _ in 0..20 {
            let id = system.create(&order()).await;
            system.api.wait_for_status(&id, "completed").await;
        }
        assert!(degraded.elapsed() < Duration::from_secs(30), "{:?}", degraded.elapsed());
    }
    script(["restart", process]).await;
    let returned = Instant::now();
    system.wait_for_shards(true).await;
    let recovered = returned.elapsed();
    let settled = Instant::now();
    for _ in 0..20 {
        system.create(&order()).await;
    }
    stop.store(true, Ordering::Relaxed);
    let (mut accepted, mut codes) = (BTreeSet::new(), BTreeSet::new());
    for client in clients {
        let (ids, refused) = client.await.expect("no panic");
        accepted.extend(ids);
        for (at, _, status, error) in refused {
            let late = at.saturating_duration_since(settled);
            assert!(late.is_zero(), "{late:?} after the recovery: {status} {error}");
            codes.insert((status, error["code"].as_str().unwrap_or_default().to_owned()));
        }
    }
    assert!(recovered < Duration::from_secs(10), "{recovered:?}");
    assert!(codes.iter().all(|(status, _)| *status == 503), "{codes:?}");
    for id in &accepted {
        system.api.wait_for_status(id, "completed").await;
    }
    println!("{process}: {} orders, recovered after {recovered:?}, {codes:?}", accepted.len());
    system.command(&["doctor"]).await;
}
