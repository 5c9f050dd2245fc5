//! Processes: how they are started, how they end, and what the kernel knows about them.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::plain;

/// Clock ticks of `/proc/PID/stat` in a second; the same on every Linux.
const TICKS: f64 = 100.0;

pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Ports that nobody listens on. Another program may take one before it is used; then the start fails.
pub(super) fn free_ports<const N: usize>() -> io::Result<[u16; N]> {
    let mut listeners = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind(local(0))?;
        *port = listener.local_addr()?.port();
        // Kept until all are found, so that none is found twice.
        listeners.push(listener);
    }
    Ok(ports)
}

/// A command that is killed with this process.
pub(super) fn bound(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

/// The same, and as `user` when this process is root: neither server wants to be.
pub(super) fn as_user(user: &str, program: &str) -> Command {
    let mut command = Command::new("setpriv");
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/usr/local/sbin"));
    if let Some((uid, gid)) = ids(user) {
        command.args(["--reuid", &uid, "--regid", &gid, "--clear-groups"]);
    }
    command.args(["--pdeathsig", "KILL", program]);
    command
}

/// User and group to run as; `None` when this process is not root and can only be itself.
fn ids(user: &str) -> Option<(String, String)> {
    let id = |args: &[&str]| {
        let output = Command::new("id").args(args).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    if id(&["-u"])? != "0" {
        return None;
    }
    let user = if id(&["-u", user]).is_some() { user } else { "nobody" };
    Some((id(&["-u", user])?, id(&["-g", user])?))
}

/// A folder below `home` that belongs to `user`.
pub(super) fn own_folder(home: &Path, name: &str, user: &str) -> io::Result<PathBuf> {
    let folder = home.join(name);
    std::fs::create_dir(&folder)?;
    if let Some((uid, gid)) = ids(user) {
        let number = |text: &str| text.parse().map_err(io::Error::other);
        std::os::unix::fs::chown(&folder, Some(number(&uid)?), Some(number(&gid)?))?;
    }
    Ok(folder)
}

/// Temporary folders are private; the servers of other users have to pass through.
pub(super) fn make_readable(home: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(home, std::fs::Permissions::from_mode(0o755))
}

pub(super) fn is_ready(addr: SocketAddr) -> bool {
    plain::get(addr, "/readyz").is_ok_and(|(status, _)| status == 200)
}

/// User and system time of a process, all its threads together.
pub(super) fn seconds_of_cpu(pid: u32) -> io::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything; the fields begin after it.
    let fields = stat.rsplit_once(") ").map(|(_, fields)| fields.split(' '));
    let ticks = fields.map(|fields| fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()));
    Ok(ticks.map_or(0.0, Iterator::sum) / TICKS)
}

pub(super) fn log_of(home: &Path, name: &str) -> PathBuf {
    home.join(format!("{name}.log"))
}

/// Bytes of memory that a process has in use.
pub(super) fn resident_bytes(pid: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|kib| kib.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other("the kernel does not tell the memory"))
}
