//! Multi-row INSERTs of orders, one transaction after the other.

use std::io;
use std::time::{Duration, Instant};

use sqlx::{
    AssertSqlSafe, Connection, Database, Encode, Executor, IntoArguments, MySqlConnection, SqliteConnection,
    Type,
};

use super::limit::{Limit, cpu_since};
use crate::load::run_on_this_thread;
use crate::servers::{Servers, System};

/// Connections that write concurrently; SQLite permits one.
const WRITERS: usize = 2;
/// The settings of the product for each SQLite connection.
const SQLITE_PRAGMAS: [&str; 2] = ["PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL"];
const LINE_ITEMS: &str = r#"[{"item":"Laptop","quantity":2,"price":"1299.99"}]"#;

pub(crate) fn measure(servers: &Servers, rows: usize, duration: Duration) -> io::Result<Limit> {
    let sqlite = servers.database_url.starts_with("sqlite:");
    let (writers, database) = if sqlite { (1, "SQLite") } else { (WRITERS, "MariaDB") };
    let before = servers.cpu()?;
    let count = run_on_this_thread(async {
        let writers: Vec<_> = (0..writers)
            .map(|_| tokio::task::spawn_local(insert_orders(servers.database_url.clone(), rows, duration)))
            .collect();
        let mut count = 0;
        for writer in writers {
            count += writer.await?.map_err(io::Error::other)?;
        }
        Ok::<_, io::Error>(count)
    })??;
    let name = format!("{database}: orders, {rows} in a transaction, connections: {writers}");
    let limit = Limit::new(name, None, count, duration, cpu_since(servers, &before)?);
    Ok(limit.for_systems(&[if sqlite { System::Embedded } else { System::Orders }]))
}

async fn insert_orders(url: String, rows: usize, duration: Duration) -> Result<u64, sqlx::Error> {
    if !url.starts_with("sqlite:") {
        return insert_over::<sqlx::MySql>(MySqlConnection::connect(&url).await?, rows, duration).await;
    }
    let mut connection = SqliteConnection::connect(&url).await?;
    for pragma in SQLITE_PRAGMAS {
        sqlx::query(pragma).execute(&mut connection).await?;
    }
    insert_over::<sqlx::Sqlite>(connection, rows, duration).await
}

async fn insert_over<DB: Database>(
    mut connection: DB::Connection,
    rows: usize,
    duration: Duration,
) -> Result<u64, sqlx::Error>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
    Vec<u8>: for<'q> Encode<'q, DB> + Type<DB>,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
    &'static str: for<'q> Encode<'q, DB> + Type<DB>,
{
    let orders = format!(
        "INSERT INTO orders (id, tenant_id, line_items, currency, total_minor, quantity, status, version, attempt, \
         failures, max_attempts, due_at, not_before, created_at, updated_at) VALUES {}",
        vec!["(?, 'default', ?, 'USD', 259998, 2, 'pending', 1, 0, 0, 5, ?, ?, ?, ?)"; rows].join(", ")
    );
    let (began, mut count) = (Instant::now(), 0);
    while began.elapsed() < duration {
        let ids: Vec<_> = (0..rows).map(|_| uuid::Uuid::now_v7().as_bytes().to_vec()).collect();
        let now = count as i64;
        let mut transaction = connection.begin().await?;
        let mut statement = sqlx::query(AssertSqlSafe(orders.as_str()));
        for id in ids {
            statement = statement.bind(id).bind(LINE_ITEMS).bind(now).bind(now).bind(now).bind(now);
        }
        statement.execute(&mut *transaction).await?;
        transaction.commit().await?;
        count += rows as u64;
    }
    Ok(count)
}
