//! Databases of several servers in `DATABASE_URL`: the gateways find the primary at start, after a switchover and after the
//! loss of the primary.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use tempfile::NamedTempFile;

use crate::harness::{Api, Process, killed_with_test};
use crate::run::Run;
use crate::servers::{MariaDb, Port, plain_url_on_all};
use crate::system::Plan;
use crate::topology::{lacks_galera, read_back_some, start_galera};

/// Orders that each gateway creates for each other one to read.
const READ_BACK: usize = 15;

/// Creates orders on each gateway, and reads each at once on both.
pub(crate) async fn read_back_everywhere(run: &Run) {
    let apis: Vec<Api> = run.system.http.iter().cloned().map(Api::new).collect();
    for write in &apis {
        for read in &apis {
            read_back_some(READ_BACK, write, read).await;
        }
    }
}

/// The replica is the first host of the list. A planned switchover: the old primary stays up, read-only, and keeps its
/// connections.
#[tokio::test(flavor = "multi_thread")]
async fn host_list_switchover() {
    let (primary, standby) = MariaDb::semi_synchronous_pair().await;
    let url = plain_url_on_all(&[standby.port.number, primary.port.number]);
    let mut run = Run::on_cluster("host_list_switchover", Plan::patient(), primary, url).await;
    standby.take_over(run.system.mariadb()).await;
    run.system.database_url = standby.url();
    run.clients.wait_until_accepted_everywhere(Instant::now()).await;
    read_back_everywhere(&run).await;
    run.reconcile().await.costs_creates();
}

/// The primary is killed under load, and the replica, which has confirmed each transaction, becomes the primary.
#[tokio::test(flavor = "multi_thread")]
async fn host_list_failover() {
    let (primary, standby) = MariaDb::semi_synchronous_pair().await;
    let url = plain_url_on_all(&[standby.port.number, primary.port.number]);
    let mut run = Run::on_cluster("host_list_failover", Plan::patient(), primary, url).await;
    run.system.mariadb().process.kill();
    standby.promote_with_all_received().await;
    run.system.database_url = standby.url();
    run.clients.wait_until_accepted_everywhere(Instant::now()).await;
    read_back_everywhere(&run).await;
    run.reconcile().await.costs_creates();
}

/// Kills the first node, waits until its gateways work on another one, and checks all orders there.
async fn lose_the_first_node(mut run: Run, others: &[MariaDb]) {
    run.system.mariadb().process.kill();
    run.system.database_url = others[0].url();
    run.clients.wait_until_accepted_everywhere(Instant::now()).await;
    read_back_everywhere(&run).await;
    run.reconcile().await.costs_creates();
}

fn ports(nodes: &[MariaDb]) -> Vec<u16> {
    nodes.iter().map(|node| node.port.number).collect()
}

/// All nodes accept changes, and all gateways use the first one of the same list until it is killed.
#[tokio::test(flavor = "multi_thread")]
async fn galera_one_writer() {
    if lacks_galera("galera_one_writer") {
        return;
    }
    let mut nodes = start_galera().await;
    let url = plain_url_on_all(&ports(&nodes));
    let first = nodes.remove(0);
    let run = Run::on_cluster("galera_one_writer", Plan::patient(), first, url).await;
    lose_the_first_node(run, &nodes).await;
}

/// Each gateway writes to another node.
#[tokio::test(flavor = "multi_thread")]
async fn galera_several_writers() {
    if lacks_galera("galera_several_writers") {
        return;
    }
    let mut nodes = start_galera().await;
    let mut ports = ports(&nodes);
    let first_gateway = plain_url_on_all(&ports);
    ports.rotate_left(1);
    let gateway_variables = vec![("DATABASE_URL".to_owned(), first_gateway)];
    let plan = Plan { gateway_variables, ..Plan::patient() };
    let first = nodes.remove(0);
    let run = Run::on_cluster("galera_several_writers", plan, first, plain_url_on_all(&ports)).await;
    lose_the_first_node(run, &nodes).await;
}

/// HAProxy leads all gateways to one node, and ends their connections when it is lost.
#[tokio::test(flavor = "multi_thread")]
async fn galera_behind_haproxy() {
    if lacks_galera("galera_behind_haproxy") {
        return;
    }
    if Command::new("haproxy").arg("-v").output().is_err() {
        println!("galera_behind_haproxy: skipped, because haproxy is not installed");
        return;
    }
    let mut nodes = start_galera().await;
    let port = Port::claim();
    let (_configuration, _balancer) = start_haproxy(&port, &ports(&nodes));
    let first = nodes.remove(0);
    let url = plain_url_on_all(&[port.number]);
    let run = Run::on_cluster("galera_behind_haproxy", Plan::patient(), first, url).await;
    lose_the_first_node(run, &nodes).await;
}

/// Starts a balancer that uses the first node that accepts connections.
fn start_haproxy(port: &Port, nodes: &[u16]) -> (NamedTempFile, Process) {
    let mut configuration = NamedTempFile::new().expect("a temporary file");
    let mut lines = format!(
        "defaults\n mode tcp\n timeout connect 1s\n timeout client 1h\n timeout server 1h\n\
         listen orders\n bind 127.0.0.1:{}\n \
         default-server check inter 300ms fall 2 rise 2 on-marked-down shutdown-sessions\n",
        port.number
    );
    for (n, node) in nodes.iter().enumerate() {
        let role = if n == 0 { "" } else { "backup" };
        lines.push_str(&format!(" server node{n} 127.0.0.1:{node} {role}\n"));
    }
    configuration.write_all(lines.as_bytes()).expect("it is ours");
    let mut command = killed_with_test("haproxy");
    command.args(["-db", "-f"]).arg::<&Path>(configuration.path());
    (configuration, Process::start(command, "HAProxy"))
}
