//! A worker in another language, which pops the Redis list and reports over gRPC. No processor of this program runs.

use crate::harness::{Api, Process, Servers, command, script, start_gateway};
use serde_json::Value;

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

/// A gateway with authentication, and workers with a key: one reports with the lease token, one without it.
#[tokio::test]
async fn node_worker_with_a_key_completes_orders() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let servers = Servers::new().await;
    let variables = [
        ("DATABASE_URL", servers.database_url.as_str()),
        ("REDIS_URL", &servers.redis_url),
        ("ORDERS_REDIS_PREFIX", &servers.prefix),
        ("ORDERS_BOOTSTRAP_KEY_FILE", "admin.key"),
        ("ORDERS_BOOTSTRAP_WORKER_KEY_FILE", "worker.key"),
    ];
    let arguments =
        ["gateway", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--log-format", "json"];
    let arguments = [&arguments[..], &["--auth", "keys"]].concat();
    let mut process = Process::start(command(folder.path(), &arguments, &variables), "gateway");
    let (http, grpc) = process
        .wait_for_log("its addresses", |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            Some((line["http"].as_str()?.to_owned(), line["grpc"].as_str()?.to_owned()))
        })
        .await;
    let read = |name| std::fs::read_to_string(folder.path().join(name)).expect("the file was created");
    let (admin, worker_key) = (read("admin.key"), read("worker.key"));
    let api = Api::with_key(format!("http://{http}"), None, admin.trim_end());
    let start = |arguments: &[&str]| {
        let mut worker = script("tests/clients", "worker.mjs");
        worker
            .args(["--count", "1", "--timeout", "50"])
            .args(arguments)
            .env("GRPC_ADDR", &grpc)
            .env("REDIS_URL", &servers.redis_url)
            .env("ORDERS_QUEUE_KEY", format!("{}:queue", servers.prefix));
        worker.env("ORDERS_TOKEN", worker_key.trim_end());
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
