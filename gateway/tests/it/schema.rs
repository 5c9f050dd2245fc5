//! The tables: their creation, and the indexes that the queries use.

use gateway::store::Options;
use gateway::{Store, store::ConnectError};
use sqlx::{Connection, MySqlConnection, Row};

use crate::harness::{Backend, On};
use crate::on_both;

/// Four gateways start concurrently on an empty database.
#[tokio::test(flavor = "multi_thread")]
async fn several_gateways_migrate_concurrently() {
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
    assert!(
        store
            .list(&domain::Principal::anonymous(), &domain::query::Filter::default(), None, 1)
            .await
            .unwrap()
            .is_empty()
    );
}

/// Servers such as Vitess refuse what the driver sets on each new connection.
#[tokio::test(flavor = "multi_thread")]
async fn the_store_works_without_the_session_settings_of_the_driver() {
    let url = Backend::empty_database(On::Servers).await.0;
    let options = Options { driver_settings: false, ..Options::default() };
    let plain = Store::connect(&url, &options).await.unwrap();
    plain.migrate().await.unwrap();
    let now = plain.now();
    let draft = domain::Draft {
        item: Some("Käse 🧀".into()),
        quantity: Some(1),
        price: Some("1".into()),
        customer: Some("Jürgen".into()),
        ..domain::Draft::default()
    };
    let content = draft.check(domain::Currency::USD).unwrap();
    let order =
        gateway::store::NewOrder::new(domain::OrderId::new(now), domain::TenantId::default(), content, now);
    let id = order.id;
    plain.insert([order.into()].into()).await.unwrap();
    let usual = Store::connect(&url, &Options::default()).await.unwrap();
    let (plainly, usually) = (
        plain.orders(&domain::Principal::anonymous(), &[id]).await.unwrap(),
        usual.orders(&domain::Principal::anonymous(), &[id]).await.unwrap(),
    );
    assert_eq!(plainly, usually);
    assert_eq!(usually[0].customer.as_deref(), Some("Jürgen"));
    assert_eq!(usually[0].line_items[0].item, "Käse 🧀");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sqlite_file_is_opened_by_one_process_only() {
    let (url, folder) = Backend::empty_database(On::Embedded).await;
    let first = Store::connect(&url, &Options::default()).await.unwrap();
    let second = Store::connect(&url, &Options::default()).await;
    assert!(
        matches!(second, Err(error @ ConnectError::InUse(_)) if error.to_string().contains("in use by another process"))
    );
    drop(first);
    Store::connect(&url, &Options::default()).await.unwrap();
    drop(folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn database_url_errors_contain_no_password() {
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

/// Enough rows for the query planner: 20,000 completed orders and 20 pending ones. Half of them have
/// the same total.
async fn full_database() -> (Backend, MySqlConnection) {
    let backend = Backend::new(On::Servers).await;
    let mut connection = MySqlConnection::connect(backend.url()).await.unwrap();
    let mut rows = Vec::new();
    for n in 0..20_020 {
        let (status, stage, due) =
            if n % 1_001 == 0 { ("pending", "waiting", 5) } else { ("completed", "completed", i64::MAX) };
        let priority = ["high", "normal", "low"][n % 3];
        let total = if n % 2 == 0 { 259_998 } else { n };
        rows.push(format!(
            "(UNHEX(LPAD(HEX({n}), 32, '0')), 'default', NULL, 'c{}', '[]', 'USD', {total}, 1, '{status}', '{stage}', 1, 0, 0, 5, {due}, 0, NULL, {n}, {n}, '{priority}')",
            n % 500
        ));
    }
    for chunk in rows.chunks(2_000) {
        let insert = format!(
            "INSERT INTO orders (id, tenant_id, external_reference, customer, line_items, currency, total_minor, \
             quantity, status, stage, version, attempt, failures, max_attempts, due_at, not_before, reason, \
             created_at, updated_at, priority) VALUES {}",
            chunk.join(",")
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(insert)).execute(&mut connection).await.unwrap();
    }
    sqlx::raw_sql("ANALYZE TABLE orders").execute(&mut connection).await.unwrap();
    (backend, connection)
}

/// The frequent queries read an index range, for any number of orders.
#[tokio::test(flavor = "multi_thread")]
async fn dispatch_and_lists_use_their_indexes() {
    let (_backend, mut connection) = full_database().await;
    let last = "UNHEX('00000000000000000000000000003000')";
    for (query, index, most_rows) in [
        (
            "SELECT id, quantity FROM orders FORCE INDEX (orders_due) WHERE stage = 'waiting' AND kind = 'default' AND priority = 'normal' AND tenant_id = 'default' AND due_at <= 9 \
             ORDER BY due_at LIMIT 256 FOR UPDATE SKIP LOCKED"
                .to_owned(),
            "orders_due",
            100,
        ),
        (
            "SELECT id, status FROM orders FORCE INDEX (orders_by_stage) WHERE stage = 'held' \
             AND held_until <= 9 LIMIT 500"
                .to_owned(),
            "orders_by_stage",
            20_000,
        ),
        (
            "SELECT id FROM orders WHERE stage = 'waiting' AND tenant_id = 'default' ORDER BY id DESC LIMIT 101"
                .to_owned(),
            "orders_by_stage",
            100,
        ),
        (
            format!(
                "SELECT id FROM orders FORCE INDEX (orders_by_stage) WHERE stage = 'completed' \
                 AND tenant_id = 'default' AND id > {last} ORDER BY id LIMIT 128"
            ),
            "orders_by_stage",
            20_000,
        ),
        (
            "SELECT 1 FROM orders WHERE stage = 'waiting' AND tenant_id = 'default' LIMIT 100000".to_owned(),
            "orders_by_stage",
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
            // Signed on MariaDB, and not on MySQL.
            Err(_) => plan[0].try_get_unchecked("rows").unwrap(),
        };
        assert_eq!(used, index, "{query}");
        assert!(rows <= most_rows, "{rows} rows: {query}");
    }
    // Not every database estimates a forced index well.
    let held = "SELECT id, status FROM orders FORCE INDEX (orders_by_stage) WHERE stage = 'held' \
                AND held_until <= 9 LIMIT 500";
    let (before, between) = (reads(&mut connection).await, reads(&mut connection).await);
    sqlx::query(held).fetch_all(&mut connection).await.unwrap();
    let read = reads(&mut connection).await - between - (between - before);
    assert!(read <= 10, "{read} reads: {held}");
}

/// The number of rows and index entries that this connection has read.
pub(crate) async fn reads(connection: &mut MySqlConnection) -> i64 {
    let status = sqlx::query("SHOW SESSION STATUS LIKE 'Handler_read_%'");
    let rows = status.fetch_all(connection).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(1).parse::<i64>().unwrap()).sum()
}

/// A page at any position of its list reads its orders and few other rows.
#[tokio::test(flavor = "multi_thread")]
async fn a_deep_page_reads_no_more_rows_than_the_first() {
    let (_backend, mut connection) = full_database().await;
    let (deep, shallow) = ("UNHEX(LPAD(HEX(2000), 32, '0'))", "UNHEX(LPAD(HEX(18000), 32, '0'))");
    let by_id = "FORCE INDEX (PRIMARY)";
    let (by_stage, by_total) = ("FORCE INDEX (orders_by_stage)", "FORCE INDEX (orders_by_total)");
    let (newest, oldest) = ("id DESC", "id ASC");
    let (largest, smallest) = ("total_minor DESC, id DESC", "total_minor ASC, id ASC");
    let beyond = |sign: &str, total: u32, id: &str| {
        let strict = &sign[..1];
        format!(
            "AND currency = 'USD' AND (total_minor {strict} {total} OR (total_minor = {total} AND id {sign} {id}))"
        )
    };
    for (index, condition, order) in [
        (by_id, String::new(), newest),
        (by_id, format!("AND id < {deep}"), newest),
        (by_id, format!("AND id > {shallow}"), oldest),
        (by_stage, "AND stage = 'waiting'".to_owned(), newest),
        (by_stage, format!("AND stage = 'completed' AND id < {deep}"), newest),
        (by_stage, format!("AND stage = 'completed' AND id >= {deep}"), oldest),
        (by_total, "AND currency = 'USD'".to_owned(), largest),
        (by_total, beyond("<", 259_998, deep), largest),
        (by_total, beyond("<", 259_998, shallow), largest),
        (by_total, beyond("<", 1_001, deep), largest),
        (by_total, beyond(">", 259_998, deep), smallest),
        (by_total, beyond(">=", 259_998, deep), smallest),
        (by_total, beyond(">=", 259_998, shallow), smallest),
        (by_total, format!("{} AND total_minor BETWEEN 5 AND 300000", beyond("<", 259_998, deep)), largest),
    ] {
        let query = format!(
            "SELECT id FROM orders {index} WHERE +tenant_id = 'default' {condition} ORDER BY {order} LIMIT 101"
        );
        // The query of the counter itself reads as well.
        let (before, between) = (reads(&mut connection).await, reads(&mut connection).await);
        let page = sqlx::query(sqlx::AssertSqlSafe(query.clone())).fetch_all(&mut connection).await.unwrap();
        let read = reads(&mut connection).await - between - (between - before);
        assert!(!page.is_empty() && read <= 300, "{read} reads: {query}");
    }
}

on_both!(gateways_share_an_identity_exactly_when_they_share_a_database, |on| async move {
    let (backend, other) = (Backend::new(on).await, Backend::new(on).await);
    let installation = backend.store.installation().await.unwrap();
    let again = backend.gateway_store().await;
    again.migrate().await.unwrap();
    assert_eq!(again.installation().await.unwrap(), installation);
    let other = other.store.installation().await.unwrap();
    assert!(installation.id != other.id && installation.secret != other.secret);
    assert!(installation.secret != [0; 32] && !format!("{installation:?}").contains("secret"));
});
