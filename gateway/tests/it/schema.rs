//! The tables: how they come to be, and that the indexes serve the queries they are there for.

use gateway::store::Options;
use gateway::{Store, store::ConnectError};
use sqlx::{AnyConnection, Connection, Row};

use crate::harness::{Backend, On};

/// Four gateways that start at once on an empty database.
#[tokio::test(flavor = "multi_thread")]
async fn several_gateways_migrate_at_once() {
    let url = Backend::empty_database(On::Servers).await.0;
    let migrate = || async {
        let store = Store::connect(&url, &Options::default()).await.unwrap();
        store.migrate().await
    };
    let (a, b, c, d) = tokio::join!(migrate(), migrate(), migrate(), migrate());
    for result in [a, b, c, d] {
        result.unwrap();
    }
    let store = Store::connect(&url, &Options::default()).await.unwrap();
    assert!(store.list(&gateway::orders::Filter::default(), None, 1).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sqlite_file_has_one_owner() {
    let (url, folder) = Backend::empty_database(On::Embedded).await;
    let first = Store::connect(&url, &Options::default()).await.unwrap();
    let second = Store::connect(&url, &Options::default()).await;
    assert!(matches!(second, Err(ConnectError::File(text)) if text.contains("in use by another process")));
    drop(first);
    Store::connect(&url, &Options::default()).await.unwrap();
    drop(folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_database_url_is_said_without_its_password() {
    let (server, _) = Backend::empty_database(On::Servers).await;
    let mut wrong = url::Url::parse(&server).unwrap();
    wrong.set_password(Some("s3cret")).unwrap();
    let mut away = wrong.clone();
    away.set_port(Some(1)).unwrap();
    for (url, temporary, says) in [
        (wrong.as_str(), false, "Access denied"),
        (away.as_str(), true, "127.0.0.1:1 cannot be reached"),
        ("postgres://a:s3cret@b/c", false, "must start with mysql://"),
        ("sqlite:/proc/nowhere/orders.db", false, "cannot write /proc/nowhere/orders.db.lock"),
    ] {
        let error = Store::connect(url, &Options::default()).await.err().expect(url);
        assert!(error.to_string().contains(says), "{error}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
        assert_eq!(error.is_temporary(), temporary, "{error}");
    }
}

/// The queries that run all the time read an index range, however many orders there are.
#[tokio::test(flavor = "multi_thread")]
async fn dispatch_and_lists_use_their_indexes() {
    let backend = Backend::new(On::Servers).await;
    let mut connection = AnyConnection::connect(backend.url()).await.unwrap();
    // Enough rows for the planner to care: 20,000 completed orders and 20 pending ones.
    let mut rows = Vec::new();
    for n in 0..20_020 {
        let (status, due) = if n % 1_001 == 0 { ("pending", "5") } else { ("completed", "NULL") };
        let priority = ["high", "normal", "low"][n % 3];
        rows.push(format!(
            "(UNHEX(LPAD(HEX({n}), 32, '0')), 'default', NULL, 'c{}', '[]', 'USD', 1, 1, '{status}', 1, 0, 0, 5, NULL, {due}, 0, NULL, {n}, {n}, '{priority}')",
            n % 500
        ));
    }
    for chunk in rows.chunks(2_000) {
        let insert = format!(
            "INSERT INTO orders (id, tenant_id, external_reference, customer, line_items, currency, total_minor, \
             quantity, status, version, attempt, failures, max_attempts, lease_token, due_at, not_before, reason, \
             created_at, updated_at, priority) VALUES {}",
            chunk.join(",")
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(insert)).execute(&mut connection).await.unwrap();
    }
    sqlx::raw_sql("ANALYZE TABLE orders").execute(&mut connection).await.unwrap();
    let last = "UNHEX('00000000000000000000000000003000')";
    for (query, index, most_rows) in [
        (
            "SELECT id, quantity FROM orders WHERE status = 'pending' AND priority = 'normal' AND due_at <= 9 \
             ORDER BY due_at LIMIT 256 FOR UPDATE SKIP LOCKED"
                .to_owned(),
            "orders_due",
            100,
        ),
        (
            "SELECT id FROM orders WHERE status = 'processing' AND priority IN ('high', 'normal', 'low') \
             AND due_at <= 9 LIMIT 500"
                .to_owned(),
            "orders_due",
            100,
        ),
        (
            "SELECT id FROM orders WHERE tenant_id = 'default' AND status IN ('pending') ORDER BY id DESC LIMIT 101"
                .to_owned(),
            "orders_by_status",
            100,
        ),
        (
            "SELECT 1 FROM orders WHERE tenant_id = 'default' AND status = 'pending' LIMIT 100000".to_owned(),
            "orders_by_status",
            100,
        ),
        (
            format!(
                "SELECT id FROM orders WHERE tenant_id = 'default' AND customer = 'c7' AND id < {last} \
                 ORDER BY id DESC LIMIT 101"
            ),
            "orders_by_customer",
            100,
        ),
    ] {
        let explain = format!("EXPLAIN FORMAT=TRADITIONAL {query}");
        let plan = sqlx::query(sqlx::AssertSqlSafe(explain)).fetch_all(&mut connection).await.unwrap();
        let used: String = plan[0].try_get("key").unwrap();
        let rows: i64 = match plan[0].try_get::<String, _>("rows") {
            Ok(text) => text.parse().unwrap(),
            Err(_) => plan[0].try_get("rows").unwrap(),
        };
        assert_eq!(used, index, "{query}");
        assert!(rows <= most_rows, "{rows} rows: {query}");
    }
}
