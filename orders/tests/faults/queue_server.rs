//! Redis answers, and takes no jobs: it is a replica, or has used up its memory. Orders are accepted as before, health
//! names the reason within 5 s, and everything is processed once it is over.

use std::time::{Duration, Instant};

use crate::harness::{Api, Process, command, eventually};
use crate::run::Run;
use crate::servers::{MariaDb, Redis};
use crate::system::{Plan, ready};

/// How soon health has to name it.
const SOON: Duration = Duration::from_secs(5);
/// What a busy machine may add to that.
const BUSY: Duration = Duration::from_secs(5);

/// Waits until readiness says this of the queue.
async fn queue_is(api: &Api, word: &str) {
    eventually(&format!("readiness to name {word}"), || async {
        let (status, readiness) = api.get("/readyz?verbose").await;
        let checks = readiness["checks"].as_array()?;
        let queue = checks.iter().find(|check| check["name"] == "queue")?;
        let named = queue["detail"].as_str().is_some_and(|detail| detail.contains(word));
        assert_eq!(status, 200, "orders are accepted: {readiness}");
        (named && readiness["status"] == "degraded").then_some(())
    })
    .await;
}

/// Waits until every gateway says so.
async fn health_names(run: &Run, word: &str) {
    let begun = Instant::now();
    for http in &run.system.http {
        queue_is(&Api::new(http.clone()), word).await;
    }
    assert!(begun.elapsed() < SOON + BUSY, "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_replica() {
    let mut run = Run::on_servers("redis_replica", Plan::patient()).await;
    let primary = Redis::start(false).await;
    let command = format!("REPLICAOF 127.0.0.1 {}", primary.port.number);
    assert_eq!(run.system.redis().command(&command).await.as_deref(), Some("+OK"));
    health_names(&run, "READONLY").await;
    assert_eq!(run.system.redis().command("REPLICAOF NO ONE").await.as_deref(), Some("+OK"));
    run.reckon().await.costs_delay_only();
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_full() {
    let mut run = Run::on_servers("redis_full", Plan::patient()).await;
    assert_eq!(run.system.redis().command("CONFIG SET maxmemory 1").await.as_deref(), Some("+OK"));
    health_names(&run, "OOM").await;
    assert_eq!(run.system.redis().command("CONFIG SET maxmemory 0").await.as_deref(), Some("+OK"));
    run.reckon().await.costs_delay_only();
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
    let api = ready(&mut gateway).await;
    api.create().await;
    queue_is(&api, "MOVED").await;
    let says = |line: &str| (line.contains("node of a cluster") && line.contains("MOVED")).then_some(());
    gateway.wait_for_log("what is wrong", says).await;

    let arguments = ["processor", "--metrics-addr", "127.0.0.1:0"];
    let mut processor =
        Process::start(command(folder.path(), &arguments, &[("REDIS_URL", &redis)]), "processor");
    processor.wait_for_log("what is wrong", says).await;
    for process in [&mut gateway, &mut processor] {
        process.terminate();
        process.wait_for_success().await;
    }
}
