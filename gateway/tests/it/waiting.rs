//! The reasons for which orders wait, and what operators see when no worker processes them.

use gateway::Config;
use serde_json::{Value, json};
use test_database::Database;

use crate::graphql::{MODERN, Socket};
use crate::harness::{Backend, Gateway, On, PATIENCE, eventually, quick};
use crate::on_both;

async fn get(gateway: &Gateway<'_>, path: &str) -> Value {
    let response = gateway.client.get(gateway.url(path)).send().await.unwrap();
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

async fn post(gateway: &Gateway<'_>, path: &str, body: Value) -> Value {
    let request = gateway.client.post(gateway.url(path)).header("content-type", "application/json");
    serde_json::from_str(&request.body(body.to_string()).send().await.unwrap().text().await.unwrap()).unwrap()
}

/// The reason for which an order waits, which must be the same in REST, a REST list, GraphQL and gRPC.
async fn waits(gateway: &Gateway<'_>, id: &str) -> (Option<String>, Option<String>) {
    let of = |order: &Value| {
        let text = |name: &str| order[name].as_str().map(|text| text.to_lowercase());
        assert!(order.get("waitsFor").is_some() && order.get("nextAttemptAt").is_some(), "{order}");
        (text("waitsFor"), text("nextAttemptAt"))
    };
    let order = of(&get(gateway, &format!("/orders/{id}")).await);
    let list = get(gateway, "/orders").await;
    let listed = list.as_array().unwrap().iter().find(|order| order["id"] == id).unwrap();
    assert_eq!(of(listed), order);
    let query = json!({"query": format!("{{ order(id: \"{id}\") {{ waitsFor nextAttemptAt }} }}")});
    assert_eq!(of(&post(gateway, "/graphql", query).await["data"]["order"]), order);
    let wire = gateway.order(id).await;
    assert_eq!((wire.waits_for, wire.next_attempt_at.map(|at| at.to_lowercase())), order);
    order
}

fn laptop() -> Value {
    json!({"item": "Laptop", "quantity": 1, "price": 1})
}

on_both!(every_api_states_what_an_order_waits_for, |on| async move {
    let backend = Backend::new(on).await;
    let mut config = Config::default();
    config.service.rules.retry.base = std::time::Duration::from_secs(3_000);
    config.service.rules.retry.cap = std::time::Duration::from_secs(3_000);
    let gateway = backend.gateway(config).await;

    let created = gateway.create_full(laptop()).await;
    assert_eq!((&created["waitsFor"], &created["nextAttemptAt"]), (&json!("worker"), &Value::Null));
    let id = created["id"].as_str().unwrap();
    assert_eq!(waits(&gateway, id).await, (Some("worker".into()), None));

    let at = "2099-01-31T12:00:00.000000Z";
    let mut tomorrow = laptop();
    tomorrow["processAfter"] = at.into();
    let scheduled = gateway.create_full(tomorrow).await;
    assert_eq!((&scheduled["waitsFor"], &scheduled["nextAttemptAt"]), (&json!("schedule"), &json!(at)));
    let scheduled = scheduled["id"].as_str().unwrap();
    assert_eq!(waits(&gateway, scheduled).await, (Some("schedule".into()), Some(at.to_lowercase())));

    let token = gateway.report(id, "processing", "").await.unwrap().lease_token;
    assert_eq!(waits(&gateway, id).await, (None, None));
    gateway.report(id, "pending", &token).await.unwrap();
    // The retry delay is random, and may be too short to be observed.
    let (waits_for, next) = waits(&gateway, id).await;
    if let Some(next) = next {
        assert_eq!(waits_for.as_deref(), Some("retry"));
        assert!(next > backend.store.now().to_string().to_lowercase(), "{next}");
    }

    let until = "2098-01-31T12:00:00.000000Z";
    post(&gateway, "/queue/pause", json!({"until": until})).await;
    let paused = gateway.create_full(laptop()).await;
    assert_eq!((&paused["waitsFor"], &paused["nextAttemptAt"]), (&json!("pause"), &json!(until)));
    let paused = paused["id"].as_str().unwrap();
    assert_eq!(waits(&gateway, paused).await, (Some("pause".into()), Some(until.to_lowercase())));
    assert_eq!(waits(&gateway, scheduled).await, (Some("schedule".into()), Some(at.to_lowercase())));
    post(&gateway, "/queue/pause", json!({})).await;
    assert_eq!(waits(&gateway, paused).await, (Some("pause".into()), None));
    post(&gateway, "/queue/resume", json!({})).await;
    assert_eq!(waits(&gateway, paused).await, (Some("worker".into()), None));
    post(&gateway, &format!("/orders/{paused}/cancel"), json!({})).await;
    assert_eq!(waits(&gateway, paused).await, (None, None));
    gateway.stop().await;
});

/// Another gateway reads the pause from the database.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_at_another_gateway_is_observed() {
    let backend = Backend::new(On::Servers).await;
    let (here, there) = (backend.gateway(quick()).await, backend.gateway(quick()).await);
    let id = here.create_order().await;
    post(&there, "/queue/pause", json!({})).await;
    eventually("the pause", || async {
        (get(&here, &format!("/orders/{id}")).await["waitsFor"] == "pause").then_some(())
    })
    .await;
    assert_eq!(waits(&here, &id).await, (Some("pause".into()), None));
    let ready = get(&here, "/readyz?verbose").await;
    let detail = check(&ready, "processing")["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("paused since") && detail.contains("until it is resumed"), "{detail}");
    post(&there, "/queue/resume", json!({})).await;
    eventually("the resume", || async {
        (get(&here, &format!("/orders/{id}")).await["waitsFor"] == "worker").then_some(())
    })
    .await;
    here.stop().await;
    there.stop().await;
}

fn check<'a>(ready: &'a Value, name: &str) -> &'a Value {
    ready["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap()
}

on_both!(readiness_reports_missing_workers_until_one_announces_itself, |on| async move {
    gateway::metrics::install();
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(quick()).await;
    let metrics = reqwest::get(gateway.url("/metrics")).await.unwrap().text().await.unwrap();
    for name in
        ["orders_worker_streams", "orders_workers", "orders_queue_oldest_ready_age_seconds", "orders_ready"]
    {
        assert!(metrics.lines().any(|line| line.starts_with(&format!("{name} "))), "{name}: {metrics}");
    }
    for _ in 0..3 {
        gateway.create_order().await;
    }
    let queue = eventually("the count of workers", || async {
        let queue = get(&gateway, "/queue").await;
        (queue["workers"] == 0).then_some(queue)
    })
    .await;
    assert_eq!(queue["paused"], false);
    let ready = get(&gateway, "/readyz?verbose").await;
    assert_eq!(ready["status"], "degraded");
    assert!(check(&ready, "workers")["detail"].as_str().unwrap().starts_with("no worker is connected"));

    backend.queue.register_worker("worker-1").await.unwrap();
    backend.queue.register_worker("worker-1").await.unwrap();
    backend.queue.register_worker("worker-2").await.unwrap();
    eventually("the workers", || async { (get(&gateway, "/queue").await["workers"] == 2).then_some(()) })
        .await;
    let query = json!({"query": "{ queue { workers length jobs } }"});
    assert_eq!(post(&gateway, "/graphql", query).await["data"]["queue"]["workers"], 2);
    assert_eq!(get(&gateway, "/readyz").await["status"], "ok");
    backend.queue.deregister_worker("worker-1").await.unwrap();
    backend.queue.deregister_worker("worker-2").await.unwrap();
    eventually("no worker", || async { (get(&gateway, "/queue").await["workers"] == 0).then_some(()) }).await;

    // A worker in another language does not announce itself, but starts orders.
    let id = gateway.next_job().await;
    gateway.report(&id, "processing", "").await.unwrap();
    assert_eq!(get(&gateway, "/queue").await["workers"], 1);
    gateway.stop().await;
});

on_both!(the_queue_length_metric_counts_orders, |on| async move {
    let backend = Backend::new(on).await;
    // Each order is enqueued repeatedly, and the queue holds at most two jobs.
    let mut config = quick();
    config.service.max_queue_depth = 2;
    let gateway = backend.gateway(config).await;
    for _ in 0..5 {
        gateway.create_order().await;
    }
    let mut tomorrow = laptop();
    tomorrow["processAfter"] = "2099-01-31T12:00:00Z".into();
    gateway.create(tomorrow).await;
    let length = || async { get(&gateway, "/queue").await["length"].clone() };
    eventually("the length", || async { (length().await == 5).then_some(()) }).await;
    // Jobs that no worker takes are enqueued again; their orders are not counted again.
    eventually("a second job of an order", || async {
        let id = gateway.next_job().await;
        gateway.next_job().await;
        let again = gateway.next_job().await;
        (again != id).then_some(())
    })
    .await;
    eventually("the length after repeated pushes", || async { (length().await == 5).then_some(()) }).await;
    post(&gateway, "/queue/pause", json!({})).await;
    eventually("the length during a pause", || async { (length().await == 5).then_some(()) }).await;
    let queue = get(&gateway, "/queue").await;
    assert_eq!(queue["counts"]["pending"], 6);
    gateway.stop().await;
});

/// Reads succeed on a server that rejects writes.
#[tokio::test(flavor = "multi_thread")]
async fn readiness_reflects_the_results_of_writes() {
    let backend = Backend::new(On::Servers).await;
    let gateway = backend.gateway(quick()).await;
    let mut admin = Database::connect(backend.url()).await.unwrap();
    for (refusal, code, words) in
        [("1290", "database_read_only", "read-only"), ("1114", "database_full", "space")]
    {
        let trigger = format!(
            "CREATE TRIGGER refuse BEFORE INSERT ON orders FOR EACH ROW \
             SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {refusal}, MESSAGE_TEXT = 'refused by a test'"
        );
        admin.run(trigger).await.unwrap();
        if refusal == "1114" {
            // A small write can succeed where an order does not fit.
            assert_eq!(post(&gateway, "/orders", laptop()).await["code"], code);
        }
        let ready = eventually("the refusal", || async {
            let ready = get(&gateway, "/readyz?verbose").await;
            (ready["status"] == "unavailable").then_some(ready)
        })
        .await;
        let status = gateway.client.get(gateway.url("/readyz")).send().await.unwrap().status();
        assert_eq!(status, 503);
        assert_eq!(check(&ready, "database")["status"], "ok");
        let detail = check(&ready, "writes")["detail"].as_str().unwrap();
        assert!(detail.contains(words), "{detail}");
        admin.run("DROP TRIGGER refuse").await.unwrap();
        eventually("an order", || async {
            (post(&gateway, "/orders", laptop()).await["status"] == "pending").then_some(())
        })
        .await;
        eventually("readiness", || async {
            (check(&get(&gateway, "/readyz?verbose").await, "writes")["status"] == "ok").then_some(())
        })
        .await;
    }
    gateway.stop().await;
}

/// The privileges that a user needs on each table.
#[tokio::test(flavor = "multi_thread")]
async fn readiness_names_a_missing_privilege_until_it_is_granted() {
    let backend = Backend::new(On::Servers).await;
    let mut admin = Database::connect(backend.url()).await.unwrap();
    let mut url = url::Url::parse(backend.url()).unwrap();
    let name = url.path().trim_matches('/').to_owned();
    let mut statements = vec![format!("CREATE USER '{name}'@'%' IDENTIFIED BY 'x'")];
    let tables =
        "SELECT CAST(table_name AS CHAR) FROM information_schema.tables WHERE table_schema = DATABASE()";
    let tables: Vec<(String,)> = admin.rows(tables).await.unwrap();
    let tables: Vec<String> = tables.into_iter().map(|(value,)| value).collect();
    // Privileges on tables, not on the database: their changes apply to open connections.
    statements.extend(
        tables
            .iter()
            .map(|table| format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {name}.{table} TO '{name}'@'%'")),
    );
    for statement in statements {
        admin.run(statement).await.unwrap();
    }
    url.set_username(&name).unwrap();
    url.set_password(Some("x")).unwrap();
    let store = gateway::Store::connect(url.as_str(), &gateway::store::Options::default()).await.unwrap();
    let gateway = backend.gateway_over(store.clone(), quick()).await;
    gateway.create_order().await;
    for (privilege, table) in [
        ("UPDATE", "orders"),
        ("DELETE", "orders"),
        ("INSERT", "orders"),
        ("INSERT", "order_events"),
        ("DELETE", "order_events"),
        ("INSERT", "idempotency_keys"),
        ("DELETE", "idempotency_keys"),
    ] {
        let revoke = format!("REVOKE {privilege} ON {name}.{table} FROM '{name}'@'%'");
        admin.run(revoke).await.unwrap();
        let ready = eventually(&format!("{privilege} on {table} to be missed"), || async {
            let ready = get(&gateway, "/readyz?verbose").await;
            (ready["status"] == "unavailable").then_some(ready)
        })
        .await;
        let detail = check(&ready, "writes")["detail"].as_str().unwrap();
        assert!(detail.contains("a privilege"), "{detail}");
        let grant = format!("GRANT {privilege} ON {name}.{table} TO '{name}'@'%'");
        admin.run(grant).await.unwrap();
        eventually("readiness", || async {
            (check(&get(&gateway, "/readyz?verbose").await, "writes")["status"] == "ok").then_some(())
        })
        .await;
    }
    gateway.create_order().await;
    gateway.stop().await;
    store.close().await;
}

/// Two gateways with different databases on one prefix of one Redis.
#[tokio::test(flavor = "multi_thread")]
async fn two_installations_on_one_prefix_are_detected() {
    let (first, mut second) = (Backend::new(On::Servers).await, Backend::new(On::Servers).await);
    second.queue_of_gateways = Some(first.queue.clone());
    let (one, other) = (first.gateway(quick()).await, second.gateway(quick()).await);
    for gateway in [&one, &other] {
        eventually("the other installation", || async {
            let ready = get(gateway, "/readyz?verbose").await;
            let detail = check(&ready, "queue")["detail"].as_str().unwrap_or_default().to_owned();
            detail.contains("same Redis prefix").then_some(())
        })
        .await;
    }
    one.stop().await;
    other.stop().await;
}

on_both!(the_watch_of_a_removed_order_ends, |on| async move {
    gateway::metrics::install();
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let id = gateway.create_order().await;
    let request = proto::v1::WatchOrderRequest { order_id: id.clone(), after_sequence: None };
    let mut events = gateway.workers().await.watch_order(request).await.unwrap().into_inner();
    assert_eq!(events.message().await.unwrap().unwrap().sequence, 1);
    let stream = gateway.client.get(gateway.url(&format!("/orders/{id}/events")));
    let mut stream = stream.header("accept", "text/event-stream").send().await.unwrap();
    let mut seen = String::new();
    while !seen.contains("\"sequence\":1,") {
        seen += std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap();
    }
    let mut socket = Socket::ready(&gateway, MODERN).await;
    socket
        .subscribe(
            "1",
            &format!("subscription {{ orderStatus(orderId: \"{id}\", after: 0) {{ sequence }} }}"),
        )
        .await;
    assert_eq!(socket.hear().await["payload"]["data"]["orderStatus"]["sequence"], 1);
    let poll = gateway.client.get(gateway.url(&format!("/orders/{id}?waitForSequence=9&timeout=55"))).send();
    let poll = tokio::spawn(poll);
    eventually("the long poll", || async {
        let metrics = gateway.client.get(gateway.url("/metrics")).send().await.unwrap().text().await.unwrap();
        metrics.contains("kind=\"long_poll\"").then_some(())
    })
    .await;
    // Retention and the restore of a backup do the same.
    let mut admin = Database::connect(backend.url()).await.unwrap();
    admin.run("DELETE FROM orders").await.unwrap();
    // Nothing reports that, so the background comparison finds it. The socket is read meanwhile, and answers pings.
    let last = socket.hear_within(3 * PATIENCE).await;
    assert_eq!(last["payload"]["errors"][0]["extensions"]["code"], "order_not_found", "{last}");
    let ended = events.message().await.unwrap_err();
    assert_eq!(ended.code(), tonic::Code::NotFound, "{ended}");
    assert_eq!(poll.await.unwrap().unwrap().status(), 404);
    // Keep-alive comments may precede the end.
    while let Some(chunk) = tokio::time::timeout(PATIENCE, stream.chunk()).await.unwrap().unwrap() {
        assert!(!chunk.starts_with(b"id:"), "{chunk:?}");
    }
    assert_eq!(socket.hear().await, json!({"type": "complete", "id": "1"}));
    gateway.stop().await;
});

on_both!(events_contain_the_error_class, |on| async move {
    let backend = Backend::new(on).await;
    let mut config = quick();
    config.service.rules.retry.base = std::time::Duration::from_millis(1);
    let gateway = backend.gateway(config).await;
    let id = gateway.create_order().await;
    let watch = proto::v1::WatchOrderRequest { order_id: id.clone(), after_sequence: Some(0) };
    let mut live = gateway.workers().await.watch_order(watch.clone()).await.unwrap().into_inner();
    for (status, class) in [("pending", "http_503"), ("failed", "http_402")] {
        let token = eventually("a start", || async {
            gateway.report(&id, "processing", "").await.ok().map(|answer| answer.lease_token)
        })
        .await;
        let report = proto::v1::UpdateStatusRequest {
            order_id: id.clone(),
            status: status.to_owned(),
            lease_token: token,
            error_class: class.to_owned(),
            ..Default::default()
        };
        gateway.workers().await.update_status(report).await.unwrap();
    }
    let classes = [None, None, Some("http_503"), None, Some("http_402")];
    let of = |events: &Value| {
        let events = events.as_array().unwrap().clone();
        events.into_iter().map(|event| event["errorClass"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let expected: Vec<_> = classes.map(|class| class.map(str::to_owned)).into();
    assert_eq!(of(&get(&gateway, &format!("/orders/{id}/events")).await), expected);
    let query = json!({"query": format!("{{ order(id: \"{id}\") {{ events {{ errorClass }} }} }}")});
    assert_eq!(of(&post(&gateway, "/graphql", query).await["data"]["order"]["events"]), expected);
    let mut later = gateway.workers().await.watch_order(watch).await.unwrap().into_inner();
    for stream in [&mut live, &mut later] {
        let mut seen = Vec::new();
        while let Some(event) = stream.message().await.unwrap() {
            seen.push(event.error_class);
        }
        assert_eq!(seen, expected);
    }
    gateway.stop().await;
});
