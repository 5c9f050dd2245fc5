//! The recovery of a range of events for a webhook endpoint, while the program is killed.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::harness::{Api, Process, base_url, command, within};

/// Orders of one bulk request.
const BULK: usize = 1_000;
/// The number of kills.
const KILLS: usize = 3;
/// Timeout of the whole recovery.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(900);

#[derive(Clone, Default)]
struct Received(Arc<Mutex<HashSet<String>>>);

impl Received {
    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    async fn wait_for(&self, count: usize) {
        let deadline = Instant::now() + RECOVERY_TIMEOUT;
        while self.count() < count {
            assert!(Instant::now() < deadline, "{} of {count} events", self.count());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn receive(State(received): State<Received>, Json(event): Json<Value>) -> StatusCode {
    received.0.lock().unwrap().insert(event["id"].as_str().unwrap_or_default().to_owned());
    StatusCode::NO_CONTENT
}

async fn start(folder: &Path) -> (Process, Api) {
    let arguments = ["dev", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"];
    let mut dev = Process::start(command(folder, &arguments, &[]), "orders dev");
    let api = Api::new(base_url(&mut dev).await);
    (dev, api)
}

/// Every event of the range arrives although the program is killed again and again.
///
/// `ORDERS_TEST_RECOVERED_EVENTS` sets the number of events, such as 1000000.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_recovery_continues() {
    let count = std::env::var("ORDERS_TEST_RECOVERED_EVENTS").ok().and_then(|count| count.parse().ok());
    let count: usize = count.unwrap_or(6_000);
    let received = Received::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let router = Router::new().fallback(receive).with_state(received.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });

    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut dev, mut api) = start(folder.path()).await;
    // No event follows the creation of an order.
    assert_eq!(api.post("/queue/pause", &json!({})).await.0, 200);
    let order = json!({"item": "Laptop", "quantity": 1, "price": 1});
    for _ in 0..count.div_ceil(BULK) {
        let (status, body) = api.post("/orders/bulk", &json!(vec![&order; BULK])).await;
        assert!(status < 300, "{status} {body}");
    }
    let total = count.div_ceil(BULK) * BULK;
    let endpoint = json!({"url": url, "payload": "thin"});
    let (status, body) = api.post("/webhooks", &endpoint).await;
    assert_eq!(status, 201, "{body}");
    let path = format!("/webhooks/{}/recover", body["endpoint"]["id"].as_str().expect("an id"));
    let range = json!({"since": "2026-01-01T00:00:00Z"});
    let (status, body) = api.post(&path, &range).await;
    assert_eq!((status, body["events"].as_u64()), (200, Some(total as u64)), "{body}");
    for kill in 1..=KILLS {
        received.wait_for(total * kill / (KILLS + 2)).await;
        dev.kill();
        dev.wait().await;
        assert!(received.count() < total, "the recovery has ended before the kill");
        (dev, api) = start(folder.path()).await;
    }
    received.wait_for(total).await;
    let path = path.trim_end_matches("/recover").to_owned();
    within("the end of the recovery", async {
        while !api.get(&path).await.1["recovery"].is_null() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    dev.terminate();
    dev.wait_for_success().await;
}
