//! How commands open the database: which files and tables they create, and the options of its URL.

use sqlx::{AssertSqlSafe, Connection, MySqlConnection, Row};

use crate::harness::{Api, Process, Servers, base_url, command, redis_url, run, start_gateway};

const FREE: [&str; 4] = ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"];

async fn run_sql(url: &str, statement: &str) -> Vec<String> {
    let mut connection = MySqlConnection::connect(url).await.expect("the server is there");
    let rows = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).fetch_all(&mut connection).await;
    rows.expect(statement).iter().map(|row| row.get(0)).collect()
}

/// Runs a command that fails, and returns its errors.
async fn failure(folder: &std::path::Path, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    failure_with(1, folder, arguments, variables).await
}

/// Runs a command that fails with this exit code, and returns its errors.
async fn failure_with(
    code: i32,
    folder: &std::path::Path,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> String {
    let output = run(folder, arguments, variables).await;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains("error: ") && text.contains("hint: "), "{text}");
    text
}

#[tokio::test]
async fn doctor_neither_creates_nor_migrates() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let stderr = failure_with(3, folder.path(), &["doctor", "--data-dir", "./typo"], &[]).await;
    assert!(
        stderr.contains("there is no database at ./typo/orders.db") && stderr.contains("ORDERS_DATA_DIR"),
        "{stderr}"
    );
    std::fs::create_dir(folder.path().join("empty")).expect("it is ours");
    failure_with(3, folder.path(), &["doctor", "--data-dir", "empty"], &[]).await;
    failure_with(3, folder.path(), &["doctor", "--database-url", "sqlite:other.db"], &[]).await;
    assert_eq!(std::fs::read_dir(folder.path()).expect("it is there").count(), 1);
    assert_eq!(std::fs::read_dir(folder.path().join("empty")).expect("it is there").count(), 0);

    let servers = Servers::new().await;
    let variables = [("DATABASE_URL", servers.database_url.as_str())];
    let stderr = failure(folder.path(), &["doctor"], &variables).await;
    assert!(stderr.contains("no complete schema") && stderr.contains("orders migrate"), "{stderr}");
    assert_eq!(run_sql(&servers.database_url, "SHOW TABLES").await, [""; 0]);

    assert!(run(folder.path(), &["migrate"], &variables).await.status.success());
    run_sql(&servers.database_url, "UPDATE _sqlx_migrations SET success = FALSE").await;
    let stderr = failure(folder.path(), &["doctor"], &variables).await;
    assert!(stderr.contains("no complete schema") && stderr.contains("orders migrate"), "{stderr}");
    let complete = "SELECT CAST(SUM(success) AS CHAR) FROM _sqlx_migrations";
    assert_eq!(run_sql(&servers.database_url, complete).await, ["0"]);
}

#[tokio::test]
async fn doctor_reports_a_file_in_use() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut dev = Process::start(command(folder.path(), &FREE, &[]), "orders dev");
    base_url(&mut dev).await;
    let stderr = failure_with(4, folder.path(), &["doctor"], &[]).await;
    assert!(
        stderr.contains("in use by another process") && stderr.contains("stop the other one first"),
        "{stderr}"
    );
    dev.terminate();
    dev.wait_for_success().await;
    assert!(run(folder.path(), &["doctor"], &[]).await.status.success());
    // No user can write there, not even root.
    let stderr = failure(folder.path(), &["migrate", "--database-url", "sqlite:/proc/orders.db"], &[]).await;
    assert!(stderr.contains("must be writable") && !stderr.contains("one process"), "{stderr}");
}

#[tokio::test]
async fn migrate_off_and_wait_do_not_migrate() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let servers = Servers::new().await;
    let redis = redis_url();
    let variables = [
        ("DATABASE_URL", servers.database_url.as_str()),
        ("REDIS_URL", &redis),
        ("ORDERS_REDIS_PREFIX", &servers.prefix),
    ];
    let off = [&["gateway", "--migrate", "off"][..], &FREE].concat();
    let stderr = failure(folder.path(), &off, &variables).await;
    assert!(stderr.contains("no complete schema") && stderr.contains("orders migrate"), "{stderr}");

    let waiting = [&["gateway", "--migrate", "wait"][..], &FREE].concat();
    let mut waiting = Process::start(command(folder.path(), &waiting, &variables), "gateway");
    let is_waiting = |line: &str| {
        (line.contains("waiting for the database") && line.contains("no complete")).then_some(())
    };
    waiting.wait_for_log("the reason of its wait", is_waiting).await;
    assert_eq!(run_sql(&servers.database_url, "SHOW TABLES").await, [""; 0]);
    assert!(run(folder.path(), &["migrate"], &variables).await.status.success());
    waiting.wait_for_log("its readiness", |line| line.contains("the gateway is ready").then_some(())).await;
    waiting.terminate();
    waiting.wait_for_success().await;

    let mut off = Process::start(command(folder.path(), &off, &variables), "gateway");
    off.wait_for_log("its readiness", |line| line.contains("the gateway is ready").then_some(())).await;
    off.terminate();
    off.wait_for_success().await;

    run_sql(
        &servers.database_url,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (99, 'later', TRUE, '', 1)",
    )
    .await;
    let gateway = [&["gateway"][..], &FREE].concat();
    let stderr = failure(folder.path(), &gateway, &variables).await;
    assert!(
        stderr.contains("the schema has version 99") && stderr.contains(env!("CARGO_PKG_VERSION")),
        "{stderr}"
    );
    assert!(stderr.contains("run a version of the program that knows version 99"), "{stderr}");
}

/// Another user creates the tables with `orders migrate`.
#[tokio::test]
async fn gateway_needs_four_privileges() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut servers = Servers::new().await;
    let admin = servers.database_url.clone();
    let mut url = url::Url::parse(&admin).expect("a URL");
    let database = url.path().trim_matches('/').to_owned();
    let user = format!("u{}", &database[database.len() - 20..]);
    run_sql(&admin, &format!("CREATE USER '{user}'@'%' IDENTIFIED BY 'x'")).await;
    run_sql(&admin, &format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {database}.* TO '{user}'@'%'")).await;
    url.set_username(&user).expect("a host");
    url.set_password(Some("x")).expect("a host");
    servers.database_url = url.into();

    let variables = [("DATABASE_URL", servers.database_url.as_str()), ("REDIS_URL", &servers.redis_url)];
    let stderr = failure_with(4, folder.path(), &[&["gateway"][..], &FREE].concat(), &variables).await;
    assert!(stderr.contains("CREATE command denied"), "{stderr}");
    assert!(stderr.contains(&format!(
        "GRANT CREATE, ALTER, DROP, INDEX, SELECT, INSERT, UPDATE, DELETE ON `{database}`.*"
    )));
    assert!(stderr.contains(&format!("TO '{user}'@'%'")), "{stderr}");

    assert!(run(folder.path(), &["migrate"], &[("DATABASE_URL", &admin)]).await.status.success());
    let (mut process, api, _) = start_gateway(&folder, &servers, 1).await;
    api.create().await;
    assert!(run(folder.path(), &["doctor"], &variables).await.status.success());
    process.terminate();
    process.wait_for_success().await;

    run_sql(&admin, &format!("REVOKE DELETE ON {database}.* FROM '{user}'@'%'")).await;
    let stderr = failure_with(4, folder.path(), &[&["gateway"][..], &FREE].concat(), &variables).await;
    assert!(stderr.contains("DELETE command denied"), "{stderr}");
    assert!(stderr.contains(&format!("GRANT SELECT, INSERT, UPDATE, DELETE ON `{database}`.*")), "{stderr}");
}

#[tokio::test]
async fn data_folder_can_have_any_name() {
    for name in ["per%20cent", "what?x", "what?x=1", "a#b", "über blank"] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let arguments = [&["--data-dir", name][..], &FREE].concat();
        let mut dev = Process::start(command(folder.path(), &arguments, &[]), "orders dev");
        let api = Api::new(base_url(&mut dev).await);
        api.create_id().await;
        assert!(folder.path().join(name).join("orders.db").is_file(), "{name}");
        assert_eq!(std::fs::read_dir(folder.path()).expect("it is there").count(), 1, "{name}");
        dev.terminate();
        dev.wait_for_success().await;
    }
}

/// The program sets the charset of its connections; a charset in the URL is for other programs.
#[tokio::test]
async fn charset_in_the_url_has_no_effect() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut servers = Servers::new().await;
    servers.database_url += "?charset=utf8&collation=utf8_general_ci";
    let (mut process, api, _) = start_gateway(&folder, &servers, 1).await;
    let order = serde_json::json!({"item": "🦀", "quantity": 1, "price": 1});
    let (status, order) = api.post("/orders", &order).await;
    assert_eq!((status, &order["item"]), (201, &"🦀".into()), "{order}");
    process.terminate();
    process.wait_for_success().await;
}
