//! Redis loses what it held, or is away. Orders are accepted as before, and no attempt is lost: it
//! costs delay only.

use crate::run::{LONG, Run};
use crate::system::Plan;

#[tokio::test(flavor = "multi_thread")]
async fn flushall() {
    let mut run = Run::on_servers("flushall", Plan::patient()).await;
    with_a_queue(&mut run).await;
    assert_eq!(run.system.redis().command("FLUSHALL").await.as_deref(), Some("+OK"));
    work_goes_on(&run);
    run.reckon().await.costs_delay_only();
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_restart_empty() {
    let mut run = Run::on_servers("redis_restart_empty", Plan::patient()).await;
    with_a_queue(&mut run).await;
    run.system.redis().process.terminate();
    run.system.redis().restart().await;
    work_goes_on(&run);
    run.reckon().await.costs_delay_only();
}

/// Killed, it comes back with what it had on disk. That may be jobs that are done since, or no more.
#[tokio::test(flavor = "multi_thread")]
async fn sigkill_redis() {
    let mut run = Run::on_servers("sigkill_redis", Plan { persistent_redis: true, ..Plan::patient() }).await;
    with_a_queue(&mut run).await;
    run.system.redis().process.kill();
    run.system.redis().restart().await;
    work_goes_on(&run);
    run.reckon().await.costs_delay_only();
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_away() {
    let mut run = Run::on_servers("redis_away", Plan::patient()).await;
    run.system.redis().process.terminate();
    run.lasts(LONG).await;
    run.system.redis().restart().await;
    run.reckon().await.costs_delay_only();
}

/// Redis holds jobs, because the processors stand still for less than a lease.
async fn with_a_queue(run: &mut Run) {
    run.system.processors.iter().for_each(|processor| processor.process.signal("STOP"));
    run.ledger.accepts(100).await;
    run.system.redis().has_jobs().await;
}

fn work_goes_on(run: &Run) {
    run.system.processors.iter().for_each(|processor| processor.process.signal("CONT"));
}
