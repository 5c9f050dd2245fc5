//! What a worker with a key of the scope `work` can see and report.

use domain::Role;
use gateway::access::IssuedKey;
use proto::v1;
use serde_json::json;

use crate::access::{role, with_keys};
use crate::harness::{Backend, Gateway};
use crate::on_both;

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
