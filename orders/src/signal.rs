//! SIGTERM, Ctrl-C and SIGHUP. The first SIGTERM or Ctrl-C starts the shutdown, the second one ends the process at once.
//!
//! SIGHUP has two meanings. The system sends it when the terminal is closed, and an operator sends it to have files read
//! again. It shuts down like SIGTERM if the terminal of the process is closed, or if the process has no files to read
//! again. A SIGHUP that is ignored at start, as with `nohup`, stays ignored.

use std::fs::File;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::error::Error;

/// The exit code of an interrupted program.
const INTERRUPTED: i32 = 130;

/// The requests of signals.
#[derive(Clone)]
pub(crate) struct Signals {
    /// Is cancelled by the first signal.
    pub(crate) shutdown: CancellationToken,
    reload: watch::Sender<()>,
}

impl Signals {
    /// Returns the requests to read files again. From now on SIGHUP does not shut down.
    pub(crate) fn reload_requests(&self) -> watch::Receiver<()> {
        self.reload.subscribe()
    }
}

/// Listens for signals until the program ends.
pub(crate) fn listen() -> Result<Signals, Error> {
    let listen =
        |kind| signal(kind).map_err(|error| Error::failed(format!("cannot listen for signals: {error}")));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let mut hangup = if ignores_hangup() { None } else { Some(listen(SignalKind::hangup())?) };
    let had_terminal = has_terminal();
    let signals = Signals { shutdown: CancellationToken::new(), reload: watch::Sender::new(()) };
    let Signals { shutdown, reload } = signals.clone();
    tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
                () = recv_if_present(&mut hangup) => {
                    let terminal_closed = had_terminal && !has_terminal();
                    if !terminal_closed && reload.send(()).is_ok() {
                        tracing::info!(signal = "SIGHUP", "reading certificates, keys and secrets again");
                        continue;
                    }
                    "SIGHUP"
                }
            };
            if shutdown.is_cancelled() {
                std::process::exit(INTERRUPTED);
            }
            tracing::info!(signal = name, "shutting down, a second signal exits immediately");
            shutdown.cancel();
        }
    });
    Ok(signals)
}

async fn recv_if_present(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => _ = signal.recv().await,
        None => std::future::pending().await,
    }
}

/// Checks whether the process has a terminal. A closed terminal is taken from the processes that it belongs to.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
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
