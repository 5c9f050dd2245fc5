//! The health port of processors and of e-mail: `/livez`, `/readyz` and `/metrics`.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use gateway_http::Config as HttpConfig;
use gateway_http::server::{self, Connections, Port};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cli::DEFAULT_METRICS_ADDR;
use crate::error::Error;
use crate::startup;
use crate::values::ListenAddr;

/// The header with the name of the worker, in every response.
pub(super) const WORKER_HEADER: HeaderName = HeaderName::from_static("orders-worker");

/// Maximum number of open connections.
const MAX_CONNECTIONS: usize = 1_000;

/// Binds the port. A configured address must be free. If the default one is in use, another port replaces it, so that
/// several processes run on one machine without a setting.
pub(super) async fn bind(addr: Option<&ListenAddr>) -> Result<(TcpListener, SocketAddr), Error> {
    const SETTING: &str = "--metrics-addr (ORDERS_METRICS_ADDR)";
    if let Some(addr) = addr {
        let listener = startup::bind(addr, SETTING).await?;
        let bound = startup::local_address(&listener)?;
        return Ok((listener, bound));
    }
    if let Ok(listener) = TcpListener::bind(DEFAULT_METRICS_ADDR).await {
        let bound = startup::local_address(&listener)?;
        return Ok((listener, bound));
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| {
        Error::failed(format!("cannot listen on any port: {error}"))
            .hint(format!("choose one with {SETTING}"))
    })?;
    let bound = startup::local_address(&listener)?;
    tracing::warn!(
        metrics = %bound,
        "{} is in use, so health and metrics are on another port; choose one with --metrics-addr",
        DEFAULT_METRICS_ADDR
    );
    Ok((listener, bound))
}

/// Serves the port until `stop`.
pub(super) async fn serve(
    listener: TcpListener,
    readiness: MethodRouter,
    worker: Option<HeaderValue>,
    stop: CancellationToken,
) {
    let routes = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", readiness)
        .route("/metrics", get(|| async { telemetry::recorder::render() }))
        .layer(map_response(move |mut response: Response| {
            let worker = worker.clone();
            async move {
                if let Some(worker) = worker {
                    response.headers_mut().insert(WORKER_HEADER, worker);
                }
                response
            }
        }));
    let limits = HttpConfig {
        max_connections: startup::raise_connection_limit(MAX_CONNECTIONS),
        ..HttpConfig::default()
    };
    // The end of the process does not wait for open requests.
    server::serve(listener, routes, Port::HTTP, Connections::new(&limits), stop, Duration::ZERO).await;
}
