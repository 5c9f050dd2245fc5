//! The wait for a gateway that starts: a command often follows directly after `orders gateway &`.
//!
//! It ends with the first response. Until then, a refused connection and the code `starting` mean that the gateway has
//! done nothing yet, so the same request can be sent again. A gateway that is lost later is the error of the command.

use std::error::Error as _;
use std::io::ErrorKind;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use domain::ErrorCode;
use reqwest::{Response, StatusCode};
use serde_json::Value;

use crate::console;
use crate::values::show_duration;

/// Pause before the request is sent again.
const PAUSE: Duration = Duration::from_millis(200);
/// Time after which the user is told.
const TOLD_AFTER: Duration = Duration::from_secs(1);

/// The wait of one command.
#[derive(Debug)]
pub(super) struct GatewayStart {
    timeout: Duration,
    /// When the first request found no gateway.
    since: OnceLock<Instant>,
    is_over: AtomicBool,
    is_told: AtomicBool,
}

impl GatewayStart {
    pub(super) fn new(timeout: Duration) -> Self {
        let (since, is_over) = (OnceLock::new(), AtomicBool::new(timeout.is_zero()));
        Self { timeout, since, is_over, is_told: AtomicBool::new(false) }
    }

    /// Returns whether the gateway has not responded yet, and can still start in time.
    pub(super) fn is_expected(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    /// Ends the wait: the gateway has responded.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Waits before the request is sent again. Returns false when the time is over.
    pub(super) async fn wait(&self, gateway: &str) -> bool {
        if !self.is_expected() {
            return false;
        }
        let elapsed = self.since.get_or_init(Instant::now).elapsed();
        let left = self.timeout.saturating_sub(elapsed);
        if left.is_zero() {
            self.end();
            return false;
        }
        if elapsed >= TOLD_AFTER && !self.is_told.swap(true, Ordering::Relaxed) {
            let most = show_duration(self.timeout);
            console::explain(&format!("waiting up to {most} for the gateway at {gateway}\n"));
        }
        tokio::time::sleep(PAUSE.min(left)).await;
        true
    }
}

/// Returns whether no process listens at the address.
pub(super) fn is_refused(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == ErrorKind::ConnectionRefused)
        {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Checks whether a response states that the gateway starts, and returns the response with its body.
pub(super) async fn check_starting(response: Response) -> Result<(bool, Response), reqwest::Error> {
    if response.status() != StatusCode::SERVICE_UNAVAILABLE {
        return Ok((false, response));
    }
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await?;
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    let is_starting = body["code"] == ErrorCode::Starting.as_str();
    let mut copy = axum::http::Response::new(text);
    (*copy.status_mut(), *copy.headers_mut()) = (status, headers);
    Ok((is_starting, Response::from(copy)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_wait_ends_with_the_first_response() {
        let start = GatewayStart::new(Duration::from_secs(10));
        assert!(start.wait("x").await && start.is_expected());
        start.end();
        assert!(!start.wait("x").await && !start.is_expected());
        assert!(!GatewayStart::new(Duration::ZERO).wait("x").await);
    }
}
