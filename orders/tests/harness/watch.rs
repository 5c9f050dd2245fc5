//! A subscriber over the subprotocol `graphql-transport-ws`.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::DEADLINE;

/// Subscribes to an order from its first event, and returns the events until the stream completes.
pub(super) async fn order_status(base: &str, id: &str) -> Vec<(i64, String)> {
    let mut events = Vec::new();
    let seen = |sequence, status| events.push((sequence, status));
    follow(base, id, 0, DEADLINE, seen).await.unwrap_or_else(|error| panic!("the subscription: {error}"));
    events
}

/// Subscribes to the events of an order after `after`, and calls `seen` for each.
///
/// Returns `Ok` when the stream completes, and an error if it breaks or has no message for `timeout_after`.
pub(crate) async fn follow(
    base: &str,
    id: &str,
    after: i64,
    timeout_after: Duration,
    mut seen: impl FnMut(i64, String),
) -> Result<(), String> {
    let mut request =
        format!("{}/graphql", base.replacen("http", "ws", 1)).into_client_request().expect("a URL");
    request
        .headers_mut()
        .insert("Sec-WebSocket-Protocol", "graphql-transport-ws".parse().expect("a header value"));
    let silent = |_| format!("no message for {timeout_after:?}");
    let broken = |error: tokio_tungstenite::tungstenite::Error| error.to_string();
    let connect = timeout(timeout_after, tokio_tungstenite::connect_async(request)).await.map_err(silent)?;
    let (mut socket, _) = connect.map_err(broken)?;
    let init = Message::text(r#"{"type":"connection_init"}"#);
    socket.send(init).await.map_err(broken)?;
    let query = "subscription($id: ID!, $after: Int) { orderStatus(orderId: $id, after: $after) { sequence status } }";
    let payload = json!({"query": query, "variables": {"id": id, "after": after}});
    loop {
        let message = timeout(timeout_after, socket.next()).await.map_err(silent)?;
        let text = match message.ok_or("ended before `complete`")?.map_err(broken)? {
            Message::Text(text) => text,
            Message::Close(reason) => return Err(format!("closed before `complete`: {reason:?}")),
            _ => continue,
        };
        let message: Value = serde_json::from_str(&text).expect("messages are JSON");
        match message["type"].as_str() {
            Some("connection_ack") => {
                let subscribe = json!({"id": "1", "type": "subscribe", "payload": payload}).to_string();
                socket.send(Message::text(subscribe)).await.map_err(broken)?;
            }
            Some("ping") => {
                socket.send(Message::text(r#"{"type":"pong"}"#)).await.map_err(broken)?;
            }
            Some("next") => {
                let event = &message["payload"]["data"]["orderStatus"];
                let sequence = event["sequence"].as_i64().ok_or_else(|| format!("no event: {message}"))?;
                seen(sequence, event["status"].as_str().unwrap_or_default().to_owned());
            }
            Some("complete") => return Ok(()),
            _ => return Err(format!("unexpected: {message}")),
        }
    }
}
