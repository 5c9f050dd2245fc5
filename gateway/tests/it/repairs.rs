//! `orders repair --fail` for a defect in each column: afterwards the order is final, and no other order is affected.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::{OrderId, Principal, Status};
use gateway::Config;
use gateway::store::{ClaimLimits, Repaired};
use proto::v1;
use serde_json::Value;

use crate::defective_rows::{damage, forgotten, run};
use crate::dispatch::claim;
use crate::event_log;
use crate::harness::{Backend, On};
use crate::on_both;
use crate::workers::{Worker, lease};

/// Defects that both databases accept.
const DEFECTS: [&str; 18] = [
    "currency = 'QQQ'",
    "line_items = '{broken'",
    "line_items = 'null'",
    "quantity = -1",
    "priority = 'urgent'",
    "stage = 'nowhere'",
    "stage = 'completed'",
    "status = 'shipped'",
    "version = 0",
    "version = -5",
    "version = 4294967296",
    "attempt = -1",
    "attempt = 4294967296",
    "failures = -1",
    "failures = 4294967296",
    "max_attempts = -1",
    "version = 3, previous_status = 'shipped', previous_attempt = 0, previous_at = 1",
    "version = 3, previous_status = 'pending', previous_attempt = -1, previous_at = 1",
];
/// Columns without a type accept any value.
const DEFECTS_OF_SQLITE: [&str; 17] = [
    "quantity = 'two'",
    "total_minor = 'much'",
    "version = 'x'",
    "attempt = 'x'",
    "failures = 'many'",
    "max_attempts = 'x'",
    "lease_token = 'x'",
    "due_at = 'x'",
    "held_until = 'x'",
    "not_before = 'soon'",
    "process_after = 'soon'",
    "created_at = 'x'",
    "updated_at = 'x'",
    "customer = CAST(x'ff' AS TEXT)",
    "external_reference = CAST(x'ff' AS TEXT)",
    "reason = CAST(x'ff' AS TEXT)",
    "error_class = CAST(x'ff' AS TEXT)",
];

on_both!(an_order_with_a_defect_in_any_column_can_be_marked_as_failed, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let store = &backend.store;
    let more = if on == On::Embedded { &DEFECTS_OF_SQLITE[..] } else { &[] };
    let defects: Vec<&str> = DEFECTS.iter().chain(more).copied().collect();
    let ids = forgotten(&gateway, defects.len() + 3).await;
    let (bad, good) = ids.split_at(defects.len());
    let mut connection = damage(&backend, on).await;
    for (id, defect) in bad.iter().zip(&defects) {
        run(&mut connection, &format!("UPDATE orders SET {defect} WHERE id = {{id}}"), id).await;
    }
    let (mut wrong, mut unreadable) = (Vec::new(), BTreeSet::new());
    for (id, defect) in bad.iter().zip(&defects) {
        let repaired = store.repair_order(id.parse().unwrap(), &[], Some("by Ann")).await;
        match repaired {
            Ok(Repaired::Failed) => {}
            Ok(Repaired::FailedUnreadable(_)) => {
                unreadable.insert(id);
            }
            other => wrong.push(format!("{defect}: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let response = gateway.client.get(gateway.url("/orders?limit=1000")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let list: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    let list = list.as_array().unwrap();
    let report = store.inspect(Duration::from_secs(60)).await.unwrap();
    let named: BTreeSet<String> = report.issues.iter().map(|one| one.order_id.to_string()).collect();
    assert!(named.iter().all(|id| bad.contains(id)), "{named:?}");
    for (id, defect) in bad.iter().zip(&defects) {
        let response = gateway.client.get(gateway.url(&format!("/orders/{id}"))).send().await.unwrap();
        let status = response.status();
        let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        let is_named = named.contains(id);
        // The order can be shown, or every API reports it as unreadable. The doctor reports defects of its events.
        let shown = if unreadable.contains(id) {
            status == 409 && body["code"] == "order_unreadable" && is_named
        } else {
            status == 200 && body["status"] == "failed" && body["reason"] == "by Ann"
        };
        if !shown {
            let found: Vec<_> = report.issues.iter().filter(|one| one.order_id.to_string() == *id).collect();
            wrong.push(format!("{defect}: {status} {body} {found:?}"));
        }
        if !list.iter().any(|item| item["id"] == **id) {
            wrong.push(format!("{defect}: not in the list"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // The event log has the failure of each order whose events can be read.
    event_log::number(store).await;
    let logged = event_log::read(store, 0).await.into_iter().map(|logged| logged.event);
    let failed: BTreeSet<String> = logged
        .filter(|event| event.status == Status::Failed && event.reason.as_deref() == Some("by Ann"))
        .map(|event| event.order_id.to_string())
        .collect();
    for id in bad {
        let events = store.events_after(&Principal::anonymous(), &[(id.parse().unwrap(), 0)]).await.unwrap();
        let is_failed = events.last().is_some_and(|event| event.status == Status::Failed);
        assert!(failed.contains(id) || !is_failed, "{id}: {events:?}");
    }
    assert!(failed.len() > bad.len() / 2, "{failed:?}");
    // Only the other orders are dispatched, and none is claimed or parked.
    assert_eq!(store.parked().await.unwrap(), 0);
    let overdue = store.expired_claims(100, ClaimLimits::default()).await.unwrap();
    assert!(overdue.leases.is_empty() && overdue.unreadable.is_empty(), "{overdue:?}");
    store.release_all_unstarted().await.unwrap();
    let taken = claim(store, 100, Duration::from_secs(60)).await.unwrap();
    let taken: BTreeSet<OrderId> = taken.back.iter().map(|job| job.order_id).collect();
    assert_eq!(taken, good.iter().map(|id| id.parse().unwrap()).collect());
    // A remaining job starts nothing.
    let mut worker = Worker::connect(&gateway).await;
    let leases: Vec<v1::Lease> = ids.iter().map(|id| lease(id)).collect();
    let started = worker.start(&leases).await;
    assert_eq!((started.attempts.len(), started.refused.len()), (good.len(), bad.len()));
    drop(worker);
});
