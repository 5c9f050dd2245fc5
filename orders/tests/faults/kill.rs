//! SIGKILL and a later restart of each part. [`crate::redis_loss`] kills Redis.

use std::time::Duration;

use crate::run::Run;
use crate::system::Plan;

/// The time between the kill and the restart.
const OUTAGE: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn sigkill_gateway() {
    let mut run = Run::on_servers("sigkill_gateway", Plan::default()).await;
    run.system.gateways[0].process.kill();
    run.lasts(OUTAGE).await;
    run.system.gateways[0].restart().await;
    run.reconcile().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigkill_processor() {
    let mut run = Run::on_servers("sigkill_processor", Plan::default()).await;
    run.system.processors[0].process.kill();
    run.lasts(OUTAGE).await;
    run.system.processors[0].restart().await;
    let outcome = run.reconcile().await;
    assert!(outcome.extra_attempts > 0, "it was processing orders");
    assert_eq!(outcome.refused, 0, "no create fails");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigkill_mariadb() {
    let mut run = Run::on_servers("sigkill_mariadb", Plan::default()).await;
    run.system.mariadb().process.kill();
    run.lasts(OUTAGE).await;
    run.system.mariadb().restart().await;
    run.reconcile().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigkill_everything_embedded() {
    let mut run = Run::embedded("sigkill_everything_embedded", &[]).await;
    run.system.gateways[0].process.kill();
    run.lasts(OUTAGE).await;
    run.system.gateways[0].restart().await;
    run.reconcile().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigkill_everything_on_servers() {
    let mut run = Run::on_servers("sigkill_everything_on_servers", Plan::default()).await;
    run.system.parts().for_each(|part| part.process.kill());
    run.lasts(OUTAGE).await;
    for part in run.system.parts() {
        part.restart().await;
    }
    run.reconcile().await;
}

/// A power failure: MariaDB and Redis are killed with all other parts, and restart after them.
#[tokio::test(flavor = "multi_thread")]
async fn power_cut() {
    let mut run = Run::on_servers("power_cut", Plan::default()).await;
    run.system.mariadb().process.kill();
    run.system.redis().process.kill();
    run.system.parts().for_each(|part| part.process.kill());
    run.lasts(OUTAGE).await;
    for part in run.system.parts() {
        part.restart().await;
    }
    run.system.mariadb().restart().await;
    run.system.redis().restart().await;
    run.reconcile().await;
}
