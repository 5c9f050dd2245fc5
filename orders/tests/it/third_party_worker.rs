//! A worker in another language, which pops the Redis list and reports over gRPC. No processor of this program runs.

use crate::harness::{Api, Process, Servers, command, run, script, start_gateway};
use serde_json::Value;
use tempfile::TempDir;

#[tokio::test]
async fn node_worker_completes_an_order() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let servers = Servers::new().await;
    let (mut process, api, grpc) = start_gateway(&folder, &servers, 1).await;
    let id = api.create_id().await;
    let mut worker = script("tests/clients", "worker.mjs");
    worker
        .args(["--count", "1", "--timeout", "50"])
        .env("GRPC_ADDR", &grpc)
        .env("REDIS_URL", &servers.redis_url)
        .env("ORDERS_QUEUE_KEY", format!("{}:queue", servers.prefix));
    Process::start(worker, "worker.mjs").wait_for_success().await;
    // Tools of other languages use health and reflection first.
    let mut check = script("tests/clients", "health_and_reflection.mjs");
    check.env("GRPC_ADDR", &grpc);
    Process::start(check, "health_and_reflection.mjs").wait_for_success().await;
    // The reference client of graphql-transport-ws follows the order to its final status.
    let mut follow = script("tests/clients", "follow.mjs");
    follow.args(["graphql-ws", &id]).env("ORDERS_URL", &api.base);
    let mut follow = Process::start(follow, "follow.mjs");
    follow.wait_for_stdout("the final status", |line| line.contains("COMPLETED").then_some(())).await;
    follow.wait_for_success().await;
    let order = api.wait_for_status(&id, "completed").await;
    assert_eq!(order["attempt"], 1);
    let statuses: Vec<String> = api.watch(&id).await.into_iter().map(|(_, status)| status).collect();
    assert_eq!(statuses, ["PENDING", "PROCESSING", "COMPLETED"]);
    process.terminate();
    process.wait_for_success().await;
}

/// Starts a gateway with authentication, and returns its HTTP and gRPC addresses. `admin.key` and `worker.key` are keys.
async fn gateway_with_keys(folder: &TempDir, variables: &[(&str, &str)]) -> (Process, String, String) {
    let keys =
        [("ORDERS_BOOTSTRAP_KEY_FILE", "admin.key"), ("ORDERS_BOOTSTRAP_WORKER_KEY_FILE", "worker.key")];
    let arguments = [
        "gateway",
        "--http-addr",
        "127.0.0.1:0",
        "--grpc-addr",
        "127.0.0.1:0",
        "--log-format",
        "json",
        "--auth",
        "keys",
    ];
    let command = command(folder.path(), &arguments, &[variables, &keys].concat());
    let mut process = Process::start(command, "gateway");
    let (http, grpc) = process
        .wait_for_log("its addresses", |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            Some((line["http"].as_str()?.to_owned(), line["grpc"].as_str()?.to_owned()))
        })
        .await;
    (process, http, grpc)
}

/// Returns the key in a file.
fn read(folder: &TempDir, name: &str) -> String {
    let key = std::fs::read_to_string(folder.path().join(name)).expect("the file was created");
    key.trim_end().to_owned()
}

/// A gateway with authentication, and workers with a key: one reports with the lease token, one without it.
#[tokio::test]
async fn node_worker_with_a_key_completes_orders() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let servers = Servers::new().await;
    let variables = [
        ("DATABASE_URL", servers.database_url.as_str()),
        ("REDIS_URL", &servers.redis_url),
        ("ORDERS_REDIS_PREFIX", &servers.prefix),
    ];
    let (mut process, http, grpc) = gateway_with_keys(&folder, &variables).await;
    let worker_key = read(&folder, "worker.key");
    let api = Api::with_key(format!("http://{http}"), None, &read(&folder, "admin.key"));
    let start = |arguments: &[&str]| {
        let mut worker = script("tests/clients", "worker.mjs");
        worker
            .args(["--count", "1", "--timeout", "50"])
            .args(arguments)
            .env("GRPC_ADDR", &grpc)
            .env("REDIS_URL", &servers.redis_url)
            .env("ORDERS_QUEUE_KEY", format!("{}:queue", servers.prefix));
        worker.env("ORDERS_TOKEN", &worker_key);
        Process::start(worker, "worker.mjs")
    };
    for arguments in [&[][..], &["--without-lease-token"]] {
        let order = api.create_id().await;
        start(arguments).wait_for_success().await;
        assert_eq!(api.wait_for_status(&order, "completed").await["attempt"], 1);
    }
    process.terminate();
    process.wait_for_success().await;
}

/// The key of a processor is revoked while an order runs, and the file has the next key. Then that one is revoked too.
#[tokio::test]
async fn a_running_order_survives_the_key_of_its_processor() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let servers = Servers::new().await;
    let variables = [
        ("DATABASE_URL", servers.database_url.as_str()),
        ("REDIS_URL", &servers.redis_url),
        ("ORDERS_REDIS_PREFIX", &servers.prefix),
    ];
    let (mut gateway, http, grpc) = gateway_with_keys(&folder, &variables).await;
    let api = Api::with_key(format!("http://{http}"), None, &read(&folder, "admin.key"));
    let create = ["keys", "create", "--name", "next", "--role", "worker"];
    let next = run(folder.path(), &create, &variables).await;
    assert!(next.status.success(), "{}", String::from_utf8_lossy(&next.stderr));

    let url = format!("http://{grpc}");
    let settings = [
        "processor",
        "--metrics-addr",
        "127.0.0.1:0",
        "--token-file",
        "worker.key",
        "--gateway-url",
        &url,
        "--simulate-min-delay",
        "8s",
        "--simulate-max-delay",
        "8s",
    ];
    let mut processor = Process::start(command(folder.path(), &settings, &variables), "processor");
    let order = api.create_id().await;
    api.wait_for_status(&order, "processing").await;
    let revoke = async |key: &str| {
        let id = key.split('_').nth(1).expect("a key has an id");
        let revoked = run(folder.path(), &["keys", "revoke", id], &variables).await;
        assert!(revoked.status.success(), "{}", String::from_utf8_lossy(&revoked.stderr));
    };
    let first = read(&folder, "worker.key");
    std::fs::write(folder.path().join("worker.key"), &next.stdout).expect("it is ours");
    revoke(&first).await;
    let (status, _) = api.get(&format!("/orders/{order}")).await;
    assert_eq!(status, 200);
    assert_eq!(api.wait_for_status(&order, "completed").await["attempt"], 1);
    let logged = |text: &'static str| move |line: &str| line.contains(text).then_some(());
    processor.wait_for_log("the end of its key", logged("the credential for the gateway has ended")).await;
    assert_eq!(processor.count_logged("shutting down"), 0, "{}", processor.stderr());

    revoke(&read(&folder, "worker.key")).await;
    processor.wait_for_log("the refusal", logged("write a valid one to the file")).await;
    processor.signal("HUP");
    processor.wait_for_log("the request", logged("SIGHUP")).await;
    assert!(processor.is_running());
    processor.terminate();
    processor.wait_for_success().await;
    gateway.terminate();
    gateway.wait_for_success().await;
}
