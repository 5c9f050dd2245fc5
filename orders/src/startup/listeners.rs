//! Ports, and the number of connections that the limit of open files permits.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::error::Error;
use crate::values::ListenAddr;

/// Files that are open besides accepted connections: the database, Redis, webhooks, the program. If the limit of open
/// files is small, half of it.
const OTHER_FILES: usize = 256;
/// A warning is logged below this number of connections.
const FEW_CONNECTIONS: usize = 4_000;

/// Takes a port. `setting` is the source of the address in errors, such as `--http-addr (ORDERS_HTTP_ADDR)`.
pub(crate) async fn bind(addr: &ListenAddr, setting: &str) -> Result<TcpListener, Error> {
    let elsewhere = format!("choose another address with {setting}; port 0 takes a free port");
    TcpListener::bind(addr.as_str()).await.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => Error::failed(format!("cannot listen on {addr}: the port is in use"))
            .hint(format!("stop the program that uses it, or {elsewhere}")),
        ErrorKind::PermissionDenied => {
            Error::failed(format!("cannot listen on {addr}: not permitted; ports below 1024 need privileges"))
                .hint(elsewhere)
        }
        _ => Error::failed(format!("cannot listen on {addr}: {error}")).hint(elsewhere),
    })
}

/// Raises the limit of open files to its maximum, and returns the possible number of connections, at most `wanted`.
///
/// Every connection is an open file, and the default limit of many systems is 1,024.
pub(crate) fn raise_connection_limit(wanted: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let allowed = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: allowed.maximum, maximum: allowed.maximum };
    // Some systems have an infinite maximum and refuse it; the limit then does not change.
    let _ = setrlimit(Resource::Nofile, raised);
    let Some(files) = getrlimit(Resource::Nofile).current else { return wanted };
    let possible = without_other_files(usize::try_from(files).unwrap_or(usize::MAX));
    if possible < wanted.min(FEW_CONNECTIONS) {
        tracing::warn!(
            files,
            "low limit of open files reduces the number of connections: raise it (ulimit -Hn)"
        );
    }
    wanted.min(possible)
}

/// Returns the number of files for accepted connections.
fn without_other_files(files: usize) -> usize {
    files.saturating_sub(OTHER_FILES.min(files / 2)).max(1)
}

/// Returns the address of a listener, with the port that replaced port 0.
pub(crate) fn local_address(listener: &TcpListener) -> Result<SocketAddr, Error> {
    listener.local_addr().map_err(|error| Error::failed(format!("cannot read a listener's address: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_other_uses() {
        for (files, connections) in [(0, 1), (64, 32), (256, 128), (600, 344), (20_256, 20_000)] {
            assert_eq!(without_other_files(files), connections, "{files}");
        }
    }
}
