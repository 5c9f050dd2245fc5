//! The commands that show what the system does, with the responses of the API as its description states them.

use serde_json::{Value, json};
use wiremock::matchers::{method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::harness::run;

async fn succeed(gateway: &MockServer, arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = run(folder.path(), arguments, &[("ORDERS_URL", &gateway.uri())]).await;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("output is UTF-8")
}

fn bucket() -> Value {
    json!({
        "complete": true, "accepted": 600, "started": 590, "completed": 540, "failed": 6, "retried": 2,
        "cancelled": 1, "redriven": 0, "failedByClass": [{"errorClass": "http_503", "count": 6}],
        "retriedByClass": [], "wait": {"count": 3, "p50Seconds": 0.1, "p95Seconds": 0.2, "p99Seconds": 0.3, "maxSeconds": 0.31},
        "handling": null, "completion": null, "ready": 12,
    })
}

async fn gateway() -> MockServer {
    let gateway = MockServer::start().await;
    let respond = async |mock: wiremock::MockBuilder, body: Value| {
        mock.respond_with(ResponseTemplate::new(200).set_body_json(body)).mount(&gateway).await;
    };
    let get = |at: &str| Mock::given(method("GET")).and(path(at));
    let mut step = bucket();
    step["at"] = json!("2026-01-31T12:00:00Z");
    let stats = json!({"from": "2026-01-31T12:00:00Z", "to": "2026-01-31T13:00:00Z", "stepSeconds": 60,
        "totals": bucket(), "buckets": [step]});
    respond(get("/stats").and(query_param("window", "1h30m")), stats.clone()).await;
    respond(get("/stats").and(query_param("window", "1m")).and(query_param("step", "10s")), stats).await;
    let worker = json!({"name": "packer-2", "version": "0.1.0", "host": "web-1", "gateway": "gw1",
        "state": "connected", "connectedAt": "T", "lastSeenAt": "T", "slots": 64, "kinds": ["default", "refund"], "inFlight": 3,
        "completedPerMinute": 12.0, "failedPerMinute": 0.0, "handling": null});
    respond(get("/workers"), json!({"workers": [worker]})).await;
    let mut with_orders = worker;
    with_orders["orders"] = json!([{"orderId": "O", "attempt": 2, "startedAt": "S", "leaseEndsAt": "E"}]);
    respond(get("/workers/packer-2"), with_orders).await;
    let counts =
        json!({"pending": 9, "processing": 3, "completed": 1, "failed": 4, "cancelled": 0, "limit": 100_000});
    respond(get("/queue"), json!({"paused": false, "length": 7, "workers": 1, "counts": counts})).await;
    respond(get("/orders"), json!([])).await;
    let system = json!({
        "gateways": [{"id": "66ff", "host": null, "version": "0.1.0", "startedAt": "S", "lastSeenAt": "L"}],
        "database": {"version": "SQLite 3.50.0", "latencySeconds": 0.001},
        "settings": [{"name": "--lease", "value": "30s", "source": "default"}],
    });
    respond(get("/system"), system).await;
    let group = json!({"errorClass": "http_503", "reason": "HTTP 503 from host-*", "count": 41, "customers": 12,
        "firstFailedAt": "F", "lastFailedAt": "L", "latestOrderId": "O"});
    respond(get("/dead-letters/groups"), json!({"groups": [group], "orders": 41, "complete": true})).await;
    gateway
}

#[tokio::test]
async fn statistics_workers_and_groups_are_shown() {
    let gateway = gateway().await;
    let stats = ["stats", "--since", "90m"];
    let shown = succeed(&gateway, &stats).await;
    assert!(
        shown.starts_with("TIME ")
            && shown.contains("600       590      540        6       2        12     200ms"),
        "{shown}"
    );
    assert!(
        shown.contains("\n600 accepted, 540 completed, 6 failed,") && shown.contains("failed: http_503 6\n"),
        "{shown}"
    );
    let json: Value = serde_json::from_str(&succeed(&gateway, &[&stats[..], &["-o", "json"]].concat()).await)
        .expect("JSON");
    assert_eq!(json["totals"]["accepted"], 600);
    let csv = succeed(&gateway, &[&stats[..], &["-o", "csv"]].concat()).await;
    assert!(csv.starts_with("time,accepted,started,") && csv.lines().count() == 2, "{csv}");

    let workers = succeed(&gateway, &["workers"]).await;
    assert!(workers.contains("packer-2  connected  default,refund  3          64     12.0"), "{workers}");
    let worker = succeed(&gateway, &["workers", "packer-2"]).await;
    assert!(
        worker.contains("host          web-1\n") && worker.contains("order         O  attempt 2"),
        "{worker}"
    );

    let system = succeed(&gateway, &["system", "-o", "wide"]).await;
    for part in
        ["66ff     -     0.1.0", "database      SQLite 3.50.0, answers in 1ms", "--lease  30s    default"]
    {
        assert!(system.contains(part), "{part}: {system}");
    }
    assert_eq!(succeed(&gateway, &["system", "-o", "id"]).await, "66ff\n");

    let groups = succeed(&gateway, &["dlq", "groups", "--error-class", "http_503"]).await;
    assert!(groups.contains("41     http_503  HTTP 503 from host-*  12"), "{groups}");

    // Without a terminal one frame is printed, without control characters.
    for arguments in [&["top"][..], &["top", "--once"]] {
        let frame = succeed(&gateway, arguments).await;
        for part in
            ["running  1 workers", "accepted 10.0/s", "pending 9   processing 3", "http_503 6", "packer-2"]
        {
            assert!(frame.contains(part), "{part}: {frame}");
        }
        assert!(!frame.contains('\u{1b}'), "{frame}");
    }
}
