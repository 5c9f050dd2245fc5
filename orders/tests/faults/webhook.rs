//! Where processors send their orders, each to its own path. All of them are completed but one, whose
//! answers the test gives.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::harness::within;

/// The reference of the order whose answers the test gives.
pub(crate) const CHOSEN: &str = "chosen";
/// How long the work on any other order takes.
const WORK: Duration = Duration::from_millis(100);

/// An attempt of that order.
pub(crate) struct Attempt {
    /// Whose it is.
    pub(crate) processor: usize,
    pub(crate) number: u64,
    /// Without an answer the request stays open.
    pub(crate) answer: oneshot::Sender<StatusCode>,
}

pub(crate) struct Webhook {
    /// The URL without the processor's path.
    pub(crate) base: String,
    attempts: mpsc::UnboundedReceiver<Attempt>,
}

impl Webhook {
    /// Ends with the test.
    pub(crate) async fn start() -> Self {
        let (sender, attempts) = mpsc::unbounded_channel();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new().route("/{processor}", post(work)).with_state(sender);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { base, attempts }
    }

    /// Waits for the next attempt of the chosen order.
    pub(crate) async fn attempt(&mut self) -> Attempt {
        within("an attempt of the chosen order", self.attempts.recv()).await.expect("the webhook lives")
    }
}

async fn work(
    State(attempts): State<mpsc::UnboundedSender<Attempt>>,
    Path(processor): Path<usize>,
    Json(order): Json<Value>,
) -> StatusCode {
    if order["externalReference"] != CHOSEN {
        tokio::time::sleep(WORK).await;
        return StatusCode::NO_CONTENT;
    }
    let (answer, answered) = oneshot::channel();
    let number = order["attempt"].as_u64().expect("attempts have numbers");
    // A test that has ended wants to know of no more attempts, and gives no answer.
    let _ = attempts.send(Attempt { processor, number, answer });
    match answered.await {
        Ok(status) => status,
        Err(_) => std::future::pending().await,
    }
}
