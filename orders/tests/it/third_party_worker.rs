//! A worker in another language: it pops the Redis list and reports over gRPC. There is no processor
//! of ours in this test.

use crate::harness::{Process, Servers, gateway, script};

#[tokio::test]
async fn a_node_worker_completes_an_order() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let servers = Servers::new().await;
    let (mut process, api, grpc) = gateway(&folder, &servers, 1).await;
    let id = api.create_id().await;
    let mut worker = script("tests/clients", "worker.mjs");
    worker
        .args(["--count", "1", "--timeout", "50"])
        .env("GRPC_ADDR", &grpc)
        .env("REDIS_URL", &servers.redis_url)
        .env("ORDERS_QUEUE_KEY", format!("{}:queue", servers.prefix));
    Process::start(worker, "worker.mjs").ended_well().await;
    // Health and reflection are what tools of other languages ask for first.
    let mut check = script("tests/clients", "health_and_reflection.mjs");
    check.env("GRPC_ADDR", &grpc);
    Process::start(check, "health_and_reflection.mjs").ended_well().await;
    // And the reference client of graphql-transport-ws, which follows the order to its end.
    let mut follow = script("tests/clients", "follow.mjs");
    follow.args(["graphql-ws", &id]).env("ORDERS_URL", &api.base);
    let mut follow = Process::start(follow, "follow.mjs");
    follow.printed("the final status", |line| line.contains("COMPLETED").then_some(())).await;
    follow.ended_well().await;
    let order = api.reaches(&id, "completed").await;
    assert_eq!(order["attempt"], 1);
    let statuses: Vec<String> = api.watch(&id).await.into_iter().map(|(_, status)| status).collect();
    assert_eq!(statuses, ["PENDING", "PROCESSING", "COMPLETED"]);
    process.terminate();
    process.ended_well().await;
}
