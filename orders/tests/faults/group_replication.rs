//! Group Replication of MySQL with one primary, and the loss of that primary.
//!
//! MariaDB does not have it. `ORDERS_TEST_MYSQLD` is the path of a `mysqld` of MySQL 8 or later; by default the one in
//! the path is used if it is none of MariaDB.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use tempfile::TempDir;

use crate::failover::read_back_everywhere;
use crate::harness::{Process, eventually, killed_with_test};
use crate::run::Run;
use crate::servers::{MariaDb, Port, plain_url_on_all};
use crate::system::Plan;

/// The name of the group.
const GROUP: &str = "9d4b6c10-5f2e-4d5c-9a3e-0c8a4c5b1f00";
/// Creates the users and the database on each node, and no transaction that others would have to apply.
const INIT: &str = "SET SQL_LOG_BIN = 0;
CREATE USER 'orders'@'%' IDENTIFIED BY 'orders';
GRANT ALL ON *.* TO 'orders'@'%';
CREATE DATABASE orders CHARACTER SET utf8mb4;
CREATE USER 'plain'@'%' IDENTIFIED BY 'x';
GRANT ALL ON orders.* TO 'plain'@'%';
";

/// Returns the `mysqld` of MySQL, if there is one.
fn mysqld() -> Option<String> {
    let program = std::env::var("ORDERS_TEST_MYSQLD").unwrap_or_else(|_| "mysqld".to_owned());
    let version = Command::new(&program).args(["--no-defaults", "--version"]).output().ok()?;
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    (version.contains("Ver ") && !version.contains("MariaDB")).then_some(program)
}

/// The arguments of every start. The tests may run as root.
fn arguments(data: &Path) -> Vec<String> {
    let user = std::env::var("USER").unwrap_or_else(|_| "root".to_owned());
    vec![
        "--no-defaults".to_owned(),
        format!("--user={user}"),
        format!("--datadir={}", data.display()),
        "--innodb-redo-log-capacity=16M".to_owned(),
        "--innodb-buffer-pool-size=64M".to_owned(),
        "--mysqlx=OFF".to_owned(),
        "--secure-file-priv=NULL".to_owned(),
    ]
}

/// Starts three nodes, of which the first one is the primary.
async fn start_group(mysqld: &str) -> Vec<MariaDb> {
    let template = tempfile::tempdir().expect("a temporary folder");
    let data = template.path().join("data");
    let created = Command::new(mysqld).args(arguments(&data)).arg("--initialize-insecure").output();
    let created = created.expect("it can be run");
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));

    let ports: Vec<[Port; 2]> = (0..3).map(|_| [Port::claim(), Port::claim()]).collect();
    let members: Vec<_> = ports.iter().map(|[_, group]| format!("127.0.0.1:{}", group.number)).collect();
    let mut nodes = Vec::new();
    for (n, [port, group]) in ports.into_iter().enumerate() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let copied = Command::new("cp").arg("-a").arg(&data).arg(folder.path().join("data")).status();
        assert!(copied.is_ok_and(|status| status.success()), "the data cannot be copied");
        // Each node has its own identity.
        let _ = std::fs::remove_file(folder.path().join("data/auto.cnf"));
        let node = start_node(mysqld, folder, n + 1, port, group.number, &members).await;
        node.execute(
            "CHANGE REPLICATION SOURCE TO SOURCE_USER = 'orders', SOURCE_PASSWORD = 'orders' \
             FOR CHANNEL 'group_replication_recovery'",
        )
        .await;
        let bootstrap = |on: u8| format!("SET GLOBAL group_replication_bootstrap_group = {on}");
        if n == 0 {
            node.execute(&bootstrap(1)).await;
        }
        node.execute("START GROUP_REPLICATION").await;
        if n == 0 {
            node.execute(&bootstrap(0)).await;
        }
        let state = "SELECT member_state FROM performance_schema.replication_group_members \
                     WHERE member_id = @@server_uuid";
        eventually("the node to be a part of the group", || async {
            (node.query_value(state).await == "ONLINE").then_some(())
        })
        .await;
        nodes.push(node);
    }
    nodes
}

async fn start_node(
    mysqld: &str,
    folder: TempDir,
    number: usize,
    port: Port,
    group: u16,
    members: &[String],
) -> MariaDb {
    let file = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(file("init.sql"), INIT).expect("it is ours");
    let mut command = killed_with_test(mysqld);
    command.args(arguments(&folder.path().join("data"))).args([
        format!("--init-file={}", file("init.sql")),
        format!("--socket={}", file("socket")),
        format!("--pid-file={}", file("pid")),
        format!("--port={}", port.number),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--server-id={number}"),
        "--gtid-mode=ON".to_owned(),
        "--enforce-gtid-consistency=ON".to_owned(),
        "--report-host=127.0.0.1".to_owned(),
        "--plugin-load-add=group_replication.so".to_owned(),
        format!("--loose-group-replication-group-name={GROUP}"),
        "--loose-group-replication-start-on-boot=OFF".to_owned(),
        format!("--loose-group-replication-local-address=127.0.0.1:{group}"),
        format!("--loose-group-replication-group-seeds={}", members.join(",")),
        "--loose-group-replication-recovery-get-public-key=ON".to_owned(),
        "--loose-group-replication-member-expel-timeout=0".to_owned(),
    ]);
    let process = Process::start(command, format!("MySQL {number}"));
    MariaDb::running(folder, port, process).await
}

/// The primary is killed under load, and the group elects another one.
#[tokio::test(flavor = "multi_thread")]
async fn group_replication() {
    let Some(mysqld) = mysqld() else {
        println!("group_replication: skipped, because no mysqld of MySQL is installed (ORDERS_TEST_MYSQLD)");
        return;
    };
    let mut nodes = start_group(&mysqld).await;
    let ports: Vec<u16> = nodes.iter().map(|node| node.port.number).collect();
    let first = nodes.remove(0);
    let url = plain_url_on_all(&ports);
    let mut run = Run::on_cluster("group_replication", Plan::patient(), first, url).await;
    run.system.mariadb().process.kill();
    run.system.database_url = eventually("another primary", || async {
        for node in &nodes {
            if node.query_value("SELECT CAST(@@global.super_read_only AS CHAR)").await == "0" {
                return Some(node.url());
            }
        }
        None
    })
    .await;
    run.clients.wait_until_accepted_everywhere(Instant::now()).await;
    read_back_everywhere(&run).await;
    run.reconcile().await.costs_creates();
}
