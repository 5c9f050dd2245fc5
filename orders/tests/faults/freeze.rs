//! SIGSTOP for longer than a lease, then SIGCONT: a part that the others treat as dead resumes.

use axum::http::StatusCode;

use crate::harness::Process;
use crate::run::{LONG, Run};
use crate::system::{Plan, System};
use crate::webhook::{CHOSEN, Webhook};

async fn freeze_part(run: &mut Run, part: impl Fn(&mut System) -> &Process) {
    part(&mut run.system).signal("STOP");
    run.lasts(LONG).await;
    part(&mut run.system).signal("CONT");
}

#[tokio::test(flavor = "multi_thread")]
async fn freeze_gateway() {
    let mut run = Run::on_servers("freeze_gateway", Plan::default()).await;
    freeze_part(&mut run, |system| &system.gateways[0].process).await;
    run.reconcile().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn freeze_processor() {
    let mut run = Run::on_servers("freeze_processor", Plan::default()).await;
    freeze_part(&mut run, |system| &system.processors[0].process).await;
    let outcome = run.reconcile().await;
    assert!(outcome.extra_attempts > 0, "it was processing orders");
    assert_eq!(outcome.refused, 0, "no create fails");
}

/// A resumed processor reports the failure of its attempt while another processor runs the next one. The report must not
/// change the order.
#[tokio::test(flavor = "multi_thread")]
async fn stale_report() {
    let mut webhook = Webhook::start().await;
    let plan = Plan { webhook: Some(webhook.base.clone()), ..Plan::default() };
    let mut run = Run::on_servers("stale_report", plan).await;
    let id = run.clients.create(CHOSEN, 5).await;
    let first = webhook.next_attempt().await;
    run.system.processors[first.processor].process.signal("STOP");
    first.answer.send(StatusCode::UNPROCESSABLE_ENTITY).expect("the request is open");
    let second = webhook.next_attempt().await;
    assert_ne!(second.processor, first.processor);
    let frozen = &mut run.system.processors[first.processor].process;
    frozen.signal("CONT");
    let is_rejection =
        |line: &str| ["lease lost", "gateway rejected report"].iter().any(|text| line.contains(text));
    frozen
        .wait_for_log("the rejected report", |line| (line.contains(&id) && is_rejection(line)).then_some(()))
        .await;
    second.answer.send(StatusCode::NO_CONTENT).expect("the request is open");
    // The order is completed, not failed.
    let outcome = run.reconcile().await;
    assert_eq!(outcome.refused, 0, "no create fails");
}

#[tokio::test(flavor = "multi_thread")]
async fn freeze_redis() {
    let mut run = Run::on_servers("freeze_redis", Plan::patient()).await;
    freeze_part(&mut run, |system| &system.redis().process).await;
    run.reconcile().await.costs_delay_only();
}

#[tokio::test(flavor = "multi_thread")]
async fn freeze_mariadb() {
    let mut run = Run::on_servers("freeze_mariadb", Plan::default()).await;
    freeze_part(&mut run, |system| &system.mariadb().process).await;
    run.reconcile().await;
}
