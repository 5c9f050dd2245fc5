//! Errors of the database have the same code on every API and leave no partial writes.
//!
//! Requests succeed again when the cause is gone.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gateway::Store;
use gateway::store::{Error as StoreError, LogPage, Options, Outage};
use serde_json::{Value, json};
use test_database::Database;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use crate::harness::{Backend, Gateway, On, eventually, quick};
use crate::on_both;

/// Maximum time of every response.
const TOO_LONG: Duration = Duration::from_secs(15);

async fn run(connection: &mut Database, sql: String) {
    connection.run(sql).await.unwrap();
}

/// POSTs, and returns the status, the code of the problem and whether `Retry-After` is present.
async fn post(gateway: &Gateway<'_>, path: &str, body: &Value) -> (u16, String, bool) {
    let request = gateway.client.post(gateway.url(path)).header("content-type", "application/json");
    let response = request.body(body.to_string()).timeout(TOO_LONG).send().await.unwrap();
    let retry = response.headers().contains_key("retry-after");
    let status = response.status().as_u16();
    let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    (status, body["code"].as_str().unwrap_or_default().to_owned(), retry)
}

fn laptop() -> Value {
    json!({"item": "Laptop", "quantity": 1, "price": 1})
}

async fn create(gateway: &Gateway<'_>) -> (u16, String, bool) {
    post(gateway, "/orders", &laptop()).await
}

async fn recovers(gateway: &Gateway<'_>) {
    eventually("an order", || async { (create(gateway).await.0 == 201).then_some(()) }).await;
}

async fn count(gateway: &Gateway<'_>) -> usize {
    let response = gateway.client.get(gateway.url("/orders")).send().await.unwrap();
    let page: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    page["orders"].as_array().or_else(|| page.as_array()).unwrap().len()
}

/// Errors of the server, raised by a trigger after the order's row was written.
#[tokio::test(flavor = "multi_thread")]
async fn every_database_error_has_its_code() {
    let backend = Backend::new(On::Servers).await;
    let gateway = backend.gateway(quick()).await;
    let mut admin = Database::connect(backend.url()).await.unwrap();
    let id = gateway.create_order().await;
    for (number, code) in [
        (1040, "database_connection_limit"),
        (1226, "database_connection_limit"),
        (1290, "database_read_only"),
        (1792, "database_read_only"),
        (1836, "database_read_only"),
        (1021, "database_full"),
        (1114, "database_full"),
        (1053, "database_unavailable"),
        // A Galera node that left the cluster, and one that joins.
        (1047, "database_unavailable"),
        (1180, "database_unavailable"),
        // Group Replication.
        (3100, "database_unavailable"),
        (3796, "database_unavailable"),
        (3098, "database_misconfigured"),
        (1041, "database_unavailable"),
        (1461, "database_statement_limit"),
        (1969, "database_statement_timeout"),
        (3024, "database_statement_timeout"),
        (1142, "database_access_denied"),
        (1143, "database_access_denied"),
        (1044, "database_access_denied"),
        (1045, "database_access_denied"),
        (1665, "database_misconfigured"),
        (1598, "database_misconfigured"),
        (1146, "database_misconfigured"),
        // Repeated up to the maximum number of tries.
        (3101, "database_unavailable"),
        (1615, "database_unavailable"),
        (1412, "database_unavailable"),
    ] {
        for (trigger, when) in [("refuse_new", "INSERT"), ("refuse_change", "UPDATE")] {
            run(
                &mut admin,
                format!(
                    "CREATE TRIGGER {trigger} AFTER {when} ON orders FOR EACH ROW \
                     SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {number}, MESSAGE_TEXT = 'a test says no'"
                ),
            )
            .await;
        }
        assert_eq!(create(&gateway).await, (503, code.to_owned(), true), "{number}");
        let cancel = format!("/orders/{id}/cancel");
        assert_eq!(post(&gateway, &cancel, &json!({})).await, (503, code.to_owned(), true), "{number}");

        let query =
            "mutation { createOrder(input: {item: \"x\", quantity: 1, price: \"1\"}) { order { id } } }";
        let request = gateway.client.post(gateway.url("/graphql")).header("content-type", "application/json");
        let response = request.body(json!({"query": query}).to_string()).send().await.unwrap();
        let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        let extensions = &body["errors"][0]["extensions"];
        assert_eq!(extensions["code"], code, "{body}");
        assert!(extensions["retryAfterSeconds"].as_u64().is_some_and(|wait| wait > 0), "{body}");

        let status = gateway.report(&id, "processing", "").await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
        let metadata = status.metadata();
        assert_eq!(metadata.get("orders-error").unwrap().to_str().unwrap(), code);
        assert!(metadata.contains_key("grpc-retry-pushback-ms"));

        for trigger in ["refuse_new", "refuse_change"] {
            run(&mut admin, format!("DROP TRIGGER {trigger}")).await;
        }
        assert_eq!(count(&gateway).await, 1, "{number}");
    }
    // A statement above the server's limit. (For an existing order it is a failure of that order.)
    run(
        &mut admin,
        "CREATE TRIGGER refuse_new AFTER INSERT ON orders FOR EACH ROW \
         SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1153, MESSAGE_TEXT = 'a test says no'"
            .to_owned(),
    )
    .await;
    assert_eq!(create(&gateway).await, (503, "database_packet_limit".to_owned(), true));
    run(&mut admin, "DROP TRIGGER refuse_new".to_owned()).await;
    recovers(&gateway).await;
    gateway.stop().await;
}

/// Ends the connections of a user, except for the newest one if it is to be kept.
async fn kill_all(admin: &mut Database, user: &str, keep_newest: bool) {
    let list = format!(
        "SELECT CAST(ID AS SIGNED) FROM information_schema.PROCESSLIST WHERE USER = '{user}' ORDER BY ID DESC"
    );
    let ids: Vec<(i64,)> = admin.rows(list).await.unwrap();
    for (id,) in ids.into_iter().skip(usize::from(keep_newest)) {
        // The connection may have ended meanwhile.
        let _ = admin.run(format!("KILL {id}")).await;
    }
}

/// The server limits the connections of a user.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_limit_is_reported_as_such() {
    let backend = Backend::new(On::Servers).await;
    let mut admin = Database::connect(backend.url()).await.unwrap();
    let mut url = url::Url::parse(backend.url()).unwrap();
    let name = url.path().trim_matches('/').to_owned();
    run(&mut admin, format!("CREATE USER '{name}'@'%' IDENTIFIED BY 'x'")).await;
    run(&mut admin, format!("GRANT ALL ON {name}.* TO '{name}'@'%'")).await;
    url.set_username(&name).unwrap();
    url.set_password(Some("x")).unwrap();
    let store = Store::connect(url.as_str(), &Options::default()).await.unwrap();
    let gateway = backend.gateway_over(store.clone(), quick()).await;
    gateway.create_order().await;
    // Earlier connections do not count. This one is the only one that may be opened.
    run(&mut admin, format!("ALTER USER '{name}'@'%' WITH MAX_USER_CONNECTIONS 1")).await;
    let mut only = None;
    while only.is_none() {
        only = Database::connect(url.as_str()).await.ok();
        // The gateway may have been faster: its connections are ended.
        kill_all(&mut admin, &name, only.is_some()).await;
    }

    let accepted = AtomicU64::new(1);
    eventually("the limit", || async {
        let (status, code, retry) = create(&gateway).await;
        accepted.fetch_add(u64::from(status == 201), Ordering::Relaxed);
        (status == 503 && code == "database_connection_limit" && retry).then_some(())
    })
    .await;
    let report = backend.store.inspect(Duration::from_secs(60)).await.unwrap();
    assert_eq!((report.accepted(), report.issues), (accepted.into_inner(), vec![]));
    only.unwrap().close().await;
    run(&mut admin, format!("ALTER USER '{name}'@'%' WITH MAX_USER_CONNECTIONS 50")).await;
    recovers(&gateway).await;
    gateway.stop().await;
    store.close().await;
}

// A lock blocks all connections for writes: requests that wait for one get an error, and reads succeed.
on_both!(an_exhausted_pool_is_reported_as_such, |on| async move {
    let backend = Backend::new(on).await;
    let store = match on {
        On::Embedded => backend.store.clone(),
        On::Servers => {
            let options = Options { connections: 1, ..Options::default() };
            Store::connect(backend.url(), &options).await.unwrap()
        }
    };
    let gateway = backend.gateway_over(store, quick()).await;
    let id = gateway.create_order().await;
    let mut other = Database::connect(backend.url()).await.unwrap();
    let (lock, unlock) = match on {
        On::Embedded => ("BEGIN IMMEDIATE", "ROLLBACK"),
        On::Servers => ("LOCK TABLES orders READ", "UNLOCK TABLES"),
    };
    run(&mut other, lock.to_owned()).await;

    let exhausted = AtomicU64::new(0);
    let note = |(status, code, retry): (u16, String, bool)| {
        assert!(status == 503 && retry, "{status} {code}");
        exhausted.fetch_add(u64::from(code == "database_pool_exhausted"), Ordering::Relaxed);
    };
    let holding = || async {
        loop {
            note(create(&gateway).await);
        }
    };
    let reading = async {
        loop {
            let path = gateway.url(&format!("/orders/{id}"));
            let response = gateway.client.get(path).timeout(TOO_LONG).send().await.unwrap();
            assert_eq!(response.status(), 200);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let cancelling = async {
        eventually("a full pool", || async {
            note(post(&gateway, &format!("/orders/{id}/cancel"), &json!({})).await);
            (exhausted.load(Ordering::Relaxed) > 0).then_some(())
        })
        .await;
    };
    tokio::select! {
        () = async { tokio::join!(holding(), holding()); } => unreachable!(),
        () = reading => unreachable!(),
        () = cancelling => {}
    }
    run(&mut other, unlock.to_owned()).await;
    recovers(&gateway).await;
    gateway.stop().await;
});

/// A private MariaDB server, which ends when the value is dropped.
struct MariaDb {
    url: String,
    _script: Child,
    // The script runs until its standard input is closed.
    _stdin: ChildStdin,
}

impl MariaDb {
    async fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/services.sh");
        let mut script = Command::new(script)
            .args(["run", "--", "sh", "-c", "echo $ORDERS_TEST_MYSQL_URL; cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (script.stdin.take().unwrap(), script.stdout.take().unwrap());
        let mut lines = BufReader::new(stdout).lines();
        let url =
            tokio::time::timeout(Duration::from_secs(60), lines.next_line()).await.unwrap().unwrap().unwrap();
        Self { url, _script: script, _stdin: stdin }
    }
}

/// The gateway's connections.
async fn connections(admin: &mut Database) -> BTreeSet<i64> {
    let ids = "SELECT CAST(ID AS SIGNED) FROM information_schema.PROCESSLIST WHERE USER = 'plain'";
    let rows: Vec<(i64,)> = admin.rows(ids).await.unwrap();
    rows.into_iter().map(|(id,)| id).collect()
}

/// Sends reads until all of these connections are closed.
async fn left(gateway: &Gateway<'_>, admin: &mut Database, before: &BTreeSet<i64>) {
    assert!(!before.is_empty());
    let admin = tokio::sync::Mutex::new(admin);
    eventually("other connections", || async {
        count(gateway).await;
        let now = connections(*admin.lock().await).await;
        now.is_disjoint(before).then_some(())
    })
    .await;
}

/// Creates a database and connects as a user who cannot write to a replica, as one with all privileges can.
async fn of_plain_user(server: &MariaDb, admin: &mut Database) -> Store {
    run(admin, "CREATE DATABASE shop".to_owned()).await;
    run(admin, "CREATE USER 'plain'@'%' IDENTIFIED BY 'x'".to_owned()).await;
    run(admin, "GRANT ALL ON shop.* TO 'plain'@'%'".to_owned()).await;
    let mut url = url::Url::parse(&server.url).unwrap();
    url.set_username("plain").unwrap();
    url.set_password(Some("x")).unwrap();
    url.set_path("shop");
    let store = Store::connect(url.as_str(), &Options::default()).await.unwrap();
    store.migrate().await.unwrap();
    store
}

/// A former primary does not have the latest events, so a reader with a cursor from the new one has to try again.
#[tokio::test(flavor = "multi_thread")]
async fn a_former_primary_expires_no_cursor() {
    let server = MariaDb::start().await;
    let mut admin = Database::connect(&server.url).await.unwrap();
    let store = of_plain_user(&server, &mut admin).await;
    assert_eq!(store.read_event_log(9).await.unwrap(), LogPage::Expired(1));

    run(&mut admin, "SET GLOBAL read_only = 1".to_owned()).await;
    let ahead = store.read_event_log(9).await;
    assert!(matches!(ahead, Err(StoreError::Unavailable(Outage::ReadOnly(_)))), "{ahead:?}");
    run(&mut admin, "SET GLOBAL read_only = 0".to_owned()).await;
    assert_eq!(store.read_event_log(9).await.unwrap(), LogPage::Expired(1));
    store.close().await;
}

/// A primary that becomes a replica, as in a failover, and a primary again.
#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_becomes_read_only_is_reported_as_such() {
    let server = MariaDb::start().await;
    let backend = Backend::new(On::Servers).await;
    let mut admin = Database::connect(&server.url).await.unwrap();
    let store = of_plain_user(&server, &mut admin).await;
    let gateway = backend.gateway_over(store.clone(), quick()).await;
    recovers(&gateway).await;

    run(&mut admin, "SET GLOBAL read_only = 1".to_owned()).await;
    assert_eq!(create(&gateway).await, (503, "database_read_only".to_owned(), true));
    assert_eq!(count(&gateway).await, 1, "reads succeed, and nothing was written");
    run(&mut admin, "SET GLOBAL read_only = 0".to_owned()).await;
    recovers(&gateway).await;

    // Connections for reads reach the new primary as well, after a rejected write ...
    let before = connections(&mut admin).await;
    run(&mut admin, "SET GLOBAL read_only = 1".to_owned()).await;
    assert_eq!(create(&gateway).await, (503, "database_read_only".to_owned(), true));
    left(&gateway, &mut admin, &before).await;
    // ... and without one.
    run(&mut admin, "SET GLOBAL read_only = 0".to_owned()).await;
    recovers(&gateway).await;
    let before = connections(&mut admin).await;
    run(&mut admin, "SET GLOBAL read_only = 1".to_owned()).await;
    left(&gateway, &mut admin, &before).await;
    run(&mut admin, "SET GLOBAL read_only = 0".to_owned()).await;
    recovers(&gateway).await;
    crate::harness::check_invariants(&store).await;
    gateway.stop().await;
    store.close().await;
}

/// `max_prepared_stmt_count` counts the statements of all clients of the server.
#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_statement_limit_is_reported_as_such() {
    let server = MariaDb::start().await;
    let backend = Backend::new(On::Servers).await;
    let mut admin = Database::connect(&server.url).await.unwrap();
    run(&mut admin, "CREATE DATABASE shop".to_owned()).await;
    let mut url = url::Url::parse(&server.url).unwrap();
    url.set_path("shop");
    let store = Store::connect(url.as_str(), &Options::default()).await.unwrap();
    store.migrate().await.unwrap();
    let gateway = backend.gateway_over(store.clone(), quick()).await;
    recovers(&gateway).await;
    run(&mut admin, "SET GLOBAL max_prepared_stmt_count = 0".to_owned()).await;
    // Connections that have prepared their statements continue to work, so each request needs another statement.
    let sizes = std::sync::atomic::AtomicUsize::new(3);
    eventually("the limit", || async {
        let size = sizes.fetch_add(1, std::sync::atomic::Ordering::Relaxed).min(500);
        let rows = vec![json!({"item": "x", "quantity": 1, "price": "1"}); size];
        let (status, code, retry) = post(&gateway, "/orders/bulk", &json!(rows)).await;
        assert!(status == 201 || (status == 503 && retry), "{status} {code}");
        (code == "database_statement_limit").then_some(())
    })
    .await;
    // The next requests get the reason as well: the database is known to refuse statements, and is not waited for.
    for _ in 0..3 {
        let refused = (503, "database_statement_limit".to_owned(), true);
        assert_eq!(post(&gateway, "/orders/bulk", &json!([laptop(), laptop()])).await, refused);
    }
    run(&mut admin, "SET GLOBAL max_prepared_stmt_count = 16382".to_owned()).await;
    recovers(&gateway).await;
    crate::harness::check_invariants(&store).await;
    gateway.stop().await;
    store.close().await;
}
