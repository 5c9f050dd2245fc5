//! Redis answers, and takes no jobs: it is a replica, or has used up its memory. Orders are accepted as before, health
//! names the reason within 5 s, and everything is processed once it is over.

use std::time::{Duration, Instant};

use crate::harness::{Api, eventually};
use crate::run::Run;
use crate::servers::Redis;
use crate::system::Plan;

/// How soon health has to name it.
const SOON: Duration = Duration::from_secs(5);
/// What a busy machine may add to that.
const BUSY: Duration = Duration::from_secs(5);

/// Waits until every gateway says so.
async fn health_names(run: &Run, word: &str) {
    let begun = Instant::now();
    for http in &run.system.http {
        let api = Api::new(http.clone());
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
