//! Defective rows: each affects its own order and no other, on every path.

use std::collections::{BTreeMap, BTreeSet};

use domain::transition::{Command, Rules};
use domain::{LeaseToken, OrderId, Status};
use gateway::Config;
use gateway::store::{CommandOutcome, IssueKind, Repaired, Retention};
use proto::v1;
use serde_json::{Value, json};
use test_database::Database;

use crate::dispatch::claim;
use crate::harness::{Backend, Gateway, On, eventually, quick};
use crate::on_both;
use crate::workers::{Worker, lease};

/// Defects that both databases accept, each with the message of the doctor.
const DEFECTS: [(&str, &str); 8] = [
    ("UPDATE orders SET currency = 'QQQ' WHERE id = {id}", "currency"),
    ("UPDATE orders SET line_items = '{broken' WHERE id = {id}", "line items"),
    ("UPDATE orders SET line_items = '[{\"item\": 7}]' WHERE id = {id}", "line items"),
    ("UPDATE orders SET line_items = 'null' WHERE id = {id}", "line items"),
    ("UPDATE orders SET status = 'shipped' WHERE id = {id}", "status"),
    ("UPDATE orders SET version = 0 WHERE id = {id}", "version"),
    ("UPDATE orders SET version = 4294967296 WHERE id = {id}", "version"),
    ("UPDATE orders SET attempt = -1 WHERE id = {id}", "attempt"),
];
/// Defects that only SQLite accepts: a string in place of a number, and a string that is not UTF-8.
const DEFECTS_OF_SQLITE: [(&str, &str); 3] = [
    ("UPDATE orders SET failures = 'many' WHERE id = {id}", "failures"),
    ("UPDATE orders SET not_before = 'soon' WHERE id = {id}", "not_before"),
    ("UPDATE orders SET customer = CAST(x'ff' AS TEXT) WHERE id = {id}", "utf-8"),
];

/// A connection for defects that no gateway would write.
pub(crate) async fn damage(backend: &Backend, on: On) -> Database {
    let mut connection = Database::connect(backend.url()).await.unwrap();
    if on == On::Servers {
        // An ENUM then stores any value as the empty string.
        connection.run("SET SESSION sql_mode = ''").await.unwrap();
    }
    connection
}

pub(crate) async fn run(connection: &mut Database, statement: &str, id: &str) {
    let statement = statement.replace("{id}", &format!("x'{}'", id.replace('-', "")));
    connection.run(statement).await.unwrap();
}

/// Orders in no row cache, because they were created during a pause.
pub(crate) async fn forgotten(gateway: &Gateway<'_>, count: usize) -> Vec<String> {
    gateway.client.post(gateway.url("/queue/pause")).send().await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(gateway.create_order().await);
    }
    gateway.client.post(gateway.url("/queue/resume")).send().await.unwrap();
    ids
}

async fn get(gateway: &Gateway<'_>, path: &str) -> (u16, Value) {
    let response = gateway.client.get(gateway.url(path)).send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
}

fn defects(on: On) -> Vec<(&'static str, &'static str)> {
    let more = if on == On::Embedded { &DEFECTS_OF_SQLITE[..] } else { &[] };
    DEFECTS.iter().chain(more).copied().collect()
}

async fn findings(backend: &Backend) -> BTreeMap<String, Vec<IssueKind>> {
    let mut found: BTreeMap<String, Vec<IssueKind>> = BTreeMap::new();
    for finding in backend.store.inspect(std::time::Duration::from_secs(60)).await.unwrap().issues {
        found.entry(finding.order_id.to_string()).or_default().push(finding.kind);
    }
    found
}

on_both!(an_unreadable_row_is_rejected_alone_and_parked, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let defects = defects(on);
    let ids = forgotten(&gateway, defects.len() + 12).await;
    let (bad, good) = ids.split_at(defects.len());
    let mut connection = damage(&backend, on).await;
    for (id, (statement, _)) in bad.iter().zip(&defects) {
        run(&mut connection, statement, id).await;
    }

    // One Start, one heartbeat and one report for all orders.
    let mut worker = Worker::connect(&gateway).await;
    let leases: Vec<v1::Lease> = ids.iter().map(|id| lease(id)).collect();
    let started = worker.start(&leases).await;
    let refused: BTreeMap<&str, &str> = started
        .refused
        .iter()
        .map(|refused| (refused.lease.as_ref().unwrap().order_id.as_str(), refused.reason.as_str()))
        .collect();
    assert_eq!(started.attempts.len(), good.len());
    assert_eq!(refused, bad.iter().map(|id| (id.as_str(), "order_unreadable")).collect());
    for id in good {
        let lease = leases.iter().find(|lease| lease.order_id == *id).unwrap();
        assert_eq!(worker.finish(lease).await.refused, []);
    }

    // The doctor names exactly these orders, each as parked and with its defect.
    let found = findings(&backend).await;
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        bad.iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    );
    for (id, (_, word)) in bad.iter().zip(&defects) {
        let text = found[id].iter().map(ToString::to_string).collect::<Vec<_>>().join("; ").to_lowercase();
        assert!(text.contains(word), "{id}: {text}");
        assert!(text.contains("is parked until"), "{id}: {text}");
    }
    assert_eq!(backend.store.parked().await.unwrap(), bad.len() as u64);

    // A single read returns a code; a list names the order beside the others.
    for id in bad {
        for path in [format!("/orders/{id}"), format!("/orders/{id}/events")] {
            let (status, body) = get(&gateway, &path).await;
            // A defect of other columns does not affect the events.
            assert!(
                (status, &body["code"]) == (409, &json!("order_unreadable")) || path.ends_with("events"),
                "{path} {body}"
            );
            assert!(status < 500, "{path} {body}");
        }
        let cancel = gateway.client.post(gateway.url(&format!("/orders/{id}/cancel"))).send().await.unwrap();
        assert_eq!(cancel.status().as_u16(), 409);
    }
    for path in
        ["/orders?limit=1000", "/orders?limit=1000&sort=createdAt", "/orders?itemContains=lap&limit=1000"]
    {
        let (status, list) = get(&gateway, path).await;
        assert_eq!(status, 200, "{list}");
        let items = list.as_array().unwrap();
        let readable: BTreeSet<&str> = items
            .iter()
            .filter(|item| item.get("unreadable").is_none())
            .map(|item| item["id"].as_str().unwrap())
            .collect();
        assert_eq!(readable, good.iter().map(String::as_str).collect(), "{path}");
        if !path.contains("itemContains") {
            assert_eq!(items.len(), ids.len(), "{path}");
        }
    }
    let document = "{ orders(first: 100) { nodes { id } unreadable { orderId detail } } }";
    let (_, answer) = gateway.graphql(document, json!({})).await;
    assert_eq!(answer["data"]["orders"]["nodes"].as_array().unwrap().len(), good.len(), "{answer}");
    assert_eq!(answer["data"]["orders"]["unreadable"].as_array().unwrap().len(), bad.len(), "{answer}");
    let document = "query($id: ID!) { order(id: $id) { id } }";
    let (_, answer) = gateway.graphql(document, json!({"id": bad[0]})).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "order_unreadable", "{answer}");
    drop(worker);
});

on_both!(pages_continue_past_unreadable_orders, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let mut ids = forgotten(&gateway, 9).await;
    ids.sort_unstable();
    let mut connection = damage(&backend, on).await;
    // A whole page, and one beside.
    for index in [3, 4, 5, 7] {
        run(&mut connection, DEFECTS[0].0, &ids[index]).await;
    }
    let mut seen = Vec::new();
    let mut path = "/orders?limit=3&sort=createdAt".to_owned();
    loop {
        let response = gateway.client.get(gateway.url(&path)).send().await.unwrap();
        let link = response.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        let page: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        seen.extend(page.as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        let next = link.as_deref().and_then(|link| link.split(", ").find(|link| link.contains("next")));
        match next {
            Some(next) => path = next[1..next.find('>').unwrap()].to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, ids);
    let document = "query($after: String) { orders(first: 3, sort: CREATED_AT_ASC, after: $after) \
                    { nodes { id } unreadable { orderId } pageInfo { hasNextPage endCursor } } }";
    let (mut after, mut count) = (Value::Null, 0);
    loop {
        let (_, answer) = gateway.graphql(document, json!({"after": after})).await;
        let page = &answer["data"]["orders"];
        count += page["nodes"].as_array().unwrap().len() + page["unreadable"].as_array().unwrap().len();
        after = page["pageInfo"]["endCursor"].clone();
        if page["pageInfo"]["hasNextPage"] != true {
            break;
        }
    }
    assert_eq!(count, ids.len());
});

on_both!(dispatch_skips_rows_that_it_cannot_read, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(quick()).await;
    gateway.client.post(gateway.url("/queue/pause")).send().await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..12 {
        ids.push(gateway.create_order().await);
    }
    let mut connection = damage(&backend, on).await;
    let embedded = [
        "UPDATE orders SET quantity = 'two' WHERE id = {id}",
        "UPDATE orders SET due_at = 'x' WHERE id = {id}",
    ];
    let statements: Vec<&str> = [
        "UPDATE orders SET quantity = -1 WHERE id = {id}",
        "UPDATE orders SET priority = 'urgent' WHERE id = {id}",
        "UPDATE orders SET status = 'shipped' WHERE id = {id}",
    ]
    .into_iter()
    .chain(embedded.into_iter().filter(|_| on == On::Embedded))
    .collect();
    for (id, statement) in ids.iter().zip(&statements) {
        run(&mut connection, statement, id).await;
    }
    gateway.client.post(gateway.url("/queue/resume")).send().await.unwrap();
    let good: BTreeSet<String> = ids[statements.len()..].iter().cloned().collect();
    let mut done = BTreeSet::new();
    while done.len() < good.len() {
        let id = gateway.next_job().await;
        if good.contains(&id) && !done.contains(&id) {
            gateway.report(&id, "processing", "").await.unwrap();
            gateway.report(&id, "completed", "").await.unwrap();
            done.insert(id);
        } else if !good.contains(&id) {
            // Its row could be dispatched; the start is rejected.
            let refused = gateway.report(&id, "processing", "").await;
            assert!(refused.is_err() || on == On::Embedded, "{id}");
        }
    }
    eventually("the others to be parked", || async {
        // Parking replaces the string in `due_at`, which repairs that row.
        (backend.store.parked().await.unwrap() >= 3).then_some(())
    })
    .await;
    let found = findings(&backend).await;
    assert!(found.keys().all(|id| !good.contains(id)), "{found:?}");
});

on_both!(an_event_that_exists_already_blocks_only_its_own_order, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let ids = forgotten(&gateway, 16).await;
    let mut worker = Worker::connect(&gateway).await;
    // Version 3, so that the next change moves event 2 into its table.
    for id in &ids {
        gateway.report(id, "processing", "").await.unwrap();
        gateway.report(id, "pending", "").await.unwrap();
    }
    let mut connection = damage(&backend, on).await;
    let events = "INSERT INTO order_events (order_id, sequence, status, attempt, occurred_at) \
                  VALUES ({id}, 2, 'processing', 1, 1)";
    for index in [2, 11] {
        run(&mut connection, events, &ids[index]).await;
    }
    run(&mut connection, "UPDATE orders SET not_before = 1", "").await;
    let leases: Vec<v1::Lease> = ids.iter().map(|id| lease(id)).collect();
    let started = worker.start(&leases).await;
    let refused: Vec<_> = started.refused.iter().map(|one| one.lease.clone().unwrap().order_id).collect();
    assert_eq!(refused, [ids[2].clone(), ids[11].clone()], "{:?}", started.refused);
    assert_eq!(started.attempts.len(), 14);
    // They stay parked until their events are repaired.
    let stuck = [ids[2].parse().unwrap(), ids[11].parse().unwrap()];
    backend.store.recheck_parked(&stuck).await.unwrap();
    assert_eq!(backend.store.parked().await.unwrap(), 2);
    drop(worker);
});

on_both!(a_row_that_cannot_be_updated_blocks_only_its_own_order, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let ids = forgotten(&gateway, 16).await;
    let mut connection = damage(&backend, on).await;
    run(&mut connection, "UPDATE orders SET customer = 'frozen' WHERE id = {id}", &ids[5]).await;
    let trigger = match on {
        On::Embedded => {
            "CREATE TRIGGER frozen BEFORE UPDATE ON orders WHEN OLD.customer = 'frozen' \
             BEGIN SELECT RAISE(ABORT, 'frozen'); END"
        }
        On::Servers => {
            "CREATE TRIGGER frozen BEFORE UPDATE ON orders FOR EACH ROW IF OLD.customer = 'frozen' THEN \
             SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'frozen'; END IF"
        }
    };
    run(&mut connection, trigger, "").await;
    // It cannot be parked either, and dispatch skips it.
    let taken = claim(&backend.store, 100, std::time::Duration::from_secs(60)).await;
    assert!(taken.unwrap().front.is_empty());
    let mut worker = Worker::connect(&gateway).await;
    let leases: Vec<v1::Lease> = ids.iter().map(|id| lease(id)).collect();
    let started = worker.start(&leases).await;
    assert_eq!(started.attempts.len(), 15, "{:?}", started.refused);
    assert_eq!(started.refused[0].lease.as_ref().unwrap().order_id, ids[5]);
    assert_eq!(started.refused[0].reason, "order_unreadable");
    drop(worker);
});

on_both!(retention_skips_orders_that_it_cannot_remove, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let ids = forgotten(&gateway, 8).await;
    for id in &ids {
        gateway.client.post(gateway.url(&format!("/orders/{id}/cancel"))).send().await.unwrap();
    }
    let mut connection = damage(&backend, on).await;
    run(&mut connection, "UPDATE orders SET updated_at = 1, created_at = 1", "").await;
    run(&mut connection, "CREATE TABLE invoices (order_id BLOB)", "").await;
    let trigger = match on {
        On::Embedded => {
            "CREATE TRIGGER kept BEFORE DELETE ON orders WHEN OLD.customer = 'kept' \
             BEGIN SELECT RAISE(ABORT, 'kept'); END"
        }
        On::Servers => {
            "CREATE TRIGGER kept BEFORE DELETE ON orders FOR EACH ROW IF OLD.customer = 'kept' THEN \
             SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'kept'; END IF"
        }
    };
    run(&mut connection, trigger, "").await;
    run(&mut connection, "UPDATE orders SET customer = 'kept' WHERE id = {id}", &ids[3]).await;
    let retention = Retention { finished: Some(std::time::Duration::from_secs(60)), failed: None };
    let pruned = backend.store.prune_orders(Status::Cancelled, retention, None).await.unwrap();
    assert_eq!(pruned.orders, 7);
    assert!(backend.store.exists(&domain::Principal::anonymous(), ids[3].parse().unwrap()).await.unwrap());
});

on_both!(a_repaired_order_is_processed, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(quick()).await;
    let ids = forgotten(&gateway, 1).await;
    let id: OrderId = ids[0].parse().unwrap();
    let mut connection = damage(&backend, on).await;
    run(&mut connection, DEFECTS[0].0, &ids[0]).await;
    let start = || Command::start(LeaseToken::random());
    let applied = backend.store.apply([(id, start())].into(), Rules::default()).await.unwrap();
    let [CommandOutcome::Unreadable(unreadable)] = &applied[..] else { panic!("{applied:?}") };
    backend.store.park(std::slice::from_ref(unreadable)).await.unwrap();
    let first = held_until(&mut connection, &ids[0]).await;
    backend.store.park(std::slice::from_ref(unreadable)).await.unwrap();
    let second = held_until(&mut connection, &ids[0]).await;
    assert!(second > first + 20_000_000, "the backoff grows: {first} {second}");
    // It is parked when its lease expires, and released when it can be read.
    run(&mut connection, "UPDATE orders SET held_until = 1 WHERE id = {id}", &ids[0]).await;
    backend.store.recheck_parked(&[id]).await.unwrap();
    assert!(held_until(&mut connection, &ids[0]).await > second, "it cannot be read yet");
    run(&mut connection, "UPDATE orders SET currency = 'USD', held_until = 1 WHERE id = {id}", &ids[0]).await;
    let job = gateway.next_job().await;
    assert_eq!(job, ids[0]);
    gateway.report(&job, "processing", "").await.unwrap();
    gateway.report(&job, "completed", "").await.unwrap();
    gateway.stop().await;
});

async fn held_until(connection: &mut Database, id: &str) -> i64 {
    let text = format!("SELECT held_until FROM orders WHERE id = x'{}'", id.replace('-', ""));
    connection.value(text).await.unwrap()
}

on_both!(an_operator_repairs_an_order_or_marks_it_as_failed, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let ids = forgotten(&gateway, 5).await;
    let parsed: Vec<OrderId> = ids.iter().map(|id| id.parse().unwrap()).collect();
    let mut connection = damage(&backend, on).await;
    let store = &backend.store;
    // An unknown value: an operator has to supply it.
    run(&mut connection, DEFECTS[0].0, &ids[0]).await;
    let repaired = store.repair_order(parsed[0], &[], None).await.unwrap();
    assert!(matches!(&repaired, Repaired::StillUnreadable(why) if why.contains("QQQ")), "{repaired:?}");
    let settings = ["currency=EUR".parse().unwrap()];
    assert_eq!(store.repair_order(parsed[0], &settings, None).await.unwrap(), Repaired::Sound);
    assert_eq!(
        store.orders(&domain::Principal::anonymous(), &parsed[..1]).await.unwrap()[0].total.currency().code(),
        "EUR"
    );
    // A duplicate event is removed.
    for status in ["processing", "pending"] {
        gateway.report(&ids[1], status, "").await.unwrap();
    }
    let event = "INSERT INTO order_events (order_id, sequence, status, attempt, occurred_at) \
                 VALUES ({id}, 2, 'processing', 1, 1)";
    run(&mut connection, event, &ids[1]).await;
    assert_eq!(store.repair_order(parsed[1], &[], None).await.unwrap(), Repaired::Sound);
    // Marked as failed, from any status, with an event that follows the one before.
    run(&mut connection, "UPDATE orders SET priority = 'urgent' WHERE id = {id}", &ids[2]).await;
    gateway.report(&ids[3], "processing", "").await.unwrap();
    run(&mut connection, "UPDATE orders SET version = 0 WHERE id = {id}", &ids[4]).await;
    for id in &parsed[2..] {
        let repaired = store.repair_order(*id, &[], Some("by Ann")).await.unwrap();
        match *id == parsed[2] {
            true => assert!(matches!(&repaired, Repaired::FailedUnreadable(why) if why.contains("priority"))),
            false => assert_eq!(repaired, Repaired::Failed),
        }
        assert_eq!(store.repair_order(*id, &[], Some("by Ann")).await.unwrap(), Repaired::Final);
    }
    let timeline = gateway.timeline(&ids[3]).await;
    assert_eq!(timeline, [Status::Pending, Status::Processing, Status::Failed]);
    let found = findings(&backend).await;
    // The priority does not change.
    assert_eq!(found.keys().collect::<Vec<_>>(), [&ids[2]], "{found:?}");
    let nobody = OrderId::from_bytes([7; 16]);
    assert_eq!(store.repair_order(nobody, &[], None).await.unwrap(), Repaired::NotFound);
});
