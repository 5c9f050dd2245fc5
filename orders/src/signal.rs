//! SIGTERM, Ctrl-C and SIGHUP (the terminal was closed). The first signal starts the shutdown, the second one ends the
//! process at once. A SIGHUP that is ignored at start, as with `nohup`, stays ignored.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::error::Error;

/// The exit code of an interrupted program.
const INTERRUPTED: i32 = 130;

/// Returns a token that the first signal cancels. Its task runs until the program ends.
pub(crate) fn shutdown() -> Result<CancellationToken, Error> {
    let listen =
        |kind| signal(kind).map_err(|error| Error::failed(format!("cannot listen for signals: {error}")));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let mut hangup = if ignores_hangup() { None } else { Some(listen(SignalKind::hangup())?) };
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
                () = recv_if_present(&mut hangup) => "SIGHUP",
            };
            if cancelled.is_cancelled() {
                std::process::exit(INTERRUPTED);
            }
            tracing::info!(signal = name, "shutting down, a second signal exits immediately");
            cancelled.cancel();
        }
    });
    Ok(token)
}

async fn recv_if_present(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => _ = signal.recv().await,
        None => std::future::pending().await,
    }
}

/// Checks whether SIGHUP is ignored, which a process inherits from its parent.
fn ignores_hangup() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| is_ignored(&status))
}

/// Reads the mask of ignored signals; SIGHUP is signal 1, its lowest bit.
fn is_ignored(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sighup_is_the_lowest_bit_of_the_mask() {
        for (status, ignored) in [
            ("Name:\torders\nSigIgn:\t0000000000001001\n", true),
            ("Name:\torders\nSigIgn:\t0000000000001000\n", false),
            ("Name:\torders\n", false),
        ] {
            assert_eq!(is_ignored(status), ignored, "{status}");
        }
    }
}
