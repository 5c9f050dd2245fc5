//! What is measured: a gateway and a processor on a MariaDB and a Redis, all private to this run.
//!
//! MariaDB keeps what it has acknowledged (`innodb_flush_log_at_trx_commit=1`), as in production. Free
//! ports on 127.0.0.1, one temporary folder. Everything ends with the run: each process asks the
//! kernel to be killed with its parent, so a run that is killed leaves none behind.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::plain;

/// How long a server may take to start.
const START: Duration = Duration::from_secs(60);
/// Clock ticks of `/proc/PID/stat` in a second; the same on every Linux.
const TICKS: f64 = 100.0;

/// Everything that runs.
pub(crate) struct Servers {
    processes: Vec<Process>,
    mysql_port: u16,
    redis_url: String,
    /// Where orders are accepted.
    pub(crate) http: SocketAddr,
    grpc: SocketAddr,
    // Removed after the processes are gone.
    _folder: tempfile::TempDir,
}

struct Process {
    name: &'static str,
    child: Child,
}

/// Seconds of CPU that each process has used.
pub(crate) type Cpu = BTreeMap<String, f64>;

impl Servers {
    /// Starts everything and waits until orders are accepted. `orders` is the program.
    pub(crate) fn start(orders: &Path) -> io::Result<Self> {
        let mut servers = Self::without_processor(orders)?;
        servers.start_processor(orders)?;
        Ok(servers)
    }

    /// Starts everything but a processor, so that orders stay as they are.
    pub(crate) fn without_processor(orders: &Path) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("orders-bench.").tempdir()?;
        let [mysql_port, redis_port, http, grpc] = free_ports()?;
        let mut servers = Self {
            processes: Vec::new(),
            mysql_port,
            redis_url: format!("redis://127.0.0.1:{redis_port}/"),
            http: local(http),
            grpc: local(grpc),
            _folder: folder,
        };
        let home = servers._folder.path().to_owned();
        make_readable(&home)?;
        servers.start_mariadb(&home)?;
        servers.start_redis(&home, redis_port)?;

        let (redis, http, grpc) =
            (servers.redis_url.clone(), servers.http.to_string(), servers.grpc.to_string());
        let database = format!("mysql://orders:orders@127.0.0.1:{mysql_port}/orders");
        let gateway = ["gateway", "--http-addr", &http, "--grpc-addr", &grpc, "--database-url", &database];
        servers.spawn("gateway", &home, bound(orders).args(gateway).args(["--redis-url", &redis]))?;
        let addr = servers.http;
        servers.wait(&home, "gateway", || is_ready(addr))?;
        Ok(servers)
    }

    fn start_processor(&mut self, orders: &Path) -> io::Result<()> {
        let home = self._folder.path().to_owned();
        let [metrics] = free_ports()?;
        let metrics = local(metrics);
        let (url, metrics_addr) = (format!("http://{}", self.grpc), metrics.to_string());
        let redis = self.redis_url.clone();
        let processor =
            ["processor", "--gateway-url", &url, "--metrics-addr", &metrics_addr, "--redis-url", &redis];
        let no_work = ["--simulate-min-ms", "0", "--simulate-max-ms", "0"];
        self.spawn("processor", &home, bound(orders).args(processor).args(no_work))?;
        self.wait(&home, "processor", || is_ready(metrics))
    }

    fn start_mariadb(&mut self, home: &Path) -> io::Result<()> {
        let folder = own_folder(home, "mariadb", "mysql")?;
        let data = folder.join("data");
        let install = as_user("mysql", "mariadb-install-db")
            .args(["--no-defaults", "--skip-test-db", "--skip-name-resolve", "--force"])
            .arg("--auth-root-authentication-method=normal")
            .arg(format!("--datadir={}", data.display()))
            .stdin(Stdio::null())
            .output()?;
        if !install.status.success() {
            return Err(io::Error::other(format!(
                "mariadb-install-db failed: {}",
                String::from_utf8_lossy(&install.stderr)
            )));
        }
        let init = folder.join("init.sql");
        std::fs::write(
            &init,
            "CREATE DATABASE orders;\nCREATE USER 'orders'@'%' IDENTIFIED BY 'orders';\nGRANT ALL ON orders.* TO 'orders'@'%';\n",
        )?;
        let port = self.mysql_port;
        self.spawn(
            "mariadb",
            home,
            as_user("mysql", "mariadbd")
                .arg("--no-defaults")
                .arg(format!("--datadir={}", data.display()))
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
        self.wait(home, "mariadb", || {
            let ping = mariadb(port).args(["-e", "SELECT 1", "orders"]).output();
            ping.is_ok_and(|output| output.status.success())
        })
    }

    fn start_redis(&mut self, home: &Path, port: u16) -> io::Result<()> {
        let folder = own_folder(home, "redis", "redis")?;
        let port_text = port.to_string();
        self.spawn(
            "redis",
            home,
            as_user("redis", "redis-server")
                .args(["--bind", "127.0.0.1", "--port", &port_text, "--save", "", "--appendonly", "no"])
                .arg("--dir")
                .arg(folder),
        )?;
        self.wait(home, "redis", || TcpStream::connect(local(port)).is_ok())
    }

    fn spawn(&mut self, name: &'static str, home: &Path, command: &mut Command) -> io::Result<()> {
        let log = File::create(log_of(home, name))?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        let child = child.map_err(|error| io::Error::other(format!("cannot start {name}: {error}")))?;
        self.processes.push(Process { name, child });
        Ok(())
    }

    /// Waits until `ready`, or says what the process has logged.
    fn wait(&mut self, home: &Path, name: &str, ready: impl Fn() -> bool) -> io::Result<()> {
        let deadline = Instant::now() + START;
        while !ready() {
            let ended = match self.processes.last_mut() {
                Some(process) => process.child.try_wait()?.is_some(),
                None => true,
            };
            if ended || Instant::now() > deadline {
                let log = std::fs::read_to_string(log_of(home, name)).unwrap_or_default();
                return Err(io::Error::other(format!("{name} did not start:\n{log}")));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The CPU that each process, and this one, has used so far.
    pub(crate) fn cpu(&self) -> io::Result<Cpu> {
        let mut used = Cpu::from([("load".to_owned(), seconds_of_cpu(std::process::id())?)]);
        for Process { name, child } in &self.processes {
            used.insert((*name).to_owned(), seconds_of_cpu(child.id())?);
        }
        Ok(used)
    }

    /// Bytes of memory that a process has in use.
    pub(crate) fn memory(&self, name: &str) -> io::Result<u64> {
        let process = self.processes.iter().find(|process| process.name == name);
        let pid = process.map(|process| process.child.id()).ok_or(io::ErrorKind::NotFound)?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib =
            line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|kib| kib.parse::<u64>().ok());
        kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other("the kernel does not tell the memory"))
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

    /// Orders in the database, and how many of them are completed.
    pub(crate) fn count_orders(&self) -> io::Result<(u64, u64)> {
        Ok((
            self.count("SELECT COUNT(*) FROM orders")?,
            self.count("SELECT COUNT(*) FROM orders WHERE status = 'completed'")?,
        ))
    }

    fn count(&self, query: &str) -> io::Result<u64> {
        let output = mariadb(self.mysql_port).args(["-N", "-B", "-e", query, "orders"]).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        text.trim().parse().map_err(|_| {
            io::Error::other(format!("cannot count the orders: {}", String::from_utf8_lossy(&output.stderr)))
        })
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

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Ports that nobody listens on. Another program may take one before it is used; then the start fails.
fn free_ports<const N: usize>() -> io::Result<[u16; N]> {
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
fn bound(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

/// The same, and as `user` when this process is root: neither server wants to be.
fn as_user(user: &str, program: &str) -> Command {
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
fn own_folder(home: &Path, name: &str, user: &str) -> io::Result<PathBuf> {
    let folder = home.join(name);
    std::fs::create_dir(&folder)?;
    if let Some((uid, gid)) = ids(user) {
        let number = |text: &str| text.parse().map_err(io::Error::other);
        std::os::unix::fs::chown(&folder, Some(number(&uid)?), Some(number(&gid)?))?;
    }
    Ok(folder)
}

/// Temporary folders are private; the servers of other users have to pass through.
fn make_readable(home: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(home, std::fs::Permissions::from_mode(0o755))
}

fn mariadb(port: u16) -> Command {
    let mut command = Command::new("mariadb");
    command.args(["--no-defaults", "--protocol=tcp", "-h127.0.0.1", "-uorders", "-porders"]);
    command.arg(format!("-P{port}"));
    command
}

fn is_ready(addr: SocketAddr) -> bool {
    plain::get(addr, "/readyz").is_ok_and(|(status, _)| status == 200)
}

/// User and system time of a process, all its threads together.
fn seconds_of_cpu(pid: u32) -> io::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything; the fields begin after it.
    let fields = stat.rsplit_once(") ").map(|(_, fields)| fields.split(' '));
    let ticks = fields.map(|fields| fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()));
    Ok(ticks.map_or(0.0, Iterator::sum) / TICKS)
}

fn log_of(home: &Path, name: &str) -> PathBuf {
    home.join(format!("{name}.log"))
}
