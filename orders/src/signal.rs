//! SIGTERM and Ctrl-C: the first one asks for an orderly end, the second one ends at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::error::Error;

/// The exit code of a program that was interrupted.
const INTERRUPTED: i32 = 130;

/// A token that is cancelled by the first signal. The task behind it lives as long as the program.
pub(crate) fn shutdown() -> Result<CancellationToken, Error> {
    let listen =
        |kind| signal(kind).map_err(|error| Error::failed(format!("cannot listen for signals: {error}")));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let token = CancellationToken::new();
    let asked = token.clone();
    tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            if asked.is_cancelled() {
                std::process::exit(INTERRUPTED);
            }
            tracing::info!(signal = name, "shutting down; a second signal ends at once");
            asked.cancel();
        }
    });
    Ok(token)
}
