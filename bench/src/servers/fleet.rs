//! Several gateways and processors on one MariaDB and one Redis.

use std::io;
use std::net::SocketAddr;

use super::lab::Lab;
use super::process::{find_free_ports, is_ready, killed_with_parent, local_address};
use super::running::Servers;
use super::systems::{NO_WORK, Tuning};

/// The names of the gateways and of their processors.
const NAMES: [(&str, &str); MAX_GATEWAYS] = [
    ("gateway", "processor"),
    ("gateway 2", "processor 2"),
    ("gateway 3", "processor 3"),
    ("gateway 4", "processor 4"),
    ("gateway 5", "processor 5"),
    ("gateway 6", "processor 6"),
    ("gateway 7", "processor 7"),
    ("gateway 8", "processor 8"),
];

/// Maximum number of gateways of a fleet.
pub(crate) const MAX_GATEWAYS: usize = 8;

/// Gateways, each with a processor, and their servers.
pub(crate) struct Fleet {
    pub(crate) servers: Servers,
    /// The HTTP addresses of the gateways.
    pub(crate) http: Vec<SocketAddr>,
}

impl Fleet {
    /// Starts `gateways` gateways, at most [`MAX_GATEWAYS`], with a processor for each of the first `processors`.
    pub(crate) fn start(lab: &Lab, tuning: &Tuning, gateways: usize, processors: usize) -> io::Result<Self> {
        let mut servers = Servers::start_databases(lab)?;
        servers.migrate(lab)?;
        let mut http = Vec::new();
        for (number, (gateway, processor)) in NAMES.into_iter().take(gateways).enumerate() {
            let [web, grpc, metrics] = find_free_ports()?.map(local_address);
            servers.spawn(
                gateway,
                killed_with_parent(&lab.orders)
                    .args(["gateway", "--http-addr", &web.to_string(), "--grpc-addr", &grpc.to_string()])
                    .args(["--database-url", &servers.database_url, "--redis-url", &servers.redis_url])
                    .args(["--max-connections-per-address", "20000", "--max-streams-per-address", "15000"])
                    .args(tuning.gateway_flags()),
            )?;
            servers.wait_until_ready(gateway, || is_ready(web))?;
            http.push(web);
            if number < processors {
                servers.spawn(
                    processor,
                    killed_with_parent(&lab.orders)
                        .args(["processor", "--gateway-url", &format!("http://{grpc}")])
                        .args(["--metrics-addr", &metrics.to_string()])
                        .args(NO_WORK)
                        .args(tuning.processor_flags()),
                )?;
                servers.wait_until_ready(processor, || is_ready(metrics))?;
            }
        }
        if let Some(first) = http.first() {
            servers.http = *first;
        }
        Ok(Self { servers, http })
    }
}
