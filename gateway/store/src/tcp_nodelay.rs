//! Sets `TCP_NODELAY` on the connections to MySQL.
//!
//! sqlx opens the socket itself, leaves the option off and gives no access to the socket. The process therefore
//! searches its own file descriptors after each new connection, which is rare. A sandbox that forbids `pidfd_getfd`
//! leaves the option off; statements then work as before.

use std::io;

/// Sets the option on every TCP socket of this process that does not have it, and returns afterwards.
pub(super) async fn set() {
    // Reading the list of open files is a system call for each of them.
    let outcome = tokio::task::spawn_blocking(set_on_all).await;
    if let Ok(Err(error)) = outcome {
        tracing::debug!(%error, "failed to set TCP_NODELAY on the database connection");
    }
}

#[cfg(target_os = "linux")]
fn set_on_all() -> io::Result<()> {
    use rustix::net::sockopt;
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

    let this = pidfd_open(getpid(), PidfdFlags::empty())?;
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        // A file that was closed meanwhile has no target.
        let is_socket = std::fs::read_link(entry.path())
            .is_ok_and(|target| target.as_os_str().as_encoded_bytes().starts_with(b"socket:"));
        let Some(number) =
            entry.file_name().to_str().and_then(|name| name.parse().ok()).filter(|_| is_socket)
        else {
            continue;
        };
        let socket = match pidfd_getfd(&this, number, PidfdGetfdFlags::empty()) {
            Ok(socket) => socket,
            Err(rustix::io::Errno::BADF) => continue,
            Err(error) => return Err(error.into()),
        };
        // Other kinds of sockets do not have the option.
        if sockopt::tcp_nodelay(&socket) == Ok(false) {
            // The connection may have ended meanwhile.
            let _ = sockopt::set_tcp_nodelay(&socket, true);
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn set_on_all() -> io::Result<()> {
    Ok(())
}
