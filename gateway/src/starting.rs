//! The HTTP port before the gateway can serve: the database is not there yet.
//!
//! A liveness probe that gets no answer would kill a process that only waits. So the port answers from the first moment:
//! `/livez` with 200, everything else with 503. Once the database is there the gateway takes the port over.

use std::io;
use std::time::Duration;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use domain::ErrorCode;
use http::{StatusCode, header};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use gateway_http::Config as HttpConfig;
use gateway_http::problem::Problem;
use gateway_http::server::{self, Connections, Port};

/// When to ask again.
const COME_BACK: Duration = Duration::from_secs(2);

/// A port that answers while the process starts.
pub struct Starting {
    stop: CancellationToken,
    server: JoinHandle<()>,
}

impl Starting {
    /// Answers on another handle of the listener, so that the port is never closed in between.
    ///
    /// # Errors
    /// When the listener cannot be shared.
    pub fn serve(listener: &TcpListener, limits: &HttpConfig) -> Result<Self, io::Error> {
        use std::os::fd::AsFd;
        let shared = std::net::TcpListener::from(listener.as_fd().try_clone_to_owned()?);
        let listener = TcpListener::from_std(shared)?;
        let limits = HttpConfig {
            allowed_hosts: limits.allowed_hosts.clone().on(listener.local_addr()?),
            ..limits.clone()
        };
        let router = gateway_http::middleware::around(router(), &limits).with_state(());
        let stop = CancellationToken::new();
        let connections = Connections::new(&limits);
        let serving = server::serve(listener, router, Port::HTTP, connections, stop.clone(), Duration::ZERO);
        Ok(Self { stop, server: tokio::spawn(serving) })
    }

    /// Ends it; the connections that wait are accepted by the next server of the port.
    pub async fn end(self) {
        self.stop.cancel();
        if self.server.await.is_err() {
            // It answers nothing that matters.
            tracing::debug!("startup server failed");
        }
    }
}

fn router() -> Router<()> {
    let alive = || async { Json(json!({"status": "ok"})) };
    let other = |_: Request| async {
        let detail = "the gateway is starting and waits for the database; try again in a moment";
        Problem::new(ErrorCode::Starting, detail).retry_after(COME_BACK)
    };
    Router::new()
        .route("/livez", get(alive))
        .route("/healthz", get(alive))
        .route("/readyz", get(|| async { not_ready() }))
        .route("/metrics", get(|| async { telemetry::recorder::render() }))
        .fallback(other)
}

/// As `/readyz?verbose` answers, whether or not that was asked for.
fn not_ready() -> Response {
    let check = json!({
        "name": "database", "status": "unavailable", "ms": 0, "detail": "starting: waits for the database",
    });
    let body = Json(json!({"status": "unavailable", "checks": [check]}));
    (StatusCode::SERVICE_UNAVAILABLE, [(header::CACHE_CONTROL, "no-store")], body).into_response()
}
