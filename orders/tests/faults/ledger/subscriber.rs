//! One subscriber: follows an order to its final status over server-sent events or a GraphQL websocket. When a stream
//! breaks or is silent, it continues after its last event at the next gateway.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use super::Shared;
use crate::harness::follow;

/// Timeout of a silent stream. Without a fault an order takes less time.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(3);
/// Pause before a reconnect.
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);

pub(super) async fn run(shared: Arc<Shared>, id: String, number: usize) {
    let mut seen: Vec<(i64, String)> = Vec::new();
    for try_number in 0.. {
        let Some(gateway) = shared.choose_gateway(number / 2 + try_number) else { continue };
        let base = &shared.gateways[gateway];
        let after = seen.last().map_or(0, |(sequence, _)| *sequence);
        let record = |sequence, status: String| seen.push((sequence, status.to_lowercase()));
        let ended = if number.is_multiple_of(2) {
            shared.follow_server_sent_events(base, &id, after, record).await
        } else {
            follow(base, &id, after, SILENCE_TIMEOUT, record).await
        };
        let complete = ended.is_ok() && seen.last().is_some_and(|(_, status)| is_final(status));
        if complete || shared.stop_subscribers.load(Ordering::Relaxed) {
            break;
        }
        tokio::time::sleep(RECONNECT_PAUSE).await;
    }
    shared.ledger.lock().unwrap().watched.insert(id, seen);
}

pub(super) fn is_final(status: &str) -> bool {
    ["completed", "failed", "cancelled"].contains(&status)
}

impl Shared {
    /// The same as [`follow`], over server-sent events.
    async fn follow_server_sent_events(
        &self,
        base: &str,
        id: &str,
        after: i64,
        mut seen: impl FnMut(i64, String),
    ) -> Result<(), String> {
        let request = self.http.get(format!("{base}/orders/{id}/events"));
        let request =
            request.header("Accept", "text/event-stream").header("Last-Event-ID", after.to_string());
        let silent = |_| "silent".to_owned();
        let broken = |error: reqwest::Error| error.to_string();
        let mut response = timeout(SILENCE_TIMEOUT, request.send()).await.map_err(silent)?.map_err(broken)?;
        let status = response.status().as_u16();
        match status {
            200 => {}
            // There is no later event.
            204 => return Ok(()),
            _ => return Err(format!("response {status}")),
        }
        let mut text = Vec::new();
        while let Some(chunk) =
            timeout(SILENCE_TIMEOUT, response.chunk()).await.map_err(silent)?.map_err(broken)?
        {
            text.extend_from_slice(&chunk);
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                let Some(data) = line.strip_prefix(b"data:") else { continue };
                let event: Value = serde_json::from_slice(data).map_err(|error| error.to_string())?;
                let sequence = event["sequence"].as_i64().ok_or("an event has a sequence")?;
                seen(sequence, event["status"].as_str().unwrap_or_default().to_owned());
            }
        }
        Ok(())
    }
}
