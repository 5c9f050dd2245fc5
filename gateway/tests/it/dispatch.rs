//! The orders that dispatch enqueues, and their times: priorities, schedules, pauses.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use broker::{Job, Queue, QueueEnd};
use domain::transition::{Command, Refusal, Rules};
use domain::{Draft, LeaseToken, OrderId, Priority, Status, Timestamp};
use gateway::Config;
use gateway::Store;
use gateway::store::{Claimed, CommandOutcome, DueTenants, NewOrder};
use serde_json::json;

use crate::harness::{Backend, eventually, requester};
use crate::on_both;

const GUARD: Duration = Duration::from_secs(600);

fn draft() -> Draft {
    Draft { item: Some("Laptop".into()), quantity: Some(1), price: Some("1.00".into()), ..Draft::default() }
}

async fn insert(backend: &Backend, draft: Draft, count: usize) -> Vec<OrderId> {
    let now = backend.store.now();
    let content = draft.check(domain::Currency::USD).unwrap();
    let ids = OrderId::new(now).consecutive(count);
    let order = |id: &OrderId| NewOrder::new(*id, domain::TenantId::default(), content.clone(), now).into();
    backend.store.insert(ids.iter().map(order).collect()).await.unwrap();
    ids
}

async fn insert_with(backend: &Backend, priority: Priority, count: usize) -> Vec<OrderId> {
    insert(backend, Draft { priority: Some(priority.to_string()), ..draft() }, count).await
}

/// Claims due orders as a first pass of dispatch, and returns those of all tenants together.
pub(crate) async fn claim(store: &Store, limit: u32, guard: Duration) -> Option<Claimed> {
    let claim = store.claim_fairly(limit, guard, &mut DueTenants::default()).await.unwrap()?;
    let mut all = Claimed { more: claim.more, ..Claimed::default() };
    for claimed in claim.claimed {
        all.front.extend(claimed.front);
        all.back.extend(claimed.back);
        all.unreadable.extend(claimed.unreadable);
    }
    Some(all)
}

async fn take(backend: &Backend, limit: u32) -> Claimed {
    claim(&backend.store, limit, GUARD).await.expect("the queue is not paused")
}

async fn start(backend: &Backend, id: OrderId) -> CommandOutcome {
    start_with(backend, id, LeaseToken::random()).await
}

async fn start_with(backend: &Backend, id: OrderId, lease: LeaseToken) -> CommandOutcome {
    let command = Command::start(lease);
    backend.store.apply([(id, command)].into(), Rules::default()).await.unwrap().pop().unwrap()
}

/// A queue whose length is unavailable while it is closed, so that dispatch waits.
struct Gate {
    queue: Arc<dyn Queue>,
    closed: AtomicBool,
}

#[async_trait]
impl Queue for Gate {
    fn of_kind(&self, _: &domain::Kind) -> std::sync::Arc<dyn Queue> {
        unreachable!("this queue has one kind")
    }

    async fn push(&self, jobs: &[Job], place: QueueEnd) -> Result<u64, broker::Error> {
        self.queue.push(jobs, place).await
    }
    async fn pull(&self, max: usize, wait: Duration) -> Result<Vec<Job>, broker::Error> {
        self.queue.pull(max, wait).await
    }
    async fn len(&self) -> Result<u64, broker::Error> {
        while self.closed.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.queue.len().await
    }
}

on_both!(a_new_order_is_enqueued_directly_while_the_queue_has_capacity, |on| async move {
    let mut backend = Backend::new(on).await;
    let gate = Arc::new(Gate { queue: backend.queue.clone(), closed: AtomicBool::new(false) });
    backend.queue = gate.clone();
    let mut config = Config::default();
    config.service.visibility_timeout = GUARD;
    let gateway = backend.gateway(config).await;
    // New orders are enqueued directly only after dispatch has found the queue empty.
    eventually("an order that dispatch did not enqueue", || async {
        gate.closed.store(true, Ordering::Relaxed);
        let id = gateway.create_order().await;
        let jobs = gate.pull(10, Duration::from_secs(1)).await.unwrap();
        gate.closed.store(false, Ordering::Relaxed);
        jobs.iter().any(|job| job.order_id.to_string() == id).then_some(())
    })
    .await;
    gateway.stop().await;
});

on_both!(each_priority_gets_its_share_under_load, |on| async move {
    let backend = Backend::new(on).await;
    let low = insert_with(&backend, Priority::Low, 20).await;
    let normal = insert_with(&backend, Priority::Normal, 40).await;
    let high = insert_with(&backend, Priority::High, 70).await;
    for round in 0..10 {
        let Claimed { front, back, more, .. } = take(&backend, 10).await;
        let among = |ids: &[OrderId]| back.iter().filter(|job| ids.contains(&job.order_id)).count();
        assert!(more && front.len() == 6 && front.iter().all(|job| high.contains(&job.order_id)), "{round}");
        assert_eq!((among(&normal), among(&low)), (3, 1), "{round}");
    }
    // Dispatch enqueues the rest in further passes.
    let mut left = 0;
    loop {
        let Claimed { front, back, more, .. } = take(&backend, 10).await;
        left += front.len() + back.len();
        if !more {
            break;
        }
    }
    assert_eq!(left, 30);
});

/// One of seven jobs has low priority, for any number of urgent orders.
#[tokio::test]
async fn low_priority_is_not_starved() {
    let backend = Backend::new(crate::harness::On::Embedded).await;
    let low = insert_with(&backend, Priority::Low, 10).await;
    insert_with(&backend, Priority::High, 100).await;
    let mut taken = 0;
    for _ in 0..10 {
        // The number of urgent orders stays the same.
        insert_with(&backend, Priority::High, 10).await;
        taken += take(&backend, 10).await.back.iter().filter(|job| low.contains(&job.order_id)).count();
    }
    // At least one job in each pass.
    assert_eq!(taken, 10);
}

on_both!(a_priority_uses_the_unused_share_of_the_others, |on| async move {
    let backend = Backend::new(on).await;
    insert_with(&backend, Priority::Low, 30).await;
    let Claimed { front, back, .. } = take(&backend, 30).await;
    assert_eq!((front.len(), back.len()), (0, 30));
});

on_both!(an_urgent_order_is_placed_at_the_front_of_the_queue, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let normal = gateway.create_order().await;
    eventually("the order to be queued", || async { (backend.queue.len().await.ok()? == 1).then_some(()) })
        .await;
    let body = json!({"item": "Laptop", "quantity": 1, "price": 1, "priority": "high"});
    let urgent = gateway.create_full(body).await;
    assert_eq!((&urgent["priority"], &urgent["processAfter"]), (&json!("high"), &json!(null)));
    eventually("both to be queued", || async { (backend.queue.len().await.ok()? == 2).then_some(()) }).await;
    assert_eq!(gateway.next_job().await, urgent["id"]);
    assert_eq!(gateway.next_job().await, normal);
    gateway.stop().await;
});

on_both!(a_scheduled_order_is_never_early, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let at = backend.store.now() + Duration::from_millis(1_500);
    let body = json!({"item": "Laptop", "quantity": 1, "price": 1, "processAfter": at});
    let order = gateway.create_full(body).await;
    assert_eq!((&order["status"], &order["processAfter"]), (&json!("pending"), &json!(at)));
    let id = order["id"].as_str().unwrap();
    // A worker that starts it anyway is rejected until then.
    let mut refused = 0;
    loop {
        let before = backend.store.now();
        match gateway.report(id, "processing", "").await {
            Ok(_) => break assert!(backend.store.now() >= at, "started {:?} early", at.since(before)),
            Err(status) => {
                refused += 1;
                assert_eq!(status.code(), tonic::Code::FailedPrecondition);
                assert_eq!(status.metadata().get(proto::ERROR_METADATA).unwrap(), "not_yet");
                assert!(status.message().contains(&at.to_string()), "{}", status.message());
                assert!(before < at + Duration::from_secs(5), "it has been due for long");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
    assert!(refused > 0);
    let events = backend
        .store
        .events_after(&domain::Principal::anonymous(), &[(id.parse().unwrap(), 1)])
        .await
        .unwrap();
    assert!(events[0].status == Status::Processing && events[0].occurred_at >= at);
    gateway.stop().await;
});

on_both!(a_dispatch_pass_continues_at_the_cursor_of_the_last_one, |on| async move {
    let backend = Backend::new(on).await;
    let first = insert(&backend, draft(), 1).await;
    let mut tenants = DueTenants::default();
    let mut pass = async || {
        let pass = backend.store.claim_fairly(3, GUARD, &mut tenants).await.unwrap().unwrap();
        let [claimed] = &pass.claimed[..] else { panic!("{pass:?}") };
        (claimed.back.iter().map(|job| job.order_id).collect::<Vec<_>>(), pass.more)
    };
    // From now on the tenant is assumed to be alone.
    assert_eq!(pass().await, (first, false));
    let mut ids = insert(&backend, draft(), 3).await;
    ids.extend(insert(&backend, draft(), 4).await);
    assert_eq!(pass().await, (ids[..3].to_vec(), true));
    assert_eq!(pass().await, (ids[3..6].to_vec(), true));
    // An order that becomes ready before the cursor is found by the pass that begins at the beginning.
    let content = draft().check(domain::Currency::USD).unwrap();
    let created_at = Timestamp::from_micros(1);
    let late = NewOrder::new(OrderId::new(created_at), domain::TenantId::default(), content, created_at);
    backend.store.insert([late.clone().into()].into()).await.unwrap();
    assert_eq!(pass().await, (ids[6..].to_vec(), false));
    assert_eq!(pass().await, (vec![late.id], false));
});

on_both!(a_scheduled_order_is_enqueued_at_its_start_time, |on| async move {
    let backend = Backend::new(on).await;
    let hour = backend.store.now() + Duration::from_secs(3_600);
    let later = insert(&backend, Draft { process_after: Some(hour.to_string()), ..draft() }, 1).await[0];
    let past = Timestamp::from_micros(1);
    let sooner = insert(&backend, Draft { process_after: Some(past.to_string()), ..draft() }, 1).await[0];
    let taken = take(&backend, 10).await.back;
    assert_eq!(taken.iter().map(|job| job.order_id).collect::<Vec<_>>(), [sooner]);
    assert!(
        matches!(start(&backend, later).await, CommandOutcome::Refused(Refusal::NotYet(at)) if at == hour)
    );
    assert!(matches!(start(&backend, sooner).await, CommandOutcome::Changed { .. }));
});

on_both!(a_paused_queue_accepts_orders_and_starts_none, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let queued = gateway.create_order().await;
    assert_eq!(gateway.next_job().await, queued);
    assert_eq!(backend.store.paused().await.unwrap(), None);

    gateway.command("/queue/pause", json!({"requestedBy": "ann"})).await;
    let pause = backend.store.paused().await.unwrap().expect("it is paused");
    assert_eq!((pause.until, pause.by.as_deref()), (None, Some("ann")));
    let refused = gateway.report(&queued, "processing", "").await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
    assert_eq!(refused.metadata().get(proto::ERROR_METADATA).unwrap(), "queue_paused");
    let waiting = gateway.create_order().await;
    assert_eq!(claim(&backend.store, 10, GUARD).await, None);
    assert_eq!(backend.queue.len().await.unwrap(), 0);

    // A second pause changes only its end.
    let until = backend.store.now() + GUARD;
    let again = backend.store.pause(Some(until), None, &requester()).await.unwrap();
    assert_eq!((again.at, again.until, again.by), (pause.at, Some(until), None));
    assert!(backend.store.resume(&requester()).await.unwrap());
    assert!(!backend.store.resume(&requester()).await.unwrap(), "it is not paused any more");
    // The rejected job is enqueued again immediately, not after its visibility timeout.
    let mut jobs = [gateway.next_job().await, gateway.next_job().await];
    jobs.sort();
    assert_eq!(jobs, [queued.clone(), waiting]);
    gateway.report(&queued, "processing", "").await.unwrap();
    assert_eq!(gateway.timeline(&queued).await, [Status::Pending, Status::Processing]);
    gateway.stop().await;
});

on_both!(a_pause_ends_at_its_resume_time, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let until = backend.store.now() + Duration::from_millis(700);
    gateway.command("/queue/pause", json!({"until": until.to_string()})).await;
    let id = gateway.create_order().await;
    assert_eq!(gateway.next_job().await, id);
    assert!(backend.store.now() >= until);
    assert_eq!(backend.store.paused().await.unwrap(), None);
    gateway.stop().await;
});

on_both!(no_order_starts_after_the_response_to_a_pause, |on| async move {
    let backend = Backend::new(on).await;
    let ids = insert(&backend, draft(), 200).await;
    let starting = tokio::spawn({
        let store = backend.store.clone();
        async move {
            let mut started = Vec::new();
            for id in ids {
                let command = Command::start(LeaseToken::random());
                let applied = store.apply([(id, command)].into(), Rules::default()).await.unwrap();
                match &applied[0] {
                    CommandOutcome::Changed { .. } => started.push(id),
                    CommandOutcome::Refused(Refusal::Paused) => return started,
                    other => panic!("{other:?}"),
                }
            }
            started
        }
    });
    eventually("some to be started", || async {
        let filter = domain::query::Filter { statuses: vec![Status::Processing], ..Default::default() };
        (backend.store.list(&domain::Principal::anonymous(), &filter, None, 1).await.unwrap().len() == 1)
            .then_some(())
    })
    .await;
    backend.store.pause(None, None, &requester()).await.unwrap();
    let processing = domain::query::Filter { statuses: vec![Status::Processing], ..Default::default() };
    let at_the_answer =
        backend.store.list(&domain::Principal::anonymous(), &processing, None, 1_000).await.unwrap().len();
    assert_eq!(starting.await.unwrap().len(), at_the_answer, "nothing was started after the answer");
});

/// A queue whose server becomes unavailable and available again.
struct Leaving {
    queue: Arc<dyn Queue>,
    away: AtomicBool,
    /// Failed pushes and length requests.
    failed: AtomicUsize,
    unanswered: AtomicUsize,
}

impl Leaving {
    fn check(&self) -> Result<(), broker::Error> {
        let away = self.away.load(Ordering::SeqCst);
        if away { Err(broker::Error::Unavailable("away".into())) } else { Ok(()) }
    }
}

#[async_trait]
impl Queue for Leaving {
    fn of_kind(&self, _: &domain::Kind) -> std::sync::Arc<dyn Queue> {
        unreachable!("this queue has one kind")
    }

    async fn push(&self, jobs: &[Job], place: QueueEnd) -> Result<u64, broker::Error> {
        if !jobs.is_empty() {
            self.check().inspect_err(|_| _ = self.failed.fetch_add(1, Ordering::SeqCst))?;
        }
        self.queue.push(jobs, place).await
    }

    async fn pull(&self, max: usize, wait: Duration) -> Result<Vec<Job>, broker::Error> {
        self.queue.pull(max, wait).await
    }

    async fn len(&self) -> Result<u64, broker::Error> {
        self.check().inspect_err(|_| _ = self.unanswered.fetch_add(1, Ordering::SeqCst))?;
        self.queue.len().await
    }
}

on_both!(a_new_order_waits_no_longer_than_the_queue_is_unavailable, |on| async move {
    let mut backend = Backend::new(on).await;
    let queue = Arc::new(Leaving {
        queue: backend.queue.clone(),
        away: AtomicBool::new(false),
        failed: AtomicUsize::new(0),
        unanswered: AtomicUsize::new(0),
    });
    backend.queue_of_gateways = Some(queue.clone());
    // A visibility timeout longer than the test.
    let mut config = Config::default();
    config.service.visibility_timeout = GUARD;
    let gateway = backend.gateway(config).await;
    let mut waiting = BTreeSet::new();
    // Dispatch reads the length before it claims orders, so only the direct push of a new order fails. That push
    // happens only when dispatch has just found capacity in the queue.
    while queue.failed.load(Ordering::SeqCst) == 0 {
        queue.away.store(false, Ordering::SeqCst);
        waiting.insert(gateway.create_order().await);
        assert!(waiting.remove(&gateway.next_job().await));
        queue.away.store(true, Ordering::SeqCst);
        let before = queue.unanswered.load(Ordering::SeqCst);
        waiting.insert(gateway.create_order().await);
        eventually("the gateway uses the queue", || async {
            let failed = queue.failed.load(Ordering::SeqCst);
            (failed > 0 || queue.unanswered.load(Ordering::SeqCst) > before).then_some(())
        })
        .await;
    }
    queue.away.store(false, Ordering::SeqCst);
    while !waiting.is_empty() {
        assert!(waiting.remove(&gateway.next_job().await));
    }
    gateway.stop().await;
});
