//! A MariaDB and a Redis that belong to one test, to be killed, frozen and started again, always on
//! the same port. What MariaDB has committed survives a kill: durability is on.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use sqlx::{AssertSqlSafe, Connection, MySqlConnection, Row};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Process, eventually, killed_with_test};

/// Makes the users and the database, unless they are there. The second user may do less than write to a server that is
/// read-only.
const INIT: &str = "CREATE USER IF NOT EXISTS 'orders'@'%' IDENTIFIED BY 'orders';
GRANT ALL ON *.* TO 'orders'@'%';
CREATE DATABASE IF NOT EXISTS orders CHARACTER SET utf8mb4;
CREATE USER IF NOT EXISTS 'plain'@'%' IDENTIFIED BY 'x';
GRANT ALL ON orders.* TO 'plain'@'%';
";

/// A port that stays free for its server while that is away. It is below the range that the kernel
/// gives to outgoing connections, and the same port of UDP, which nobody needs, tells other tests that
/// it is taken.
pub(crate) struct Port {
    pub(crate) number: u16,
    _claim: UdpSocket,
}

impl Port {
    pub(crate) fn claim() -> Self {
        loop {
            let number = 20_000 + RandomState::new().build_hasher().finish() % 12_000;
            let number = u16::try_from(number).expect("it is below 32,000");
            let claim = UdpSocket::bind(("127.0.0.1", number));
            if let (Ok(_claim), Ok(_)) = (claim, TcpListener::bind(("127.0.0.1", number))) {
                return Self { number, _claim };
            }
        }
    }
}

pub(crate) struct MariaDb {
    pub(crate) port: Port,
    pub(crate) process: Process,
    /// Besides the usual ones.
    options: Vec<String>,
    variables: Vec<(String, String)>,
    /// Outlives the process.
    folder: TempDir,
}

impl MariaDb {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// One that is also started with these options.
    pub(crate) async fn start_with(options: &[&str]) -> Self {
        Self::launch(options, &[]).await
    }

    /// One whose process has these variables as well.
    pub(crate) async fn launch(options: &[&str], variables: &[(String, String)]) -> Self {
        let template = std::env::var("ORDERS_TEST_MARIADB").unwrap_or_default();
        assert!(!template.is_empty(), "ORDERS_TEST_MARIADB is not set; scripts/services.sh sets it");
        let folder = folder_of("mysql");
        std::fs::write(folder.path().join("init.sql"), INIT).expect("it is ours");
        let copied = Command::new("cp").args(["-a", &template]).arg(folder.path().join("data")).status();
        assert!(copied.is_ok_and(|status| status.success()), "{template} cannot be copied");
        let port = Port::claim();
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let variables = variables.to_vec();
        let process = mariadbd(folder.path(), port.number, &options, &variables);
        let mut server = Self { folder, port, process, options, variables };
        server.answers().await;
        server
    }

    /// A primary and its replica, which is read-only.
    pub(crate) async fn with_standby() -> (Self, Option<Self>) {
        let common = ["--log-bin=log", "--binlog-format=ROW", "--log-slave-updates"];
        let (first, second) =
            ([&common[..], &["--server-id=1"]].concat(), [&common[..], &["--server-id=2"]].concat());
        let (primary, standby) = tokio::join!(Self::start_with(&first), Self::start_with(&second));
        // What both did when they started is not copied.
        let position = primary.value("SELECT @@gtid_binlog_pos").await;
        standby.run("RESET MASTER").await;
        standby.run(&format!("SET GLOBAL gtid_slave_pos = '{position}'")).await;
        standby
            .run(&format!(
                "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {}, MASTER_USER = 'orders', \
                 MASTER_PASSWORD = 'orders', MASTER_USE_GTID = slave_pos",
                primary.port.number
            ))
            .await;
        standby.run("START SLAVE").await;
        standby.run("SET GLOBAL read_only = 1").await;
        (primary, Some(standby))
    }

    /// Makes this replica the primary, when it has all that the present one has. That one becomes read-only.
    pub(crate) async fn take_over(&self, primary: &Self) {
        primary.run("SET GLOBAL read_only = 1").await;
        let position = primary.value("SELECT @@gtid_binlog_pos").await;
        eventually("the replica to have everything", || async {
            let has = self.value(&format!("SELECT CAST(MASTER_GTID_WAIT('{position}', 1) AS CHAR)")).await;
            (has == "0").then_some(())
        })
        .await;
        self.promote().await;
    }

    /// Stops carrying out what the primary does.
    pub(crate) async fn lag(&self) {
        self.run("STOP SLAVE SQL_THREAD").await;
    }

    /// Makes this replica a primary with what it has carried out.
    pub(crate) async fn promote(&self) {
        self.run("STOP SLAVE").await;
        self.run("SET GLOBAL read_only = 0").await;
    }

    async fn run(&self, statement: &str) {
        let mut connection = MySqlConnection::connect(&self.url()).await.expect("the server is there");
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.expect(statement);
    }

    async fn value(&self, question: &str) -> String {
        let mut connection = MySqlConnection::connect(&self.url()).await.expect("the server is there");
        let row = sqlx::raw_sql(AssertSqlSafe(question.to_owned()))
            .fetch_one(&mut connection)
            .await
            .expect(question);
        row.get(0)
    }

    pub(crate) fn url(&self) -> String {
        url_on(self.port.number)
    }

    /// Starts it after its end.
    pub(crate) async fn restart(&mut self) {
        self.process.wait().await;
        self.process = mariadbd(self.folder.path(), self.port.number, &self.options, &self.variables);
        self.answers().await;
    }

    async fn answers(&mut self) {
        let url = self.url();
        eventually("MariaDB to answer", || {
            assert!(self.process.is_running(), "MariaDB has ended");
            let url = url.clone();
            async move { MySqlConnection::connect(&url).await.ok()?.close().await.ok() }
        })
        .await;
    }
}

/// The database as it is reached over a port: its own, or a proxy's.
pub(crate) fn url_on(port: u16) -> String {
    format!("mysql://orders:orders@127.0.0.1:{port}/orders")
}

/// The same for the user who may not write to a server that is read-only.
pub(crate) fn plain_url_on(port: u16) -> String {
    format!("mysql://plain:x@127.0.0.1:{port}/orders")
}

fn mariadbd(folder: &Path, port: u16, options: &[String], variables: &[(String, String)]) -> Process {
    let mut command = dropped("mysql", "mariadbd");
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    command.arg("--no-defaults");
    for (option, file) in [
        ("datadir", "data"),
        ("tmpdir", ""),
        ("init-file", "init.sql"),
        ("socket", "socket"),
        ("pid-file", "pid"),
    ] {
        command.arg(format!("--{option}={}", folder.join(file).display()));
    }
    command.arg(format!("--port={port}")).args([
        "--bind-address=127.0.0.1",
        "--skip-name-resolve",
        "--max-connections=200",
        "--character-set-server=utf8mb4",
        "--collation-server=utf8mb4_bin",
        "--performance-schema=OFF",
        "--innodb-buffer-pool-size=64M",
        "--innodb-log-file-size=16M",
        "--innodb-flush-log-at-trx-commit=1",
        "--innodb-doublewrite=1",
        "--skip-log-bin",
    ]);
    command.args(options);
    Process::start(command, "MariaDB")
}

pub(crate) struct Redis {
    pub(crate) port: Port,
    pub(crate) process: Process,
    /// The port for other nodes of its cluster.
    pub(crate) bus: Option<Port>,
    /// Besides the usual ones.
    options: &'static [&'static str],
    /// Outlives the process.
    folder: TempDir,
}

impl Redis {
    /// A persistent one comes back with what it held.
    pub(crate) async fn start(persistent: bool) -> Self {
        Self::start_with(if persistent { &["--appendonly", "yes"] } else { &[] }).await
    }

    /// A node of a cluster, which knows no other one and has no slot.
    pub(crate) async fn start_in_cluster() -> Self {
        let (folder, port, bus) = (folder_of("redis"), Port::claim(), Port::claim());
        // Without this it is the port plus 10,000, which may be the port of a connection.
        let bus_port = bus.number.to_string();
        let options = ["--cluster-enabled", "yes", "--cluster-port", &bus_port];
        let process = redis_server(folder.path(), port.number, &options);
        let mut server = Self { folder, port, bus: Some(bus), options: &[], process };
        server.answers().await;
        server
    }

    async fn start_with(options: &'static [&'static str]) -> Self {
        let folder = folder_of("redis");
        let port = Port::claim();
        let process = redis_server(folder.path(), port.number, options);
        let mut server = Self { folder, port, bus: None, options, process };
        server.answers().await;
        server
    }

    /// Starts it after its end.
    pub(crate) async fn restart(&mut self) {
        self.process.wait().await;
        self.process = redis_server(self.folder.path(), self.port.number, self.options);
        self.answers().await;
    }

    /// Sends a command and returns the first line of the answer.
    pub(crate) async fn command(&self, words: &str) -> Option<String> {
        ask(self.port.number, words).await
    }

    /// Waits until the queue holds some.
    pub(crate) async fn has_jobs(&self) {
        eventually("jobs in the queue", || async {
            let length = self.command("LLEN orders:queue").await?;
            length.strip_prefix(':')?.parse::<u32>().ok().filter(|length| *length > 0).map(drop)
        })
        .await;
    }

    async fn answers(&mut self) {
        let port = self.port.number;
        eventually("Redis to answer", || {
            assert!(self.process.is_running(), "Redis has ended");
            async move { (ask(port, "PING").await? == "+PONG").then_some(()) }
        })
        .await;
    }
}

/// The first line of the answer to a command.
async fn ask(port: u16, words: &str) -> Option<String> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    socket.write_all(format!("{words}\r\n").as_bytes()).await.ok()?;
    let mut answer = [0; 64];
    let length = socket.read(&mut answer).await.ok()?;
    String::from_utf8_lossy(&answer[..length]).lines().next().map(str::to_owned)
}

fn redis_server(folder: &Path, port: u16, options: &[&str]) -> Process {
    let mut command = dropped("redis", "redis-server");
    let (port, folder) = (port.to_string(), folder.display().to_string());
    command.args(["--bind", "127.0.0.1", "--port", &port, "--dir", &folder]);
    command.args(["--save", "", "--appendonly", "no", "--daemonize", "no"]).args(options);
    Process::start(command, "Redis")
}

/// The account of a server: root has no business in one. `None` when the tests are not root either.
fn account(name: &str) -> Option<(u32, u32)> {
    if std::fs::metadata("/proc/self").expect("Linux").uid() != 0 {
        return None;
    }
    let id = |kind: &str| -> u32 {
        let output = Command::new("id").args([kind, name]).output().expect("id(1) is there");
        // `nobody`, where the server's package has made no user.
        String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or(65_534)
    };
    Some((id("-u"), id("-g")))
}

fn dropped(user: &str, program: &str) -> tokio::process::Command {
    let Some((uid, gid)) = account(user) else { return killed_with_test(program) };
    let mut command = killed_with_test("setpriv");
    let (uid, gid) = (uid.to_string(), gid.to_string());
    // A change of the user undoes the bond: it is tied again after it.
    command.args(["--reuid", &uid, "--regid", &gid, "--clear-groups", "--pdeathsig", "KILL", program]);
    command
}

/// A folder that this user may write to.
fn folder_of(user: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    if let Some((uid, gid)) = account(user) {
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("it is ours");
        chown(folder.path(), Some(uid), Some(gid)).expect("root may");
    }
    folder
}
