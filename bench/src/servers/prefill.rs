//! Fills the product's tables by SQL with copies of one accepted order.

use std::io;

use super::database::Database;
use super::running::Servers;
use crate::load::ORDER;
use crate::simple_http;

/// Rows in one statement.
const ROWS_PER_STATEMENT: u64 = 50_000;
/// The columns that all copies share with the first order.
const COPIED_COLUMNS: &str =
    "tenant_id, line_items, currency, total_minor, quantity, failures, max_attempts, not_before";

/// The orders in the table.
pub(crate) struct Prefill {
    first: String,
    orders: u64,
    /// The time in the id of the first order, in milliseconds.
    since_ms: u64,
}

impl Prefill {
    /// Creates the first order.
    pub(crate) fn new(servers: &Servers) -> io::Result<Self> {
        let (status, response) = simple_http::post(servers.http, "/orders", ORDER)?;
        let order: serde_json::Value = serde_json::from_str(&response)?;
        let id = order["id"].as_str().and_then(|id| uuid::Uuid::parse_str(id).ok());
        match (status, id) {
            (201, Some(id)) => {
                let since_ms = (id.as_u128() >> 80) as u64;
                Ok(Self { first: id.simple().to_string(), orders: 1, since_ms })
            }
            _ => Err(io::Error::other(format!("failed to create the first order: {status} {response}"))),
        }
    }

    /// Fills the table up to `orders` orders: every tenth failed, the others completed.
    pub(crate) fn fill_with_final(&mut self, database: &mut Database, orders: u64) -> io::Result<()> {
        let status = "IF(seq % 10 = 0, 'failed', 'completed')";
        self.add_copies(
            database,
            orders,
            &[
                ("status", status),
                ("stage", status),
                ("due_at", "9223372036854775807"),
                ("version", "3"),
                ("attempt", "1"),
                ("previous_status", "'processing'"),
                ("previous_attempt", "1"),
                ("previous_at", "created_at"),
            ],
        )
    }

    /// Fills the table up to `orders` orders that wait for a worker.
    pub(crate) fn fill_with_waiting(&mut self, database: &mut Database, orders: u64) -> io::Result<()> {
        self.add_copies(
            database,
            orders,
            &[
                ("status", "'pending'"),
                ("stage", "'waiting'"),
                ("due_at", "not_before"),
                ("version", "1"),
                ("attempt", "0"),
            ],
        )
    }

    /// Adds copies with these columns and values.
    fn add_copies(&mut self, database: &mut Database, orders: u64, own: &[(&str, &str)]) -> io::Result<()> {
        let (columns, values): (Vec<_>, Vec<_>) = own.iter().copied().unzip();
        let (columns, values) = (columns.join(", "), values.join(", "));
        while self.orders < orders {
            let (from, to) = (self.orders + 1, orders.min(self.orders + ROWS_PER_STATEMENT));
            // Like a UUID version 7: the time in milliseconds, then a unique number. The times are before the first
            // order, so that no order is from the future.
            let at = format!("({} + seq DIV 16)", self.since_ms - 3_600_000);
            let id = format!(
                "UNHEX(CONCAT(LPAD(HEX({at}), 12, '0'), '7', LPAD(HEX(seq % 4096), 3, '0'), '8', LPAD(HEX(seq), 15, '0')))"
            );
            let copy = format!(
                "INSERT INTO orders (id, created_at, updated_at, {COPIED_COLUMNS}, {columns}) \
                 SELECT {id}, {at} * 1000, {at} * 1000, {COPIED_COLUMNS}, {values} \
                 FROM seq_{from}_to_{to}, (SELECT {COPIED_COLUMNS}, created_at FROM orders WHERE id = UNHEX('{}')) AS first",
                self.first
            );
            database.execute(&copy)?;
            self.orders = to;
        }
        Ok(())
    }
}
