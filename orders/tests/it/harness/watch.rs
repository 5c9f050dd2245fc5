//! A subscriber that speaks the `graphql-transport-ws` subprotocol.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::within;

/// Subscribes to an order from its first event and returns what comes until the stream is complete.
pub(super) async fn order_status(base: &str, id: &str) -> Vec<(i64, String)> {
    let mut request =
        format!("{}/graphql", base.replacen("http", "ws", 1)).into_client_request().expect("a URL");
    request
        .headers_mut()
        .insert("Sec-WebSocket-Protocol", "graphql-transport-ws".parse().expect("a header value"));
    let connect = within("the websocket", tokio_tungstenite::connect_async(request)).await;
    let (mut socket, _) = connect.expect("the gateway speaks websocket");
    let init = Message::text(r#"{"type":"connection_init"}"#);
    socket.send(init).await.expect("the gateway listens");
    let query = "subscription($id: ID!) { orderStatus(orderId: $id, after: 0) { sequence status } }";
    let payload = json!({"query": query, "variables": {"id": id}});
    let mut events = Vec::new();
    loop {
        let message = within("a message of the subscription", socket.next()).await;
        let text = match message.expect("the stream ends with `complete`").expect("a whole message") {
            Message::Text(text) => text,
            Message::Close(reason) => panic!("closed before `complete`: {reason:?}"),
            _ => continue,
        };
        let message: Value = serde_json::from_str(&text).expect("messages are JSON");
        match message["type"].as_str() {
            Some("connection_ack") => {
                let subscribe = json!({"id": "1", "type": "subscribe", "payload": payload}).to_string();
                socket.send(Message::text(subscribe)).await.expect("the gateway listens");
            }
            Some("ping") => {
                socket.send(Message::text(r#"{"type":"pong"}"#)).await.expect("the gateway listens");
            }
            Some("next") => {
                let event = &message["payload"]["data"]["orderStatus"];
                let sequence = event["sequence"].as_i64().unwrap_or_else(|| panic!("no event: {message}"));
                events.push((sequence, event["status"].as_str().unwrap_or_default().to_owned()));
            }
            Some("complete") => return events,
            _ => panic!("unexpected: {message}"),
        }
    }
}
