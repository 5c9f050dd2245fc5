//! Starts processes and reads their CPU time and memory from the kernel.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::simple_http;

/// Clock ticks per second in `/proc/PID/stat`; the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU seconds of each process.
pub(crate) type Cpu = BTreeMap<String, f64>;

/// Returns the address of a port on loopback.
pub(crate) fn local_address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Returns the parts of a URL of a server: before its port, the port, and the path without its first slash.
pub(crate) fn split_port(url: &str) -> io::Result<(&str, u16, &str)> {
    let invalid = || io::Error::other(format!("{url} has no port"));
    let (before, after) = url.rsplit_once(':').ok_or_else(invalid)?;
    let (port, path) = after.split_once('/').ok_or_else(invalid)?;
    Ok((before, port.parse().map_err(|_| invalid())?, path))
}

/// Finds free ports. Another program can take one before its use; then the start of the server fails.
pub(super) fn find_free_ports<const N: usize>() -> io::Result<[u16; N]> {
    let mut listeners = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind(local_address(0))?;
        *port = listener.local_addr()?.port();
        // Each listener stays open until all ports are found, so no port is found twice.
        listeners.push(listener);
    }
    Ok(ports)
}

/// Returns a command whose process is killed with this one.
pub(super) fn killed_with_parent(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

/// Returns such a command that runs as `user` if this process is root.
///
/// Neither server starts as root.
pub(super) fn command_as_user(user: &str, program: &str) -> Command {
    let mut command = Command::new("setpriv");
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/usr/local/sbin"));
    if let Some((uid, gid)) = user_and_group(user) {
        command.args(["--reuid", &uid, "--regid", &gid, "--clear-groups"]);
    }
    command.args(["--pdeathsig", "KILL", program]);
    command
}

/// Returns the user and the group to run as; `None` unless this process is root.
fn user_and_group(user: &str) -> Option<(String, String)> {
    let id = |args: &[&str]| {
        let output = Command::new("id").args(args).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    if id(&["-u"])? != "0" {
        return None;
    }
    let user = if id(&["-u", user]).is_some() { user } else { "nobody" }; // prose:allow
    Some((id(&["-u", user])?, id(&["-g", user])?))
}

/// Creates a folder below `home` that belongs to `user`.
pub(super) fn create_owned_folder(home: &Path, name: &str, user: &str) -> io::Result<PathBuf> {
    let folder = home.join(name);
    std::fs::create_dir(&folder)?;
    if let Some((uid, gid)) = user_and_group(user) {
        let number = |text: &str| text.parse().map_err(io::Error::other);
        std::os::unix::fs::chown(&folder, Some(number(&uid)?), Some(number(&gid)?))?;
    }
    Ok(folder)
}

/// Lets other users traverse a temporary folder, because the servers run as other users.
pub(super) fn make_traversable(home: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(home, std::fs::Permissions::from_mode(0o755))
}

/// Checks the readiness of a gateway, a processor or a peer.
pub(super) fn is_ready(addr: SocketAddr) -> bool {
    simple_http::get(addr, "/readyz").is_ok_and(|(status, _)| status == 200)
}

/// Returns the user and system time of all threads of a process.
pub(super) fn cpu_seconds(pid: u32) -> io::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses can contain any character; the fields begin after it.
    let fields = stat.rsplit_once(") ").map(|(_, fields)| fields.split(' '));
    let ticks = fields.map(|fields| fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()));
    Ok(ticks.map_or(0.0, Iterator::sum) / TICKS_PER_SECOND)
}

/// Returns the user and system time of the running threads of a process.
pub(super) fn thread_cpu_seconds(pid: u32) -> io::Result<f64> {
    let mut nanos = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread can end meanwhile.
        let times = std::fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        nanos += times.split(' ').next().and_then(|nanos| nanos.parse::<u64>().ok()).unwrap_or_default();
    }
    Ok(nanos as f64 / 1e9)
}

/// Returns how often the running threads of a process have waited and were woken again.
pub(super) fn wake_ups(pid: u32) -> io::Result<u64> {
    let mut sum = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread can end meanwhile.
        let status = std::fs::read_to_string(thread?.path().join("status")).unwrap_or_default();
        sum += voluntary_switches(&status).unwrap_or_default();
    }
    Ok(sum)
}

fn voluntary_switches(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line?.trim().parse().ok()
}

/// Returns the path of the log of a process.
pub(super) fn log_path(home: &Path, name: &str) -> PathBuf {
    home.join(format!("{name}.log"))
}

/// Returns the resident bytes of a process.
pub(super) fn resident_bytes(pid: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|kib| kib.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other("the kernel does not report the memory"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_is_split_at_its_port() {
        let url = "mysql://orders:orders@127.0.0.1:3306/orders";
        assert_eq!(split_port(url).unwrap(), ("mysql://orders:orders@127.0.0.1", 3306, "orders"));
        assert!(split_port("sqlite:/data").is_err());
    }

    #[test]
    fn wake_ups_are_the_voluntary_switches() {
        let status = "Name:\torders\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t3\n";
        assert_eq!(voluntary_switches(status), Some(12));
        assert_eq!(voluntary_switches("Name:\torders\n"), None);
        assert!(wake_ups(std::process::id()).is_ok());
    }
}
