//! The events that subscribers receive.

use domain::Status;
use futures_util::StreamExt;
use gateway::Config;
use proto::v1;

use crate::harness::{Backend, Gateway, eventually, quick};
use crate::on_both;

async fn watch(
    gateway: &Gateway<'_>,
    id: &str,
    after: Option<u32>,
) -> Result<tonic::Streaming<v1::OrderEvent>, tonic::Status> {
    let request = v1::WatchOrderRequest { order_id: id.to_owned(), after_sequence: after };
    gateway.workers().await.watch_order(request).await.map(tonic::Response::into_inner)
}

async fn all(stream: tonic::Streaming<v1::OrderEvent>) -> Vec<(u32, String)> {
    stream.map(|event| event.map(|event| (event.sequence, event.status)).unwrap()).collect().await
}

async fn complete(gateway: &Gateway<'_>, id: &str) {
    gateway.report(id, "processing", "").await.unwrap();
    gateway.report(id, "completed", "").await.unwrap();
}

fn whole() -> Vec<(u32, String)> {
    vec![(1, "pending".into()), (2, "processing".into()), (3, "completed".into())]
}

on_both!(a_subscriber_receives_every_change_once_and_then_the_end, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let id = gateway.create_order().await;
    let live = watch(&gateway, &id, Some(0)).await.unwrap();
    let latest = watch(&gateway, &id, None).await.unwrap();
    complete(&gateway, &id).await;
    assert_eq!(all(live).await, whole());
    assert_eq!(all(latest).await, whole());
    // Afterwards: the timeline, its rest, the final event, and nothing.
    assert_eq!(all(watch(&gateway, &id, Some(0)).await.unwrap()).await, whole());
    assert_eq!(all(watch(&gateway, &id, Some(2)).await.unwrap()).await, whole()[2..]);
    assert_eq!(all(watch(&gateway, &id, None).await.unwrap()).await, whole()[2..]);
    assert_eq!(all(watch(&gateway, &id, Some(3)).await.unwrap()).await, []);
    gateway.stop().await;
});

on_both!(a_subscription_ends_when_its_order_is_removed, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let id = gateway.create_order().await;
    let (ahead, next) =
        (watch(&gateway, &id, Some(9)).await.unwrap(), watch(&gateway, &id, Some(2)).await.unwrap());
    complete(&gateway, &id).await;
    assert_eq!(all(ahead).await, []);
    assert_eq!(all(next).await, whole()[2..]);
    gateway.stop().await;
});

on_both!(a_later_subscriber_does_not_hide_events_that_an_earlier_one_missed, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let id = gateway.create_order().await;
    let early = watch(&gateway, &id, Some(1)).await.unwrap();
    // Written by another store: no event is published.
    let cancel = domain::transition::Command::Cancel { reason: None, requester: None };
    let commands = vec![(id.parse().unwrap(), cancel)];
    backend.store.apply(commands.into(), domain::transition::Rules::default()).await.unwrap();
    let late = watch(&gateway, &id, Some(0)).await.unwrap();
    let cancelled = (2, "cancelled".to_owned());
    assert_eq!(all(late).await, [(1, "pending".to_owned()), cancelled.clone()]);
    assert_eq!(all(early).await, [cancelled]);
    gateway.stop().await;
});

on_both!(a_subscription_to_an_unknown_order_fails_immediately, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let error = watch(&gateway, "01890a5d-ac96-774b-bcce-b302099a8057", None).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::NotFound);
    assert_eq!(error.metadata().get("orders-error").unwrap(), "order_not_found");
    let error = watch(&gateway, "nonsense", None).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::InvalidArgument);
    gateway.stop().await;
});

/// Two gateways share the back ends, which must be servers.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_receives_changes_of_another_gateway() {
    let backend = Backend::new(crate::harness::On::Servers).await;
    let (a, b) = (backend.gateway(Config::default()).await, backend.gateway(Config::default()).await);
    let id = b.create_order().await;
    let live = watch(&a, &id, Some(0)).await.unwrap();
    complete(&b, &id).await;
    assert_eq!(all(live).await, whole());
    a.stop().await;
    b.stop().await;
}

on_both!(events_lost_by_the_bus_are_read_from_the_database, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let id = gateway.create_order().await;
    let live = watch(&gateway, &id, Some(1)).await.unwrap();
    // Written by another store: no event is published.
    let lease = domain::LeaseToken::random();
    let order_id = id.parse().unwrap();
    for command in [
        domain::transition::Command::start(lease),
        domain::transition::Command::Finish { lease, outcome: domain::Outcome::Completed },
    ] {
        let commands = vec![(order_id, command)];
        backend.store.apply(commands.into(), domain::transition::Rules::default()).await.unwrap();
    }
    assert_eq!(all(live).await, whole()[1..]);
    gateway.stop().await;
});

on_both!(a_subscription_follows_a_redriven_order_after_its_failure, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(quick()).await;
    let id = gateway.create_order().await;
    gateway.report(&id, "processing", "").await.unwrap();
    gateway.report(&id, "failed", "").await.unwrap();
    let order_id = id.parse().unwrap();
    let redrive = domain::transition::Command::Redrive { reason: None, not_before: None, requester: None };
    backend.store.apply(vec![(order_id, redrive)].into(), quick().service.rules).await.unwrap();
    let live = watch(&gateway, &id, Some(0)).await.unwrap();
    complete(&gateway, &id).await;
    let statuses: Vec<String> = all(live).await.into_iter().map(|(_, status)| status).collect();
    assert_eq!(statuses, ["pending", "processing", "failed", "pending", "processing", "completed"]);
    gateway.stop().await;
});

on_both!(shutdown_ends_grpc_streams_with_unavailable, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(quick()).await;
    let id = gateway.create_order().await;
    let mut live = watch(&gateway, &id, Some(0)).await.unwrap();
    assert_eq!(live.message().await.unwrap().unwrap().sequence, 1);
    gateway.stop().await;
    let error = live.message().await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::Unavailable, "{error:?}");
});

on_both!(a_lost_job_is_pushed_again, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(quick()).await;
    let id = gateway.create_order().await;
    assert_eq!(gateway.next_job().await, id);
    assert_eq!(gateway.next_job().await, id, "no worker started it, so it is enqueued again");
    complete(&gateway, &id).await;
    assert_eq!(gateway.timeline(&id).await, [Status::Pending, Status::Processing, Status::Completed]);
    gateway.stop().await;
});

on_both!(an_expired_lease_counts_as_a_failure_and_the_order_is_retried, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(quick()).await;
    let id = gateway.create_order().await;
    let first = gateway.report(&id, "processing", "").await.unwrap();
    eventually("the expiry", || async { (gateway.order(&id).await.failures == 1).then_some(()) }).await;
    let late = gateway.report(&id, "completed", &first.lease_token).await.unwrap_err();
    assert_eq!(late.code(), tonic::Code::FailedPrecondition);
    assert_eq!(late.metadata().get("orders-error").unwrap(), "stale_lease");
    eventually("the second attempt", || async { gateway.report(&id, "processing", "").await.ok() }).await;
    gateway.report(&id, "completed", "").await.unwrap();
    assert_eq!(gateway.order(&id).await.attempt, 2);
    gateway.stop().await;
});
