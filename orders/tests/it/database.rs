//! How programs open the database: what they create and change, what they wait for, and what its URL may say.

use sqlx::{AssertSqlSafe, Connection, MySqlConnection, Row};

use crate::harness::{Api, Process, Servers, base_url, command, gateway, redis_url, run};

const FREE: [&str; 4] = ["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"];

async fn sql(url: &str, statement: &str) -> Vec<String> {
    let mut connection = MySqlConnection::connect(url).await.expect("the server is there");
    let rows = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).fetch_all(&mut connection).await;
    rows.expect(statement).iter().map(|row| row.get(0)).collect()
}

/// Runs a command that fails, and returns what it says.
async fn fails(folder: &std::path::Path, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let output = run(folder, arguments, variables).await;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("error: ") && text.contains("hint: "), "{text}");
    text
}

#[tokio::test]
async fn doctor_neither_creates_nor_migrates() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let said = fails(folder.path(), &["doctor", "--data-dir", "./typo"], &[]).await;
    assert!(
        said.contains("there is no database at ./typo/orders.db") && said.contains("ORDERS_DATA_DIR"),
        "{said}"
    );
    std::fs::create_dir(folder.path().join("empty")).expect("it is ours");
    fails(folder.path(), &["doctor", "--data-dir", "empty"], &[]).await;
    fails(folder.path(), &["doctor", "--database-url", "sqlite:other.db"], &[]).await;
    assert_eq!(std::fs::read_dir(folder.path()).expect("it is there").count(), 1);
    assert_eq!(std::fs::read_dir(folder.path().join("empty")).expect("it is there").count(), 0);

    let servers = Servers::new().await;
    let variables = [("DATABASE_URL", servers.database_url.as_str())];
    let said = fails(folder.path(), &["doctor"], &variables).await;
    assert!(said.contains("no complete schema") && said.contains("orders migrate"), "{said}");
    assert_eq!(sql(&servers.database_url, "SHOW TABLES").await, [""; 0]);

    assert!(run(folder.path(), &["migrate"], &variables).await.status.success());
    sql(&servers.database_url, "UPDATE _sqlx_migrations SET success = FALSE").await;
    let said = fails(folder.path(), &["doctor"], &variables).await;
    assert!(said.contains("no complete schema") && said.contains("orders migrate"), "{said}");
    let complete = "SELECT CAST(SUM(success) AS CHAR) FROM _sqlx_migrations";
    assert_eq!(sql(&servers.database_url, complete).await, ["0"]);
}

#[tokio::test]
async fn doctor_says_which_process_has_the_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut dev = Process::start(command(folder.path(), &FREE, &[]), "orders dev");
    base_url(&mut dev).await;
    let said = fails(folder.path(), &["doctor"], &[]).await;
    assert!(
        said.contains("in use by another process") && said.contains("stop the other one first"),
        "{said}"
    );
    dev.terminate();
    dev.ended_well().await;
    assert!(run(folder.path(), &["doctor"], &[]).await.status.success());
    // Nobody can write there, root neither.
    let said = fails(folder.path(), &["migrate", "--database-url", "sqlite:/proc/orders.db"], &[]).await;
    assert!(said.contains("must be writable") && !said.contains("one process"), "{said}");
}

#[tokio::test]
async fn gateways_leave_the_tables_alone_when_they_are_told_to() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let servers = Servers::new().await;
    let redis = redis_url();
    let variables = [
        ("DATABASE_URL", servers.database_url.as_str()),
        ("REDIS_URL", &redis),
        ("ORDERS_REDIS_PREFIX", &servers.prefix),
    ];
    let off = [&["gateway", "--migrate", "off"][..], &FREE].concat();
    let said = fails(folder.path(), &off, &variables).await;
    assert!(said.contains("no complete schema") && said.contains("orders migrate"), "{said}");

    let waiting = [&["gateway", "--migrate", "wait"][..], &FREE].concat();
    let mut waiting = Process::start(command(folder.path(), &waiting, &variables), "gateway");
    let says = |line: &str| {
        (line.contains("waiting for the database") && line.contains("no complete")).then_some(())
    };
    waiting.logged("what it waits for", says).await;
    assert_eq!(sql(&servers.database_url, "SHOW TABLES").await, [""; 0]);
    assert!(run(folder.path(), &["migrate"], &variables).await.status.success());
    waiting.logged("that it is ready", |line| line.contains("the gateway is ready").then_some(())).await;
    waiting.terminate();
    waiting.ended_well().await;

    let mut off = Process::start(command(folder.path(), &off, &variables), "gateway");
    off.logged("that it is ready", |line| line.contains("the gateway is ready").then_some(())).await;
    off.terminate();
    off.ended_well().await;

    sql(
        &servers.database_url,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (99, 'later', TRUE, '', 1)",
    )
    .await;
    let gateway = [&["gateway"][..], &FREE].concat();
    let said = fails(folder.path(), &gateway, &variables).await;
    assert!(said.contains("the schema has version 99") && said.contains(env!("CARGO_PKG_VERSION")), "{said}");
    assert!(said.contains("run a version of the program that knows version 99"), "{said}");
}

/// The tables are made by another user, as `orders migrate` is there for.
#[tokio::test]
async fn a_gateway_needs_four_privileges() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut servers = Servers::new().await;
    let admin = servers.database_url.clone();
    let mut url = url::Url::parse(&admin).expect("a URL");
    let database = url.path().trim_matches('/').to_owned();
    let user = format!("u{}", &database[database.len() - 20..]);
    sql(&admin, &format!("CREATE USER '{user}'@'%' IDENTIFIED BY 'x'")).await;
    sql(&admin, &format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {database}.* TO '{user}'@'%'")).await;
    url.set_username(&user).expect("a host");
    url.set_password(Some("x")).expect("a host");
    servers.database_url = url.into();

    let variables = [("DATABASE_URL", servers.database_url.as_str()), ("REDIS_URL", &servers.redis_url)];
    let said = fails(folder.path(), &[&["gateway"][..], &FREE].concat(), &variables).await;
    assert!(said.contains("CREATE command denied"), "{said}");
    assert!(said.contains(&format!(
        "GRANT CREATE, ALTER, DROP, INDEX, SELECT, INSERT, UPDATE, DELETE ON `{database}`.*"
    )));
    assert!(said.contains(&format!("TO '{user}'@'%'")), "{said}");

    assert!(run(folder.path(), &["migrate"], &[("DATABASE_URL", &admin)]).await.status.success());
    let (mut process, api, _) = gateway(&folder, &servers, 1).await;
    api.create().await;
    assert!(run(folder.path(), &["doctor"], &variables).await.status.success());
    process.terminate();
    process.ended_well().await;

    sql(&admin, &format!("REVOKE DELETE ON {database}.* FROM '{user}'@'%'")).await;
    let said = fails(folder.path(), &[&["gateway"][..], &FREE].concat(), &variables).await;
    assert!(said.contains("DELETE command denied"), "{said}");
    assert!(said.contains(&format!("GRANT SELECT, INSERT, UPDATE, DELETE ON `{database}`.*")), "{said}");
}

#[tokio::test]
async fn a_data_folder_may_have_any_name() {
    for name in ["per%20cent", "what?x", "what?x=1", "a#b", "über blank"] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let arguments = [&["--data-dir", name][..], &FREE].concat();
        let mut dev = Process::start(command(folder.path(), &arguments, &[]), "orders dev");
        let api = Api::new(base_url(&mut dev).await);
        api.create_id().await;
        assert!(folder.path().join(name).join("orders.db").is_file(), "{name}");
        assert_eq!(std::fs::read_dir(folder.path()).expect("it is there").count(), 1, "{name}");
        dev.terminate();
        dev.ended_well().await;
    }
}

/// The connection's charset is the program's, whatever other programs need.
#[tokio::test]
async fn a_charset_in_the_url_does_no_harm() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut servers = Servers::new().await;
    servers.database_url += "?charset=utf8&collation=utf8_general_ci";
    let (mut process, api, _) = gateway(&folder, &servers, 1).await;
    let order = serde_json::json!({"item": "🦀", "quantity": 1, "price": 1});
    let (status, order) = api.post("/orders", &order).await;
    assert_eq!((status, &order["item"]), (201, &"🦀".into()), "{order}");
    process.terminate();
    process.ended_well().await;
}
