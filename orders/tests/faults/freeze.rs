//! SIGSTOP for longer than a lease, then SIGCONT: a part that was taken for dead goes on as if nothing
//! had happened.

use axum::http::StatusCode;

use crate::harness::Process;
use crate::run::{LONG, Run};
use crate::system::{Plan, System};
use crate::webhook::{CHOSEN, Webhook};

async fn freeze(run: &mut Run, part: impl Fn(&mut System) -> &Process) {
    part(&mut run.system).signal("STOP");
    run.lasts(LONG).await;
    part(&mut run.system).signal("CONT");
}

#[tokio::test(flavor = "multi_thread")]
async fn freeze_gateway() {
    let mut run = Run::on_servers("freeze_gateway", Plan::default()).await;
    freeze(&mut run, |system| &system.gateways[0].process).await;
    run.reckon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn freeze_processor() {
    let mut run = Run::on_servers("freeze_processor", Plan::default()).await;
    freeze(&mut run, |system| &system.processors[0].process).await;
    let outcome = run.reckon().await;
    assert!(outcome.extra_attempts > 0, "it had work in hand");
    assert_eq!(outcome.refused, 0, "clients do not notice");
}

/// A processor wakes up with a bad end of an attempt, while another one is at the next attempt. It may
/// not overwrite that.
#[tokio::test(flavor = "multi_thread")]
async fn stale_report() {
    let mut webhook = Webhook::start().await;
    let plan = Plan { webhook: Some(webhook.base.clone()), ..Plan::default() };
    let mut run = Run::on_servers("stale_report", plan).await;
    let id = run.ledger.create(CHOSEN, 5).await;
    let first = webhook.attempt().await;
    run.system.processors[first.processor].process.signal("STOP");
    first.answer.send(StatusCode::UNPROCESSABLE_ENTITY).expect("the request is open");
    let second = webhook.attempt().await;
    assert_ne!(second.processor, first.processor);
    let frozen = &mut run.system.processors[first.processor].process;
    frozen.signal("CONT");
    let learns =
        |line: &str| ["lease lost", "gateway rejected report"].iter().any(|text| line.contains(text));
    frozen.wait_for_log("that it is late", |line| (line.contains(&id) && learns(line)).then_some(())).await;
    second.answer.send(StatusCode::NO_CONTENT).expect("the request is open");
    // Completed, and not failed.
    let outcome = run.reckon().await;
    assert_eq!(outcome.refused, 0, "clients do not notice");
}

#[tokio::test(flavor = "multi_thread")]
async fn freeze_redis() {
    let mut run = Run::on_servers("freeze_redis", Plan::patient()).await;
    freeze(&mut run, |system| &system.redis().process).await;
    run.reckon().await.costs_delay_only();
}

#[tokio::test(flavor = "multi_thread")]
async fn freeze_mariadb() {
    let mut run = Run::on_servers("freeze_mariadb", Plan::default()).await;
    freeze(&mut run, |system| &system.mariadb().process).await;
    run.reckon().await;
}
