//! The lease of the sweeper: one gateway of a database holds it, and the others know what it has measured.

use std::time::Duration;

use gateway::Config;
use gateway::store::SweeperMeasurement;
use serde_json::{Value, json};
use test_database::Database;

use crate::harness::{Backend, Gateway, eventually, quick};
use crate::on_both;
use crate::workers::{Worker, lease};

const LEASE: Duration = Duration::from_secs(6);

/// Returns the gateway that holds the lease; 0 if there is none.
async fn holder(database: &mut Database) -> i64 {
    database.value("SELECT gateway FROM sweeper").await.unwrap()
}

async fn wait_for_holder(database: &mut Database, is_expected: impl Fn(i64) -> bool) -> i64 {
    let deadline = tokio::time::Instant::now() + 3 * LEASE;
    loop {
        let holder = holder(database).await;
        if is_expected(holder) {
            return holder;
        }
        assert!(tokio::time::Instant::now() < deadline, "the holder is {holder}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn oldest_ready_seconds(gateway: &Gateway<'_>) -> Option<f64> {
    let response = gateway.client.get(gateway.url("/queue")).send().await.unwrap();
    let queue: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    queue["oldestReadySeconds"].as_f64()
}

on_both!(one_gateway_holds_the_lease, |on| async move {
    let backend = Backend::new(on).await;
    let store = &backend.store;
    assert!(store.hold_sweeper_lease(1, LEASE).await.unwrap(), "it is free");
    assert!(!store.hold_sweeper_lease(2, LEASE).await.unwrap(), "another gateway holds it");
    assert!(store.hold_sweeper_lease(1, LEASE).await.unwrap(), "its holder renews it");
    store.return_sweeper_lease(2).await.unwrap();
    assert!(!store.hold_sweeper_lease(2, LEASE).await.unwrap(), "only its holder returns it");
    store.return_sweeper_lease(1).await.unwrap();
    assert!(store.hold_sweeper_lease(2, Duration::ZERO).await.unwrap(), "it was returned");
    assert!(store.hold_sweeper_lease(1, 10 * LEASE).await.unwrap(), "it has ended");
    assert!(
        store.hold_sweeper_lease(2, LEASE).await.unwrap(),
        "no lease is this long: the clock was set back"
    );
    store.release_all_unstarted().await.unwrap();
    assert!(store.hold_sweeper_lease(3, LEASE).await.unwrap(), "no other gateway can exist");
});

on_both!(only_the_holder_saves_measurements, |on| async move {
    let backend = Backend::new(on).await;
    let store = &backend.store;
    assert_eq!(store.measurement().await.unwrap(), None);
    assert!(store.hold_sweeper_lease(1, LEASE).await.unwrap());
    let measured = |payload: &str| SweeperMeasurement { at: store.now(), payload: payload.into() };
    let (own, other) = (measured("own"), measured("other"));
    store.save_measurement(1, &own).await.unwrap();
    store.save_measurement(2, &other).await.unwrap();
    assert_eq!(store.measurement().await.unwrap(), Some(own));
});

on_both!(another_gateway_sweeps_after_the_end_of_the_holder, |on| async move {
    let backend = Backend::new(on).await;
    let mut database = Database::connect(backend.url()).await.unwrap();
    let (first, second) = (backend.gateway(quick()).await, backend.gateway(quick()).await);
    let held_by = wait_for_holder(&mut database, |holder| holder != 0).await;
    first.stop().await;
    second.stop().await;
    assert_eq!(holder(&mut database).await, 0, "a gateway that stops returns the lease");
    let third = backend.gateway(quick()).await;
    let next = wait_for_holder(&mut database, |holder| holder != 0).await;
    assert_ne!(next, held_by);
    let id = third.create_order().await;
    let mut worker = Worker::connect(&third).await;
    assert_eq!(worker.start(&[lease(&id)]).await.attempts.len(), 1);
    drop(worker);
    let expired = async || {
        let order = third.order(&id).await;
        (order.status == "pending" && order.attempt == 1).then_some(())
    };
    eventually("the end of the lease of the order", expired).await;
    third.stop().await;
});

on_both!(every_gateway_knows_what_the_holder_has_measured, |on| async move {
    let backend = Backend::new(on).await;
    let (first, second) =
        (backend.gateway(Config::default()).await, backend.gateway(Config::default()).await);
    first.create_full(json!({"item": "Laptop", "quantity": 1, "price": 1})).await;
    for gateway in [&first, &second] {
        let waits = async || oldest_ready_seconds(gateway).await.filter(|seconds| *seconds > 0.0);
        eventually("the age of the oldest order", waits).await;
    }
    assert!(backend.store.measurement().await.unwrap().is_some());
    first.stop().await;
    second.stop().await;
});

on_both!(a_gateway_without_the_lease_finds_orders_that_become_due, |on| async move {
    const OTHER: i64 = 1;
    let backend = Backend::new(on).await;
    let mut database = Database::connect(backend.url()).await.unwrap();
    let store = backend.store.clone();
    assert!(store.hold_sweeper_lease(OTHER, LEASE).await.unwrap(), "it is free");
    // Its holder dispatches nothing.
    let renewal = tokio::spawn(async move {
        loop {
            tokio::time::sleep(LEASE / 6).await;
            assert!(store.hold_sweeper_lease(OTHER, LEASE).await.unwrap());
        }
    });
    let gateway = backend.gateway(quick()).await;
    let at = backend.store.now() + Duration::from_millis(500);
    let body = json!({"item": "Laptop", "quantity": 1, "price": 1, "processAfter": at});
    let order = gateway.create_full(body).await;
    assert_eq!(gateway.next_job().await, order["id"]);
    assert_eq!(holder(&mut database).await, OTHER);
    assert!(!renewal.is_finished());
    renewal.abort();
    gateway.stop().await;
});
