//! The receiver of a webhook endpoint: it accepts every event, and records them in the order of their arrival.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::Shared;
use crate::harness::eventually;

/// Maximum time between two events: another gateway waits for the end of the lease of one that was killed, and a failing endpoint
/// for its next probe.
const TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Starts the receiver, and creates its endpoint before the first order.
pub(super) async fn start(shared: &Arc<Shared>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    let router = Router::new().fallback(receive).with_state(shared.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    create_endpoint(shared, addr).await;
}

async fn create_endpoint(shared: &Shared, addr: SocketAddr) {
    let url = format!("{}/webhooks", shared.gateways[0]);
    let endpoint = json!({"url": format!("http://{addr}/"), "payload": "thin"});
    // A gateway that starts answers 503.
    eventually("a webhook endpoint", || async {
        let response = shared.http.post(&url).json(&endpoint).send().await.ok()?;
        (response.status() == 201).then_some(())
    })
    .await;
}

async fn receive(State(shared): State<Arc<Shared>>, Json(event): Json<Value>) -> StatusCode {
    let data = &event["data"];
    let order = data["orderId"].as_str().unwrap_or_default().to_owned();
    let sequence = data["sequence"].as_i64().unwrap_or_default();
    let mut ledger = shared.ledger.lock().unwrap();
    ledger.received += 1;
    ledger.delivered.entry(order).or_default().push(sequence);
    StatusCode::NO_CONTENT
}

/// Waits until every event of the event log was delivered, while events arrive. The comparison reports those that are missing.
pub(super) async fn wait(shared: &Shared) {
    let mut progress = (0, Instant::now());
    // The events before this one were delivered.
    let mut checked = 0;
    loop {
        let received = {
            let ledger = shared.ledger.lock().unwrap();
            let is_delivered = |(order, sequence, _): &(String, i64, String)| {
                ledger.delivered.get(order).is_some_and(|sequences| sequences.contains(sequence))
            };
            checked += ledger.logged[checked..].iter().take_while(|event| is_delivered(event)).count();
            if checked == ledger.logged.len() {
                return;
            }
            ledger.received
        };
        if received > progress.0 {
            progress = (received, Instant::now());
        } else if progress.1.elapsed() > TIMEOUT {
            return;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
