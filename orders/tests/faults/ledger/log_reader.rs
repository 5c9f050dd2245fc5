//! The reader of the event log: requests one page after the other, from any gateway, and continues after its cursor.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;

use super::Shared;

/// Timeout of a page, which waits for events for up to [`WAIT_S`] seconds.
const PAGE_TIMEOUT: Duration = Duration::from_secs(6);
const WAIT_S: u32 = 2;
/// Pause before another gateway is used.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Reads until no event follows after the end of the load.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut cursor = String::new();
    for turn in 0.. {
        let is_over = shared.log_is_complete.load(Ordering::Relaxed);
        let Some(gateway) = shared.choose_gateway(turn) else { continue };
        match page(&shared, gateway, &cursor).await {
            Ok((events, next)) => {
                cursor = next;
                if events.is_empty() && is_over {
                    return;
                }
                shared.ledger.lock().unwrap().logged.extend(events);
            }
            Err(problem) if problem.contains("cursor_expired") => {
                shared.ledger.lock().unwrap().wrong.push(format!("the event log: {problem}"));
                return;
            }
            Err(_) if shared.stop_subscribers.load(Ordering::Relaxed) => return,
            Err(_) => tokio::time::sleep(RETRY_PAUSE).await,
        }
    }
}

/// Returns the events after a cursor, each with its order, sequence and status, and the next cursor.
async fn page(
    shared: &Shared,
    gateway: usize,
    cursor: &str,
) -> Result<(Vec<(String, i64, String)>, String), String> {
    let url = format!("{}/events?limit=1000&wait={WAIT_S}&after={cursor}", shared.gateways[gateway]);
    let response = shared.http.get(url).timeout(PAGE_TIMEOUT).send();
    let response = response.await.map_err(|error| error.to_string())?;
    let status = response.status();
    let body: Value = response.json().await.map_err(|error| error.to_string())?;
    let (Some(events), Some(next)) = (body["events"].as_array(), body["next"].as_str()) else {
        return Err(format!("{status} {body}"));
    };
    let event = |event: &Value| {
        let data = &event["data"];
        let text = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
        (text("orderId"), data["sequence"].as_i64().unwrap_or_default(), text("status"))
    };
    Ok((events.iter().map(event).collect(), next.to_owned()))
}
