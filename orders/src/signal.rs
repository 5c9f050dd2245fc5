//! SIGTERM, Ctrl-C and SIGHUP (the terminal was closed): the first one asks for an orderly end, the second one ends at
//! once. A SIGHUP that the program was started to ignore, as by `nohup`, stays ignored.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::error::Error;

/// The exit code of a program that was interrupted.
const INTERRUPTED: i32 = 130;

/// A token that is cancelled by the first signal. The task behind it lives as long as the program.
pub(crate) fn shutdown() -> Result<CancellationToken, Error> {
    let listen =
        |kind| signal(kind).map_err(|error| Error::failed(format!("cannot listen for signals: {error}")));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let mut hangup = if ignores_hangup() { None } else { Some(listen(SignalKind::hangup())?) };
    let token = CancellationToken::new();
    let asked = token.clone();
    tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
                () = next(&mut hangup) => "SIGHUP",
            };
            if asked.is_cancelled() {
                std::process::exit(INTERRUPTED);
            }
            tracing::info!(signal = name, "shutting down, a second signal exits immediately");
            asked.cancel();
        }
    });
    Ok(token)
}

async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => _ = signal.recv().await,
        None => std::future::pending().await,
    }
}

/// Whether SIGHUP is ignored already, which is inherited from whoever started the program.
fn ignores_hangup() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| is_ignored(&status))
}

/// SIGHUP is signal 1, the lowest bit of the mask.
fn is_ignored(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_says_whether_sighup_is_ignored() {
        for (status, ignored) in [
            ("Name:\torders\nSigIgn:\t0000000000001001\n", true),
            ("Name:\torders\nSigIgn:\t0000000000001000\n", false),
            ("Name:\torders\n", false),
        ] {
            assert_eq!(is_ignored(status), ignored, "{status}");
        }
    }
}
