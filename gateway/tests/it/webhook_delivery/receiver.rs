//! A receiver of webhooks that records what it gets and answers as a test says.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::OrderId;
use gateway::webhooks::Secret;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) id: String,
    pub(crate) timestamp: u64,
    pub(crate) signatures: String,
    pub(crate) content_type: String,
    pub(crate) bytes: Bytes,
    pub(crate) body: Value,
    /// The answer.
    pub(crate) status: u16,
}

impl Received {
    pub(crate) fn kind(&self) -> &str {
        self.body["type"].as_str().unwrap()
    }

    /// The order and the sequence of an event.
    pub(crate) fn event(&self) -> (OrderId, u64) {
        let data = &self.body["data"];
        (data["orderId"].as_str().unwrap().parse().unwrap(), data["sequence"].as_u64().unwrap())
    }

    /// Whether one of the signatures is that of the secret.
    pub(crate) fn is_signed_with(&self, secret: &Secret) -> bool {
        let expected = webhook::sign(std::slice::from_ref(secret), &self.id, self.timestamp, &self.bytes);
        self.signatures.split(' ').any(|signature| signature == expected)
    }
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Status(u16),
    /// A status with this `Retry-After`.
    Later(u16, u64),
    /// A redirect to this location.
    Redirect(&'static str),
    /// A status after a pause.
    Slow(Duration),
}

type Script = Arc<dyn Fn(&Received) -> Reply + Send + Sync>;

struct Inner {
    script: Mutex<Script>,
    received: Mutex<Vec<Received>>,
}

/// The receiver.
pub(crate) struct Receiver {
    inner: Arc<Inner>,
    pub(crate) addr: SocketAddr,
    server: Mutex<Option<JoinHandle<()>>>,
}

impl Receiver {
    /// A receiver that accepts everything.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let script: Script = Arc::new(|_| Reply::Status(204));
        let inner = Arc::new(Inner { script: Mutex::new(script), received: Mutex::default() });
        let receiver = Self { inner, addr, server: Mutex::default() };
        receiver.serve(listener);
        receiver
    }

    fn serve(&self, listener: TcpListener) {
        let app = Router::new().fallback(receive).with_state(self.inner.clone());
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
    }

    /// Closes the port and its connections.
    pub(crate) async fn stop(&self) {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap();
        server.abort();
        let _ = server.await;
    }

    /// Opens the port again.
    pub(crate) async fn resume(&self) {
        self.serve(TcpListener::bind(self.addr).await.unwrap());
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.addr)
    }

    /// Answers as `script` says from now on.
    pub(crate) fn answer(&self, script: impl Fn(&Received) -> Reply + Send + Sync + 'static) {
        *self.inner.script.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(script);
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.inner.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The accepted events.
    pub(crate) fn events(&self) -> Vec<(OrderId, u64)> {
        let accepted = self.received().into_iter().filter(|received| received.status < 300);
        accepted
            .filter(|received| received.kind().starts_with("order."))
            .map(|received| received.event())
            .collect()
    }

    /// Checks that the sequence of no order goes back, and returns how often each event was accepted.
    pub(crate) fn ledger(&self) -> HashMap<(OrderId, u64), usize> {
        let (mut last, mut ledger) = (HashMap::new(), HashMap::new());
        for (order, sequence) in self.events() {
            let before = last.insert(order, sequence).unwrap_or(0);
            assert!(sequence >= before, "order {order} went from {before} back to {sequence}");
            *ledger.entry((order, sequence)).or_default() += 1;
        }
        ledger
    }
}

async fn receive(State(inner): State<Arc<Inner>>, headers: HeaderMap, bytes: Bytes) -> Response {
    let header =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let mut received = Received {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp").parse().unwrap_or_default(),
        signatures: header("webhook-signature"),
        content_type: header("content-type"),
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
        bytes,
        status: 0,
    };
    let script = inner.script.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let reply = script(&received);
    let response = match &reply {
        Reply::Status(status) => (StatusCode::from_u16(*status).unwrap(), "as the test says").into_response(),
        Reply::Later(status, seconds) => {
            let status = StatusCode::from_u16(*status).unwrap();
            (status, [(header::RETRY_AFTER, seconds.to_string())]).into_response()
        }
        Reply::Redirect(location) => (StatusCode::FOUND, [(header::LOCATION, *location)]).into_response(),
        Reply::Slow(pause) => {
            tokio::time::sleep(*pause).await;
            StatusCode::NO_CONTENT.into_response()
        }
    };
    received.status = response.status().as_u16();
    inner.received.lock().unwrap_or_else(PoisonError::into_inner).push(received);
    response
}
