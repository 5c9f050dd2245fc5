//! Databases of more than one server: a switchover to a replica while the old primary keeps running, and a Galera cluster.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection, MySqlConnection, Row};

use crate::harness::{Api, Process, command, eventually, run};
use crate::ledger;
use crate::run::Run;
use crate::servers::{MariaDb, Port, Redis};
use crate::system::{Plan, wait_until_ready};

/// The library of Galera on Debian and Ubuntu.
const GALERA: &str = "/usr/lib/galera/libgalera_smm.so";
/// Orders that are created on one gateway and read on another.
const READ_BACK: usize = 60;

/// Creates orders on one gateway and reads each on another one at once.
async fn read_back(write: &Api, read: &Api) {
    read_back_some(READ_BACK, write, read).await;
}

/// The same with this number of orders.
pub(crate) async fn read_back_some(orders: usize, write: &Api, read: &Api) {
    for _ in 0..orders {
        let id = eventually("an order to be accepted", || async {
            let (status, order) = write.post("/orders", &new_order()).await;
            (status == 201).then(|| order["id"].as_str().map(str::to_owned))?
        })
        .await;
        // A gateway that has just lost its connections responds with 503, never with 404.
        eventually("a response", || async {
            let (status, order) = read.get(&format!("/orders/{id}")).await;
            assert!(status == 200 || status == 503, "{status} {order}");
            (status == 200).then_some(())
        })
        .await;
    }
}

/// The load balancer sends new connections to the new primary and keeps the open ones.
#[tokio::test(flavor = "multi_thread")]
async fn switchover() {
    let plan = Plan { standby: true, ..Plan::patient() };
    let mut run = Run::on_servers("switchover", plan).await;
    run.system.switch_over().await;
    run.clients.wait_until_accepted_everywhere(Instant::now()).await;
    for http in run.system.http.clone() {
        let api = Api::new(http);
        read_back(&api, &api).await;
    }
    run.reconcile().await.costs_creates();
}

/// The new primary has not applied the last transactions. Their orders are lost, as with every asynchronous replication.
/// All other orders follow the rules, independent of what gateways and workers remember.
#[tokio::test(flavor = "multi_thread")]
async fn lagging_replica() {
    let plan = Plan { standby: true, ..Plan::default() };
    let mut run = Run::on_servers("lagging_replica", plan).await;
    run.system.let_standby_lag().await;
    run.clients.wait_until_accepted(150).await;
    run.system.fail_over().await;
    run.clients.wait_until_accepted_everywhere(Instant::now()).await;
    run.clients.stop().await;
    let url = run.system.database_url.clone();
    eventually("every order to be final", || async {
        ledger::unfinished(&url).await.is_empty().then_some(())
    })
    .await;
    run.system.stop().await;

    let orders = ledger::read_orders(&url).await;
    let mut references = BTreeSet::new();
    for order in &orders {
        let last = order.events.last().map(|(_, status)| status.as_str());
        assert_eq!(
            (order.status.as_str(), last),
            ("completed", Some("completed")),
            "{} {:?}",
            order.id,
            order.events
        );
        assert!(references.insert(&order.reference), "{} has two orders", order.reference);
    }
    let (accepted, lost) = run.clients.with_ledger(|ledger| {
        let lost = ledger.accepted.keys().filter(|reference| !references.contains(reference)).count();
        (ledger.accepted.len(), lost)
    });
    assert!(lost > 0, "the replica had all transactions");
    println!("lagging_replica: accepted {accepted}, {lost} lost with the primary");
    let (no_findings, doctor) = run.system.doctor().await;
    assert!(no_findings, "{doctor}");
}

/// Queries one value of a server.
async fn query_value(url: &str, question: &str) -> Option<String> {
    let mut connection = MySqlConnection::connect(url).await.ok()?;
    let row = sqlx::raw_sql(AssertSqlSafe(question.to_owned())).fetch_one(&mut connection).await.ok()?;
    row.try_get(row.len() - 1).ok()
}

/// Returns whether a node of Galera cannot be started, and prints that the test is skipped.
pub(crate) fn lacks_galera(test: &str) -> bool {
    let lacks = !Path::new(GALERA).is_file() || !Path::new("/usr/bin/rsync").is_file();
    if lacks {
        println!("{test}: skipped, because galera-4 or rsync is not installed");
    }
    lacks
}

/// Starts the nodes of a cluster, which all accept writes.
pub(crate) async fn start_galera() -> Vec<MariaDb> {
    let ports: Vec<[Port; 3]> = (0..3).map(|_| [Port::claim(), Port::claim(), Port::claim()]).collect();
    let members: Vec<_> = ports.iter().map(|[group, ..]| format!("127.0.0.1:{}", group.number)).collect();
    let mut nodes = Vec::new();
    for (n, [group, increments, snapshot]) in ports.iter().enumerate() {
        let (group, increments, snapshot) = (group.number, increments.number, snapshot.number);
        let members = if n == 0 { String::new() } else { members.join(",") };
        let options = [
            "--binlog-format=ROW".to_owned(),
            "--innodb-autoinc-lock-mode=2".to_owned(),
            "--wsrep-on=ON".to_owned(),
            format!("--wsrep-provider={GALERA}"),
            format!("--wsrep-cluster-address=gcomm://{members}"),
            "--wsrep-sst-method=rsync".to_owned(),
            format!("--wsrep-node-address=127.0.0.1:{group}"),
            format!("--wsrep-sst-receive-address=127.0.0.1:{snapshot}"),
            format!(
                "--wsrep-provider-options=gmcast.listen_addr=tcp://127.0.0.1:{group};ist.recv_addr=127.0.0.1:{increments}"
            ),
        ];
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let node = MariaDb::start_with(&options).await;
        let url = node.url();
        eventually("the node to be a part of the cluster", || async {
            (query_value(&url, "SHOW STATUS LIKE 'wsrep_local_state_comment'").await? == "Synced")
                .then_some(())
        })
        .await;
        nodes.push(node);
    }
    nodes
}

fn start_gateway(folder: &Path, node: &MariaDb, redis: &str, number: usize) -> Process {
    let arguments = ["gateway", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"];
    let url = node.url();
    let variables = [("DATABASE_URL", url.as_str()), ("REDIS_URL", redis)];
    Process::start(command(folder, &arguments, &variables), format!("gateway {number}"))
}

/// Three gateways, each on a separate node, start at once on an empty database.
#[tokio::test(flavor = "multi_thread")]
async fn galera_cluster() {
    if lacks_galera("galera_cluster") {
        return;
    }
    let (mut nodes, redis) = tokio::join!(start_galera(), Redis::start(false));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = format!("redis://127.0.0.1:{}", redis.port.number);
    let mut gateways: Vec<_> =
        nodes.iter().enumerate().map(|(n, node)| start_gateway(folder.path(), node, &redis, n)).collect();
    let mut apis = Vec::new();
    for gateway in &mut gateways {
        apis.push(wait_until_ready(gateway).await);
    }
    for n in 0..apis.len() {
        read_back(&apis[n], &apis[(n + 1) % apis.len()]).await;
    }

    // A dead node affects its gateway and no other.
    nodes.remove(0).process.kill();
    read_back(&apis[1], &apis[2]).await;
    assert_eq!(apis[0].post("/orders", &new_order()).await.0, 503);
    // A node without a quorum rejects every statement.
    nodes.remove(0).process.kill();
    let url = nodes[0].url();
    eventually("the loss of the quorum", || async {
        (query_value(&url, "SHOW STATUS LIKE 'wsrep_cluster_status'").await? != "Primary").then_some(())
    })
    .await;
    for _ in 0..20 {
        let (status, problem) = apis[2].post("/orders", &new_order()).await;
        assert_eq!((status, &problem["code"]), (503, &"database_unavailable".into()), "{problem}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let recover = "SET GLOBAL wsrep_provider_options = 'pc.bootstrap=1'";
    let mut connection = MySqlConnection::connect(&url).await.expect("the server runs");
    sqlx::raw_sql(recover).execute(&mut connection).await.expect("the statement needs no quorum");
    eventually("the last node to accept orders", || async { apis[2].try_create().await }).await;
    for gateway in &gateways {
        gateway.terminate();
    }
    let output = run(folder.path(), &["doctor"], &[("DATABASE_URL", &url)]).await;
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&text));
}

/// Returns an order with a unique reference.
fn new_order() -> serde_json::Value {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let reference = format!("read back {}", NEXT.fetch_add(1, Ordering::Relaxed));
    serde_json::json!({"item": "x", "quantity": 1, "price": 1, "externalReference": reference})
}
