//! The database's clock was set back: rows that were written before have times in the future. These tests write such
//! rows, so that the clock of the database does not change.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::transition::{Command, Refusal, Rules};
use domain::waiting::QueueSnapshot;
use domain::{Draft, LeaseToken, OrderId, Outcome, Status, Timestamp};
use gateway::Store;
use gateway::store::{
    CommandOutcome, CreateRequest, Idempotency, InsertOutcome, InsertPlan, IssueKind, NewOrder, Options,
    Retention, request_hash,
};
use test_database::Database;

use crate::dispatch::claim;
use crate::harness::{Backend, Gateway, check_invariants, eventually, quick, requester};
use crate::on_both;

const MINUTE: Duration = Duration::from_secs(60);
const STEPS: [Duration; 3] = [MINUTE, Duration::from_secs(3_600), Duration::from_secs(86_400)];
const GUARD: Duration = Duration::from_millis(300);

/// Orders created at the time `at` of the clock; claimed for the queue when `taken`.
async fn create(store: &Store, at: Timestamp, after: Option<Duration>, taken: bool) -> OrderId {
    let draft = Draft {
        item: Some("Vase".into()),
        quantity: Some(1),
        price: Some("9.50".into()),
        process_after: after.map(|after| (at + after).to_string()),
        ..Draft::default()
    };
    let content = draft.check(domain::Currency::USD).unwrap();
    let id = OrderId::new(at);
    let creation = CreateRequest::from(NewOrder::new(id, domain::TenantId::default(), content, at));
    let plan = if taken { InsertPlan::held(GUARD) } else { InsertPlan::default() };
    store.insert_planned([creation].into(), plan.into()).await.unwrap();
    id
}

/// Shifts the times of an order to a clock that is ahead by `step`.
async fn shift(connection: &mut Database, id: OrderId, step: Duration) {
    let id = id.to_string().replace('-', "");
    let step = step.as_micros();
    let text = format!(
        "UPDATE orders SET created_at = created_at + {step}, updated_at = updated_at + {step}, \
         not_before = not_before + {step}, held_until = CASE stage WHEN 'held' THEN held_until + {step} ELSE 0 END, \
         due_at = CASE stage WHEN 'waiting' THEN due_at + {step} ELSE due_at END WHERE id = x'{id}'"
    );
    connection.run(text).await.unwrap();
}

/// Processes jobs until all of these orders are completed.
async fn complete(gateway: &Gateway<'_>, ids: &[OrderId]) {
    let mut open: BTreeSet<String> = ids.iter().map(ToString::to_string).collect();
    while !open.is_empty() {
        let id = gateway.next_job().await;
        // A job may be delivered twice.
        if gateway.report(&id, "processing", "").await.is_ok() {
            gateway.report(&id, "completed", "").await.unwrap();
            open.remove(&id);
        }
    }
}

on_both!(no_order_stalls_after_a_backward_clock_step, |on| async move {
    for step in STEPS {
        let backend = Backend::new(on).await;
        let store = &backend.store;
        let later = store.now() + step;
        let mut ids = Vec::new();
        for taken in [false, true, false, true] {
            ids.push(create(store, later, None, taken).await);
        }
        // A lease of a stopped worker, and a retry delay.
        let mut connection = Database::connect(backend.url()).await.unwrap();
        let now = store.now();
        let (leased, waiting) =
            (create(store, now, None, false).await, create(store, now, None, false).await);
        let lease = LeaseToken::random();
        let rules = Rules { lease: Duration::from_millis(600), ..Rules::default() };
        let start = Command::start(lease);
        store.apply([(leased, start.clone()), (waiting, start)].into(), rules).await.unwrap();
        let after = Some(Duration::from_millis(200));
        let outcome = domain::Outcome::Retry { reason: "x".into(), class: None, after };
        store.apply([(waiting, Command::Finish { lease, outcome })].into(), rules).await.unwrap();
        for id in [leased, waiting] {
            shift(&mut connection, id, step).await;
            ids.push(id);
        }
        // A clock step does not change a schedule.
        let scheduled = create(store, later, Some(MINUTE), false).await;

        assert!(store.clock_behind().await.unwrap().is_some_and(|behind| behind > step / 2));
        let gateway = backend.gateway(quick()).await;
        complete(&gateway, &ids).await;
        let early = Command::start(LeaseToken::random());
        let applied = store.apply([(scheduled, early)].into(), Rules::default()).await.unwrap();
        assert!(matches!(applied[0], CommandOutcome::Refused(Refusal::NotYet(_))), "{applied:?}");
        gateway.stop().await;
    }
});

on_both!(a_wait_restarts_in_full_after_a_backward_clock_step, |on| async move {
    let backend = Backend::new(on).await;
    let store = &backend.store;
    let mut connection = Database::connect(backend.url()).await.unwrap();
    let ids = [create(store, store.now(), None, false).await, create(store, store.now(), None, false).await];
    // Failed orders that are redriven at a rate: the second one ten minutes after the first.
    let lease = LeaseToken::random();
    let fail = domain::Outcome::Failed { reason: "x".into(), class: None };
    for (n, id) in ids.into_iter().enumerate() {
        let commands = [
            Command::start(lease),
            Command::Finish { lease, outcome: fail.clone() },
            Command::Redrive {
                reason: None,
                not_before: Some(store.now() + 10 * MINUTE * n as u32),
                requester: None,
            },
        ];
        let commands = commands.into_iter().map(|command| (id, command)).collect();
        store.apply(commands, Rules::default()).await.unwrap();
        shift(&mut connection, id, STEPS[1]).await;
    }
    let report = store.inspect(MINUTE).await.unwrap();
    assert!(report.clock_behind.is_none(), "no order was created in the future");
    let named: BTreeSet<OrderId> = report.issues.iter().map(|finding| finding.order_id).collect();
    assert_eq!(named, ids.into_iter().collect(), "the doctor names those that wait for too long");
    assert!(report.issues.iter().all(|finding| matches!(finding.kind, IssueKind::Stalled(_))), "{report:?}");
    let mut taken = Vec::new();
    assert_eq!(store.shorten_waits().await.unwrap(), 2);
    assert_eq!(store.inspect(MINUTE).await.unwrap().issues, []);
    let due = claim(store, 10, GUARD).await.unwrap();
    taken.extend(due.back.iter().map(|job| job.order_id));
    assert_eq!(taken, ids[..1], "the other one waits for its turn");
    let due: i64 = connection.value("SELECT MAX(due_at) FROM orders WHERE stage = 'waiting'").await.unwrap();
    let wait = Timestamp::from_micros(due).since(store.now());
    assert!(wait > 9 * MINUTE && wait <= 10 * MINUTE, "{wait:?}");
    assert_eq!(store.shorten_waits().await.unwrap(), 0, "once is enough");
});

on_both!(a_pause_keeps_its_length_after_a_clock_step, |on| async move {
    let backend = Backend::new(on).await;
    let store = &backend.store;
    store.pause(Some(store.now() + MINUTE), None, &requester()).await.unwrap();
    let mut connection = Database::connect(backend.url()).await.unwrap();
    let day = STEPS[2].as_micros();
    let text =
        format!("UPDATE queues SET paused_at = paused_at + {day}, paused_until = paused_until + {day}");
    connection.run(text).await.unwrap();
    store.shorten_waits().await.unwrap();
    let until = store.paused().await.unwrap().unwrap().until.unwrap();
    assert!(until <= store.now() + MINUTE && until > store.now(), "{until}");
});

on_both!(a_live_lease_is_shortened_and_kept_after_a_backward_clock_step, |on| async move {
    let backend = Backend::new(on).await;
    let mut config = quick();
    config.service.rules.lease = MINUTE;
    let gateway = backend.gateway(config.clone()).await;
    let id = gateway.create_order().await;
    let started = gateway.report(&id, "processing", "").await.unwrap();
    let mut connection = Database::connect(backend.url()).await.unwrap();
    shift(&mut connection, id.parse().unwrap(), STEPS[1]).await;
    let until = || async {
        let text = format!("SELECT held_until FROM orders WHERE id = x'{}'", id.replace('-', ""));
        let mut connection = Database::connect(backend.url()).await.unwrap();
        let until: i64 = connection.value(text).await.unwrap();
        Timestamp::from_micros(until)
    };
    let end = eventually("the lease to end sooner", || async {
        Some(until().await).filter(|end| *end <= backend.store.now() + MINUTE)
    })
    .await;
    assert!(end > backend.store.now());
    gateway.report(&id, "completed", &started.lease_token).await.unwrap();
    assert_eq!(gateway.timeline(&id).await, [Status::Pending, Status::Processing, Status::Completed]);
    check_invariants(&backend.store).await;
});

// Rows written between two backward steps have times of the clock before the first one.
on_both!(a_wait_between_two_backward_clock_steps_keeps_its_length, |on| async move {
    let backend = Backend::new(on).await;
    let store = &backend.store;
    let mut connection = Database::connect(backend.url()).await.unwrap();
    let mut ids = Vec::new();
    let retry = Outcome::Retry { reason: "x".into(), class: None, after: Some(MINUTE) };
    for outcome in [retry, Outcome::Released] {
        let id = create(store, store.now() + STEPS[1], None, false).await;
        let lease = LeaseToken::random();
        let commands = [(id, Command::start(lease)), (id, Command::Finish { lease, outcome })];
        let applied = store.apply(commands.into(), Rules::default()).await.unwrap();
        assert!(applied.iter().all(|one| matches!(one, CommandOutcome::Changed { .. })), "{applied:?}");
        ids.push(id);
    }
    let shown = |ids: Vec<OrderId>| async move {
        let now = store.now();
        let snapshot = QueueSnapshot { now, paused_at: None, paused_until: None };
        let orders = store.orders(&domain::Principal::anonymous(), &ids).await.unwrap();
        let orders = ids.iter().map(|id| orders.iter().find(|order| order.id == *id).unwrap());
        orders.map(|order| order.waiting(&snapshot).unwrap().next_attempt_at).collect::<Vec<_>>()
    };
    for step in [Duration::ZERO, STEPS[1], STEPS[2]] {
        for id in &ids {
            shift(&mut connection, *id, step).await;
        }
        store.shorten_waits().await.unwrap();
        let now = store.now();
        let due = |id: &OrderId| {
            let id = id.to_string().replace('-', "");
            format!("SELECT due_at FROM orders WHERE id = x'{id}'")
        };
        let mut waits = Vec::new();
        for id in &ids {
            let due: i64 = connection.value(due(id)).await.unwrap();
            waits.push(Timestamp::from_micros(due).since(now));
        }
        assert!(waits[0] > MINUTE / 2 && waits[0] <= 2 * MINUTE, "{step:?} {waits:?}");
        assert!(waits[1] < MINUTE / 2, "{step:?} {waits:?}");
        let shown = shown(ids.clone()).await;
        assert!(shown[0].is_some_and(|at| at <= now + 2 * MINUTE), "{step:?} {shown:?}");
        assert_eq!(shown[1], None, "{step:?}");
    }
});

on_both!(a_redrive_with_a_start_time_keeps_its_rate, |on| async move {
    let backend = Backend::new(on).await;
    let store = &backend.store;
    let mut connection = Database::connect(backend.url()).await.unwrap();
    let starts_at = store.now() + 2 * STEPS[1];
    let fail = Outcome::Failed { reason: "x".into(), class: None };
    for n in 0..3_u32 {
        let id = create(store, store.now(), None, false).await;
        let lease = LeaseToken::random();
        let not_before = Some(starts_at + 10 * MINUTE * n);
        let commands = [
            Command::start(lease),
            Command::Finish { lease, outcome: fail.clone() },
            Command::Redrive { reason: None, not_before, requester: None },
        ];
        let commands = commands.into_iter().map(|command| (id, command)).collect();
        store.apply(commands, Rules::default()).await.unwrap();
        shift(&mut connection, id, STEPS[1]).await;
    }
    assert_eq!(store.shorten_waits().await.unwrap(), 3);
    let due: Vec<(i64,)> = connection.rows("SELECT due_at FROM orders ORDER BY due_at").await.unwrap();
    let due: Vec<i64> = due.into_iter().map(|(value,)| value).collect();
    for (n, due) in due.into_iter().enumerate() {
        let (due, asked) = (Timestamp::from_micros(due), starts_at + 10 * MINUTE * n as u32);
        assert!(due <= asked + MINUTE && due + MINUTE >= asked, "{n}: {due} {asked}");
    }
});

// Rows that become a day older look like a clock that is a day ahead.
on_both!(a_gateway_started_after_a_forward_clock_step_removes_nothing, |on| async move {
    let (url, _folder) = Backend::empty_database(on).await;
    let open = || async { Store::connect(&url, &Options::default()).await.unwrap() };
    let store = open().await;
    store.migrate().await.unwrap();
    let now = store.now();
    let draft = Draft {
        item: Some("Vase".into()),
        quantity: Some(1),
        price: Some("9.50".into()),
        ..Draft::default()
    };
    let content = draft.check(domain::Currency::USD).unwrap();
    let hash = request_hash(&content);
    let creation = || CreateRequest {
        orders: [NewOrder::new(OrderId::new(now), domain::TenantId::default(), content.clone(), now)].into(),
        idempotency: Some(Idempotency {
            key: "once".parse().unwrap(),
            request_hash: hash,
            expires_at: now + STEPS[2] / 2,
        }),
    };
    let first = creation();
    let id = first.id();
    store.insert([first].into()).await.unwrap();
    store
        .apply([(id, Command::Cancel { reason: None, requester: None })].into(), Rules::default())
        .await
        .unwrap();
    // A gateway repeats this each minute.
    store.prune_idempotency_keys().await.unwrap();
    store.close().await;
    drop(store);
    let mut connection = Database::connect(&url).await.unwrap();
    let day = STEPS[2].as_micros();
    for statement in [
        format!("UPDATE orders SET created_at = created_at - {day}, updated_at = updated_at - {day}"),
        format!(
            "UPDATE idempotency_keys SET created_at = created_at - {day}, expires_at = expires_at - {day}"
        ),
        format!("UPDATE installation SET steady_at = steady_at - {day}"),
    ] {
        connection.run(statement).await.unwrap();
    }
    let retention = Retention { finished: Some(STEPS[1]), failed: None };
    for (recorded, removed) in [(true, false), (false, true)] {
        if !recorded {
            // Without the recorded time the day counts.
            connection.run("UPDATE installation SET steady_at = 0").await.unwrap();
        }
        let store = open().await;
        store.refresh_clock().await.unwrap();
        store.prune_idempotency_keys().await.unwrap();
        let pruned = store.prune_orders(Status::Cancelled, retention, None).await.unwrap();
        assert_eq!(pruned.orders > 0, removed);
        let again = store.insert([creation()].into()).await.unwrap();
        assert_eq!(again, [if removed { InsertOutcome::Inserted } else { InsertOutcome::Replayed(id) }]);
        store.close().await;
    }
});
