//! The clock of a process jumps by five minutes and, after a while, back. Only the database's clock
//! counts, so nobody notices.

use crate::run::{LONG, Run};
use crate::shim::Shim;
use crate::system::Plan;

async fn jump(name: &'static str, seconds: i64, gateway: bool) {
    let clock = Shim::clock();
    let mut plan = Plan::patient();
    if gateway {
        plan.gateway_variables = clock.variables();
    } else {
        plan.processor_variables = clock.variables();
    }
    let run = Run::on_servers(name, plan).await;
    clock.begin(&seconds.to_string());
    run.lasts(LONG).await;
    clock.end();
    run.reckon().await.costs_delay_only();
}

#[tokio::test(flavor = "multi_thread")]
async fn processor_clock_plus_5_min() {
    jump("processor_clock_plus_5_min", 300, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processor_clock_minus_5_min() {
    jump("processor_clock_minus_5_min", -300, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gateway_clock_plus_5_min() {
    jump("gateway_clock_plus_5_min", 300, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gateway_clock_minus_5_min() {
    jump("gateway_clock_minus_5_min", -300, true).await;
}
