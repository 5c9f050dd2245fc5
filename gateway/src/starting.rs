//! Serves the HTTP port and the admin server while the process starts and waits for the database.
//!
//! A liveness probe without a response would kill a process that only waits. The port therefore responds from the
//! start: `/livez`, `/healthz` and `/metrics` with 200, all other paths with 503. When the database responds, the
//! gateway takes over the port.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use domain::ErrorCode;
use http::{StatusCode, header};
use serde_json::json;
use tls::ServerTls;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::router::{admin_hosts, admin_tls};
use gateway_http::Config as HttpConfig;
use gateway_http::hosts::Hosts;
use gateway_http::problem::Problem;
use gateway_http::server::{self, Connections, Listener, Port};

/// `Retry-After` of the responses.
const COME_BACK: Duration = Duration::from_secs(2);

/// A server that responds while the process starts.
pub struct Starting {
    stop: CancellationToken,
    server: JoinHandle<()>,
}

impl Starting {
    /// Serves on a duplicate of the listener, so that the port is never closed.
    ///
    /// # Errors
    /// If the listener cannot be duplicated.
    pub fn serve(
        listener: &TcpListener,
        limits: &HttpConfig,
        tls: Option<Arc<ServerTls>>,
    ) -> Result<Self, io::Error> {
        let allowed_hosts = limits.allowed_hosts.clone().on(listener.local_addr()?);
        Self::serve_hosts(listener, limits, allowed_hosts, tls)
    }

    /// The same for the admin server.
    ///
    /// # Errors
    /// If the listener cannot be duplicated.
    pub fn serve_admin(
        listener: &TcpListener,
        limits: &HttpConfig,
        tls: Option<Arc<ServerTls>>,
    ) -> Result<Self, io::Error> {
        let addr = listener.local_addr()?;
        let allowed_hosts = admin_hosts(limits.allowed_hosts.clone(), addr);
        Self::serve_hosts(listener, limits, allowed_hosts, admin_tls(tls, addr))
    }

    fn serve_hosts(
        listener: &TcpListener,
        limits: &HttpConfig,
        allowed_hosts: Hosts,
        tls: Option<Arc<ServerTls>>,
    ) -> Result<Self, io::Error> {
        use std::os::fd::AsFd;
        let shared = std::net::TcpListener::from(listener.as_fd().try_clone_to_owned()?);
        let listener = TcpListener::from_std(shared)?;
        let limits = HttpConfig { allowed_hosts, strict_transport_security: tls.is_some(), ..limits.clone() };
        let router = gateway_http::middleware::around(router(), &limits).with_state(());
        let stop = CancellationToken::new();
        let connections = Connections::new(&limits);
        let listener = Listener::new(listener, tls);
        let serving = server::serve(listener, router, Port::HTTP, connections, stop.clone(), Duration::ZERO);
        Ok(Self { stop, server: tokio::spawn(serving) })
    }

    /// Stops the server. The next server of the port accepts the waiting connections.
    pub async fn end(self) {
        self.stop.cancel();
        if self.server.await.is_err() {
            // Its responses are not important.
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

/// Returns the response of `/readyz?verbose`, also without `verbose`.
fn not_ready() -> Response {
    let check = json!({
        "name": "database", "status": "unavailable", "ms": 0, "detail": "starting: waits for the database",
    });
    let body = Json(json!({"status": "unavailable", "checks": [check]}));
    (StatusCode::SERVICE_UNAVAILABLE, [(header::CACHE_CONTROL, "no-store")], body).into_response()
}
