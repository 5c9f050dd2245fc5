//! SIGKILL: a part is gone from one moment to the next, and is started again. That of Redis is in
//! [`crate::redis_loss`].

use std::time::Duration;

use crate::run::Run;
use crate::system::Plan;

/// What is killed stays away for a moment.
const AWAY: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn sigkill_gateway() {
    let mut run = Run::on_servers("sigkill_gateway", Plan::default()).await;
    run.system.gateways[0].process.kill();
    run.lasts(AWAY).await;
    run.system.gateways[0].restart().await;
    run.reckon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigkill_processor() {
    let mut run = Run::on_servers("sigkill_processor", Plan::default()).await;
    run.system.processors[0].process.kill();
    run.lasts(AWAY).await;
    run.system.processors[0].restart().await;
    let outcome = run.reckon().await;
    assert!(outcome.extra_attempts > 0, "it had work in hand");
    assert_eq!(outcome.refused, 0, "clients do not notice");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigkill_mariadb() {
    let mut run = Run::on_servers("sigkill_mariadb", Plan::default()).await;
    run.system.mariadb().process.kill();
    run.lasts(AWAY).await;
    run.system.mariadb().restart().await;
    run.reckon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigkill_everything_embedded() {
    let mut run = Run::embedded("sigkill_everything_embedded", &[]).await;
    run.system.gateways[0].process.kill();
    run.lasts(AWAY).await;
    run.system.gateways[0].restart().await;
    run.reckon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigkill_everything_on_servers() {
    let mut run = Run::on_servers("sigkill_everything_on_servers", Plan::default()).await;
    run.system.parts().for_each(|part| part.process.kill());
    run.lasts(AWAY).await;
    for part in run.system.parts() {
        part.restart().await;
    }
    run.reckon().await;
}

/// As if the power failed: MariaDB and Redis go with the rest, and come back after it.
#[tokio::test(flavor = "multi_thread")]
async fn power_cut() {
    let mut run = Run::on_servers("power_cut", Plan::default()).await;
    run.system.mariadb().process.kill();
    run.system.redis().process.kill();
    run.system.parts().for_each(|part| part.process.kill());
    run.lasts(AWAY).await;
    for part in run.system.parts() {
        part.restart().await;
    }
    run.system.mariadb().restart().await;
    run.system.redis().restart().await;
    run.reckon().await;
}
