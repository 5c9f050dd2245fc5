//! A Redis of several servers, one of which is lost or replaced under load. Orders are accepted as before and no attempt is
//! lost. Workers get jobs again within 5 s of the end of the failover.

use std::time::{Duration, Instant};

use test_redis::{Cluster, REDIS, Sentinels};

use crate::harness::{Api, eventually};
use crate::run::Run;
use crate::system::Plan;

/// The maximum time from the end of a failover to a completed order.
const MAX_DELAY: Duration = Duration::from_secs(5);
/// Tolerance for a busy machine.
const TOLERANCE: Duration = Duration::from_secs(5);

const QUEUE: &str = "orders:queue";
const CHANNEL: &str = "orders:events";

async fn start(name: &'static str, url: String) -> Run {
    Run::on_servers(name, Plan { redis_url: Some(url), ..Plan::patient() }).await
}

/// Checks that each gateway sees the queue again, and that the processor that takes its jobs from the queue completes a new
/// order. Then compares the ledger with the database.
async fn resumes(run: Run) {
    let begun = Instant::now();
    let apis: Vec<Api> = run.system.http.iter().map(|http| Api::new(http.clone())).collect();
    for api in &apis {
        eventually("readiness", || async {
            let (_, readiness) = api.get("/readyz?verbose").await;
            (readiness["status"] == "ok").then_some(())
        })
        .await;
    }
    let worker = format!("-{}", run.system.processors[0].process.id());
    eventually("an order from the queue", || async {
        let new = run.clients.with_ledger(|ledger| {
            let new = ledger.accepted.values().filter(|order| order.at > begun);
            new.map(|order| order.id.clone()).collect::<Vec<_>>()
        });
        for id in new {
            let order = apis[0].order(&id).await;
            if order["status"] == "completed" && order["worker"].as_str()?.ends_with(&worker) {
                return Some(());
            }
        }
        None
    })
    .await;
    assert!(begun.elapsed() < MAX_DELAY + TOLERANCE, "{:?}", begun.elapsed());
    run.reconcile().await.costs_delay_only();
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_sentinel_kill() {
    let mut sentinels = Sentinels::start(&REDIS).await;
    let run = start("redis_sentinel_kill", sentinels.url()).await;
    sentinels.kill_primary().await;
    resumes(run).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_sentinel_failover() {
    let sentinels = Sentinels::start(&REDIS).await;
    let run = start("redis_sentinel_failover", sentinels.url()).await;
    sentinels.fail_over().await;
    resumes(run).await;
}

/// The nodes of the queue and of the channel end, one after the other.
#[tokio::test(flavor = "multi_thread")]
async fn redis_cluster_kill() {
    let mut cluster = Cluster::start(&REDIS).await;
    let run = start("redis_cluster_kill", cluster.url()).await;
    cluster.kill_owner(QUEUE).await;
    resumes(run).await;

    let mut cluster = Cluster::start(&REDIS).await;
    let run = start("redis_cluster_kill_bus", cluster.url()).await;
    cluster.kill_owner(CHANNEL).await;
    resumes(run).await;
}

/// The queue has several lists, and the events have several channels. The node of one list ends.
#[tokio::test(flavor = "multi_thread")]
async fn redis_cluster_lists() {
    let mut cluster = Cluster::start(&REDIS).await;
    let count = |name: &str, count: &str| (name.to_owned(), count.to_owned());
    let redis_variables =
        vec![count("ORDERS_REDIS_QUEUE_LISTS", "3"), count("ORDERS_REDIS_EVENT_CHANNELS", "4")];
    let plan = Plan { redis_url: Some(cluster.url()), redis_variables, ..Plan::patient() };
    let run = Run::on_servers("redis_cluster_lists", plan).await;
    cluster.kill_owner("orders:queue.1").await;
    resumes(run).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_cluster_failover() {
    let cluster = Cluster::start(&REDIS).await;
    let run = start("redis_cluster_failover", cluster.url()).await;
    cluster.fail_over(QUEUE).await;
    cluster.move_slot(CHANNEL).await;
    resumes(run).await;
}
