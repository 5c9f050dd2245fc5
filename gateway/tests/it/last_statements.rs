//! The last statements of a transaction, which are sent with its COMMIT.

use std::time::Duration;

use domain::transition::{Command, Refusal, Rules};
use domain::{Draft, LeaseToken, OrderId, Outcome, Principal, Requester, Status};
use gateway::Store;
use gateway::store::{CommandOutcome, CreateRequest, Error, InsertPlan, NewOrder, Options};
use test_database::Database;

use crate::harness::{Backend, On, check_invariants, eventually};
use crate::on_both;

const GUARD: Duration = Duration::from_secs(600);

/// A request for an order that is about to be started.
fn request(store: &Store) -> CreateRequest {
    let draft = Draft {
        item: Some("O'Neil's \"vase\" \\ ü?".into()),
        quantity: Some(1),
        price: Some("9.50".into()),
        ..Draft::default()
    };
    let content = draft.check(domain::Currency::USD).unwrap();
    let now = store.now();
    NewOrder::new(OrderId::new(now), domain::TenantId::default(), content, now).into()
}

async fn insert(store: &Store) -> OrderId {
    let request = request(store);
    let id = request.orders[0].id;
    store.insert_planned([request].into(), InsertPlan::held(GUARD).into()).await.unwrap();
    id
}

async fn try_apply(store: &Store, id: OrderId, command: Command) -> Result<CommandOutcome, Error> {
    Ok(store.apply([(id, command)].into(), Rules::default()).await?.remove(0))
}

async fn apply(store: &Store, id: OrderId, command: Command) -> CommandOutcome {
    try_apply(store, id, command).await.unwrap()
}

/// The number of rows in the event log, and the status and the version of an order.
async fn stored(backend: &Backend, id: OrderId) -> (i64, String, i64) {
    let mut connection = Database::connect(backend.url()).await.unwrap();
    let log = connection.value("SELECT COUNT(*) FROM event_log").await.unwrap();
    let hex = id.to_string().replace('-', "");
    let order: Vec<(String, i64)> =
        connection.rows(format!("SELECT status, version FROM orders WHERE id = x'{hex}'")).await.unwrap();
    let (status, version) = order.into_iter().next().unwrap_or_default();
    (log, status, version)
}

fn is_changed(outcome: &CommandOutcome) -> bool {
    matches!(outcome, CommandOutcome::Changed { .. })
}

on_both!(a_lone_order_is_written_as_in_a_batch, |on| async move {
    let backend = Backend::new(on).await;
    let store = &backend.store;
    let id = insert(store).await;
    let lease = LeaseToken::random();
    let start = Command::Start { lease, max_bytes: usize::MAX, worker: domain::WorkerName::clean("pack/2") };
    assert!(is_changed(&apply(store, id, start).await));
    let reason = "it's \"broken\" \\ ☃? -- ; /*".to_owned();
    let outcome = Outcome::Failed { reason: reason.clone(), class: Some("x'y".into()) };
    assert!(is_changed(&apply(store, id, Command::Finish { lease, outcome }).await));
    let order = store.orders(&Principal::anonymous(), &[id]).await.unwrap().remove(0);
    assert_eq!((order.status, order.version, order.attempt), (Status::Failed, 3, 1));
    assert_eq!(order.reason.as_deref(), Some(&*reason));
    assert_eq!(order.error_class.as_deref(), Some("x_y"), "it is cleaned");
    assert_eq!(order.worker.as_ref().map(domain::WorkerName::as_str), Some("pack/2"));
    assert_eq!(stored(&backend, id).await.0, 3);
    check_invariants(store).await;
});

#[tokio::test]
async fn a_change_of_an_outdated_order_writes_nothing() {
    let backend = Backend::new(On::Servers).await;
    let here = &backend.store;
    let there = Store::connect(backend.url(), &Options::default()).await.unwrap();
    let id = insert(here).await;
    let cancel = Command::Cancel { reason: None, requester: None };
    assert!(is_changed(&apply(&there, id, cancel).await));
    assert_eq!(stored(&backend, id).await, (2, "cancelled".to_owned(), 2));
    let started = apply(here, id, Command::start(LeaseToken::random())).await;
    assert!(matches!(started, CommandOutcome::Refused(Refusal::Final(Status::Cancelled))), "{started:?}");
    assert_eq!(stored(&backend, id).await, (2, "cancelled".to_owned(), 2));
    // The connection is in no transaction.
    assert!(is_changed(&apply(here, insert(here).await, Command::start(LeaseToken::random())).await));
    check_invariants(here).await;
}

on_both!(a_failed_last_statement_rolls_back_and_keeps_the_connection, |on| async move {
    let backend = Backend::new(on).await;
    let store = &backend.store;
    let id = insert(store).await;
    let mut connection = Database::connect(backend.url()).await.unwrap();
    let refusal = match on {
        On::Servers => "FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'refused by a test'",
        On::Embedded => "BEGIN SELECT RAISE(ABORT, 'refused by a test'); END",
    };
    connection.run(format!("CREATE TRIGGER refuse BEFORE INSERT ON event_log {refusal}")).await.unwrap();
    let start = Command::start(LeaseToken::random());
    let error = try_apply(store, id, start.clone()).await.unwrap_err();
    assert!(matches!(error, Error::Defect(_)), "{error:?}");
    let new = request(store);
    let other = new.orders[0].id;
    let error = store.insert_planned([new].into(), InsertPlan::held(GUARD).into()).await.unwrap_err();
    assert!(matches!(error, Error::Defect(_)), "{error:?}");
    assert_eq!(stored(&backend, id).await, (1, "pending".to_owned(), 1));
    assert_eq!(stored(&backend, other).await.1, "");

    connection.run("DROP TRIGGER refuse").await.unwrap();
    assert!(is_changed(&apply(store, id, start).await));
    assert_eq!(stored(&backend, id).await, (2, "processing".to_owned(), 2));
    check_invariants(store).await;
});

#[tokio::test]
async fn a_start_waits_for_a_pause_that_is_being_written() {
    let backend = Backend::new(On::Servers).await;
    let store = &backend.store;
    let id = insert(store).await;
    let mut operator = Database::connect(backend.url()).await.unwrap();
    operator.run("SET autocommit = 0").await.unwrap();
    operator.run("UPDATE queues SET paused_at = 1").await.unwrap();
    let start = Command::start(LeaseToken::random());
    let started = tokio::spawn({
        let (store, start) = (store.clone(), start.clone());
        async move { apply(&store, id, start).await }
    });
    let mut observer = Database::connect(backend.url()).await.unwrap();
    let hex = id.to_string().replace('-', "");
    let waiting = format!(
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND INFO LIKE '%{hex}%'"
    );
    // The start either waits for the lock now, or has been told once that it waits for too long, and tries again.
    while observer.value::<i64>(waiting.clone()).await.unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!started.is_finished());
    operator.run("COMMIT").await.unwrap();
    let started = started.await.unwrap();
    assert!(matches!(started, CommandOutcome::Refused(Refusal::Paused)), "{started:?}");
    assert_eq!(stored(&backend, id).await, (1, "pending".to_owned(), 1));

    let requester = Requester { name: "test".into(), request_id: None };
    store.resume(&requester).await.unwrap();
    assert!(is_changed(&apply(store, id, start).await));
    check_invariants(store).await;
}

on_both!(a_paused_queue_starts_no_cached_order, |on| async move {
    let backend = Backend::new(on).await;
    let store = &backend.store;
    let (first, second) = (insert(store).await, insert(store).await);
    let requester = Requester { name: "test".into(), request_id: None };
    store.pause(None, None, &requester).await.unwrap();
    let start = Command::start(LeaseToken::random());
    assert!(matches!(apply(store, first, start.clone()).await, CommandOutcome::Refused(Refusal::Paused)));
    // A pause that is over.
    let over = Some(store.now());
    store.pause(over, None, &requester).await.unwrap();
    eventually("the end of the pause", || async { (Some(store.now()) > over).then_some(()) }).await;
    assert!(is_changed(&apply(store, second, start).await));
    check_invariants(store).await;
});
