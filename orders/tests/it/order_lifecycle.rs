//! One order from create to its final status.

use serde_json::json;
use wiremock::matchers::{header_exists, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::harness::{Api, Process, Stack, Stop, base_url, command};

#[tokio::test]
async fn order_is_completed_embedded() {
    let mut stack = Stack::embedded().await;
    check_one_order(stack.gateway(0), stack.gateway(0)).await;
    check_every_endpoint(stack.gateway(0)).await;
    check_errors_name_the_input(stack.gateway(0)).await;
    stack.stop(Stop::Terminate).await;
}

/// A subscriber at one gateway receives the events of an order at the other.
#[tokio::test]
async fn order_is_completed_by_two_gateways_and_two_processors() {
    let mut stack = Stack::on_servers().await;
    check_one_order(stack.gateway(1), stack.gateway(0)).await;
    check_one_order(stack.gateway(0), stack.gateway(1)).await;
    for gateway in [stack.gateway(0), stack.gateway(1)] {
        check_every_endpoint(gateway).await;
    }
    check_errors_name_the_input(stack.gateway(0)).await;
    stack.stop(Stop::Terminate).await;
}

/// The webhook handler posts the signed order, and a 2xx completes it.
#[tokio::test]
async fn order_is_completed_by_a_webhook() {
    let receiver = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/hook"))
        .and(header_exists("webhook-signature"))
        .respond_with(ResponseTemplate::new(503).insert_header("Retry-After", "0"))
        .up_to_n_times(1)
        .mount(&receiver)
        .await;
    Mock::given(method("POST"))
        .and(path("/hook"))
        .and(header_exists("webhook-signature"))
        .respond_with(ResponseTemplate::new(204))
        .mount(&receiver)
        .await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("{}/hook", receiver.uri());
    let arguments = ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--handler", "webhook"];
    let variables = [
        ("ORDERS_WEBHOOK_URL", url.as_str()),
        ("ORDERS_WEBHOOK_SECRET", "whsec_hushhushhushhushhushhushhushhush"),
    ];
    let mut dev = Process::start(command(folder.path(), &arguments, &variables), "orders dev");
    let api = Api::new(base_url(&mut dev).await);
    let id = api.create_id().await;
    let order = api.wait_for_status(&id, "completed").await;
    assert_eq!(order["attempt"], 2, "the first response was 503");
    for request in receiver.received_requests().await.expect("requests are recorded") {
        let posted: serde_json::Value = serde_json::from_slice(&request.body).expect("JSON");
        assert_eq!(posted["orderId"].as_str(), Some(id.as_str()));
    }
    dev.terminate();
    dev.wait_for_success().await;
}

async fn check_one_order(creates: &Api, watches: &Api) {
    let order = creates.create().await;
    assert_eq!(order["status"], "pending");
    assert_eq!(order["orderId"], order["id"]);
    let id = order["id"].as_str().expect("an id");
    let expected = [(1, "PENDING"), (2, "PROCESSING"), (3, "COMPLETED")];
    let events = watches.watch(id).await;
    assert_eq!(events, expected.map(|(sequence, status)| (sequence, status.to_owned())));
    assert_eq!(creates.order(id).await["status"], "completed");
    let (status, list) = watches.get("/orders").await;
    assert_eq!(status, 200);
    assert!(list.as_array().expect("a list").iter().any(|listed| listed["id"] == order["id"]), "{list}");
    // A subscriber after the end receives all events as well.
    assert_eq!(watches.watch(id).await.len(), expected.len());
}

async fn check_every_endpoint(gateway: &Api) {
    for path in [
        "/",
        "/docs",
        "/openapi.json",
        "/graphiql",
        "/playground",
        "/metrics",
        "/livez",
        "/healthz",
        "/readyz",
        "/readyz?verbose",
    ] {
        let (status, _) = gateway.get(path).await;
        assert_eq!(status, 200, "{path}");
    }
}

async fn check_errors_name_the_input(gateway: &Api) {
    let (status, problem) =
        gateway.post("/orders", &json!({"item": "x", "quantity": 1, "price": 1, "colour": 1})).await;
    assert!((400..500).contains(&status), "{status}");
    assert!(problem.to_string().contains("colour"), "{problem}");
    let (status, problem) = gateway.get("/orders/0198c0de-0000-7000-8000-000000000000").await;
    assert_eq!((status, problem["code"].as_str()), (404, Some("order_not_found")));
    let (_, answer) = gateway.post("/graphql", &json!({"query": "{ nonsense }"})).await;
    assert!(
        answer["errors"][0]["message"].as_str().is_some_and(|text| text.contains("nonsense")),
        "{answer}"
    );
}
