//! A MariaDB and a Redis for one test, which can be killed, frozen and started again on the same port. Committed
//! transactions survive a kill: durability is on.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, Connection, MySqlConnection, Row};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Process, eventually, killed_with_test};

/// Creates the users and the database, unless they exist. The second user cannot write to a read-only server.
const INIT: &str = "CREATE USER IF NOT EXISTS 'orders'@'%' IDENTIFIED BY 'orders';
GRANT ALL ON *.* TO 'orders'@'%';
CREATE DATABASE IF NOT EXISTS orders CHARACTER SET utf8mb4;
CREATE USER IF NOT EXISTS 'plain'@'%' IDENTIFIED BY 'x';
GRANT ALL ON orders.* TO 'plain'@'%';
";

/// A port that stays reserved for its server while the server is stopped.
///
/// It is below the range of ports for outgoing connections. A socket on the same UDP port, which no server uses, marks it
/// as reserved for other tests.
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

/// A MariaDB server.
pub(crate) struct MariaDb {
    pub(crate) port: Port,
    pub(crate) process: Process,
    /// Additional options.
    options: Vec<String>,
    variables: Vec<(String, String)>,
    /// Declared last: it is removed after the process has ended.
    folder: TempDir,
}

impl MariaDb {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a server with additional options.
    pub(crate) async fn start_with(options: &[&str]) -> Self {
        Self::launch(options, &[]).await
    }

    /// Starts a server with additional options and variables.
    pub(crate) async fn launch(options: &[&str], variables: &[(String, String)]) -> Self {
        let template = std::env::var("ORDERS_TEST_MARIADB").unwrap_or_default();
        assert!(!template.is_empty(), "ORDERS_TEST_MARIADB is not set; scripts/services.sh sets it");
        let folder = create_folder_for("mysql");
        std::fs::write(folder.path().join("init.sql"), INIT).expect("it is ours");
        let copied = Command::new("cp").args(["-a", &template]).arg(folder.path().join("data")).status();
        assert!(copied.is_ok_and(|status| status.success()), "{template} cannot be copied");
        let port = Port::claim();
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let variables = variables.to_vec();
        let process = mariadbd(folder.path(), port.number, &options, &variables);
        let mut server = Self { folder, port, process, options, variables };
        server.wait_until_ready().await;
        server
    }

    /// Starts a primary and its read-only replica.
    pub(crate) async fn with_standby() -> (Self, Option<Self>) {
        let common = ["--log-bin=log", "--binlog-format=ROW", "--log-slave-updates"];
        let (first, second) =
            ([&common[..], &["--server-id=1"]].concat(), [&common[..], &["--server-id=2"]].concat());
        let (primary, standby) = tokio::join!(Self::start_with(&first), Self::start_with(&second));
        // The replica skips the statements of the start, which both servers have executed.
        let position = primary.query_value("SELECT @@gtid_binlog_pos").await;
        standby.execute("RESET MASTER").await;
        standby.execute(&format!("SET GLOBAL gtid_slave_pos = '{position}'")).await;
        standby
            .execute(&format!(
                "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {}, MASTER_USER = 'orders', \
                 MASTER_PASSWORD = 'orders', MASTER_USE_GTID = slave_pos",
                primary.port.number
            ))
            .await;
        standby.execute("START SLAVE").await;
        standby.execute("SET GLOBAL read_only = 1").await;
        (primary, Some(standby))
    }

    /// Makes this replica the primary after it has all transactions. The old primary becomes read-only.
    pub(crate) async fn take_over(&self, primary: &Self) {
        primary.execute("SET GLOBAL read_only = 1").await;
        let position = primary.query_value("SELECT @@gtid_binlog_pos").await;
        eventually("the replica to have all transactions", || async {
            let has =
                self.query_value(&format!("SELECT CAST(MASTER_GTID_WAIT('{position}', 1) AS CHAR)")).await;
            (has == "0").then_some(())
        })
        .await;
        self.promote().await;
    }

    /// Stops the application of transactions of the primary.
    pub(crate) async fn lag(&self) {
        self.execute("STOP SLAVE SQL_THREAD").await;
    }

    /// Makes this replica a primary with the transactions that it has applied.
    pub(crate) async fn promote(&self) {
        self.execute("STOP SLAVE").await;
        self.execute("SET GLOBAL read_only = 0").await;
    }

    /// Returns a server of another kind that was started with this folder, once it responds.
    pub(crate) async fn running(folder: TempDir, port: Port, process: Process) -> Self {
        let mut server = Self { folder, port, process, options: Vec::new(), variables: Vec::new() };
        server.wait_until_ready().await;
        server
    }

    pub(crate) async fn execute(&self, statement: &str) {
        let mut connection = MySqlConnection::connect(&self.url()).await.expect("the server runs");
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.expect(statement);
    }

    pub(crate) async fn query_value(&self, question: &str) -> String {
        self.query_row(question).await.get(0)
    }

    /// Queries one row.
    pub(crate) async fn query_row(&self, question: &str) -> MySqlRow {
        let mut connection = MySqlConnection::connect(&self.url()).await.expect("the server runs");
        let question = AssertSqlSafe(question.to_owned());
        sqlx::raw_sql(question).fetch_one(&mut connection).await.expect("a row")
    }

    pub(crate) fn url(&self) -> String {
        url_on(self.port.number)
    }

    /// Returns the size of the files of all tables.
    pub(crate) fn tables_bytes(&self) -> u64 {
        let folder = self.folder.path().join("data/orders");
        let files = std::fs::read_dir(folder).expect("the folder of the database");
        files.filter_map(|file| file.ok()?.metadata().ok()).map(|file| file.len()).sum()
    }

    /// Starts the process again after its end.
    pub(crate) async fn restart(&mut self) {
        self.process.wait().await;
        self.process = mariadbd(self.folder.path(), self.port.number, &self.options, &self.variables);
        self.wait_until_ready().await;
    }

    async fn wait_until_ready(&mut self) {
        let url = self.url();
        eventually("MariaDB to respond", || {
            assert!(self.process.is_running(), "MariaDB has ended");
            let url = url.clone();
            async move { MySqlConnection::connect(&url).await.ok()?.close().await.ok() }
        })
        .await;
    }
}

/// Returns the URL of the database on a port: its own, or that of a proxy.
pub(crate) fn url_on(port: u16) -> String {
    format!("mysql://orders:orders@127.0.0.1:{port}/orders")
}

/// The same for the user who cannot write to a read-only server.
pub(crate) fn plain_url_on(port: u16) -> String {
    plain_url_on_all(&[port])
}

/// The same with several servers.
pub(crate) fn plain_url_on_all(ports: &[u16]) -> String {
    let hosts: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    format!("mysql://plain:x@{}/orders", hosts.join(","))
}

fn mariadbd(folder: &Path, port: u16, options: &[String], variables: &[(String, String)]) -> Process {
    let mut command = command_as_user("mysql", "mariadbd");
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

/// A Redis server.
pub(crate) struct Redis {
    pub(crate) port: Port,
    pub(crate) process: Process,
    /// The port for other nodes of its cluster.
    pub(crate) bus: Option<Port>,
    /// Additional options.
    options: &'static [&'static str],
    /// Declared last: it is removed after the process has ended.
    folder: TempDir,
}

impl Redis {
    /// Starts a server. A persistent one keeps its data over a restart.
    pub(crate) async fn start(persistent: bool) -> Self {
        Self::start_with(if persistent { &["--appendonly", "yes"] } else { &[] }).await
    }

    /// Starts a node of a cluster, without other nodes and without slots.
    pub(crate) async fn start_in_cluster() -> Self {
        let (folder, port, bus) = (create_folder_for("redis"), Port::claim(), Port::claim());
        // The default is the port plus 10,000, which can be the port of a connection.
        let bus_port = bus.number.to_string();
        let options = ["--cluster-enabled", "yes", "--cluster-port", &bus_port];
        let process = redis_server(folder.path(), port.number, &options);
        let mut server = Self { folder, port, bus: Some(bus), options: &[], process };
        server.wait_until_ready().await;
        server
    }

    async fn start_with(options: &'static [&'static str]) -> Self {
        let folder = create_folder_for("redis");
        let port = Port::claim();
        let process = redis_server(folder.path(), port.number, options);
        let mut server = Self { folder, port, bus: None, options, process };
        server.wait_until_ready().await;
        server
    }

    /// Starts the process again after its end.
    pub(crate) async fn restart(&mut self) {
        self.process.wait().await;
        self.process = redis_server(self.folder.path(), self.port.number, self.options);
        self.wait_until_ready().await;
    }

    /// Sends a command and returns the first line of the response.
    pub(crate) async fn command(&self, words: &str) -> Option<String> {
        send_command(self.port.number, words).await
    }

    /// Waits until the queue contains jobs.
    pub(crate) async fn wait_for_jobs(&self) {
        eventually("jobs in the queue", || async {
            let length = self.command("LLEN orders:queue").await?;
            length.strip_prefix(':')?.parse::<u32>().ok().filter(|length| *length > 0).map(drop)
        })
        .await;
    }

    async fn wait_until_ready(&mut self) {
        let port = self.port.number;
        eventually("Redis to respond", || {
            assert!(self.process.is_running(), "Redis has ended");
            async move { (send_command(port, "PING").await? == "+PONG").then_some(()) }
        })
        .await;
    }
}

/// Sends a command and returns the first line of the response.
async fn send_command(port: u16, words: &str) -> Option<String> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    socket.write_all(format!("{words}\r\n").as_bytes()).await.ok()?;
    let mut response = [0; 64];
    let length = socket.read(&mut response).await.ok()?;
    String::from_utf8_lossy(&response[..length]).lines().next().map(str::to_owned)
}

fn redis_server(folder: &Path, port: u16, options: &[&str]) -> Process {
    let mut command = command_as_user("redis", "redis-server");
    let (port, folder) = (port.to_string(), folder.display().to_string());
    command.args(["--bind", "127.0.0.1", "--port", &port, "--dir", &folder]);
    command.args(["--save", "", "--appendonly", "no", "--daemonize", "no"]).args(options);
    Process::start(command, "Redis")
}

/// Returns the account of a server, which does not run as root. `None` unless the tests run as root.
fn account(name: &str) -> Option<(u32, u32)> {
    if std::fs::metadata("/proc/self").expect("Linux").uid() != 0 {
        return None;
    }
    let id = |kind: &str| -> u32 {
        let output = Command::new("id").args([kind, name]).output().expect("id(1) exists");
        // 65534 is the system user without privileges, if the package of the server has created no user.
        String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or(65_534)
    };
    Some((id("-u"), id("-g")))
}

fn command_as_user(user: &str, program: &str) -> tokio::process::Command {
    let Some((uid, gid)) = account(user) else { return killed_with_test(program) };
    let mut command = killed_with_test("setpriv");
    let (uid, gid) = (uid.to_string(), gid.to_string());
    // A change of the user clears the signal at the end of the parent, so it is set again.
    command.args(["--reuid", &uid, "--regid", &gid, "--clear-groups", "--pdeathsig", "KILL", program]);
    command
}

/// Creates a folder for this user.
fn create_folder_for(user: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    if let Some((uid, gid)) = account(user) {
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("it is ours");
        chown(folder.path(), Some(uid), Some(gid)).expect("root may");
    }
    folder
}
