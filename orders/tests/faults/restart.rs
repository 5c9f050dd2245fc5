//! A rolling upgrade: each part gets SIGTERM and restarts before the next one. Clients use the remaining gateway, and no
//! create fails.

use crate::harness::Api;
use crate::run::Run;
use crate::system::Plan;

#[tokio::test(flavor = "multi_thread")]
async fn rolling_restart() {
    let mut run = Run::on_servers("rolling_restart", Plan::patient()).await;
    for i in 0..run.system.gateways.len() {
        run.clients.balance(i, false);
        let gateway = &mut run.system.gateways[i];
        gateway.process.terminate();
        gateway.process.wait_for_success().await;
        gateway.restart().await;
        Api::new(run.system.http[i].clone()).wait_until_ready().await;
        run.clients.balance(i, true);
        run.clients.wait_until_accepted(50).await;
    }
    for i in 0..run.system.processors.len() {
        let processor = &mut run.system.processors[i];
        processor.process.terminate();
        processor.process.wait_for_success().await;
        processor.restart().await;
        run.clients.wait_until_accepted(50).await;
    }
    let outcome = run.reconcile().await;
    assert_eq!(outcome.unreachable, 0, "clients always find a gateway");
    outcome.costs_delay_only();
}
