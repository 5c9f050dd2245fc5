//! Changes of orders at the store: rows that are written, and commands that are rejected.

use std::sync::Arc;

use domain::transition::{Command, Refusal, Rules};
use domain::{Draft, LeaseToken, Order, OrderEvent, OrderId, Outcome, Status};
use gateway::store::{ClaimLimits, CommandOutcome, NewOrder};
use test_database::Database;

use crate::dispatch::claim;
use crate::harness::{Backend, check_invariants};
use crate::on_both;

fn draft() -> Draft {
    Draft {
        item: Some("Läptop 💻".into()),
        quantity: Some(2),
        price: Some("1299.99".into()),
        customer: Some("Ann".into()),
        ..Draft::default()
    }
}

async fn insert(backend: &Backend, count: usize) -> Vec<OrderId> {
    let now = backend.store.now();
    let content = draft().check(domain::Currency::USD).unwrap();
    let orders: Vec<NewOrder> = (0..count)
        .map(|_| NewOrder::new(OrderId::new(now), domain::TenantId::default(), content.clone(), now))
        .collect();
    let ids = orders.iter().map(|order| order.id).collect();
    backend.store.insert(orders.into_iter().map(Into::into).collect()).await.unwrap();
    ids
}

async fn apply(backend: &Backend, commands: Vec<(OrderId, Command)>) -> Vec<CommandOutcome> {
    backend.store.apply(commands.into(), Rules::default()).await.unwrap()
}

async fn one(backend: &Backend, id: OrderId, command: Command) -> CommandOutcome {
    apply(backend, vec![(id, command)]).await.pop().unwrap()
}

async fn order(backend: &Backend, id: OrderId) -> Order {
    backend.store.orders(&domain::Principal::anonymous(), &[id]).await.unwrap().pop().unwrap()
}

/// The orders that a dispatch pass claims, those for the front of the queue first.
async fn take(backend: &Backend, limit: u32, guard: std::time::Duration) -> Vec<OrderId> {
    let taken = claim(&backend.store, limit, guard).await.unwrap();
    taken.front.iter().chain(&taken.back).map(|job| job.order_id).collect()
}

fn status(applied: &CommandOutcome) -> Option<Status> {
    match applied {
        CommandOutcome::Changed { event, .. } => Some(event.status),
        _ => None,
    }
}

on_both!(a_postponed_attempt_is_not_counted, |on| async move {
    let backend = Backend::new(on).await;
    let id = insert(&backend, 1).await[0];
    let lease = LeaseToken::random();
    one(&backend, id, Command::start(lease)).await;
    let hour = std::time::Duration::from_secs(3_600);
    let outcome = Outcome::Retry { reason: "busy".into(), class: Some("http_503".into()), after: Some(hour) };
    let before = backend.store.now();
    let applied = one(&backend, id, Command::Finish { lease, outcome: outcome.clone() }).await;
    assert_eq!(status(&applied), Some(Status::Pending));
    let order = order(&backend, id).await;
    assert_eq!((order.attempt, order.failures), (1, 0));
    assert!(order.not_before >= before + hour, "{order:?}");
    let waiting = order.waiting(&backend.store.queue_snapshot()).unwrap();
    assert_eq!(waiting.waits_for, domain::waiting::WaitsFor::Retry);
    assert_eq!(waiting.next_attempt_at, Some(order.not_before));
    // A repeated report.
    let again = one(&backend, id, Command::Finish { lease, outcome }).await;
    assert!(matches!(again, CommandOutcome::Unchanged { .. }), "{again:?}");
    check_invariants(&backend.store).await;
});

on_both!(an_order_is_stored_as_it_was_accepted, |on| async move {
    let backend = Backend::new(on).await;
    let now = backend.store.now();
    let content = draft().check(domain::Currency::USD).unwrap();
    let new = NewOrder::new(OrderId::new(now), domain::TenantId::default(), content, now);
    backend.store.insert(Arc::from([new.clone().into()])).await.unwrap();
    assert_eq!(order(&backend, new.id).await, *new.order());
    let events = backend.store.events_after(&domain::Principal::anonymous(), &[(new.id, 0)]).await.unwrap();
    assert_eq!(events.iter().map(|event| (**event).clone()).collect::<Vec<_>>(), [new.event()]);
});

/// Rows of `order_events`.
async fn stored_events(backend: &Backend) -> i64 {
    let mut connection = Database::connect(backend.url()).await.unwrap();
    connection.value("SELECT COUNT(*) FROM order_events").await.unwrap()
}

// A reader gets exactly the events after a sequence, from the order's row and from `order_events`.
on_both!(a_timeline_is_complete_after_any_event, |on| async move {
    let backend = Backend::new(on).await;
    let ids = insert(&backend, 9).await;
    let mut expected: Vec<Vec<Arc<OrderEvent>>> = Vec::new();
    for id in &ids {
        expected
            .push(backend.store.events_after(&domain::Principal::anonymous(), &[(*id, 0)]).await.unwrap());
    }
    // The first order does not change; each further order has one change more than the one before.
    let mut lease = LeaseToken::random();
    for step in 1..ids.len() {
        let reason = format!("step {step}");
        let command = match step % 3 {
            1 => Command::start(lease),
            2 => Command::Finish { lease, outcome: Outcome::Failed { reason, class: None } },
            _ => {
                lease = LeaseToken::random();
                Command::Redrive { reason: Some(reason), not_before: None, requester: None }
            }
        };
        let commands = ids[step..].iter().map(|id| (*id, command.clone())).collect();
        for (events, applied) in expected[step..].iter_mut().zip(apply(&backend, commands).await) {
            let CommandOutcome::Changed { event, .. } = applied else { panic!("{applied:?}") };
            events.push(event);
        }
    }
    let of = |events: Vec<Arc<OrderEvent>>, id: OrderId| -> Vec<Arc<OrderEvent>> {
        events.into_iter().filter(|event| event.order_id == id).collect()
    };
    for after in 0..=10 {
        let cursors: Vec<_> = ids.iter().map(|id| (*id, after)).collect();
        let events = backend.store.events_after(&domain::Principal::anonymous(), &cursors).await.unwrap();
        for (id, expected) in ids.iter().zip(&expected) {
            let expected: Vec<_> = expected.iter().skip(after as usize).cloned().collect();
            assert_eq!(of(events.clone(), *id), expected, "after {after}");
        }
    }
    // One query serves two readers with different sequences.
    let id = ids[8];
    let events = backend
        .store
        .events_after(&domain::Principal::anonymous(), &[(id, 7), (id, 2), (ids[0], 1)])
        .await
        .unwrap();
    assert_eq!(events, expected[8][2..]);
    // `order_events` does not repeat the events of the row: three of each order, or all of them.
    let beside = expected.iter().map(|events| events.len().saturating_sub(3) as i64).sum::<i64>();
    assert_eq!(stored_events(&backend).await, beside);
    check_invariants(&backend.store).await;
});

on_both!(many_orders_change_in_one_transaction, |on| async move {
    let backend = Backend::new(on).await;
    let ids = insert(&backend, 300).await;
    let lease = LeaseToken::random();
    let started = apply(&backend, ids.iter().map(|id| (*id, Command::start(lease))).collect()).await;
    assert!(started.iter().all(|applied| status(applied) == Some(Status::Processing)));
    let reports = ids.iter().enumerate().map(|(n, id)| {
        let outcome = match n % 3 {
            0 => Outcome::Completed,
            1 => Outcome::Retry { reason: format!("try {n}"), class: Some("busy".into()), after: None },
            _ => Outcome::Failed { reason: "broken".into(), class: None },
        };
        (*id, Command::Finish { lease, outcome })
    });
    let finished = apply(&backend, reports.collect()).await;
    for (n, applied) in finished.iter().enumerate() {
        let expected = [Status::Completed, Status::Pending, Status::Failed][n % 3];
        assert_eq!(status(applied), Some(expected));
    }
    let retried = order(&backend, ids[1]).await;
    assert_eq!((retried.failures, retried.attempt, retried.version), (1, 1, 3));
    assert_eq!(retried.reason.as_deref(), Some("try 1"));
    assert_eq!(retried.error_class.as_deref(), Some("busy"));
    assert_eq!(order(&backend, ids[2]).await.error_class.as_deref(), Some("error"));
    check_invariants(&backend.store).await;
});

on_both!(a_stale_report_changes_nothing, |on| async move {
    let backend = Backend::new(on).await;
    let id = insert(&backend, 1).await[0];
    let (old, new) = (LeaseToken::random(), LeaseToken::random());
    one(&backend, id, Command::start(old)).await;
    one(&backend, id, Command::Finish { lease: old, outcome: Outcome::Released }).await;
    one(&backend, id, Command::start(new)).await;
    let before = order(&backend, id).await;
    let late = one(&backend, id, Command::Finish { lease: old, outcome: Outcome::Completed }).await;
    assert!(matches!(late, CommandOutcome::Refused(Refusal::StaleLease(Status::Processing))), "{late:?}");
    assert_eq!(order(&backend, id).await, before);
});

on_both!(a_repeated_command_has_no_second_effect, |on| async move {
    let backend = Backend::new(on).await;
    let id = insert(&backend, 1).await[0];
    let lease = LeaseToken::random();
    for (command, version) in
        [(Command::start(lease), 2), (Command::Finish { lease, outcome: Outcome::Completed }, 3)]
    {
        assert!(matches!(one(&backend, id, command.clone()).await, CommandOutcome::Changed { .. }));
        assert!(matches!(one(&backend, id, command).await, CommandOutcome::Unchanged { .. }));
        assert_eq!(order(&backend, id).await.version, version);
    }
});

on_both!(commands_for_one_order_in_a_batch_are_applied_in_sequence, |on| async move {
    let backend = Backend::new(on).await;
    let id = insert(&backend, 1).await[0];
    let lease = LeaseToken::random();
    let applied = apply(
        &backend,
        vec![
            (id, Command::start(lease)),
            (id, Command::Heartbeat { lease }),
            (id, Command::Finish { lease, outcome: Outcome::Completed }),
            (id, Command::Cancel { reason: None, requester: None }),
        ],
    )
    .await;
    assert_eq!(status(&applied[0]), Some(Status::Processing));
    assert!(matches!(applied[1], CommandOutcome::Unchanged { .. }));
    assert_eq!(status(&applied[2]), Some(Status::Completed));
    assert!(matches!(applied[3], CommandOutcome::Refused(Refusal::Final(Status::Completed))));
    check_invariants(&backend.store).await;
});

on_both!(two_workers_never_both_start_an_order, |on| async move {
    let backend = Backend::new(on).await;
    let ids = insert(&backend, 50).await;
    let start = || {
        let (store, ids) = (backend.store.clone(), ids.clone());
        async move {
            let lease = LeaseToken::random();
            let commands: Vec<_> = ids.iter().map(|id| (*id, Command::start(lease))).collect();
            let applied = store.apply(commands.into(), Rules::default()).await.unwrap();
            applied.iter().filter(|applied| matches!(applied, CommandOutcome::Changed { .. })).count()
        }
    };
    let (a, b, c) = tokio::join!(start(), start(), start());
    assert_eq!(a + b + c, 50);
    check_invariants(&backend.store).await;
});

on_both!(ready_orders_are_claimed_once_per_visibility_timeout, |on| async move {
    let backend = Backend::new(on).await;
    insert(&backend, 40).await;
    let guard = std::time::Duration::from_secs(60);
    let take = || take(&backend, 25, guard);
    let (mut taken, b) = tokio::join!(take(), take());
    taken.extend(b);
    // Concurrent passes skip rows that the other has locked; a further pass claims the rest.
    taken.extend(take().await);
    assert_eq!(taken.len(), 40);
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(taken.len(), 40, "no order twice");
    assert_eq!(take().await, []);
});

on_both!(an_order_is_ready_again_after_its_visibility_timeout, |on| async move {
    let backend = Backend::new(on).await;
    let mut ids = insert(&backend, 3).await;
    ids.sort_unstable();
    let (over, hour) = (std::time::Duration::ZERO, std::time::Duration::from_secs(3_600));
    let guards = || async {
        let mut found = backend.store.expired_claims(10, ClaimLimits::default()).await.unwrap().unstarted;
        found.sort_unstable();
        found
    };
    assert_eq!(guards().await, [], "no waiting order is claimed");
    assert_eq!(take(&backend, 10, hour).await.len(), 3);
    assert_eq!(guards().await, []);
    backend.store.release_unstarted(ids.clone()).await.unwrap();
    assert_eq!(take(&backend, 10, over).await.len(), 3);
    assert_eq!(guards().await, ids);
    assert_eq!(backend.store.expired_claims(2, ClaimLimits::default()).await.unwrap().unstarted.len(), 2);
    one(&backend, ids[0], Command::start(LeaseToken::random())).await;
    assert_eq!(guards().await, ids[1..]);
    // An order that was started meanwhile is not changed.
    backend.store.release_unstarted(ids.clone()).await.unwrap();
    let mut again = take(&backend, 10, hour).await;
    again.sort_unstable();
    assert_eq!(again, ids[1..]);
    assert_eq!(order(&backend, ids[0]).await.status, Status::Processing);
    check_invariants(&backend.store).await;
});

on_both!(orders_are_ready_without_a_visibility_timeout, |on| async move {
    let backend = Backend::new(on).await;
    let ids = insert(&backend, 3).await;
    let lease = LeaseToken::random();
    one(&backend, ids[0], Command::start(lease)).await;
    let hour = std::time::Duration::from_secs(3_600);
    let outcome = Outcome::Retry { reason: "later".into(), class: None, after: Some(hour) };
    let rules = Rules { retry: domain::RetryPolicy { cap: hour, ..Default::default() }, ..Rules::default() };
    backend.store.apply(Arc::from([(ids[0], Command::Finish { lease, outcome })]), rules).await.unwrap();
    assert_eq!(take(&backend, 10, hour).await.len(), 2);
    assert_eq!(take(&backend, 10, hour).await, []);
    backend.store.release_all_unstarted().await.unwrap();
    let due = take(&backend, 10, hour).await;
    assert!(due.len() == 2 && !due.contains(&ids[0]), "the retry keeps its time: {due:?}");
});

on_both!(a_heartbeat_extends_the_lease, |on| async move {
    let backend = Backend::new(on).await;
    let ids = insert(&backend, 2).await;
    let lease = LeaseToken::random();
    let lasting = |seconds| Rules { lease: std::time::Duration::from_secs(seconds), ..Rules::default() };
    // Leases that expire immediately.
    let starts: Vec<_> = ids.iter().map(|id| (*id, Command::start(lease))).collect();
    backend.store.apply(starts.into(), lasting(0)).await.unwrap();
    let expired = || async {
        let mut found = backend.store.expired_claims(10, ClaimLimits::default()).await.unwrap().leases;
        found.sort_by_key(|(id, _)| *id);
        found.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
    };
    let mut both = ids.clone();
    both.sort_unstable();
    assert_eq!(expired().await, both);
    backend.store.apply(Arc::from([(ids[0], Command::Heartbeat { lease })]), lasting(3_600)).await.unwrap();
    assert_eq!(expired().await, [ids[1]]);
    // An expiry scan that read the row before the heartbeat does not end the lease.
    let swept = apply(&backend, ids.iter().map(|id| (*id, Command::Expire)).collect()).await;
    assert!(matches!(swept[0], CommandOutcome::Refused(Refusal::NotExpired)), "{swept:?}");
    assert_eq!(status(&swept[1]), Some(Status::Pending));
});

on_both!(the_waiting_time_begins_when_an_order_is_ready, |on| async move {
    let backend = Backend::new(on).await;
    let oldest = || async { backend.store.oldest_claimable().await.unwrap() };
    assert_eq!(oldest().await, None);
    let id = insert(&backend, 1).await[0];
    let created = order(&backend, id).await.created_at;
    // Also while the job is in the queue.
    claim(&backend.store, 10, std::time::Duration::from_secs(60)).await;
    let waited = oldest().await.expect("it waits");
    assert!(waited <= backend.store.now().since(created), "{waited:?}");
    let lease = LeaseToken::random();
    one(&backend, id, Command::start(lease)).await;
    assert_eq!(oldest().await, None);
    let outcome = Outcome::Retry {
        reason: "later".into(),
        class: None,
        after: Some(std::time::Duration::from_secs(60)),
    };
    one(&backend, id, Command::Finish { lease, outcome }).await;
    assert_eq!(oldest().await, None, "a retry waits for its time");
});

on_both!(lists_page_without_gaps_and_filter, |on| async move {
    let backend = Backend::new(on).await;
    let ids = insert(&backend, 25).await;
    one(&backend, ids[3], Command::Cancel { reason: Some("no longer wanted".into()), requester: None }).await;
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = backend
            .store
            .list(&domain::Principal::anonymous(), &domain::query::Filter::default(), after, 10)
            .await
            .unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        seen.extend(page.iter().map(|order| order.id));
    }
    let mut expected = ids.clone();
    expected.sort_unstable();
    expected.reverse();
    assert_eq!(seen, expected);
    let filter = |statuses: &[Status], customer: &str| domain::query::Filter {
        statuses: statuses.to_vec(),
        customer: Some(customer.into()),
        ..Default::default()
    };
    let count = |filter| {
        let store = backend.store.clone();
        async move { store.list(&domain::Principal::anonymous(), &filter, None, 100).await.unwrap().len() }
    };
    assert_eq!(count(filter(&[Status::Cancelled], "Ann")).await, 1);
    assert_eq!(count(filter(&[Status::Cancelled, Status::Pending], "Ann")).await, 25);
    assert_eq!(count(filter(&[], "ann")).await, 0, "strings are compared exactly");
});

on_both!(only_the_leases_of_one_process_are_ended, |on| async move {
    let backend = Backend::new(on).await;
    let store = &backend.store;
    let ids = insert(&backend, 6).await;
    let mark = store.installation().await.unwrap().lease_prefix();
    let tokens = [mark.random_token(), mark.random_token(), LeaseToken::random(), LeaseToken::random()];
    for (id, lease) in ids.iter().zip(tokens) {
        assert_eq!(status(&one(&backend, *id, Command::start(lease)).await), Some(Status::Processing));
    }
    // A report that arrived before is kept.
    let done = Command::Finish { lease: tokens[1], outcome: Outcome::Completed };
    assert_eq!(status(&one(&backend, ids[1], done).await), Some(Status::Completed));
    assert_eq!(store.end_leases(mark, Rules::default()).await.unwrap(), 1);
    let first = order(&backend, ids[0]).await;
    assert_eq!((first.status, first.attempt, first.failures), (Status::Pending, 1, 1));
    // Attempts of workers over gRPC keep their leases.
    for (id, lease) in ids.iter().zip(tokens).skip(2).take(2) {
        let done = Command::Finish { lease, outcome: Outcome::Completed };
        assert_eq!(status(&one(&backend, *id, done).await), Some(Status::Completed));
    }
    // The attempt has ended: its report is stale.
    let late = Command::Finish { lease: tokens[0], outcome: Outcome::Completed };
    let late = one(&backend, ids[0], late).await;
    assert!(matches!(late, CommandOutcome::Refused(Refusal::StaleLease(_))), "{late:?}");
    assert_eq!(store.end_leases(mark, Rules::default()).await.unwrap(), 0);
    check_invariants(store).await;
});
