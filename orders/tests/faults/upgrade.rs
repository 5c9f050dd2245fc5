//! Killed migrations, and databases that are not ready when a gateway starts.

use std::path::Path;
use std::time::Instant;

use gateway::Store;
use gateway::store::Options;
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};

use crate::harness::{Process, command, eventually, killed_with_test};
use crate::servers::{MariaDb, Redis, plain_url_on};
use crate::system::wait_until_ready;

/// Orders of the old database: enough for several transactions of each step.
const ORDERS: usize = 12_000;
/// The version of the old database.
const OLD: i64 = 4;
const FREE: [&str; 4] = ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"];

async fn run_sql(url: &str, statement: String) {
    let mut connection = MySqlConnection::connect(url).await.expect("the server runs");
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.expect("the statement succeeds");
}

async fn query_count(url: &str, question: &'static str) -> i64 {
    let mut connection = MySqlConnection::connect(url).await.expect("the server runs");
    sqlx::query_scalar(question).fetch_one(&mut connection).await.expect(question)
}

/// Creates the database of an earlier version of the program.
async fn create_old_orders(url: &str) {
    let mut connection = MySqlConnection::connect(url).await.expect("the server runs");
    migration_files().await.run_to(OLD, &mut connection).await.expect("an empty database");
    let numbers: Vec<usize> = (1..=ORDERS).collect();
    for numbers in numbers.chunks(1_000) {
        let values = |row: &dyn Fn(&usize) -> String| numbers.iter().map(row).collect::<Vec<_>>().join(",");
        let orders = values(&|n| {
            format!("(x'{n:032}', 'default', '[]', 'USD', 1, 1, 'completed', 3, 1, 0, 5, 7, NULL, 1, 1, 3)")
        });
        run_sql(
            url,
            format!(
                "INSERT INTO orders (id, tenant_id, line_items, currency, total_minor, quantity, status, version, \
                 attempt, failures, max_attempts, lease_token, due_at, not_before, created_at, updated_at) VALUES {orders}"
            ),
        )
        .await;
        let events = values(&|n| {
            format!(
                "(x'{n:032}', 1, 'pending', NULL, 0, NULL, 1), (x'{n:032}', 2, 'processing', 'pending', 1, NULL, 2), \
                 (x'{n:032}', 3, 'completed', 'processing', 1, NULL, 3)"
            )
        });
        run_sql(
            url,
            format!(
                "INSERT INTO order_events (order_id, sequence, status, previous_status, attempt, reason, occurred_at) \
                 VALUES {events}"
            ),
        )
        .await;
    }
}

/// The database of [`migrate_in_separate_process`].
const MIGRATED: &str = "ORDERS_TEST_MIGRATED_URL";

async fn migration_files() -> Migrator {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/tests/upgrade/mysql");
    Migrator::new(folder).await.expect("the files exist")
}

/// The process that [`killed_migration`] kills: this test program, which runs only this test.
#[tokio::test]
#[ignore = "killed_migration runs it in a separate process"]
async fn migrate_in_separate_process() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let url = std::env::var(MIGRATED).expect("killed_migration sets the database");
    let store = Store::connect(&url, &Options::default()).await.expect("the server runs");
    store.migrate_to(&migration_files().await, &|| true).await.expect("the migration succeeds");
    store.close().await;
}

fn start_migration(url: &str) -> Process {
    let program = std::env::current_exe().expect("it runs");
    let mut command = killed_with_test(program.to_str().expect("a path in UTF-8"));
    let test = "upgrade::migrate_in_separate_process";
    command.args(["--exact", test, "--ignored", "--nocapture"]).env(MIGRATED, url);
    Process::start(command, "a migration")
}

/// The migration is killed after each line that it logs: at the start of each step, and within long steps.
#[tokio::test(flavor = "multi_thread")]
async fn killed_migration() {
    let mariadb = MariaDb::start().await;
    let url = mariadb.url();
    create_old_orders(&url).await;
    let begun = Instant::now();
    let mut kills = 0;
    loop {
        // Two kills after each number of lines. From three lines on, a step finishes between them.
        let lines = 1 + kills / 2;
        let mut migrating = start_migration(&url);
        let killed = eventually("a line of the migration, or its end", || {
            let ended = !migrating.is_running();
            let logged = migrating.count_logged("migrat") >= lines;
            std::future::ready(if ended { Some(false) } else { logged.then_some(true) })
        })
        .await;
        if !killed {
            migrating.wait_for_success().await;
            break;
        }
        migrating.kill();
        migrating.wait().await;
        kills += 1;
    }
    assert!(kills >= 5, "{kills} kills");
    assert_eq!(
        query_count(&url, "SELECT COUNT(*) FROM orders WHERE stage = 'completed'").await,
        ORDERS as i64
    );
    let previous = "SELECT COUNT(*) FROM orders WHERE previous_status = 'processing' AND previous_at = 2";
    assert_eq!(query_count(&url, previous).await, ORDERS as i64);
    let left = "SELECT COUNT(*) FROM order_events";
    assert_eq!(query_count(&url, left).await, 0, "every event is in its order's row");
    println!("killed_migration: {kills} kills, {:.1} s", begun.elapsed().as_secs_f64());
}

/// Starts a gateway on these servers, with a user who can only change the rows of this database.
fn start_gateway_as_plain_user(folder: &Path, mariadb: &MariaDb, redis: &Redis) -> Process {
    let url = plain_url_on(mariadb.port.number);
    let redis = format!("redis://127.0.0.1:{}", redis.port.number);
    let arguments = [&["gateway"][..], &FREE].concat();
    Process::start(command(folder, &arguments, &[("DATABASE_URL", &url), ("REDIS_URL", &redis)]), "gateway")
}

/// A gateway starts during a failover.
#[tokio::test(flavor = "multi_thread")]
async fn started_while_read_only() {
    let (mariadb, redis) = tokio::join!(MariaDb::start(), Redis::start(false));
    let folder = tempfile::tempdir().expect("a temporary folder");
    // First without tables, then with them.
    for _ in 0..2 {
        run_sql(&mariadb.url(), "SET GLOBAL read_only = 1".to_owned()).await;
        let mut gateway = start_gateway_as_plain_user(folder.path(), &mariadb, &redis);
        let is_waiting = |line: &str| {
            (line.contains("waiting for the database") && line.contains("read-only")).then_some(())
        };
        gateway.wait_for_log("the reason of its wait", is_waiting).await;
        assert!(gateway.is_running());
        run_sql(&mariadb.url(), "SET GLOBAL read_only = 0".to_owned()).await;
        wait_until_ready(&mut gateway).await.create().await;
        gateway.terminate();
        gateway.wait_for_success().await;
    }
}

/// At the isolation level of the program such a server rejects every change.
#[tokio::test(flavor = "multi_thread")]
async fn statements_in_the_binary_log() {
    let mariadb = MariaDb::start_with(&["--log-bin=log", "--binlog-format=STATEMENT", "--server-id=1"]);
    let (mariadb, redis) = tokio::join!(mariadb, Redis::start(false));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis_url = format!("redis://127.0.0.1:{}", redis.port.number);
    let arguments = [&["gateway"][..], &FREE].concat();
    let url = mariadb.url();
    let variables = [("DATABASE_URL", url.as_str()), ("REDIS_URL", &redis_url)];
    // This user can set the format of its connections.
    let mut gateway = Process::start(command(folder.path(), &arguments, &variables), "gateway");
    wait_until_ready(&mut gateway).await.create().await;
    gateway.terminate();
    gateway.wait_for_success().await;
    // This user cannot.
    let mut gateway = start_gateway_as_plain_user(folder.path(), &mariadb, &redis);
    let error_line = |line: &str| line.starts_with("error: ").then(|| line.to_owned());
    let error = gateway.wait_for_log("the error", error_line).await;
    assert!(error.contains("binlog_format=STATEMENT") && error.contains("BINLOG ADMIN"), "{error}");
    gateway.wait_for_log("the hint", |line| line.starts_with("hint: ").then_some(())).await;
    assert_eq!(gateway.wait().await.code(), Some(1));
}
