//! Redis responds but accepts no jobs: it is a replica, or its memory is full. Orders are accepted as before, health
//! reports the reason within 5 s, and all orders are processed afterwards.

use std::time::{Duration, Instant};

use crate::harness::{Api, Process, command, eventually};
use crate::run::Run;
use crate::servers::{MariaDb, Redis};
use crate::system::{Plan, wait_until_ready};

/// Maximum time until health reports the reason.
const MAX_DELAY: Duration = Duration::from_secs(5);
/// Tolerance for a busy machine.
const TOLERANCE: Duration = Duration::from_secs(5);

/// Waits until readiness reports this reason for the queue.
async fn wait_for_queue_detail(api: &Api, word: &str) {
    eventually(&format!("readiness to report {word}"), || async {
        let (status, readiness) = api.get("/readyz?verbose").await;
        let checks = readiness["checks"].as_array()?;
        let queue = checks.iter().find(|check| check["name"] == "queue")?;
        let has_word = queue["detail"].as_str().is_some_and(|detail| detail.contains(word));
        assert_eq!(status, 200, "orders are accepted: {readiness}");
        (has_word && readiness["status"] == "degraded").then_some(())
    })
    .await;
}

/// Waits until every gateway reports this reason.
async fn wait_until_reported(run: &Run, word: &str) {
    let begun = Instant::now();
    for http in &run.system.http {
        wait_for_queue_detail(&Api::new(http.clone()), word).await;
    }
    assert!(begun.elapsed() < MAX_DELAY + TOLERANCE, "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_replica() {
    let mut run = Run::on_servers("redis_replica", Plan::patient()).await;
    let primary = Redis::start(false).await;
    let command = format!("REPLICAOF 127.0.0.1 {}", primary.port.number);
    assert_eq!(run.system.redis().command(&command).await.as_deref(), Some("+OK"));
    wait_until_reported(&run, "READONLY").await;
    assert_eq!(run.system.redis().command("REPLICAOF NO ONE").await.as_deref(), Some("+OK"));
    run.reconcile().await.costs_delay_only();
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_full() {
    let mut run = Run::on_servers("redis_full", Plan::patient()).await;
    assert_eq!(run.system.redis().command("CONFIG SET maxmemory 1").await.as_deref(), Some("+OK"));
    wait_until_reported(&run, "OOM").await;
    assert_eq!(run.system.redis().command("CONFIG SET maxmemory 0").await.as_deref(), Some("+OK"));
    run.reconcile().await.costs_delay_only();
}

/// A node of a cluster, and another one that has the queue's key.
#[tokio::test(flavor = "multi_thread")]
async fn redis_cluster() {
    let (mariadb, node, other) =
        tokio::join!(MariaDb::start(), Redis::start_in_cluster(), Redis::start_in_cluster());
    other.command("CLUSTER ADDSLOTSRANGE 0 16383").await;
    let bus = other.bus.as_ref().expect("it is a node of a cluster").number;
    let meet = format!("CLUSTER MEET 127.0.0.1 {} {bus}", other.port.number);
    assert_eq!(node.command(&meet).await.as_deref(), Some("+OK"));
    eventually("the nodes to know each other", || async {
        node.command("LLEN orders:queue").await?.starts_with("-MOVED").then_some(())
    })
    .await;

    let folder = tempfile::tempdir().expect("a temporary folder");
    let (database, redis) = (mariadb.url(), format!("redis://127.0.0.1:{}", node.port.number));
    let arguments = ["gateway", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"];
    let variables = [("DATABASE_URL", database.as_str()), ("REDIS_URL", &redis)];
    let mut gateway = Process::start(command(folder.path(), &arguments, &variables), "gateway");
    let api = wait_until_ready(&mut gateway).await;
    api.create().await;
    wait_for_queue_detail(&api, "MOVED").await;
    let is_reported =
        |line: &str| (line.contains("node of a cluster") && line.contains("MOVED")).then_some(());
    gateway.wait_for_log("the reason", is_reported).await;

    let arguments = ["processor", "--metrics-addr", "127.0.0.1:0", "--job-source", "queue"];
    let mut processor =
        Process::start(command(folder.path(), &arguments, &[("REDIS_URL", &redis)]), "processor");
    processor.wait_for_log("the reason", is_reported).await;
    for process in [&mut gateway, &mut processor] {
        process.terminate();
        process.wait_for_success().await;
    }
}
