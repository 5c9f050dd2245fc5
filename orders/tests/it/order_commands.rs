//! The commands for orders against a running system.

use serde_json::{Value, json};
use wiremock::matchers::{body_partial_json, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::harness::{Api, Process, base_url, command, eventually, run};

/// The id of no order.
const NO_ORDER: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const SETTINGS: [&str; 8] = [
    "--http-addr",
    "127.0.0.1:0",
    "--grpc-addr",
    "127.0.0.1:0",
    "--simulate-min-delay",
    "0",
    "--simulate-max-delay",
    "0",
];

struct System {
    folder: tempfile::TempDir,
    process: Process,
    api: Api,
}

impl System {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut process = Process::start(command(folder.path(), &SETTINGS, &[]), "orders dev");
        let api = Api::new(base_url(&mut process).await);
        Self { folder, process, api }
    }

    /// Runs a command, and returns the exit code, stdout and stderr.
    async fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let variables = [("ORDERS_URL", &*self.api.base), ("USER", "ann")];
        let output = run(self.folder.path(), arguments, &variables).await;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("output is UTF-8");
        (output.status.code().expect("it has exited"), text(&output.stdout), text(&output.stderr))
    }

    async fn succeed(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(arguments).await;
        assert_eq!(code, 0, "{arguments:?}: {stdout}{stderr}");
        stdout
    }

    async fn create(&self, arguments: &[&str]) -> String {
        let created = [&["create", "--item", "Laptop", "--price", "1299.90", "-o", "id"], arguments].concat();
        self.succeed(&created).await.trim_end().to_owned()
    }

    async fn stop(mut self) {
        self.process.terminate();
        self.process.wait_for_success().await;
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test]
async fn orders_are_created_listed_read_and_cancelled() {
    let system = System::start().await;
    let done = system.create(&["--customer", "ann", "--reference", "WEB-1", "--priority", "high"]).await;
    system.api.wait_for_status(&done, "completed").await;
    let lines = ["--item", "Mouse", "--quantity", "2", "--quantity", "3", "--price", "19.50"];
    let later = system.create(&[&lines[..], &["--process-after", "2h", "--customer", "bob"]].concat()).await;

    let table = system.succeed(&["list"]).await;
    assert!(table.starts_with("ID ") && table.contains("1299.90 USD  ann       WEB-1"), "{table}");
    assert!(table.contains("2 × Laptop and 1 more"), "{table}");
    let ids = system.succeed(&["ls", "-o", "id", "--sort", "createdAt"]).await;
    assert_eq!(ids.lines().collect::<Vec<_>>(), [&done, &later]);
    for (filter, expected) in [
        (&["--status", "completed,failed"][..], &done),
        (&["--customer", "bob"], &later),
        (&["--since", "1h", "--limit", "1"], &later),
        (&["--sort", "total", "--limit", "1"], &done),
    ] {
        let listed = system.succeed(&[&["list", "-o", "json"], filter].concat()).await;
        assert_eq!(json(&listed)[0]["id"], json!(expected), "{filter:?}");
        assert!(listed.contains("1299.90"), "amounts are exact: {listed}");
    }
    assert_eq!(system.succeed(&["list", "--created-before", "1h"]).await, "no orders match\n");

    let shown = system.succeed(&["get", &later]).await;
    for part in
        ["pending, waits for its time at ", "customer        bob", "item            3 × Mouse at 19.50"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let shown = system.succeed(&["get", &done, "--events"]).await;
    assert!(shown.contains("\nTIME ") && shown.contains("  processing  1"), "{shown}");
    let events = json(&system.succeed(&["get", &done, "--events", "-o", "json"]).await);
    assert_eq!((&events["id"], &events["events"][2]["status"]), (&json!(done), &json!("completed")));
    let (code, stdout, stderr) = system.run(&["get", &done, NO_ORDER, "-o", "id"]).await;
    assert_eq!((code, stdout), (3, format!("{done}\n")), "{stderr}");
    assert!(stderr.contains(NO_ORDER) && stderr.contains("1 of 2 orders"), "{stderr}");

    let (code, _, stderr) = system.run(&["cancel", &done, "--dry-run"]).await;
    assert!(code == 4 && stderr.contains("the order is completed"), "{stderr}");
    let cancelled = system.succeed(&["cancel", &later, "--reason", "ordered twice", "-o", "json"]).await;
    assert_eq!(json(&cancelled)[0]["status"], "cancelled");
    assert_eq!(system.api.order(&later).await["reason"], "ordered twice");
    let (code, ..) = system.run(&["watch", &later]).await;
    assert_eq!(code, 4);
    for (arguments, part) in [
        (&["create", "--item", "a", "--item", "b", "--price", "1"][..], "--item is given 2 times"),
        (&["create", "--item", "a", "--price", "much"], "invalid"),
        (&["cancel"], "no orders are selected"),
        (&["cancel", "--all"], "--yes is missing"),
        (&["cancel", "--status", "failed"], "pending or processing"),
        (&["list", "--sort", "size"], "-createdAt"),
    ] {
        let (code, _, stderr) = system.run(arguments).await;
        assert!(code == 2 && stderr.contains(part), "{arguments:?}: {code} {stderr}");
    }
    system.stop().await;
}

/// Each command that lists something, with the formats for programs.
#[tokio::test]
async fn every_listing_has_every_format() {
    let system = System::start().await;
    let id = system.create(&["--customer", "ann"]).await;
    system.api.wait_for_status(&id, "completed").await;
    let check = async |arguments: &[&str]| {
        for format in ["table", "wide", "json", "csv", "id"] {
            let shown = system.succeed(&[arguments, &["-o", format]].concat()).await;
            match format {
                "json" => assert!(!json(&shown).is_null(), "{arguments:?}: {shown}"),
                "csv" => assert!(
                    shown.lines().next().is_some_and(|head| !head.is_empty() && !head.contains(' ')),
                    "{arguments:?}: {shown}"
                ),
                "id" => assert!(shown.lines().all(|id| !id.contains([' ', ','])), "{arguments:?}: {shown}"),
                _ => assert!(!shown.is_empty(), "{arguments:?}"),
            }
        }
    };
    for arguments in [
        &["list"][..],
        &["list", "--status", "failed"],
        &["get", &id],
        &["get", &id, "--events"],
        &["create", "--item", "Vase", "--price", "1", "--dry-run"],
        &["stats"],
        &["workers"],
        &["system"],
        &["queue", "status"],
        &["queue", "pause", "--dry-run"],
        &["dead-letters", "list"],
        &["dead-letters", "groups"],
        &["dead-letters", "redrive", "--all", "--dry-run"],
        &["cancel", "--all", "--dry-run"],
        &["webhooks", "list"],
        &["config", "dev"],
        &["version"],
    ] {
        check(arguments).await;
    }
    // An SQLite file belongs to one process.
    system.process.terminate();
    for arguments in [&["keys", "list"][..], &["tenants", "list"], &["audit"]] {
        eventually("the end of the process", || async { (system.run(arguments).await.0 == 0).then_some(()) })
            .await;
        check(arguments).await;
    }
}

/// A dry run has the rules of a create and creates nothing.
#[tokio::test]
async fn a_dry_run_creates_no_order() {
    let system = System::start().await;
    let lines = ["create", "--item", "Vase", "--quantity", "2", "--price", "25.00", "--dry-run"];
    let (code, stdout, stderr) = system.run(&[&lines[..], &["--currency", "EUR"]].concat()).await;
    assert!(code == 0 && stdout.starts_with("total           50.00 EUR\n"), "{stdout}{stderr}");
    assert!(stdout.contains("item            2 × Vase at 25.00\n"), "{stdout}");
    assert!(stderr.contains("is not sent") && stderr.contains("are not checked"), "{stderr}");
    let (code, _, stderr) = system.run(&["create", "--item", "Vase", "--price", "0.005", "--dry-run"]).await;
    assert!(code == 2 && stderr.contains("/lineItems/0/price"), "{stderr}");

    let file = system.folder.path().join("orders.ndjson");
    std::fs::write(&file, "{\"item\":\"Vase\",\"quantity\":1,\"price\":1}\n\n{\"item\":\"Vase\"}\n")
        .expect("a file");
    let check = ["create", "--file", "orders.ndjson", "--dry-run", "-o", "json"];
    let (code, stdout, stderr) = system.run(&check).await;
    let invalid = json(&stdout);
    assert_eq!(
        (code, &invalid[0]["line"], &invalid[1]),
        (1, &serde_json::json!(3), &Value::Null),
        "{stderr}"
    );
    assert!(stderr.contains("1 of 2 orders are valid"), "{stderr}");
    assert!(!system.folder.path().join("orders.ndjson.import").exists(), "a dry run has no state");
    assert_eq!(system.succeed(&["list", "-o", "json"]).await, "[]\n");
    system.stop().await;
}

#[tokio::test]
async fn a_repeated_create_with_a_key_creates_no_other_order() {
    let system = System::start().await;
    let first = system.create(&["--key", "checkout-1001"]).await;
    assert_eq!(system.create(&["--key", "checkout-1001"]).await, first);
    system.stop().await;
}

#[tokio::test]
async fn events_are_watched_across_a_restart() {
    let System { folder, mut process, api } = System::start().await;
    let port = api.addr().to_owned();
    let before = api.create_id().await;
    api.wait_for_status(&before, "completed").await;
    let tail = ["watch", "--status", "completed", "-o", "json"];
    let mut tail = Process::start(command(folder.path(), &tail, &[("ORDERS_URL", &api.base)]), "watch");
    // The first event shows that the stream is open.
    let mut seen = String::new();
    while seen.is_empty() {
        let id = api.create_id().await;
        api.wait_for_status(&id, "completed").await;
        seen = tail.stdout_lines().first().cloned().unwrap_or_default();
    }
    assert_eq!(json(&seen)["type"], "order.completed");
    assert!(!seen.contains(&before), "a tail begins with new events: {seen}");
    process.terminate();
    process.wait_for_success().await;
    let again = ["--http-addr", &port, "--grpc-addr", "127.0.0.1:0", "--simulate-min-delay", "0"];
    let mut process = Process::start(command(folder.path(), &again, &[]), "orders dev");
    let api = Api::new(base_url(&mut process).await);
    let id = api.create_id().await;
    tail.wait_for_stdout("the event after the restart", |line| line.contains(&id).then_some(())).await;
    tail.kill();
    tail.wait().await;

    let (code, shown) = {
        let id = api.create_id().await;
        let output = run(folder.path(), &["watch", &id], &[("ORDERS_URL", &api.base)]).await;
        (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
    };
    assert_eq!(code, Some(0), "{shown}");
    assert!(
        shown.contains("pending") && shown.trim_end().lines().last().unwrap().contains("completed"),
        "{shown}"
    );
    process.terminate();
    process.wait_for_success().await;
}

/// The pages of a bulk cancel, and its options.
#[tokio::test]
async fn matching_orders_are_cancelled_in_pages() {
    let gateway = MockServer::start().await;
    let page = |ids: &[&str], next: Option<&str>| {
        let body = json!({"count": ids.len(), "dryRun": false, "orderIds": ids, "next": next});
        ResponseTemplate::new(200).set_body_json(body)
    };
    let filter = json!({"filter": {"customer": "ann", "status": ["pending"]}, "dryRun": false, "reason": "x",
        "requestedBy": "ann"});
    let cancel =
        || Mock::given(method("POST")).and(path("/orders/cancel")).and(body_partial_json(filter.clone()));
    cancel()
        .and(body_partial_json(json!({"after": "b"})))
        .respond_with(page(&["c"], None))
        .with_priority(1)
        .mount(&gateway)
        .await;
    cancel().respond_with(page(&["a", "b"], Some("b"))).mount(&gateway).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let arguments =
        ["cancel", "--customer", "ann", "--status", "pending", "--reason", "x", "--yes", "-o", "id"];
    let output = run(folder.path(), &arguments, &[("ORDERS_URL", &gateway.uri()), ("USER", "ann")]).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "a\nb\nc\n", "{stderr}");
    assert_eq!(stderr, "3 orders are cancelled\n");
}
