//! Orders that a gateway has just written are not read again before they change, and nothing that it
//! remembers wrongly does any harm.

use std::time::Duration;

use domain::transition::{Command, Outcome, Refusal, Rules};
use domain::{Draft, LeaseToken, OrderId, Status};
use gateway::Store;
use gateway::store::{Applied, Creation, NewOrder, Options};

use crate::harness::{Backend, On, check_invariants};
use crate::on_both;

const GUARD: Duration = Duration::from_secs(600);

/// Orders as they are written on their short way into the queue.
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
    let order = |id: &OrderId| NewOrder::new(*id, content.clone(), now);
    let creations = ids.iter().map(|id| Creation::from(order(id))).collect();
    store.insert_taken(creations, GUARD).await.unwrap();
    ids
}

async fn apply(store: &Store, ids: &[OrderId], command: &Command) -> Vec<Applied> {
    let commands = ids.iter().map(|id| (*id, command.clone())).collect();
    store.apply(commands, Rules::default()).await.unwrap()
}

fn start() -> (LeaseToken, Command) {
    let lease = LeaseToken::random();
    (lease, Command::Start { lease })
}

fn finish(lease: LeaseToken) -> Command {
    Command::Finish { lease, outcome: Outcome::Completed }
}

on_both!(a_start_and_a_report_read_no_order, |on| async move {
    let backend = Backend::new(on).await;
    let ids = insert(&backend.store, 64).await;
    let (lease, start) = start();
    let before = backend.store.statements();
    let started = apply(&backend.store, &ids, &start).await;
    // Whether the queue is paused, the orders.
    assert_eq!(backend.store.statements() - before, 2);
    let stored = backend.store.orders(&ids).await.unwrap();
    for (id, applied) in ids.iter().zip(started) {
        let Applied::Changed { order: Some(order), .. } = applied else { panic!("{applied:?}") };
        assert_eq!(
            stored.iter().find(|stored| stored.id == *id),
            Some(&*order),
            "it is shown as it is stored"
        );
    }
    let before = backend.store.statements();
    let finished = apply(&backend.store, &ids, &finish(lease)).await;
    assert_eq!(backend.store.statements() - before, 1);
    assert!(finished.iter().all(|applied| matches!(applied, Applied::Changed { .. })));
    // The same again has nothing to go by but the rows.
    let again = apply(&backend.store, &ids, &finish(lease)).await;
    assert!(again.iter().all(|applied| matches!(applied, Applied::Unchanged { .. })));
    check_invariants(&backend.store).await;
});

#[tokio::test]
async fn what_another_gateway_has_changed_is_seen() {
    let backend = Backend::new(On::Servers).await;
    let here = &backend.store;
    let there = Store::connect(backend.url(), &Options::default()).await.unwrap();

    // Cancelled there before it is started here, beside others that are not.
    let ids = insert(here, 4).await;
    apply(&there, &ids[..1], &Command::Cancel { reason: None }).await;
    let (lease, command) = start();
    let started = apply(here, &ids, &command).await;
    assert!(matches!(started[0], Applied::Refused(Refusal::Final(Status::Cancelled))), "{started:?}");
    assert!(started[1..].iter().all(|applied| matches!(applied, Applied::Changed { .. })), "{started:?}");

    // Given up there and started anew under another lease: the first report comes too late.
    let released = Command::Finish { lease, outcome: Outcome::Released };
    apply(&there, &ids[1..2], &released).await;
    let (second, command) = start();
    apply(&there, &ids[1..2], &command).await;
    let finished = apply(here, &ids[1..], &finish(lease)).await;
    assert!(matches!(finished[0], Applied::Refused(Refusal::StaleLease(Status::Processing))), "{finished:?}");
    assert!(finished[1..].iter().all(|applied| matches!(applied, Applied::Changed { .. })), "{finished:?}");
    let finished = apply(here, &ids[1..2], &finish(second)).await;
    assert!(matches!(finished[0], Applied::Changed { .. }), "{finished:?}");
    check_invariants(here).await;
}
