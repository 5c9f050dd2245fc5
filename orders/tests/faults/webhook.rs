//! The webhook of the processors, with a path for each. It completes all orders except one, whose responses the test sets.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::harness::within;

/// The reference of the order whose responses the test sets.
pub(crate) const CHOSEN: &str = "chosen";
/// The duration of the work on all other orders.
const WORK_DURATION: Duration = Duration::from_millis(100);

/// An attempt of that order.
pub(crate) struct Attempt {
    /// The number of the processor.
    pub(crate) processor: usize,
    pub(crate) number: u64,
    /// Sets the response; until then the request stays open.
    pub(crate) answer: oneshot::Sender<StatusCode>,
}

/// A running webhook.
pub(crate) struct Webhook {
    /// The URL without the processor's path.
    pub(crate) base: String,
    attempts: mpsc::UnboundedReceiver<Attempt>,
}

impl Webhook {
    /// Starts a webhook, which ends with the test.
    pub(crate) async fn start() -> Self {
        let (sender, attempts) = mpsc::unbounded_channel();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new().route("/{processor}", post(handle_order)).with_state(sender);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { base, attempts }
    }

    /// Waits for the next attempt of the chosen order.
    pub(crate) async fn next_attempt(&mut self) -> Attempt {
        within("an attempt of the chosen order", self.attempts.recv()).await.expect("the webhook runs")
    }
}

async fn handle_order(
    State(attempts): State<mpsc::UnboundedSender<Attempt>>,
    Path(processor): Path<usize>,
    Json(order): Json<Value>,
) -> StatusCode {
    if order["externalReference"] != CHOSEN {
        tokio::time::sleep(WORK_DURATION).await;
        return StatusCode::NO_CONTENT;
    }
    let (answer, answered) = oneshot::channel();
    let number = order["attempt"].as_u64().expect("attempts have numbers");
    // A test that has ended sets no response.
    let _ = attempts.send(Attempt { processor, number, answer });
    match answered.await {
        Ok(status) => status,
        Err(_) => std::future::pending().await,
    }
}
