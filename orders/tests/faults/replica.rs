//! Reads on a replica that is behind, away, or that of another installation.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Api, Process, command, eventually};
use crate::servers::{MariaDb, Redis};
use crate::system::wait_until_ready;

/// Lists that no index serves, and exports.
const OLDER: [&str; 2] = ["/orders?itemContains=apt", "/orders/export"];

/// Starts a gateway that reads from a replica.
fn start_gateway(folder: &Path, database: &str, replica: &Path, redis: &Redis) -> Process {
    let arguments = ["gateway", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"];
    let redis = format!("redis://127.0.0.1:{}", redis.port.number);
    let replica = replica.display().to_string();
    let variables = [
        ("DATABASE_URL", database),
        ("ORDERS_DATABASE_READ_URL_FILE", replica.as_str()),
        ("REDIS_URL", redis.as_str()),
    ];
    Process::start(command(folder, &arguments, &variables), "gateway")
}

/// Returns the check of the replica: its status and the reason.
async fn replica_check(api: &Api) -> (String, String) {
    let (_, health) = api.get("/readyz?verbose").await;
    let checks = health["checks"].as_array().into_iter().flatten();
    let check = checks.into_iter().find(|check| check["name"] == "replica").expect("there is a replica");
    let string = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (string(&check["status"]), string(&check["detail"]))
}

/// Returns whether each read that may be older shows the order.
async fn older_reads_show(api: &Api, id: &str) -> [bool; 2] {
    let mut shown = [false; 2];
    for (path, shown) in OLDER.into_iter().zip(&mut shown) {
        let (status, body) = api.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        *shown = body.to_string().contains(id);
    }
    shown
}

/// An order is found at once by its id, its reference, its events and in a list with an index. A search finds it as soon
/// as the replica has it, or at once while the replica is away.
#[tokio::test(flavor = "multi_thread")]
async fn lagging_read_replica() {
    let ((primary, standby), redis) = tokio::join!(MariaDb::with_standby(), Redis::start(false));
    let mut standby = standby.expect("it was started");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("read-url");
    std::fs::write(&file, standby.url()).expect("it is ours");
    let mut gateway = start_gateway(folder.path(), &primary.url(), &file, &redis);
    let api = wait_until_ready(&mut gateway).await;
    eventually("the replica to have the tables", || async {
        (replica_check(&api).await.0 == "ok").then_some(())
    })
    .await;
    let first = api.create_id().await;
    eventually("the replica to have the order", || async {
        (older_reads_show(&api, &first).await == [true; 2]).then_some(())
    })
    .await;

    standby.lag().await;
    let order = json!({"item": "Laptop", "quantity": 1, "price": 1, "externalReference": "behind"});
    let (status, order) = api.post("/orders", &order).await;
    assert_eq!(status, 201, "{order}");
    let id = order["id"].as_str().expect("an id").to_owned();
    for path in [format!("/orders/{id}"), "/orders/by-reference/behind".to_owned(), "/orders".to_owned()] {
        let (status, found) = api.get(&path).await;
        assert!(status == 200 && found.to_string().contains(&id), "{path}: {status} {found}");
    }
    // A command that chooses orders by a filter reads the primary.
    let cancel = json!({"filter": {"itemContains": "apt"}, "dryRun": true});
    let (status, chosen) = api.post("/orders/cancel", &cancel).await;
    assert!(status == 200 && chosen.to_string().contains(&id), "{status} {chosen}");
    assert_eq!(api.post(&format!("/orders/{id}/cancel"), &json!({})).await.0, 200);
    assert_eq!(api.watch(&id).await, [(1, "PENDING".to_owned()), (2, "CANCELLED".to_owned())]);
    assert_eq!(older_reads_show(&api, &first).await, [true; 2]);
    assert_eq!(older_reads_show(&api, &id).await, [false; 2]);

    // Without the replica the primary is read, and the health states it.
    standby.process.kill();
    eventually("the primary to be read", || async {
        (older_reads_show(&api, &id).await == [true; 2]).then_some(())
    })
    .await;
    eventually("the health to state it", || async {
        let (status, detail) = replica_check(&api).await;
        (status == "degraded" && detail.contains("read the primary")).then_some(())
    })
    .await;
    assert_eq!(api.get("/readyz").await.0, 200);
    let (_, metrics) = api.get("/metrics").await;
    let reads = "orders_database_replica_reads_total{source=\"primary\"} ";
    let counted = metrics.as_str().and_then(|text| text.split(reads).nth(1)?.lines().next()?.parse().ok());
    assert!(counted.is_some_and(|count: f64| count >= 2.0), "{counted:?}");

    // It starts with its replication.
    standby.restart().await;
    eventually("the replica to be read again", || async {
        (replica_check(&api).await.0 == "ok" && older_reads_show(&api, &id).await == [true; 2]).then_some(())
    })
    .await;

    // The database of another installation is not read.
    let other = MariaDb::start().await;
    std::fs::write(&file, other.url()).expect("it is ours");
    gateway.signal("HUP");
    eventually("the health to state it", || async {
        let (status, detail) = replica_check(&api).await;
        (status == "degraded" && detail.contains("tables of this installation")).then_some(())
    })
    .await;
    assert_eq!(older_reads_show(&api, &id).await, [true; 2]);
    gateway.terminate();
    gateway.wait_for_success().await;
}
