//! Interrupted migrations, and databases whose tables are not those of this version.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use gateway::Store;
use gateway::store::{ConnectError, MigrationProgress, Options, Schema};
use sqlx::migrate::Migrator;
use test_database::Database;

use crate::harness::{Backend, On, eventually};
use crate::on_both;

/// The version that the old databases of these tests have: every later step changes rows or tables with rows.
const OLD: i64 = 4;
/// More rows than one transaction migrates.
const ORDERS: usize = 4_500;
/// The maximum number of statements of a step. After a finished step the next stop is earlier by this number, so that
/// no statement of the next step is skipped.
const STEP: u32 = 10;

/// Migration files of several versions with every permitted kind of statement.
fn folder(on: On) -> PathBuf {
    let name = if on == On::Servers { "mysql" } else { "sqlite" };
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/upgrade").join(name)
}

/// Opens a connection and creates the SQLite file.
async fn open(on: On, url: &str) -> Database {
    let new = if on == On::Embedded { "?mode=rwc" } else { "" };
    Database::connect(&format!("{url}{new}")).await.unwrap()
}

/// Migrates with sqlx itself, up to a version.
async fn run_to(files: &Migrator, version: i64, connection: &mut Database) {
    match connection {
        Database::MySql(connection) => files.run_to(version, connection).await.unwrap(),
        Database::Sqlite(connection) => files.run_to(version, connection).await.unwrap(),
    }
}

async fn run(connection: &mut Database, sql: String) {
    connection.run(sql).await.unwrap();
}

/// A database of an earlier version with orders in every state.
async fn old_database(on: On, url: &str, version: i64) -> Database {
    let mut connection = open(on, url).await;
    let files = Migrator::new(folder(on)).await.unwrap();
    run_to(&files, version, &mut connection).await;
    if version != OLD {
        return connection;
    }
    let kinds = [
        ("pending", 1, "NULL", "1000", "pending"),
        ("pending", 1, "NULL", "1001", "pending"),
        ("processing", 2, "7", "2000", "pending"),
        ("completed", 3, "7", "NULL", "processing"),
        ("failed", 5, "NULL", "NULL", "processing"),
    ];
    let (mut orders, mut events) = (Vec::new(), Vec::new());
    for n in 1..=ORDERS {
        let (status, version, lease, due, _) = kinds[n % kinds.len()];
        orders.push(format!(
            "(x'{n:032}', 'default', '[]', 'USD', 1, 1, '{status}', {version}, 1, 0, 5, {lease}, {due}, 1000, 1, 1)"
        ));
        let timeline = ["pending", "processing", "pending", "processing"];
        for sequence in 1..=version {
            let at = if sequence == version { status } else { timeline[sequence - 1] };
            events.push(format!("(x'{n:032}', {sequence}, '{at}', NULL, 1, NULL, {sequence})"));
        }
    }
    for orders in orders.chunks(500) {
        let insert = "INSERT INTO orders (id, tenant_id, line_items, currency, total_minor, quantity, status, version, \
                      attempt, failures, max_attempts, lease_token, due_at, not_before, created_at, updated_at) VALUES";
        run(&mut connection, format!("{insert} {}", orders.join(","))).await;
    }
    for events in events.chunks(500) {
        let insert = "INSERT INTO order_events (order_id, sequence, status, previous_status, attempt, reason, \
                      occurred_at) VALUES";
        run(&mut connection, format!("{insert} {}", events.join(","))).await;
    }
    connection
}

/// The tables and the rows of orders, for comparison.
async fn contents(
    on: On,
    url: &str,
) -> (Vec<String>, Vec<(String, String, i64, i64, i64, String, i64)>, i64) {
    let mut connection = Database::connect(url).await.unwrap();
    let mut tables = Vec::new();
    match on {
        On::Servers => {
            for table in ["orders", "order_events", "idempotency_keys", "queues", "installation"] {
                let show = format!("SHOW CREATE TABLE {table}");
                let shown: Vec<(String, String)> = connection.rows(show).await.unwrap();
                tables.extend(shown.into_iter().map(|(_, create)| create));
            }
        }
        On::Embedded => {
            let all = "SELECT COALESCE(sql, '') FROM sqlite_master WHERE name NOT LIKE '\\_sqlx%' ESCAPE '\\' ORDER BY name";
            let rows: Vec<(String,)> = connection.rows(all).await.unwrap();
            tables.extend(rows.into_iter().map(|(create,)| create));
        }
    }
    let read = "SELECT status, stage, lease_token, due_at, held_until, previous_status, previous_at FROM orders ORDER BY id";
    let orders = connection.rows(read).await.unwrap();
    let events = connection.value("SELECT COUNT(*) FROM order_events").await.unwrap();
    (tables, orders, events)
}

/// The number of steps and versions that are recorded as finished; 0 without the tables for them.
async fn finished(connection: &mut Database) -> i64 {
    let mut found = 0;
    for count in [
        "SELECT COUNT(*) FROM migration_steps WHERE finished = 1",
        "SELECT COUNT(*) * 100 FROM _sqlx_migrations WHERE success",
    ] {
        found += connection.value::<i64>(count).await.unwrap_or(0);
    }
    found
}

/// Migrates with a stop before each statement in turn.
async fn migrate_with_stops(url: &str, connection: &mut Database, files: Option<&Migrator>) -> u32 {
    let store = Store::connect(url, &Options::default()).await.unwrap();
    let (mut allowed, mut stops) = (0_u32, 0);
    loop {
        let before = finished(connection).await;
        let left = AtomicU32::new(allowed);
        let proceed =
            || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        match migrate(&store, files, &proceed).await {
            Ok(()) => break,
            Err(ConnectError::Interrupted) => stops += 1,
            Err(error) => panic!("after {allowed} statements: {error}"),
        }
        allowed =
            if finished(connection).await > before { allowed.saturating_sub(STEP) } else { allowed + 1 };
    }
    store.close().await;
    stops
}

/// Migrates with these files, or with those of the product.
async fn migrate(
    store: &Store,
    files: Option<&Migrator>,
    proceed: &(dyn Fn() -> bool + Sync),
) -> Result<(), ConnectError> {
    match files {
        Some(files) => store.migrate_to(files, proceed).await,
        None => store.migrate_while(proceed).await,
    }
}

/// Compares a migration without a stop with one that is stopped at each statement.
async fn compare_after_stops(on: On, version: i64, files: Option<&Migrator>) {
    let (expected_url, _expected) = Backend::empty_database(on).await;
    let (url, _folder) = Backend::empty_database(on).await;
    let mut connection = open(on, &url).await;
    if version > 0 {
        old_database(on, &expected_url, version).await;
        old_database(on, &url, version).await;
    }
    let store = Store::connect(&expected_url, &Options::default()).await.unwrap();
    migrate(&store, files, &|| true).await.unwrap();
    store.close().await;
    let stops = migrate_with_stops(&url, &mut connection, files).await;
    assert!(stops > 20, "{stops} stops");
    let found = contents(on, &url).await;
    assert_eq!(found, contents(on, &expected_url).await);
    assert_eq!(found.1.len(), if version > 0 { ORDERS } else { 0 });
    let left = "SELECT COUNT(*) FROM migration_steps";
    let left: i64 = connection.value(left).await.unwrap();
    assert_eq!(left, 0, "the records of steps are gone");
}

// The process is killed between any two statements.
on_both!(a_migration_of_a_new_database_resumes_after_any_statement, |on| async move {
    compare_after_stops(on, 0, None).await;
});
on_both!(a_migration_of_an_old_database_resumes_after_any_statement, |on| async move {
    let files = Migrator::new(folder(on)).await.unwrap();
    compare_after_stops(on, OLD, Some(&files)).await;
});

/// MySQL commits each DDL statement, so a killed process may have executed more steps than it recorded.
#[tokio::test(flavor = "multi_thread")]
async fn an_unrecorded_migration_step_is_repeated() {
    let on = On::Servers;
    let all = Migrator::new(folder(on)).await.unwrap();
    for migration in all.iter() {
        let text: String =
            migration.sql.as_str().lines().filter(|line| !line.trim().starts_with("--")).collect();
        let statements: Vec<&str> = text.split(';').map(str::trim).filter(|text| !text.is_empty()).collect();
        for done in 0..=statements.len() {
            let (url, _folder) = Backend::empty_database(on).await;
            let mut connection = open(on, &url).await;
            run_to(&all, migration.version - 1, &mut connection).await;
            let insert =
                "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)";
            run(&mut connection, format!("{insert} VALUES ({}, 'x', FALSE, '', -1)", migration.version))
                .await;
            for statement in &statements[..done] {
                run(&mut connection, (*statement).to_owned()).await;
            }
            let store = Store::connect(&url, &Options::default()).await.unwrap();
            store
                .migrate_to(&all, &|| true)
                .await
                .unwrap_or_else(|error| panic!("{} after {done}: {error}", migration.version));
            let complete = "SELECT COUNT(*) FROM _sqlx_migrations WHERE success";
            let complete: i64 = connection.value(complete).await.unwrap();
            assert_eq!(complete, all.iter().count() as i64);
            store.close().await;
        }
    }
}

on_both!(a_migration_file_may_change_its_comments_and_white_space, |on| async move {
    let backend = Backend::new(on).await;
    let mut connection = Database::connect(backend.url()).await.unwrap();
    run(&mut connection, "UPDATE _sqlx_migrations SET checksum = x'00'".to_owned()).await;
    backend.store.migrate().await.unwrap();
    assert_eq!(backend.store.schema().await.unwrap(), Schema::Current);
});

on_both!(tables_of_a_later_version_are_refused_by_name, |on| async move {
    let backend = Backend::new(on).await;
    let mut connection = Database::connect(backend.url()).await.unwrap();
    let insert = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)";
    run(&mut connection, format!("{insert} VALUES (99, 'later', TRUE, x'00', 1)")).await;
    let error = backend.store.migrate().await.unwrap_err();
    assert!(matches!(error, ConnectError::Newer { found: 99, .. }), "{error}");
    assert!(error.to_string().contains("version 99") && !error.is_temporary(), "{error}");
});

/// Creates a user with these privileges on the database of the URL, and returns the user's URL.
async fn user_who_may(admin: &mut Database, url: &str, privileges: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut url = url::Url::parse(url).unwrap();
    let database = url.path().trim_matches('/').to_owned();
    let name = format!("u{}_{}", NEXT.fetch_add(1, Ordering::Relaxed), database.rsplit('_').next().unwrap());
    run(admin, format!("DROP USER IF EXISTS '{name}'@'%'")).await;
    run(admin, format!("CREATE USER '{name}'@'%' IDENTIFIED BY 'x'")).await;
    run(admin, format!("GRANT {privileges} ON {database}.* TO '{name}'@'%'")).await;
    url.set_username(&name).unwrap();
    url.set_password(Some("x")).unwrap();
    url.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_row_privileges_only_is_sufficient() {
    let (url, _folder) = Backend::empty_database(On::Servers).await;
    let mut admin = Database::connect(&url).await.unwrap();
    let rows = user_who_may(&mut admin, &url, "SELECT, INSERT, UPDATE, DELETE").await;
    let store = Store::connect(&rows, &Options::default()).await.unwrap();
    // Without tables further privileges are needed; the error names them.
    let Err(ConnectError::Privileges { cause, grant }) = store.migrate().await else {
        panic!("it may create tables")
    };
    assert!(
        cause.contains("CREATE") && grant.starts_with("GRANT CREATE, ALTER, DROP, INDEX,"),
        "{cause} {grant}"
    );
    assert!(grant.contains("TO 'u") && grant.contains("ON `gw_"), "{grant}");
    let owner = Store::connect(&url, &Options::default()).await.unwrap();
    owner.migrate().await.unwrap();
    store.migrate().await.unwrap();
    store.check_writable().await.unwrap();
    store.close().await;

    for (privileges, missing) in [("SELECT, INSERT, UPDATE", "DELETE"), ("SELECT, INSERT, DELETE", "UPDATE")]
    {
        let url = user_who_may(&mut admin, &url, privileges).await;
        let store = Store::connect(&url, &Options::default()).await.unwrap();
        store.migrate().await.unwrap();
        let Err(error @ ConnectError::Privileges { .. }) = store.check_writable().await else {
            panic!("{missing}")
        };
        assert!(error.to_string().contains(missing) && !error.is_temporary(), "{error}");
        store.close().await;
    }
    let url = user_who_may(&mut admin, &url, "INSERT").await;
    let store = Store::connect(&url, &Options::default()).await.unwrap();
    let Err(ConnectError::Privileges { cause, .. }) = store.migrate().await else { panic!("it may read") };
    assert!(cause.contains("SELECT"), "{cause}");
    store.close().await;
}

on_both!(a_migration_reports_each_step, |on| async move {
    let (url, _folder) = Backend::empty_database(on).await;
    drop(open(on, &url).await);
    let store = Store::connect(&url, &Options::default()).await.unwrap();
    let reported: Mutex<Vec<MigrationProgress>> = Mutex::default();
    store.migrate_reporting(&|progress| reported.lock().unwrap().push(progress.clone())).await.unwrap();
    let reported = reported.into_inner().unwrap();
    let total = reported[0].total;
    let done: Vec<usize> = reported.iter().map(|progress| progress.done).collect();
    assert_eq!(done, (0..total).collect::<Vec<_>>(), "a new database has no rows to change");
    assert!(reported.iter().all(|progress| progress.total == total && progress.step > 0));
    assert!(reported.is_sorted_by_key(|progress| (progress.version, progress.step)));
    store.migrate_reporting(&|progress| panic!("{progress:?}")).await.unwrap();
    store.close().await;
});

/// A migration waits for another one without a time limit, and reports that wait differently from an error.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_waits_for_another_one() {
    let (url, _folder) = Backend::empty_database(On::Servers).await;
    let mut other = Database::connect(&url).await.unwrap();
    run(&mut other, "DO GET_LOCK(CONCAT('orders.', CRC32(DATABASE())), 10)".to_owned()).await;
    let store = Store::connect(&url, &Options::default()).await.unwrap();
    let asked = AtomicU32::new(0);
    let waited = store.migrate_while(&|| asked.fetch_add(1, Ordering::Relaxed) < 3).await;
    assert!(matches!(waited, Err(ConnectError::Interrupted)), "it waits until it is told to stop");
    drop(other);
    eventually("the migration", || async { store.migrate().await.ok() }).await;
}

// The recorded steps are not those of the files of this program.
on_both!(tables_of_a_development_version_are_refused, |on| async move {
    for version in [2, OLD, 8] {
        let (url, _folder) = Backend::empty_database(on).await;
        old_database(on, &url, version).await;
        let store = Store::connect(&url, &Options::default()).await.unwrap();
        let error = store.migrate().await.unwrap_err();
        assert!(matches!(error, ConnectError::Development), "{error}");
        assert!(error.to_string().contains("use an empty database") && !error.is_temporary(), "{error}");
        store.close().await;
    }
});
