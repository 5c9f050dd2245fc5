//! The rest of a mixed load: clients that read lists, orders and metrics over REST and GraphQL, and cancel some orders.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use super::Shared;

/// The number of these clients.
pub(super) const CLIENTS: usize = 4;
/// Minimum interval between two requests of a client.
const INTERVAL: Duration = Duration::from_millis(250);
/// Timeout of a request.
const TIMEOUT: Duration = Duration::from_secs(6);
/// Every eighth turn cancels the order that was accepted last.
const CANCEL_EVERY: usize = 8;
const QUERY: &str = "{ orders(first: 20) { nodes { id status } pageInfo { endCursor } } }";

pub(super) async fn run(shared: Arc<Shared>, number: usize) {
    let mut pace = interval(INTERVAL);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for turn in 0.. {
        pace.tick().await;
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let latest = shared.ledger.lock().unwrap().latest.clone();
        let (Some(gateway), Some(id)) = (shared.choose_gateway(number + turn), latest) else { continue };
        if (number * 2 + turn).is_multiple_of(CANCEL_EVERY) {
            cancel(&shared, gateway, id).await;
        } else {
            read(&shared, gateway, turn, &id).await;
        }
    }
}

/// Sends one of the reads. A response that is neither complete nor a documented 503 is a difference.
async fn read(shared: &Shared, gateway: usize, turn: usize, id: &str) {
    let base = &shared.gateways[gateway];
    let get = |path: &str| shared.http.get(format!("{base}{path}"));
    let (name, request) = match turn % 5 {
        0 => ("the list", get("/orders?limit=50")),
        1 => ("the order", get(&format!("/orders/{id}"))),
        2 => ("the filtered list", get("/orders?status=pending,processing&limit=20")),
        3 => ("the metrics", get("/metrics")),
        _ => ("the query", shared.http.post(format!("{base}/graphql")).json(&json!({"query": QUERY}))),
    };
    let begun = Instant::now();
    // A gateway that is killed, frozen or cut off gives no response.
    let Ok(response) = request.timeout(TIMEOUT).send().await else { return };
    let status = response.status().as_u16();
    let Ok(body) = response.text().await else { return };
    let is_refusal = status == 503 || (status == 200 && body.contains("\"errors\":"));
    let mut ledger = shared.ledger.lock().unwrap();
    if status == 200 && !is_refusal {
        ledger.reads.push((Instant::now(), begun.elapsed()));
    } else if !is_refusal || !body.contains("\"code\":") {
        ledger.wrong.push(format!("{name} got the response {status} {body}"));
    }
}

async fn cancel(shared: &Shared, gateway: usize, id: String) {
    // Before the request: without a response, the order can be cancelled.
    shared.ledger.lock().unwrap().cancelled.insert(id.clone());
    let url = format!("{}/orders/{id}/cancel", shared.gateways[gateway]);
    let Ok(response) = shared.http.post(url).timeout(TIMEOUT).send().await else { return };
    let status = response.status().as_u16();
    // 409: it was final.
    if ![200, 409, 503].contains(&status) {
        shared
            .ledger
            .lock()
            .unwrap()
            .wrong
            .push(format!("the cancellation of {id} got the response {status}"));
    }
}
