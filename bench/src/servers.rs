//! What is measured, with a MariaDB and a Redis, all private to one measurement.
//!
//! MariaDB keeps what it has acknowledged (`innodb_flush_log_at_trx_commit=1`), as in production. Free
//! ports on 127.0.0.1, one temporary folder. Everything ends with the run: each process asks the
//! kernel to be killed with its parent, so a run that is killed leaves none behind.

mod database;
mod process;
mod stock;
mod systems;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) use self::database::Database;
pub(crate) use self::process::local;
use self::process::{as_user, bound, free_ports, log_of, make_readable, own_folder};
use self::process::{resident_bytes, seconds_of_cpu};
pub(crate) use self::stock::Stock;
pub(crate) use self::systems::{System, Tuning};
use crate::plain;

/// How long a server may take to start.
const START: Duration = Duration::from_secs(60);

/// What every measurement starts from.
pub(crate) struct Lab {
    /// The product's program.
    pub(crate) orders: PathBuf,
    /// The folder of the systems that it is compared with.
    pub(crate) peers: PathBuf,
    /// An empty data folder of MariaDB, made when it is first needed and copied for each start.
    empty: OnceCell<tempfile::TempDir>,
}

impl Lab {
    pub(crate) fn new(orders: PathBuf, peers: PathBuf) -> Self {
        Self { orders, peers, empty: OnceCell::new() }
    }

    fn empty_database(&self) -> io::Result<PathBuf> {
        if let Some(folder) = self.empty.get() {
            return Ok(folder.path().join("mariadb/data"));
        }
        let folder = temporary()?;
        let data = own_folder(folder.path(), "mariadb", "mysql")?.join("data");
        let install = as_user("mysql", "mariadb-install-db")
            .args(["--no-defaults", "--skip-test-db", "--skip-name-resolve", "--force"])
            .args(["--auth-root-authentication-method=normal", "--innodb-log-file-size=256M"])
            .arg(format!("--datadir={}", data.display()))
            // Two that are made at the same time trip over each other's files in /tmp.
            .arg(format!("--tmpdir={}", data.with_file_name("").display()))
            .stdin(Stdio::null())
            .output()?;
        if !install.status.success() {
            let problem = String::from_utf8_lossy(&install.stderr);
            return Err(io::Error::other(format!("mariadb-install-db failed: {problem}")));
        }
        let _ = self.empty.set(folder);
        Ok(data)
    }
}

fn temporary() -> io::Result<tempfile::TempDir> {
    let folder = tempfile::Builder::new().prefix("orders-bench.").tempdir()?;
    make_readable(folder.path())?;
    Ok(folder)
}

/// Everything that runs.
pub(crate) struct Servers {
    processes: Vec<Process>,
    /// Where orders are accepted.
    pub(crate) http: SocketAddr,
    /// Where workers report.
    pub(crate) grpc: SocketAddr,
    /// For programs outside: `mysql://…` or `sqlite:…`.
    pub(crate) database_url: String,
    pub(crate) redis_url: String,
    // Removed after the processes are gone.
    folder: tempfile::TempDir,
}

struct Process {
    name: &'static str,
    child: Child,
}

/// Seconds of CPU that each process has used.
pub(crate) type Cpu = BTreeMap<String, f64>;

/// Bytes of memory that each process has in use.
pub(crate) type Memory = BTreeMap<String, u64>;

/// What the load generator's own use is called; everything else is servers.
pub(crate) const LOAD: &str = "load";

impl Servers {
    /// A MariaDB and a Redis that nobody uses yet.
    pub(crate) fn bare(lab: &Lab) -> io::Result<Self> {
        let mut servers = Self::nothing()?;
        let [mysql, redis] = free_ports()?;
        servers.database_url = format!("mysql://orders:orders@127.0.0.1:{mysql}/orders");
        servers.redis_url = format!("redis://127.0.0.1:{redis}/");
        servers.start_mariadb(lab, mysql)?;
        servers.start_redis(redis)?;
        Ok(servers)
    }

    /// Ports and a folder.
    pub(crate) fn nothing() -> io::Result<Self> {
        let [http, grpc] = free_ports()?;
        Ok(Self {
            processes: Vec::new(),
            http: local(http),
            grpc: local(grpc),
            database_url: String::new(),
            redis_url: String::new(),
            folder: temporary()?,
        })
    }

    fn start_mariadb(&mut self, lab: &Lab, port: u16) -> io::Result<()> {
        let empty = lab.empty_database()?;
        let folder = own_folder(self.folder.path(), "mariadb", "mysql")?;
        let copied = Command::new("cp").arg("-a").arg(empty).arg(&folder).status()?;
        if !copied.success() {
            return Err(io::Error::other("the empty database cannot be copied"));
        }
        let init = folder.join("init.sql");
        std::fs::write(
            &init,
            "CREATE DATABASE orders;\nCREATE USER 'orders'@'%' IDENTIFIED BY 'orders';\nGRANT ALL ON orders.* TO 'orders'@'%';\n",
        )?;
        self.spawn(
            "mariadb",
            as_user("mysql", "mariadbd")
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
        self.wait("mariadb", || Database::connect(&url).is_ok())
    }

    fn start_redis(&mut self, port: u16) -> io::Result<()> {
        let folder = own_folder(self.folder.path(), "redis", "redis")?;
        let port_text = port.to_string();
        self.spawn(
            "redis",
            as_user("redis", "redis-server")
                .args(["--bind", "127.0.0.1", "--port", &port_text, "--save", "", "--appendonly", "no"])
                .arg("--dir")
                .arg(folder),
        )?;
        self.wait("redis", || TcpStream::connect(local(port)).is_ok())
    }

    fn spawn(&mut self, name: &'static str, command: &mut Command) -> io::Result<()> {
        let log = File::create(log_of(self.folder.path(), name))?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        let child = child.map_err(|error| io::Error::other(format!("cannot start {name}: {error}")))?;
        self.processes.push(Process { name, child });
        Ok(())
    }

    /// Starts a program of this run that is ready when `ready` says so.
    pub(crate) fn add(
        &mut self,
        name: &'static str,
        program: &Path,
        args: &[&str],
        ready: impl Fn() -> bool,
    ) -> io::Result<()> {
        self.spawn(name, bound(program).args(args))?;
        self.wait(name, ready)
    }

    /// Makes the product's tables, without starting it.
    pub(crate) fn migrate(&self, lab: &Lab) -> io::Result<()> {
        let migrate =
            Command::new(&lab.orders).args(["migrate", "--database-url", &self.database_url]).output()?;
        if !migrate.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&migrate.stderr).into_owned()));
        }
        Ok(())
    }

    /// Waits until `ready`, or says what the process has logged.
    fn wait(&mut self, name: &str, ready: impl Fn() -> bool) -> io::Result<()> {
        let deadline = Instant::now() + START;
        while !ready() {
            let ended = match self.processes.last_mut() {
                Some(process) => process.child.try_wait()?.is_some(),
                None => true,
            };
            if ended || Instant::now() > deadline {
                let log = std::fs::read_to_string(log_of(self.folder.path(), name)).unwrap_or_default();
                return Err(io::Error::other(format!("{name} did not start:\n{log}")));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Ends a process.
    pub(crate) fn stop(&mut self, name: &str) -> io::Result<()> {
        let at = self.processes.iter().position(|process| process.name == name);
        let mut process = self.processes.remove(at.ok_or(io::ErrorKind::NotFound)?);
        process.child.kill()?;
        process.child.wait()?;
        Ok(())
    }

    /// The CPU that each process, and this one, has used so far.
    pub(crate) fn cpu(&self) -> io::Result<Cpu> {
        let mut used = Cpu::from([(LOAD.to_owned(), seconds_of_cpu(std::process::id())?)]);
        for Process { name, child } in &self.processes {
            used.insert((*name).to_owned(), seconds_of_cpu(child.id())?);
        }
        Ok(used)
    }

    /// Bytes of memory that each process has in use.
    pub(crate) fn memory_of_all(&self) -> io::Result<Memory> {
        let of = |Process { name, child }: &Process| Ok(((*name).to_owned(), resident_bytes(child.id())?));
        self.processes.iter().map(of).collect()
    }

    /// Bytes of memory that a process has in use.
    pub(crate) fn memory(&self, name: &str) -> io::Result<u64> {
        let process = self.processes.iter().find(|process| process.name == name);
        resident_bytes(process.map(|process| process.child.id()).ok_or(io::ErrorKind::NotFound)?)
    }

    /// A metric of the gateway, added up over its labels; 0 while it has not been used.
    pub(crate) fn metric(&self, name: &str) -> io::Result<f64> {
        let (_, text) = plain::get(self.http, "/metrics")?;
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            rest.starts_with([' ', '{']).then(|| rest.rsplit_once(' ')?.1.parse::<f64>().ok()).flatten()
        });
        Ok(values.sum())
    }

    /// The database, seen past the system that uses it.
    pub(crate) fn database(&self) -> io::Result<Database> {
        Database::connect(&self.database_url)
    }

    /// Orders in the database, and how many of them are completed.
    pub(crate) fn count_orders(&self) -> io::Result<(u64, u64)> {
        let mut database = self.database()?;
        Ok((database.stored()?, database.completed()?))
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // What depends on others goes first.
        for process in self.processes.iter_mut().rev() {
            // One that has ended already is what is wanted.
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}

/// What was used from `before` to `after`.
pub(crate) fn used(before: &Cpu, after: &Cpu) -> Cpu {
    let used = |(name, after): (&String, &f64)| {
        (name.clone(), after - before.get(name).copied().unwrap_or_default())
    };
    after.iter().map(used).collect()
}
