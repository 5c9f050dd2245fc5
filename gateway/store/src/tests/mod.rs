//! Tests of the store as a whole, and what the tests of the modules share.

mod model;

use std::sync::Arc;
use std::time::Duration;

use domain::Timestamp;
use telemetry::{Panicked, panics};

use super::*;

pub(super) async fn sqlite(folder: &tempfile::TempDir, options: &Options) -> Store {
    let url = format!("sqlite:{}", folder.path().join("orders.db").display());
    let store = Store::connect(&url, options).await.unwrap();
    store.migrate().await.unwrap();
    store
}

/// Returns `count` orders of an item whose name has 200 characters.
pub(super) fn orders(created_at: Timestamp, count: usize) -> Arc<[CreateRequest]> {
    let draft = domain::Draft {
        item: Some("x".repeat(200)),
        quantity: Some(1),
        price: Some("1".into()),
        ..domain::Draft::default()
    };
    let content = draft.check(domain::Currency::USD).unwrap();
    let order = |id| NewOrder::new(id, domain::TenantId::default(), content.clone(), created_at);
    (0..count).map(|_| order(domain::OrderId::new(created_at)).into()).collect()
}

#[tokio::test]
async fn a_busy_pool_and_an_unreachable_database_are_distinguished() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { connections: 1, ..Options::default() };
    let store = sqlite(&folder, &options).await;
    let _held = store.inner.writers.acquire().await.unwrap();
    let nothing = || store.write(|_| Box::pin(async { Ok(()) }));
    let silent = nothing().await;
    assert!(matches!(silent, Err(Error::Unavailable(Outage::Away(_)))), "{silent:?}");
    let (busy, read) = tokio::join!(nothing(), store.refresh_clock());
    read.unwrap();
    assert!(matches!(busy, Err(Error::Unavailable(Outage::PoolExhausted))), "{busy:?}");
}

/// As after a panic, or when a client disconnects in a transaction.
#[tokio::test]
async fn the_next_transaction_does_not_continue_an_interrupted_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(&folder, &Options::default()).await;
    let remove_all = || {
        store.write(|connection| {
            let work: Work<'_, ()> = Box::pin(async move {
                statement::Statement::new("DELETE FROM orders").execute(connection).await?;
                panic!("in the middle of a transaction");
            });
            work
        })
    };
    store.insert(orders(store.now(), 2)).await.unwrap();
    assert_eq!(panics::catch_async("test", remove_all()).await.err(), Some(Panicked));
    store.insert(orders(store.now(), 1)).await.unwrap();
    assert_eq!(store.inspect(Duration::ZERO).await.unwrap().accepted(), 3);
}

/// The limit belongs to the connection and ends with it, as space becomes free on a real disk.
#[tokio::test]
async fn a_full_database_writes_nothing_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(&folder, &Options::default()).await;
    let mut writer = store.inner.writers.acquire().await.unwrap();
    writer.execute_text("PRAGMA max_page_count = 1").await.unwrap();
    drop(writer);
    let orders = orders(store.now(), 200);
    let full = store.insert(orders.clone()).await;
    assert!(matches!(full, Err(Error::Unavailable(Outage::Full(_)))), "{full:?}");
    let report = store.inspect(Duration::ZERO).await.unwrap();
    assert_eq!((report.issues.len(), report.accepted()), (0, 0));
    assert_eq!(store.insert(orders).await.unwrap().len(), 200);
}
