//! Redis loses its data, or is unavailable. Orders are accepted as before, and no attempt is lost: the only cost is delay.

use crate::run::{LONG, Run};
use crate::system::Plan;

#[tokio::test(flavor = "multi_thread")]
async fn flushall() {
    let mut run = Run::on_servers("flushall", Plan::patient()).await;
    fill_queue(&mut run).await;
    assert_eq!(run.system.redis().command("FLUSHALL").await.as_deref(), Some("+OK"));
    resume_processors(&run);
    run.reconcile().await.costs_delay_only();
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_restart_empty() {
    let mut run = Run::on_servers("redis_restart_empty", Plan::patient()).await;
    fill_queue(&mut run).await;
    run.system.redis().process.terminate();
    run.system.redis().restart().await;
    resume_processors(&run);
    run.reconcile().await.costs_delay_only();
}

/// A killed Redis restarts with the data on its disk, which can contain completed jobs and lack new ones.
#[tokio::test(flavor = "multi_thread")]
async fn sigkill_redis() {
    let mut run = Run::on_servers("sigkill_redis", Plan { persistent_redis: true, ..Plan::patient() }).await;
    fill_queue(&mut run).await;
    run.system.redis().process.kill();
    run.system.redis().restart().await;
    resume_processors(&run);
    run.reconcile().await.costs_delay_only();
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_away() {
    let mut run = Run::on_servers("redis_away", Plan::patient()).await;
    run.system.redis().process.terminate();
    run.lasts(LONG).await;
    run.system.redis().restart().await;
    run.reconcile().await.costs_delay_only();
}

/// Fills the queue: the processors are stopped for less than a lease.
async fn fill_queue(run: &mut Run) {
    run.system.processors.iter().for_each(|processor| processor.process.signal("STOP"));
    run.clients.wait_until_accepted(100).await;
    run.system.redis().wait_for_jobs().await;
}

fn resume_processors(run: &Run) {
    run.system.processors.iter().for_each(|processor| processor.process.signal("CONT"));
}
