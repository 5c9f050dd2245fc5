//! A database and a key prefix for one test, on servers that all tests share.

use sqlx::{AssertSqlSafe, Connection, MySqlConnection};
use url::Url;

/// The database and the Redis of a test.
pub(crate) struct Servers {
    /// A new database.
    pub(crate) database_url: String,
    /// The shared Redis.
    pub(crate) redis_url: String,
    /// A prefix that no other test uses.
    pub(crate) prefix: String,
}

impl Servers {
    pub(crate) async fn new() -> Self {
        let name = unique_name();
        let server = variable("ORDERS_TEST_MYSQL_URL");
        let mut connection = MySqlConnection::connect(&server)
            .await
            .unwrap_or_else(|error| panic!("the server of ORDERS_TEST_MYSQL_URL cannot be used: {error}"));
        // `unique_name` uses only letters, digits and underscores, so the name needs no quotes.
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name} CHARACTER SET utf8mb4")))
            .execute(&mut connection)
            .await
            .expect("the user of ORDERS_TEST_MYSQL_URL may create databases");
        let mut database_url = Url::parse(&server).expect("ORDERS_TEST_MYSQL_URL is a URL");
        database_url.set_path(&name);
        Self { database_url: database_url.into(), redis_url: redis_url(), prefix: name }
    }
}

/// Returns the URL of the Redis that all tests share.
pub(crate) fn redis_url() -> String {
    variable("ORDERS_TEST_REDIS_URL")
}

fn variable(name: &str) -> String {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => value,
        _ => panic!("{name} is not set: this test needs a MariaDB and a Redis; scripts/test.sh starts both"),
    }
}

fn unique_name() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros();
    format!("orders_{}_{now}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}
