//! `orders doctor` finds each kind of damage, and reports nothing for a correct database.

use std::time::Duration;

use domain::Status;
use gateway::store::{IntegrityIssue, IssueKind};
use test_database::Database;

use crate::harness::{Backend, quick};
use crate::on_both;

const MINUTE: Duration = Duration::from_secs(60);

on_both!(a_correct_database_has_no_findings, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(quick()).await;
    let ids = [gateway.create_order().await, gateway.create_order().await, gateway.create_order().await];
    gateway.report(&ids[0], "processing", "").await.unwrap();
    gateway.report(&ids[0], "completed", "").await.unwrap();
    gateway.report(&ids[1], "processing", "").await.unwrap();
    gateway.report(&ids[1], "failed", "").await.unwrap();
    gateway.client.post(gateway.url(&format!("/orders/{}/redrive", ids[1]))).send().await.unwrap();
    gateway.client.post(gateway.url(&format!("/orders/{}/cancel", ids[2]))).send().await.unwrap();
    let mut checked = Vec::new();
    let report = backend.store.inspect_reporting(MINUTE, |count| checked.push(count)).await.unwrap();
    assert_eq!((checked.last(), backend.store.count_all_orders().await.unwrap()), (Some(&3), 3));
    assert_eq!(report.issues, []);
    let counts: Vec<(Status, u64)> = report.by_status.into_iter().collect();
    assert_eq!(counts, [(Status::Pending, 1), (Status::Completed, 1), (Status::Cancelled, 1)]);
    assert_eq!(report.overdue, 0);
    gateway.stop().await;
});

on_both!(the_doctor_finds_every_kind_of_damage_and_repairs_some, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(quick()).await;
    let mut ids = Vec::new();
    // More than one page of orders, and damage on several of them.
    for _ in 0..510 {
        ids.push(gateway.create_order().await);
    }
    ids.sort_unstable();
    // Some orders have more events than their rows contain.
    for index in [2, 498, 509] {
        for status in ["processing", "pending", "processing", "completed"] {
            gateway.report(&ids[index], status, "").await.unwrap();
        }
    }
    gateway.stop().await;

    let mut connection = Database::connect(backend.url()).await.unwrap();
    let damage = |index: usize, statement: &str| {
        let id = ids[index].replace('-', "");
        statement.replace("{id}", &format!("x'{id}'"))
    };
    for (index, statement) in [
        (0, "UPDATE orders SET stage = 'waiting', due_at = 9223372036854775807 WHERE id = {id}"),
        (3, "UPDATE orders SET stage = 'completed' WHERE id = {id}"),
        (1, "UPDATE orders SET status = 'completed', stage = 'held' WHERE id = {id}"),
        (2, "DELETE FROM order_events WHERE order_id = {id} AND sequence = 2"),
        (498, "UPDATE order_events SET status = 'completed' WHERE order_id = {id} AND sequence = 2"),
        (
            499,
            "INSERT INTO order_events (order_id, sequence, status, attempt, occurred_at) \
             VALUES ({id}, 2, 'processing', 1, 1)",
        ),
        (500, "UPDATE orders SET status = 'processing', stage = 'waiting' WHERE id = {id}"),
        (509, "DELETE FROM orders WHERE id = {id}"),
    ] {
        connection.run(damage(index, statement)).await.unwrap();
    }
    let finding = |index: usize, kind| IntegrityIssue { order_id: ids[index].parse().unwrap(), kind };
    let expected = |mended: bool| {
        let mut all = vec![
            finding(0, IssueKind::NeverDue(Status::Pending)),
            finding(1, IssueKind::Undeclared(1)),
            finding(1, IssueKind::FinalButDue(Status::Completed)),
            finding(2, IssueKind::Gap { version: 5, sequences: vec![3] }),
            finding(2, IssueKind::Undeclared(3)),
            finding(3, IssueKind::NeverDue(Status::Pending)),
            finding(498, IssueKind::Undeclared(2)),
            finding(498, IssueKind::Undeclared(3)),
            finding(499, IssueKind::Gap { version: 1, sequences: vec![2] }),
            finding(500, IssueKind::Undeclared(1)),
            finding(500, IssueKind::NeverDue(Status::Processing)),
            finding(500, IssueKind::NoLease),
            finding(509, IssueKind::NoOrder),
        ];
        if mended {
            all.retain(|finding| !finding.kind.is_repairable());
        }
        all
    };
    let report = backend.store.inspect(MINUTE).await.unwrap();
    assert_eq!((report.accepted(), report.issues), (509, expected(false)));
    assert_eq!(backend.store.repair().await.unwrap(), 4);
    assert_eq!(backend.store.inspect(MINUTE).await.unwrap().issues, expected(true));
});
