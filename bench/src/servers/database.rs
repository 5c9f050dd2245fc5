//! The database of a system, seen past it: what clients were told is compared with what is there.

use std::io;

use sqlx::any::install_default_drivers;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor, Row};
use tokio::runtime::Runtime;

/// One connection. All systems call their table `orders` and know the statuses `pending`, `processing` and
/// `completed`.
pub(crate) struct Database {
    runtime: Runtime,
    connection: AnyConnection,
}

impl Database {
    pub(super) fn connect(url: &str) -> io::Result<Self> {
        install_default_drivers();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let connection = runtime.block_on(AnyConnection::connect(url)).map_err(io::Error::other)?;
        Ok(Self { runtime, connection })
    }

    /// Orders that are there.
    pub(crate) fn stored(&mut self) -> io::Result<u64> {
        self.number("SELECT COUNT(*) FROM orders")
    }

    pub(crate) fn completed(&mut self) -> io::Result<u64> {
        self.number("SELECT COUNT(*) FROM orders WHERE status = 'completed'")
    }

    /// Whether any order is not final yet; cheaper than counting them.
    pub(crate) fn is_drained(&mut self) -> io::Result<bool> {
        let left = "SELECT COUNT(*) FROM (SELECT 1 FROM orders WHERE status IN ('pending', 'processing') LIMIT 1) AS waiting";
        Ok(self.number(left)? == 0)
    }

    /// The one number that a query answers.
    pub(crate) fn number(&mut self, sql: &str) -> io::Result<u64> {
        let row = self.connection.fetch_one(AssertSqlSafe(sql));
        let row = self.runtime.block_on(row).map_err(io::Error::other)?;
        let number: i64 = row.try_get(0).map_err(io::Error::other)?;
        u64::try_from(number).map_err(io::Error::other)
    }

    /// The one text that a query answers.
    pub(crate) fn text(&mut self, sql: &str) -> io::Result<String> {
        let row = self.connection.fetch_one(AssertSqlSafe(sql));
        let row = self.runtime.block_on(row).map_err(io::Error::other)?;
        row.try_get(0).map_err(io::Error::other)
    }

    /// Runs one statement.
    pub(crate) fn execute(&mut self, sql: &str) -> io::Result<()> {
        let done = self.connection.execute(AssertSqlSafe(sql));
        self.runtime.block_on(done).map_err(io::Error::other)?;
        Ok(())
    }
}
