//! Receivers of webhooks that verify requests with the libraries of Standard Webhooks (`tests/receivers`).

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Api, Language, Process, Receiver, base_url, command};

const SECRET: &str = "whsec_hushhushhushhushhushhushhushhush";

/// Starts `orders dev` with the handler.
async fn start(folder: &Path, receiver: &Receiver) -> (Process, Api) {
    let arguments =
        ["dev", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--handler", "webhook"];
    let variables = [("ORDERS_WEBHOOK_URL", receiver.url.as_str()), ("ORDERS_WEBHOOK_SECRET", SECRET)];
    let mut dev = Process::start(command(folder, &arguments, &variables), "orders dev");
    let api = Api::new(base_url(&mut dev).await);
    (dev, api)
}

/// The library accepts all attempts of an order, whose id is the same.
#[tokio::test]
async fn libraries_verify_the_requests_of_the_handler() {
    for language in [Language::Node, Language::Python] {
        let receiver = Receiver::start(language, SECRET, &["--status", "503", "--times", "1"]).await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (mut dev, api) = start(folder.path(), &receiver).await;
        let id = api.create_id().await;
        api.wait_for_status(&id, "completed").await;

        let requests = receiver.wait_for_requests(2).await;
        assert_eq!(requests.len(), 2, "{requests:?}");
        for (request, status) in requests.iter().zip([503, 204]) {
            assert_eq!(request["verified"], true, "{language:?}: {request}");
            assert_eq!(request["status"], status);
            assert_eq!(request["id"], id.as_str());
            let body: Value = serde_json::from_str(request["body"].as_str().expect("a body")).expect("JSON");
            assert_eq!(body["orderId"], id.as_str());
        }
        receiver.answer(&json!({ "status": 422, "headers": { "Retry-After": "1" } }));
        let refused = api.create_id().await;
        assert_eq!(api.wait_for_status(&refused, "failed").await["errorClass"], "http_422");
        assert_eq!(receiver.requests()[2]["verified"], true);
        dev.terminate();
        dev.wait_for_success().await;
    }
}

/// A receiver with another secret refuses the request, so the order fails.
#[tokio::test]
async fn libraries_refuse_another_secret() {
    for language in [Language::Node, Language::Python] {
        let receiver = Receiver::start(language, &SECRET.replace("hush", "HUSH"), &[]).await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (mut dev, api) = start(folder.path(), &receiver).await;
        let id = api.create_id().await;
        let order = api.wait_for_status(&id, "failed").await;
        assert_eq!(order["errorClass"], "http_401", "{order}");
        assert_eq!(receiver.requests()[0]["verified"], false);
        dev.terminate();
        dev.wait_for_success().await;
    }
}

/// The library accepts the events of a webhook endpoint, and a repeated one under the same id.
#[tokio::test]
async fn libraries_verify_the_events_of_an_endpoint() {
    for language in [Language::Node, Language::Python] {
        let receiver = Receiver::start(language, SECRET, &["--status", "503", "--times", "1"]).await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let arguments = ["dev", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"];
        let mut dev = Process::start(command(folder.path(), &arguments, &[]), "orders dev");
        let api = Api::new(base_url(&mut dev).await);
        let (status, body) = api.post("/webhooks", &json!({"url": receiver.url, "secret": SECRET})).await;
        assert_eq!(status, 201, "{body}");
        let id = api.create_id().await;
        let requests = receiver.wait_for_requests(4).await;
        let sent: Vec<(&str, i64)> = requests
            .iter()
            .map(|request| {
                assert_eq!(request["verified"], true, "{language:?}: {request}");
                (request["id"].as_str().expect("an id"), request["status"].as_i64().expect("a status"))
            })
            .collect();
        let [first, second, third] = [1, 2, 3].map(|sequence| format!("{id}-{sequence}"));
        assert_eq!(sent, [(&*first, 503), (&*first, 204), (&*second, 204), (&*third, 204)]);
        dev.terminate();
        dev.wait_for_success().await;
    }
}
