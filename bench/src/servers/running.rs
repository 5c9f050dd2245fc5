//! The processes of one measurement.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::database::Database;
use super::lab::{Lab, create_temporary_folder};
use super::process::{
    Cpu, command_as_user, cpu_seconds, create_owned_folder, find_free_ports, killed_with_parent,
    local_address, log_path, resident_bytes, thread_cpu_seconds,
};
use super::vitess::VitessServers;
use crate::delay_proxy::ResponseDelay;
use crate::simple_http;

/// Timeout of a server's start.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The running processes, and their addresses.
pub(crate) struct Servers {
    processes: Vec<Process>,
    /// The address that accepts orders.
    pub(crate) http: SocketAddr,
    /// The address for reports of workers.
    pub(crate) grpc: SocketAddr,
    /// `mysql://…` or `sqlite:…`.
    pub(crate) database_url: String,
    pub(crate) redis_url: String,
    /// The URLs for the measured system: those of the servers, or of proxies.
    pub(super) system_database_url: String,
    pub(super) system_redis_url: String,
    /// The proxies between the measured system and its servers.
    pub(super) response_delay: Option<ResponseDelay>,
    /// The servers of the database that run already.
    pub(super) vitess: Option<VitessServers>,
    /// The API key of requests, if they need one.
    pub(crate) key: Option<String>,
    // Declared last: it is removed after the processes have ended.
    pub(super) folder: tempfile::TempDir,
}

struct Process {
    name: &'static str,
    child: Child,
}

/// The same without the time of threads that have ended, to a nanosecond instead of a hundredth of a second.
pub(crate) type ThreadCpu = BTreeMap<String, f64>;

/// Resident bytes of each process.
pub(crate) type Memory = BTreeMap<String, u64>;

/// The name of the load generator in [`Cpu`]; all other names are servers.
pub(crate) const LOAD: &str = "load";

impl Servers {
    /// Starts a MariaDB and a Redis.
    pub(crate) fn start_databases(lab: &Lab) -> io::Result<Self> {
        let mut servers = Self::start_only_redis()?;
        let [mysql] = find_free_ports()?;
        servers.database_url = format!("mysql://orders:orders@127.0.0.1:{mysql}/orders");
        servers.start_mariadb(lab, mysql)?;
        servers.system_database_url = servers.database_url.clone();
        if let Some(delay) = &lab.response_delay {
            servers.system_database_url = delay.start_proxy(&servers.database_url)?;
            servers.system_redis_url = delay.start_proxy(&servers.redis_url)?;
            servers.response_delay = Some(delay.clone());
        }
        Ok(servers)
    }

    /// Starts a Redis.
    pub(super) fn start_only_redis() -> io::Result<Self> {
        let mut servers = Self::without_processes()?;
        let [redis] = find_free_ports()?;
        servers.redis_url = format!("redis://127.0.0.1:{redis}/");
        servers.system_redis_url = servers.redis_url.clone();
        servers.start_redis(redis)?;
        Ok(servers)
    }

    /// Reserves ports and a folder.
    pub(crate) fn without_processes() -> io::Result<Self> {
        let [http, grpc] = find_free_ports()?;
        Ok(Self {
            processes: Vec::new(),
            http: local_address(http),
            grpc: local_address(grpc),
            database_url: String::new(),
            redis_url: String::new(),
            system_database_url: String::new(),
            system_redis_url: String::new(),
            response_delay: None,
            vitess: None,
            key: None,
            folder: create_temporary_folder()?,
        })
    }

    fn start_mariadb(&mut self, lab: &Lab, port: u16) -> io::Result<()> {
        let empty = lab.empty_database()?;
        let folder = create_owned_folder(self.folder.path(), "mariadb", "mysql")?;
        let copied = Command::new("cp").arg("-a").arg(empty).arg(&folder).status()?;
        if !copied.success() {
            return Err(io::Error::other("failed to copy the empty database"));
        }
        let init = folder.join("init.sql");
        std::fs::write(
            &init,
            "CREATE DATABASE orders;\nCREATE USER 'orders'@'%' IDENTIFIED BY 'orders';\nGRANT ALL ON orders.* TO 'orders'@'%';\n",
        )?;
        self.spawn(
            "mariadb",
            command_as_user("mysql", "mariadbd")
                .arg("--no-defaults")
                .arg(format!("--datadir={}", folder.join("data").display()))
                .arg(format!("--tmpdir={}", folder.display()))
                .arg(format!("--socket={}", folder.join("socket").display()))
                .arg(format!("--pid-file={}", folder.join("pid").display()))
                .arg(format!("--init-file={}", init.display()))
                .args(["--bind-address=127.0.0.1", "--skip-name-resolve", "--skip-log-bin"])
                .arg(format!("--port={port}"))
                .args(["--character-set-server=utf8mb4", "--innodb-flush-log-at-trx-commit=1"])
                .args(["--innodb-buffer-pool-size=512M", "--innodb-log-file-size=256M"])
                .arg("--performance-schema=OFF"),
        )?;
        let url = self.database_url.clone();
        self.wait_until_ready("mariadb", || Database::connect(&url).is_ok())
    }

    fn start_redis(&mut self, port: u16) -> io::Result<()> {
        let folder = create_owned_folder(self.folder.path(), "redis", "redis")?;
        let port_text = port.to_string();
        self.spawn(
            "redis",
            command_as_user("redis", "redis-server")
                .args(["--bind", "127.0.0.1", "--port", &port_text, "--save", "", "--appendonly", "no"])
                .arg("--dir")
                .arg(folder),
        )?;
        self.wait_until_ready("redis", || TcpStream::connect(local_address(port)).is_ok())
    }

    pub(super) fn spawn(&mut self, name: &'static str, command: &mut Command) -> io::Result<()> {
        let log = File::create(log_path(self.folder.path(), name))?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        let child = child.map_err(|error| io::Error::other(format!("failed to start {name}: {error}")))?;
        self.processes.push(Process { name, child });
        Ok(())
    }

    /// Starts a program and waits until `ready` returns true.
    pub(crate) fn start_program(
        &mut self,
        name: &'static str,
        program: &Path,
        args: &[&str],
        ready: impl Fn() -> bool,
    ) -> io::Result<()> {
        self.spawn(name, killed_with_parent(program).args(args))?;
        self.wait_until_ready(name, ready)
    }

    /// Creates the product's tables without starting the product.
    pub(crate) fn migrate(&self, lab: &Lab) -> io::Result<()> {
        let migrate =
            Command::new(&lab.orders).args(["migrate", "--database-url", &self.database_url]).output()?;
        if !migrate.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&migrate.stderr).into_owned()));
        }
        Ok(())
    }

    /// Waits until `ready` returns true. The error contains the log of the process.
    pub(super) fn wait_until_ready(&mut self, name: &str, ready: impl Fn() -> bool) -> io::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while !ready() {
            let ended = match self.processes.last_mut() {
                Some(process) => process.child.try_wait()?.is_some(),
                None => true,
            };
            if ended || Instant::now() > deadline {
                let log = std::fs::read_to_string(log_path(self.folder.path(), name)).unwrap_or_default();
                return Err(io::Error::other(format!("{name} did not start:\n{log}")));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Kills a process.
    pub(crate) fn stop(&mut self, name: &str) -> io::Result<()> {
        let at = self.processes.iter().position(|process| process.name == name);
        let mut process = self.processes.remove(at.ok_or(io::ErrorKind::NotFound)?);
        process.child.kill()?;
        process.child.wait()?;
        Ok(())
    }

    /// Returns the CPU time of each process and of this one.
    pub(crate) fn cpu(&self) -> io::Result<Cpu> {
        let mut used = Cpu::from([(LOAD.to_owned(), cpu_seconds(std::process::id())?)]);
        for Process { name, child } in &self.processes {
            used.insert((*name).to_owned(), cpu_seconds(child.id())?);
        }
        used.extend(self.vitess.as_ref().map(VitessServers::cpu).transpose()?.unwrap_or_default());
        Ok(used)
    }

    /// Returns the CPU time of the running threads of each process.
    pub(crate) fn thread_cpu(&self) -> io::Result<ThreadCpu> {
        self.pids().map(|(name, pid)| Ok((name.to_owned(), thread_cpu_seconds(pid)?))).collect()
    }

    /// Returns the name and the id of each process.
    pub(super) fn pids(&self) -> impl Iterator<Item = (&'static str, u32)> {
        self.processes.iter().map(|process| (process.name, process.child.id()))
    }

    /// Returns the resident bytes of each process.
    pub(crate) fn memory_of_all(&self) -> io::Result<Memory> {
        let named = |Process { name, child }: &Process| Ok(((*name).to_owned(), resident_bytes(child.id())?));
        self.processes.iter().map(named).collect()
    }

    /// Returns the resident bytes of a process.
    pub(crate) fn memory(&self, name: &str) -> io::Result<u64> {
        let process = self.processes.iter().find(|process| process.name == name);
        resident_bytes(process.map(|process| process.child.id()).ok_or(io::ErrorKind::NotFound)?)
    }

    /// Returns a metric of the gateway, summed over its labels; 0 before its first use.
    pub(crate) fn metric(&self, name: &str) -> io::Result<f64> {
        let (_, text) = simple_http::get(self.http, "/metrics")?;
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            rest.starts_with([' ', '{']).then(|| rest.rsplit_once(' ')?.1.parse::<f64>().ok()).flatten()
        });
        Ok(values.sum())
    }

    /// Connects to the database of the measured system.
    pub(crate) fn database(&self) -> io::Result<Database> {
        match &self.vitess {
            Some(vitess) => vitess.connect(),
            None => Database::connect(&self.database_url),
        }
    }

    /// Returns the number of stored orders and of completed ones.
    pub(crate) fn count_orders(&self) -> io::Result<(u64, u64)> {
        let mut database = self.database()?;
        Ok((database.count_stored()?, database.count_completed()?))
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // Dependents end first.
        for process in self.processes.iter_mut().rev() {
            // The process may have ended already.
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}

/// Returns the CPU time between two readings.
pub(crate) fn cpu_used(before: &Cpu, after: &Cpu) -> Cpu {
    let difference = |(name, after): (&String, &f64)| {
        (name.clone(), after - before.get(name).copied().unwrap_or_default())
    };
    after.iter().map(difference).collect()
}
