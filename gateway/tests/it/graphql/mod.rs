//! GraphQL over its three transports.

mod coercion;
mod documents;
mod event_log;
mod http;
mod operations;
mod panics;
mod response_limits;
mod socket_limits;
mod sockets;
mod streams;

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use gateway::Config;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::harness::Gateway;

pub(crate) const MODERN: &str = "graphql-transport-ws";
const LEGACY: &str = "graphql-ws";
const PATIENCE: Duration = Duration::from_secs(20);

/// Sockets that a test leaves open delay its shutdown only briefly.
fn config() -> Config {
    Config { shutdown_timeout: Duration::from_millis(500), ..Config::default() }
}

impl Gateway<'_> {
    /// Runs a document over HTTP and returns the status and the JSON.
    pub(crate) async fn graphql(&self, query: &str, variables: Value) -> (StatusCode, Value) {
        let body = json!({"query": query, "variables": variables});
        self.graphql_raw(&[("content-type", "application/json")], body.to_string()).await
    }

    async fn graphql_raw(
        &self,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> (StatusCode, Value) {
        let mut request = self.client.post(self.url("/graphql")).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
    }

    /// Creates an order over GraphQL and returns its id.
    async fn create_over_graphql(&self) -> String {
        let create = r#"mutation { createOrder(input: {item: "Laptop", quantity: 2, price: 1299.99}) {
            order { id status total sequence } userErrors { code } } }"#;
        let (status, json) = self.graphql(create, Value::Null).await;
        assert_eq!(status, 200, "{json}");
        let payload = &json["data"]["createOrder"];
        assert_eq!(payload["userErrors"], json!([]), "{json}");
        assert_eq!(payload["order"]["status"], "PENDING");
        assert_eq!(payload["order"]["total"], "2599.98");
        payload["order"]["id"].as_str().unwrap().to_owned()
    }

    async fn complete(&self, id: &str) {
        self.report(id, "processing", "").await.unwrap();
        self.report(id, "completed", "").await.unwrap();
    }
}

/// A websocket client.
pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    /// Opens a websocket; `Err` is the problem in the response.
    pub(crate) async fn try_open(
        gateway: &Gateway<'_>,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Value> {
        let mut request = gateway.ws_url("/graphql").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match tokio_tungstenite::connect_async(request).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(tungstenite::Error::Http(response)) => {
                assert_eq!(response.headers()["content-type"], "application/problem+json");
                let problem: Value = serde_json::from_slice(response.body().as_deref().unwrap()).unwrap();
                assert_eq!(problem["status"], response.status().as_u16());
                let comes_back = response.headers().contains_key("retry-after");
                assert_eq!(comes_back, matches!(response.status().as_u16(), 429 | 503), "{problem}");
                Err(problem)
            }
            Err(error) => panic!("{error}"),
        }
    }

    async fn open(gateway: &Gateway<'_>, protocol: &str) -> Self {
        Self::try_open(gateway, &[("sec-websocket-protocol", protocol)]).await.unwrap()
    }

    /// Opens a websocket and sends `connection_init`.
    pub(crate) async fn ready(gateway: &Gateway<'_>, protocol: &str) -> Self {
        let mut socket = Self::open(gateway, protocol).await;
        socket.say(json!({"type": "connection_init"})).await;
        assert_eq!(socket.hear().await["type"], "connection_ack");
        if protocol == LEGACY {
            assert_eq!(socket.hear().await["type"], "ka");
        }
        socket
    }

    pub(crate) async fn say(&mut self, message: Value) {
        self.say_text(&message.to_string()).await;
    }

    async fn say_text(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn subscribe(&mut self, id: &str, query: &str) {
        self.say(json!({"type": "subscribe", "id": id, "payload": {"query": query}})).await;
    }

    /// The next message, or the code of the close frame.
    async fn next(&mut self) -> Result<Value, u16> {
        self.next_within(PATIENCE).await
    }

    async fn next_within(&mut self, patience: Duration) -> Result<Value, u16> {
        // Pings do not count as messages.
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let frame = tokio::time::timeout_at(deadline, self.0.next()).await.expect("something is sent");
            match frame {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => return Err(frame.unwrap().code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(1006),
            }
        }
    }

    pub(crate) async fn hear(&mut self) -> Value {
        self.next().await.unwrap()
    }

    /// As [`Self::hear`], for what takes up to this time.
    pub(crate) async fn hear_within(&mut self, patience: Duration) -> Value {
        self.next_within(patience).await.unwrap()
    }

    /// The code of the close frame; messages before it are skipped.
    async fn closed(&mut self) -> u16 {
        loop {
            if let Err(code) = self.next().await {
                return code;
            }
        }
    }
}
