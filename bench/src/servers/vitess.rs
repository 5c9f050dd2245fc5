//! The servers of `scripts/vitess.sh`: two MySQL servers, two tablets, vtgate and etcd, or one of the MySQL servers alone.

use std::io;
use std::path::Path;

use super::database::Database;
use super::process::{Cpu, cpu_seconds};

/// The database of a measurement without Vitess, on the MySQL server of the first shard.
const PLAIN: &str = "orders_plain";

/// Servers that run already, and the URL of the database.
pub(super) struct VitessServers {
    pub(super) url: String,
    is_vtgate: bool,
    /// Each program with its processes.
    programs: Vec<(&'static str, Vec<u32>)>,
}

impl VitessServers {
    /// Returns all servers. Their tables keep the orders of earlier measurements.
    pub(super) fn all() -> io::Result<Self> {
        let url = setting("ORDERS_TEST_VITESS_URL")?;
        let programs = [
            ("mysql", &["mysqld1", "mysqld2"][..]),
            ("vttablet", &["tablet1", "tablet2"]),
            ("vtgate", &["vtgate"]),
            ("etcd", &["etcd"]),
        ];
        Ok(Self { url, is_vtgate: true, programs: pids_of(&programs)? })
    }

    /// Returns the MySQL server of the first shard with an empty database.
    pub(super) fn one_mysql() -> io::Result<Self> {
        let server = setting("ORDERS_TEST_VITESS_MYSQL_URL")?;
        let mut database = Database::connect(&server)?;
        database.execute(&format!("DROP DATABASE IF EXISTS {PLAIN}"))?;
        database.execute(&format!("CREATE DATABASE {PLAIN}"))?;
        let url = format!("{}/{PLAIN}", server.trim_end_matches('/'));
        Ok(Self { url, is_vtgate: false, programs: pids_of(&[("mysql", &["mysqld1"])])? })
    }

    pub(super) fn connect(&self) -> io::Result<Database> {
        if self.is_vtgate { Database::connect_to_vtgate(&self.url) } else { Database::connect(&self.url) }
    }

    /// Returns the CPU time of each program.
    pub(super) fn cpu(&self) -> io::Result<Cpu> {
        let used = |(name, pids): &(&str, Vec<u32>)| {
            let seconds: io::Result<f64> = pids.iter().map(|pid| cpu_seconds(*pid)).sum();
            Ok(((*name).to_owned(), seconds?))
        };
        self.programs.iter().map(used).collect()
    }
}

fn setting(name: &str) -> io::Result<String> {
    std::env::var(name)
        .map_err(|_| io::Error::other(format!("{name} is not set: start Vitess with scripts/vitess.sh")))
}

/// Reads the files of process ids.
fn pids_of(programs: &[(&'static str, &[&str])]) -> io::Result<Vec<(&'static str, Vec<u32>)>> {
    let folder = setting("ORDERS_TEST_VITESS_PIDS")?;
    let pid = |process: &&str| {
        let path = Path::new(&folder).join(format!("{process}.pid"));
        let text = std::fs::read_to_string(&path)?;
        text.trim().parse().map_err(|_| io::Error::other(format!("{} has no number", path.display())))
    };
    programs
        .iter()
        .map(|(name, processes)| Ok((*name, processes.iter().map(pid).collect::<io::Result<_>>()?)))
        .collect()
}
