//! The row cache: orders that a gateway has just written are not read before they change.
//!
//! Outdated entries of the cache cause no wrong result.

use std::time::Duration;

use domain::transition::{Command, Refusal, Rules};
use domain::{Draft, LeaseToken, OrderId, Outcome, Status};
use gateway::store::{CommandOutcome, CreateRequest, InsertPlan, NewOrder, Options};
use gateway::{Config, Store};
use test_database::Database;

use crate::defective_rows::forgotten;
use crate::harness::{Backend, On, check_invariants};
use crate::on_both;
use crate::workers::Worker;

const GUARD: Duration = Duration::from_secs(600);

/// Orders as they are written for a direct push to the queue.
async fn insert(store: &Store, count: usize) -> Vec<OrderId> {
    let now = store.now();
    let draft = Draft {
        item: Some("Vase".into()),
        quantity: Some(3),
        price: Some("9.50".into()),
        ..Draft::default()
    };
    let content = draft.check(domain::Currency::USD).unwrap();
    let ids = OrderId::new(now).consecutive(count);
    let order = |id: &OrderId| NewOrder::new(*id, domain::TenantId::default(), content.clone(), now);
    let creations = ids.iter().map(|id| CreateRequest::from(order(id))).collect();
    store.insert_planned(creations, InsertPlan::held(GUARD).into()).await.unwrap();
    ids
}

async fn apply(store: &Store, ids: &[OrderId], command: &Command) -> Vec<CommandOutcome> {
    let commands = ids.iter().map(|id| (*id, command.clone())).collect();
    store.apply(commands, Rules::default()).await.unwrap()
}

fn start() -> (LeaseToken, Command) {
    let lease = LeaseToken::random();
    (lease, Command::start(lease))
}

fn finish(lease: LeaseToken) -> Command {
    Command::Finish { lease, outcome: Outcome::Completed }
}

on_both!(a_start_and_a_report_use_the_row_cache, |on| async move {
    let backend = Backend::new(on).await;
    let ids = insert(&backend.store, 64).await;
    let (lease, start) = start();
    let before = backend.store.statements();
    let started = apply(&backend.store, &ids, &start).await;
    // One statement for the pause, one for the orders, one for the event log.
    assert_eq!(backend.store.statements() - before, 3);
    let stored = backend.store.orders(&domain::Principal::anonymous(), &ids).await.unwrap();
    for (id, applied) in ids.iter().zip(started) {
        let CommandOutcome::Changed { order: Some(order), .. } = applied else { panic!("{applied:?}") };
        assert_eq!(
            stored.iter().find(|stored| stored.id == *id),
            Some(&*order),
            "it is shown as it is stored"
        );
    }
    let before = backend.store.statements();
    let finished = apply(&backend.store, &ids, &finish(lease)).await;
    assert_eq!(backend.store.statements() - before, 2);
    assert!(finished.iter().all(|applied| matches!(applied, CommandOutcome::Changed { .. })));
    // A repeated command is decided by the rows.
    let again = apply(&backend.store, &ids, &finish(lease)).await;
    assert!(again.iter().all(|applied| matches!(applied, CommandOutcome::Unchanged { .. })));
    check_invariants(&backend.store).await;
});

#[tokio::test]
async fn changes_of_another_gateway_invalidate_the_row_cache() {
    let backend = Backend::new(On::Servers).await;
    let here = &backend.store;
    let there = Store::connect(backend.url(), &Options::default()).await.unwrap();

    // Cancelled at the other gateway before the start at this one, in one batch with orders that are not.
    let ids = insert(here, 4).await;
    apply(&there, &ids[..1], &Command::Cancel { reason: None, requester: None }).await;
    let (lease, command) = start();
    let started = apply(here, &ids, &command).await;
    assert!(matches!(started[0], CommandOutcome::Refused(Refusal::Final(Status::Cancelled))), "{started:?}");
    assert!(
        started[1..].iter().all(|applied| matches!(applied, CommandOutcome::Changed { .. })),
        "{started:?}"
    );

    // Expired at the other gateway and started again under another lease: the first report is stale.
    let released = Command::Finish { lease, outcome: Outcome::Released };
    apply(&there, &ids[1..2], &released).await;
    let (second, command) = start();
    apply(&there, &ids[1..2], &command).await;
    let finished = apply(here, &ids[1..], &finish(lease)).await;
    assert!(
        matches!(finished[0], CommandOutcome::Refused(Refusal::StaleLease(Status::Processing))),
        "{finished:?}"
    );
    assert!(
        finished[1..].iter().all(|applied| matches!(applied, CommandOutcome::Changed { .. })),
        "{finished:?}"
    );
    let finished = apply(here, &ids[1..2], &finish(second)).await;
    assert!(matches!(finished[0], CommandOutcome::Changed { .. }), "{finished:?}");
    check_invariants(here).await;
}

// The result of a lost transaction, after a failover to a replica that was behind, a restored backup or a manual
// change: the same version with another history.
on_both!(a_report_is_rejected_when_the_row_has_another_lease_than_the_cache, |on| async move {
    let backend = Backend::new(on).await;
    let store = &backend.store;
    let ids = insert(store, 6).await;
    let (lost, command) = start();
    apply(store, &ids, &command).await;
    // The start is lost, and another worker has started some of the orders over another gateway since.
    let mut connection = Database::connect(backend.url()).await.unwrap();
    let other = LeaseToken::random();
    for id in &ids[..4] {
        let id = id.to_string().replace('-', "");
        let text = format!("UPDATE orders SET lease_token = {} WHERE id = x'{id}'", other.as_i64());
        connection.run(text).await.unwrap();
    }
    let failed = Outcome::Failed { reason: "it broke".into(), class: None };
    let stale = |applied: &CommandOutcome| {
        matches!(applied, CommandOutcome::Refused(Refusal::StaleLease(Status::Processing)))
    };
    // In one batch with the other worker's reports, which have the valid token.
    let report = |lease, outcome: &Outcome| Command::Finish { lease, outcome: outcome.clone() };
    let commands: Vec<(OrderId, Command)> = vec![
        (ids[0], report(lost, &failed)),
        (ids[1], report(other, &Outcome::Completed)),
        (ids[2], Command::Heartbeat { lease: lost }),
        (ids[3], Command::Heartbeat { lease: other }),
        (ids[4], report(lost, &Outcome::Completed)),
        (ids[5], Command::Heartbeat { lease: lost }),
    ];
    let applied = store.apply(commands.into(), Rules::default()).await.unwrap();
    assert!(stale(&applied[0]) && stale(&applied[2]), "{applied:?}");
    for index in [1, 4] {
        assert!(matches!(applied[index], CommandOutcome::Changed { .. }), "{applied:?}");
    }
    for index in [3, 5] {
        assert!(matches!(applied[index], CommandOutcome::Unchanged { .. }), "{applied:?}");
    }
    // The report of the worker with the lease counts, and the other worker gets a rejection.
    assert!(matches!(apply(store, &ids[..1], &finish(other)).await[0], CommandOutcome::Changed { .. }));
    let late = apply(store, &ids[..1], &report(other, &failed)).await;
    assert!(matches!(late[0], CommandOutcome::Refused(Refusal::StaleLease(Status::Completed))), "{late:?}");
    check_invariants(store).await;
});

on_both!(a_renewed_lease_is_not_expired_from_the_row_cache, |on| async move {
    let backend = Backend::new(on).await;
    let store = &backend.store;
    let ids = insert(store, 2).await;
    let (_, command) = start();
    let rules = Rules { lease: Duration::ZERO, ..Rules::default() };
    let commands = ids.iter().map(|id| (*id, command.clone())).collect();
    store.apply(commands, rules).await.unwrap();
    // Renewed over another gateway, unknown to this one.
    let mut connection = Database::connect(backend.url()).await.unwrap();
    let id = ids[0].to_string().replace('-', "");
    let until = (store.now() + GUARD).as_micros();
    let text = format!("UPDATE orders SET held_until = {until} WHERE id = x'{id}'");
    connection.run(text).await.unwrap();
    let expired = apply(store, &ids, &Command::Expire).await;
    assert!(matches!(expired[0], CommandOutcome::Refused(Refusal::NotExpired)), "{expired:?}");
    assert!(matches!(expired[1], CommandOutcome::Changed { .. }), "{expired:?}");
});

on_both!(a_rescheduled_order_is_not_started_from_the_row_cache, |on| async move {
    let backend = Backend::new(on).await;
    let store = &backend.store;
    let ids = insert(store, 3).await;
    let mut connection = Database::connect(backend.url()).await.unwrap();
    let later = (store.now() + GUARD).as_micros();
    for (id, change) in ids.iter().zip(["not_before", "process_after"]) {
        let id = id.to_string().replace('-', "");
        let text = format!("UPDATE orders SET {change} = {later} WHERE id = x'{id}'");
        connection.run(text).await.unwrap();
    }
    let (_, command) = start();
    let started = apply(store, &ids, &command).await;
    assert!(
        started[..2].iter().all(|one| matches!(one, CommandOutcome::Refused(Refusal::NotYet(_)))),
        "{started:?}"
    );
    assert!(matches!(started[2], CommandOutcome::Changed { .. }), "{started:?}");
});

/// Copies the tables, for [`lose_what_came_since`].
async fn keep(connection: &mut Database) {
    for table in ["orders", "order_events"] {
        let text = format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}");
        connection.run(text).await.unwrap();
    }
}

/// Discards the transactions since then, as a failover to a replica that was behind or the restore of a backup does.
async fn lose_what_came_since(connection: &mut Database) {
    for table in ["orders", "order_events"] {
        let text = format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept_{table}");
        for statement in text.split(';') {
            connection.run(statement.to_owned()).await.unwrap();
        }
    }
}

fn reason(refused: Result<proto::v1::UpdateStatusResponse, tonic::Status>) -> String {
    let refused = refused.unwrap_err();
    refused.metadata().get("orders-error").unwrap().to_str().unwrap().to_owned()
}

// Two gateways on one database. The cache of one has an attempt that the database has lost; the other starts the order
// again: the lease in the row decides.
on_both!(the_lease_in_the_row_decides_after_a_lost_transaction, |on| async move {
    let backend = Backend::new(on).await;
    let (a, b) = (backend.gateway(Config::default()).await, backend.gateway(Config::default()).await);
    let ids = forgotten(&a, 4).await;
    // The second and the fourth order have been retried before, so that events in `order_events` are lost as well.
    for id in [&ids[1], &ids[3]] {
        a.report(id, "processing", "").await.unwrap();
        a.report(id, "pending", "").await.unwrap();
    }
    let mut connection = Database::connect(backend.url()).await.unwrap();
    let soon = "UPDATE orders SET not_before = 1";
    connection.run(soon).await.unwrap();
    keep(&mut connection).await;
    let mut lost = Vec::new();
    for id in &ids {
        lost.push(a.report(id, "processing", "").await.unwrap().lease_token);
    }
    lose_what_came_since(&mut connection).await;

    // Immediately, and after another worker has started them over the other gateway.
    assert_eq!(reason(a.report(&ids[0], "completed", &lost[0]).await), "stale_lease");
    let mut held = Vec::new();
    for id in &ids {
        held.push(b.report(id, "processing", "").await.unwrap().lease_token);
    }
    for (id, lost) in ids.iter().zip(&lost) {
        for outcome in ["failed", "completed", "pending"] {
            assert_eq!(reason(a.report(id, outcome, lost).await), "stale_lease", "{outcome}");
        }
    }
    let mut worker = Worker::connect(&a).await;
    let stale = proto::v1::Lease { order_id: ids[0].clone(), lease_token: lost[0].clone() };
    assert_eq!(worker.finish(&stale).await.refused[0].reason, "stale_lease");
    // The workers with the leases end the orders, over either gateway.
    let ends = [(&a, "completed"), (&b, "completed"), (&a, "failed"), (&b, "failed")];
    for ((id, lease), (gateway, status)) in ids.iter().zip(&held).zip(ends) {
        gateway.report(id, status, lease).await.unwrap();
    }
    for ((id, lost), (_, status)) in ids.iter().zip(&lost).zip(ends) {
        let other = if status == "failed" { "completed" } else { "failed" };
        for gateway in [&a, &b] {
            assert_eq!(reason(gateway.report(id, other, lost).await), "stale_lease");
            assert_eq!(gateway.order(id).await.status, status);
        }
    }
    assert_eq!(a.timeline(&ids[1]).await.len(), 5);
    drop(worker);
    check_invariants(&backend.store).await;
    a.stop().await;
    b.stop().await;
});
