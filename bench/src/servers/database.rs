//! Direct access to the database of a system.
//!
//! It is used to compare the responses to clients with the stored orders.

use std::collections::BTreeMap;
use std::io;

use tokio::runtime::Runtime;

/// One connection. The table of every system is `orders`, and has the statuses `pending`, `processing` and
/// `completed`.
pub(crate) struct Database {
    runtime: Runtime,
    connection: test_database::Database,
}

impl Database {
    pub(super) fn connect(url: &str) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let connection = runtime.block_on(test_database::Database::connect(url)).map_err(io::Error::other)?;
        Ok(Self { runtime, connection })
    }

    pub(super) fn connect_to_vtgate(url: &str) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let connection =
            runtime.block_on(test_database::Database::connect_to_vtgate(url)).map_err(io::Error::other)?;
        Ok(Self { runtime, connection })
    }

    /// Counts all orders.
    pub(crate) fn count_stored(&mut self) -> io::Result<u64> {
        self.query_number("SELECT COUNT(*) FROM orders")
    }

    /// Counts the completed orders.
    pub(crate) fn count_completed(&mut self) -> io::Result<u64> {
        self.query_number("SELECT COUNT(*) FROM orders WHERE status = 'completed'")
    }

    /// Checks that all orders are final, which is cheaper than a count.
    pub(crate) fn is_drained(&mut self) -> io::Result<bool> {
        let left = "SELECT COUNT(*) FROM (SELECT 1 FROM orders WHERE status IN ('pending', 'processing') LIMIT 1) AS waiting";
        Ok(self.query_number(left)? == 0)
    }

    /// Returns the result of a query for one number.
    pub(crate) fn query_number(&mut self, sql: &str) -> io::Result<u64> {
        let number: i64 = self.runtime.block_on(self.connection.value(sql)).map_err(io::Error::other)?;
        u64::try_from(number).map_err(io::Error::other)
    }

    /// Returns the result of a query for one string.
    pub(crate) fn query_string(&mut self, sql: &str) -> io::Result<String> {
        self.runtime.block_on(self.connection.value(sql)).map_err(io::Error::other)
    }

    /// Returns the named numbers of a query with two columns; values that are no numbers are left out.
    pub(crate) fn query_numbers(&mut self, sql: &str) -> io::Result<BTreeMap<String, u64>> {
        let rows: Vec<(String, String)> =
            self.runtime.block_on(self.connection.rows(sql)).map_err(io::Error::other)?;
        Ok(rows.into_iter().filter_map(|(name, value)| Some((name, value.parse().ok()?))).collect())
    }

    /// Runs one statement.
    pub(crate) fn execute(&mut self, sql: &str) -> io::Result<()> {
        self.runtime.block_on(self.connection.run(sql)).map_err(io::Error::other)?;
        Ok(())
    }
}
