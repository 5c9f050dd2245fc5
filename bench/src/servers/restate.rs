//! Starts Restate: its server, and a worker that registers itself there.
//!
//! Restate keeps orders in its own log, so there is no MariaDB. The worker publishes each status on Redis.

use std::io;

use super::lab::Lab;
use super::process::{find_free_ports, killed_with_parent, log_path};
use super::running::Servers;
use crate::simple_http;

/// The server within the installed packages.
#[cfg(target_arch = "x86_64")]
const SERVER: &str = "node_modules/@restatedev/restate-server-linux-x64/bin/restate-server";
#[cfg(not(target_arch = "x86_64"))]
const SERVER: &str = "node_modules/@restatedev/restate-server-linux-arm64/bin/restate-server";

impl Servers {
    /// Starts a Redis, the server of Restate and its worker.
    pub(super) fn start_restate(lab: &Lab) -> io::Result<Self> {
        let folder = lab.peers.join("restate");
        let server = folder.join(SERVER);
        if !server.is_file() {
            let hint = format!("npm ci --ignore-scripts --prefix {}", folder.display());
            return Err(io::Error::other(format!("Restate is not installed: {hint}")));
        }
        let mut servers = Self::start_only_redis()?;
        let [admin, node, worker] = find_free_ports()?;
        let bind = |port: u16| format!("127.0.0.1:{port}");
        servers.spawn(
            "restate",
            killed_with_parent(&std::path::absolute(&server)?)
                .arg("--no-logo")
                .env("RESTATE_BASE_DIR", servers.folder.path().join("restate"))
                .env("RESTATE_INGRESS__BIND_ADDRESS", servers.http.to_string())
                .env("RESTATE_ADMIN__BIND_ADDRESS", bind(admin))
                .env("RESTATE_BIND_ADDRESS", bind(node))
                .env("RESTATE_ADVERTISED_ADDRESS", format!("http://{}", bind(node)))
                .env("RESTATE_LISTEN_MODE", "tcp")
                .env("RESTATE_DISABLE_TELEMETRY", "true"),
        )?;
        let (admin_addr, ingress) = (super::process::local_address(admin), servers.http);
        servers.wait_until_ready("restate", || {
            simple_http::get(admin_addr, "/health").is_ok_and(|(status, _)| status == 200)
                && simple_http::get(ingress, "/restate/health").is_ok_and(|(status, _)| status == 200)
        })?;
        servers.spawn(
            "worker",
            killed_with_parent("node".as_ref())
                .arg(folder.join("worker.mjs"))
                .env("NODE_ENV", "production")
                .env("WORKER_PORT", worker.to_string())
                .env("ADMIN_URL", format!("http://{}", bind(admin)))
                .env("REDIS_URL", &servers.redis_url),
        )?;
        let log = log_path(servers.folder.path(), "worker");
        servers.wait_until_ready("worker", || {
            std::fs::read_to_string(&log).is_ok_and(|log| log.contains("registered"))
        })?;
        Ok(servers)
    }
}
