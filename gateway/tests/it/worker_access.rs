//! What a worker with a key of the scope `work` can see and report.

use std::time::Duration;

use domain::{Role, Scopes};
use gateway::access::IssuedKey;
use proto::v1;
use proto::v1::gateway_message::Message as Answer;
use serde_json::json;

use crate::access::{key, role, with_keys};
use crate::harness::{Backend, Gateway};
use crate::on_both;
use crate::workers::{Worker, lease};

async fn create_order(gateway: &Gateway<'_>, owner: &IssuedKey) -> String {
    let request = gateway.client.post(gateway.url("/orders")).bearer_auth(owner.key.expose());
    let order = json!({"item": "Tea", "quantity": 1, "price": 1}).to_string();
    let response = request.header("content-type", "application/json").body(order).send().await.unwrap();
    let order: serde_json::Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    order["id"].as_str().unwrap_or_else(|| panic!("{order}")).to_owned()
}

fn with_key<T>(message: T, key: &IssuedKey) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    let value = format!("Bearer {}", key.key.expose());
    request.metadata_mut().insert("authorization", value.parse().unwrap());
    request
}

/// Reports a status. Returns the lease token of the response, or the error code.
async fn report(
    gateway: &Gateway<'_>,
    key: &IssuedKey,
    order_id: &str,
    status: &str,
    lease_token: &str,
) -> Result<v1::UpdateStatusResponse, String> {
    let request = v1::UpdateStatusRequest {
        order_id: order_id.to_owned(),
        status: status.to_owned(),
        lease_token: lease_token.to_owned(),
        ..v1::UpdateStatusRequest::default()
    };
    let answer = gateway.workers().await.update_status(with_key(request, key)).await;
    answer.map(tonic::Response::into_inner).map_err(|status| error_code(&status))
}

fn error_code(status: &tonic::Status) -> String {
    let code = status.metadata().get(proto::ERROR_METADATA);
    code.unwrap_or_else(|| panic!("{status:?}")).to_str().unwrap().to_owned()
}

on_both!(a_worker_reports_only_attempts_whose_lease_it_has, |on| async move {
    let backend = Backend::new(on).await;
    let mut config = with_keys();
    config.grpc.tokenless_reports = Some(true);
    let gateway = backend.gateway(config.clone()).await;
    let other_gateway = backend.gateway(config).await;
    let owner = role(&backend, Role::Admin).await;
    let (worker, other) = (role(&backend, Role::Worker).await, role(&backend, Role::Worker).await);
    let required = Err("lease_token_required".to_owned());
    let statuses = ["completed", "failed", "pending"];

    // An order that is not started, and one that another worker has started.
    let order = create_order(&gateway, &owner).await;
    assert_eq!(report(&gateway, &worker, &order, "completed", "").await, required);
    report(&gateway, &worker, &order, "processing", "").await.unwrap();
    let wrong = domain::LeaseToken::random().to_string();
    for status in statuses {
        assert_eq!(report(&gateway, &other, &order, status, "").await, required);
        assert_eq!(report(&gateway, &other, &order, status, &wrong).await, Err("stale_lease".to_owned()));
    }
    let started = report(&gateway, &other, &order, "processing", "").await;
    assert_eq!(started, Err("already_started".to_owned()));
    let renewed = report(&gateway, &other, &order, "processing", &wrong).await;
    assert_eq!(renewed, Err("stale_lease".to_owned()));

    // The worker that has started it needs no token, at any gateway. A repeated report succeeds.
    for gateway in [&other_gateway, &gateway] {
        let done = report(gateway, &worker, &order, "completed", "").await.unwrap();
        assert_eq!(done.order.unwrap().status, "completed");
    }
    assert_eq!(report(&gateway, &other, &order, "completed", "").await, required);

    // The token is a proof for every worker, such as the next one with a rotated key.
    let order = create_order(&gateway, &owner).await;
    let token = report(&gateway, &worker, &order, "processing", "").await.unwrap().lease_token;
    let renewed = report(&gateway, &other, &order, "processing", &token).await.unwrap();
    assert_eq!(renewed.order.unwrap().order_id, order);
    report(&gateway, &other, &order, "completed", &token).await.unwrap();

    // The start and each renewal return the order. Other reads need another scope.
    let mut client = gateway.workers().await;
    let get = with_key(v1::GetOrderRequest { order_id: order.clone() }, &worker);
    assert_eq!(error_code(&client.get_order(get).await.unwrap_err()), "forbidden");
    let watch = v1::WatchOrderRequest { order_id: order, after_sequence: None };
    assert_eq!(error_code(&client.watch_order(with_key(watch, &worker)).await.unwrap_err()), "forbidden");
    other_gateway.stop().await;
    gateway.stop().await;
});

on_both!(an_attempt_survives_the_key_of_its_stream, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_keys()).await;
    let owner = role(&backend, Role::Admin).await;
    let scopes = Role::Worker.scopes();
    let short = key(&backend, scopes, Duration::from_secs(3)).await;
    let lease = lease(&create_order(&gateway, &owner).await);
    let mut worker = Worker::connect_with(gateway.workers().await, Some(short.key.expose())).await;
    assert_eq!(worker.start(std::slice::from_ref(&lease)).await.attempts.len(), 1);
    let reason = "token_expired".to_owned();
    assert_eq!(worker.try_next().await.unwrap(), Answer::Drain(v1::Drain { reason }));
    let ended = worker.try_next().await.unwrap_err();
    assert_eq!(
        (ended.code(), error_code(&ended)),
        (tonic::Code::Unauthenticated, "token_expired".to_owned())
    );

    let next = key(&backend, scopes, Duration::from_secs(3_600)).await;
    let mut worker = Worker::connect_with(gateway.workers().await, Some(next.key.expose())).await;
    assert_eq!(worker.renew(&lease).await.lost, []);
    assert_eq!(worker.finish(&lease).await.refused, []);
    drop(worker);
    gateway.stop().await;
});

on_both!(a_long_poll_ends_with_its_key, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_keys()).await;
    let short = key(&backend, Scopes::ALL, Duration::from_secs(4)).await;
    let order = create_order(&gateway, &short).await;
    let polls = ["?waitForSequence=2&timeout=55", "/events?after=1&timeout=55"].map(|query| {
        let path = format!("/orders/{order}{query}");
        let (gateway, short) = (&gateway, &short);
        async move { crate::access::send(gateway, "get", &path, Some(short.key.expose())).await }
    });
    for (status, body) in futures_util::future::join_all(polls).await {
        assert_eq!((status, &body["code"]), (401, &json!("token_expired")), "{body}");
    }
    gateway.stop().await;
});
