//! The commands for operators against a running system.

use serde_json::json;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::harness::{Api, Process, base_url, command, run};

const FREE_PORTS: [&str; 4] = ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"];

async fn start_dev(folder: &tempfile::TempDir, work: &[&str]) -> (Process, Api) {
    let arguments =
        [&FREE_PORTS[..], &["--simulate-min-delay", "0", "--simulate-max-delay", "0"], work].concat();
    let mut process = Process::start(command(folder.path(), &arguments, &[]), "orders dev");
    let api = Api::new(base_url(&mut process).await);
    (process, api)
}

/// Runs a command that must succeed, and returns its output.
async fn run_command(folder: &tempfile::TempDir, api: &Api, arguments: &[&str]) -> String {
    let output = run(folder.path(), arguments, &[("ORDERS_URL", &api.base), ("USER", "ann")]).await;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("output is UTF-8")
}

#[tokio::test]
async fn pause_survives_a_restart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut process, api) = start_dev(&folder, &[]).await;
    let arguments = ["queue", "pause", "--for", "90m", "--dry-run"];
    let output = run(folder.path(), &arguments, &[("ORDERS_URL", &api.base)]).await;
    let (shown, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && !shown.contains("paused"), "{shown}{stderr}");
    assert!(
        stderr.starts_with("the queue would be paused until 20") && stderr.contains("Nothing was changed"),
        "{stderr}"
    );
    let arguments = ["queue", "pause", "--until", "2020-01-01T00:00:00Z", "--dry-run"];
    let output = run(folder.path(), &arguments, &[("ORDERS_URL", &api.base)]).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains("which is over"), "{stderr}");
    let shown = run_command(&folder, &api, &["queue", "pause", "--for", "90m"]).await;
    assert!(shown.contains("paused by     ann") && shown.contains(", until 20"), "{shown}");
    let shown = run_command(&folder, &api, &["queue", "pause"]).await;
    assert!(shown.contains("until it is resumed"), "{shown}");
    let id = api.create_id().await;
    process.terminate();
    process.wait_for_success().await;

    let (mut process, api) = start_dev(&folder, &[]).await;
    let shown = run_command(&folder, &api, &["queue", "status"]).await;
    assert!(shown.contains("state         paused"), "{shown}");
    let other = api.create_id().await;
    let listed = run_command(&folder, &api, &["list", "--waits-for", "pause", "-o", "id"]).await;
    assert_eq!(listed.lines().collect::<Vec<_>>(), [&other, &id]);
    assert_eq!(
        (&api.order(&id).await["status"], &api.order(&other).await["status"]),
        (&json!("pending"), &json!("pending"))
    );
    let shown = run_command(&folder, &api, &["queue", "resume"]).await;
    assert!(shown.contains("state         running"), "{shown}");
    for id in [&id, &other] {
        let order = api.wait_for_status(id, "completed").await;
        assert_eq!(order["attempt"], 1);
    }
    process.terminate();
    process.wait_for_success().await;
}

#[tokio::test]
async fn dead_letters_are_listed_and_redriven() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut failing, api) = start_dev(&folder, &["--simulate-failure-rate", "1"]).await;
    let mut ids = Vec::new();
    for customer in ["Ann", "Ann", "Bob"] {
        let order = json!({"item": "x", "quantity": 1, "price": 1, "maxAttempts": 1, "customer": customer});
        let (status, order) = api.post("/orders", &order).await;
        assert_eq!(status, 201, "{order}");
        ids.push(crate::harness::id(&order));
    }
    for id in &ids {
        api.wait_for_status(id, "failed").await;
    }
    let list = run_command(&folder, &api, &["dead-letters", "list", "--error-class", "simulated"]).await;
    assert!(list.starts_with("ID ") && list.contains("1 of 1    simulated  simulated failure"), "{list}");
    let listed = run_command(&folder, &api, &["dead-letters", "list", "-o", "id"]).await;
    assert_eq!(listed.lines().collect::<Vec<_>>(), [&ids[2], &ids[1], &ids[0]]);
    let of_bob = ["dead-letters", "list", "--customer", "Bob"];
    let json = run_command(&folder, &api, &[&of_bob[..], &["-o", "json"]].concat()).await;
    let orders: serde_json::Value = serde_json::from_str(&json).expect("an array");
    assert_eq!((&orders[0]["id"], &orders[1]), (&json!(ids[2]), &json!(null)));
    let line = run_command(&folder, &api, &[&of_bob[..], &["--json"]].concat()).await;
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&line).expect("one line of JSON")["id"],
        json!(ids[2])
    );
    let csv = run_command(&folder, &api, &[&of_bob[..], &["--output", "csv"]].concat()).await;
    let csv: Vec<&str> = csv.lines().collect();
    assert!(csv[0].starts_with("id,failed_at,attempts,class,reason,code,customer,"), "{csv:?}");
    assert!(
        csv[1].starts_with(&ids[2])
            && csv[1].contains(",simulated failure,")
            && csv[1].contains(",Bob,,1.00 USD,1 × x,"),
        "{csv:?}"
    );
    let none = run_command(&folder, &api, &["dead-letters", "list", "--error-class", "other"]).await;
    assert_eq!(none, "no dead letters match\n");
    failing.terminate();
    failing.wait_for_success().await;

    // The new process does not fail orders.
    let (mut process, api) = start_dev(&folder, &[]).await;
    let filter = ["dead-letters", "redrive", "--customer", "Ann", "--rate", "50/s"];
    let selected = run_command(&folder, &api, &[&filter[..], &["--dry-run"]].concat()).await;
    assert!(
        selected.starts_with(&format!("{}\n{}\n2 orders would be redriven", ids[1], ids[0])),
        "{selected}"
    );
    for arguments in [&filter[..], &["dead-letters", "redrive", &ids[1], &ids[0]]] {
        let listed = run_command(&folder, &api, &[arguments, &["--dry-run", "-o", "json"]].concat()).await;
        let listed: serde_json::Value = serde_json::from_str(&listed).expect("an array");
        assert_eq!(listed[1], json!({"id": ids[0], "result": "would be redriven"}));
    }
    assert_eq!(api.order(&ids[0]).await["status"], "failed");
    run_command(&folder, &api, &["queue", "pause"]).await;
    let selected =
        run(folder.path(), &[&filter[..], &["--dry-run"]].concat(), &[("ORDERS_URL", &api.base)]).await;
    let explained = String::from_utf8_lossy(&selected.stderr).into_owned();
    assert!(explained.contains("the queue is paused: nothing starts before its resume"), "{explained}");
    run_command(&folder, &api, &["queue", "resume"]).await;
    let redriven =
        run_command(&folder, &api, &[&filter[..], &["--reason", "fixed", "--wait"]].concat()).await;
    // The wait has ended, so the orders are final.
    for id in &ids[..2] {
        assert_eq!(api.order(id).await["status"], "completed");
    }
    assert!(redriven.contains("2 orders redriven, the last one starts before"), "{redriven}");
    for id in &ids[..2] {
        api.wait_for_status(id, "completed").await;
        let (_, events) = api.get(&format!("/orders/{id}/events")).await;
        let redrive = events
            .as_array()
            .and_then(|events| events.iter().find(|event| event["previousStatus"] == "failed"));
        assert_eq!(redrive.map(|event| &event["reason"]), Some(&json!("redriven by ann: fixed")), "{events}");
    }

    let named =
        run(folder.path(), &["dead-letters", "redrive", &ids[2], &ids[0]], &[("ORDERS_URL", &api.base)])
            .await;
    let shown = String::from_utf8_lossy(&named.stdout);
    assert_eq!(named.status.code(), Some(4), "{shown}");
    assert!(
        shown.contains(&format!("{}  redriven", ids[2])) && shown.contains("only a failed order"),
        "{shown}"
    );
    api.wait_for_status(&ids[2], "completed").await;
    process.terminate();
    process.wait_for_success().await;

    let variables = [("ORDERS_URL", &*api.base), ("ORDERS_CONNECT_TIMEOUT", "100ms")];
    let gone = run(folder.path(), &["queue", "status"], &variables).await;
    let stderr = String::from_utf8_lossy(&gone.stderr);
    assert_eq!(gone.status.code(), Some(5), "{stderr}");
    assert!(
        stderr.starts_with("error: ") && stderr.contains("cannot be reached") && stderr.contains("hint: "),
        "{stderr}"
    );
}

#[tokio::test]
async fn a_redirect_gets_no_key() {
    let (asked, other) = (MockServer::start().await, MockServer::start().await);
    let location = ResponseTemplate::new(307).insert_header("Location", format!("{}/queue", other.uri()));
    Mock::given(any()).respond_with(location).expect(1).mount(&asked).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let variables = [("ORDERS_URL", &*asked.uri()), ("ORDERS_TOKEN", "hush")];
    let output = run(folder.path(), &["queue", "status"], &variables).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("redirects, which is not followed: 307"), "{stderr}");
    assert_eq!(other.received_requests().await.map(|requests| requests.len()), Some(0));
}

/// Scripts decide by the exit code.
#[tokio::test]
async fn exit_codes_state_the_meaning() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    for (status, code) in [(200, 0), (500, 1), (422, 2), (404, 3), (403, 4), (409, 4), (429, 4), (503, 5)] {
        let gateway = MockServer::start().await;
        let problem = json!({"detail": "x", "code": "x"});
        let response = ResponseTemplate::new(status).set_body_json(problem);
        Mock::given(any()).respond_with(response).mount(&gateway).await;
        for arguments in [&["queue", "status"][..], &["dead-letters", "redrive", id]] {
            let output = run(folder.path(), arguments, &[("ORDERS_URL", &gateway.uri())]).await;
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{arguments:?} {status}: {stderr}");
        }
    }
}

/// A command can follow directly after `orders &`: the port is closed first, then the gateway waits for its database.
#[tokio::test]
async fn a_command_waits_for_a_gateway_that_starts() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    drop(listener);
    let url = format!("http://{address}");
    let demo = ["demo", "--orders", "3", "--rate", "1000/s", "--url", &url, "--connect-timeout", "1m"];
    let mut demo = Process::start(command(folder.path(), &demo, &[]), "orders demo");
    let told = format!("waiting up to 1m for the gateway at {url}");
    demo.wait_for_log("the reason of the wait", |line| line.contains(&told).then_some(())).await;
    let arguments = ["--http-addr", &address, "--grpc-addr", "127.0.0.1:0"];
    let mut process = Process::start(command(folder.path(), &arguments, &[]), "orders dev");
    demo.wait_for_success().await;
    process.terminate();
    process.wait_for_success().await;

    let gateway = MockServer::start().await;
    let problem = |code: &str| ResponseTemplate::new(503).set_body_json(json!({"detail": "x", "code": code}));
    let starting = Mock::given(any()).respond_with(problem("starting")).up_to_n_times(3).with_priority(1);
    starting.mount(&gateway).await;
    Mock::given(any()).respond_with(problem("overloaded")).expect(1).mount(&gateway).await;
    let variables = [("ORDERS_URL", &*gateway.uri())];
    let output = run(folder.path(), &["queue", "pause"], &variables).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(5) && stderr.contains("code overloaded"), "{stderr}");
    gateway.verify().await;
    // Without the wait, the first response counts.
    gateway.reset().await;
    Mock::given(any()).respond_with(problem("starting")).expect(1).mount(&gateway).await;
    let output = run(folder.path(), &["queue", "pause", "--connect-timeout", "0"], &variables).await;
    assert_eq!(output.status.code(), Some(5));
}

/// A page that is short because its orders are large is not the last one.
#[tokio::test]
async fn dead_letters_are_listed_beyond_a_short_page() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let limits = ["--simulate-failure-rate", "1", "--max-response-size", "256KiB"];
    let (mut failing, api) = start_dev(&folder, &limits).await;
    let lines = vec![json!({"item": "x".repeat(200), "quantity": 1, "price": 1}); 200];
    let mut ids = Vec::new();
    for _ in 0..10 {
        let (status, order) = api.post("/orders", &json!({"lineItems": lines, "maxAttempts": 1})).await;
        assert_eq!(status, 201, "{order}");
        ids.insert(0, crate::harness::id(&order));
    }
    for id in &ids {
        api.wait_for_status(id, "failed").await;
    }
    let (_, page) = api.get("/dead-letters?limit=10").await;
    assert!(page.as_array().is_some_and(|page| page.len() < 8), "the page ends early");
    for (limit, expected) in [("100", &ids[..]), ("8", &ids[..8])] {
        let list = run_command(&folder, &api, &["dead-letters", "list", "--limit", limit, "-o", "id"]).await;
        assert_eq!(list.lines().collect::<Vec<_>>(), expected);
    }
    failing.terminate();
    failing.wait_for_success().await;
}
