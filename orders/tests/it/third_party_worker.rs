//! A worker in another language, which pops the Redis list and reports over gRPC. No processor of this program runs.

use crate::harness::{Process, Servers, script, start_gateway};

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
