//! Orders that were not accepted one by one: written into the product's tables by SQL, copied from one
//! that was accepted.

use std::io;

use super::{Database, Servers};
use crate::load::ORDER;
use crate::plain;

/// Rows of one statement.
const CHUNK: u64 = 50_000;
/// The columns that all copies share with the first order.
const SAME: &str =
    "tenant_id, line_items, currency, total_minor, quantity, failures, max_attempts, not_before";

/// What is in the table.
pub(crate) struct Stock {
    first: String,
    orders: u64,
    /// When the first copy was made, as the ids say it.
    since_ms: u64,
}

impl Stock {
    /// Accepts the first order.
    pub(crate) fn new(servers: &Servers) -> io::Result<Self> {
        let (status, answer) = plain::post(servers.http, "/orders", ORDER)?;
        let order: serde_json::Value = serde_json::from_str(&answer)?;
        let id = order["id"].as_str().and_then(|id| uuid::Uuid::parse_str(id).ok());
        match (status, id) {
            (201, Some(id)) => {
                let since_ms = (id.as_u128() >> 80) as u64;
                Ok(Self { first: id.simple().to_string(), orders: 1, since_ms })
            }
            _ => Err(io::Error::other(format!("no order is accepted: {status} {answer}"))),
        }
    }

    /// Up to `orders` orders, one in 10 of them failed, the others completed.
    pub(crate) fn fill_with_final(&mut self, database: &mut Database, orders: u64) -> io::Result<()> {
        let status = "IF(seq % 10 = 0, 'failed', 'completed')";
        self.fill(
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

    /// Up to `orders` orders that wait for a worker.
    pub(crate) fn fill_with_waiting(&mut self, database: &mut Database, orders: u64) -> io::Result<()> {
        self.fill(
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

    /// Copies with these columns, each with its value.
    fn fill(&mut self, database: &mut Database, orders: u64, own: &[(&str, &str)]) -> io::Result<()> {
        let (columns, values): (Vec<_>, Vec<_>) = own.iter().copied().unzip();
        let (columns, values) = (columns.join(", "), values.join(", "));
        while self.orders < orders {
            let (from, to) = (self.orders + 1, orders.min(self.orders + CHUNK));
            // Like a UUID version 7: the time in milliseconds first, then what makes it unique. The time
            // goes backwards from the first order, so that nobody finds an order from the future.
            let at = format!("({} + seq DIV 16)", self.since_ms - 3_600_000);
            let id = format!(
                "UNHEX(CONCAT(LPAD(HEX({at}), 12, '0'), '7', LPAD(HEX(seq % 4096), 3, '0'), '8', LPAD(HEX(seq), 15, '0')))"
            );
            let copy = format!(
                "INSERT INTO orders (id, created_at, updated_at, {SAME}, {columns}) \
                 SELECT {id}, {at} * 1000, {at} * 1000, {SAME}, {values} \
                 FROM seq_{from}_to_{to}, (SELECT {SAME}, created_at FROM orders WHERE id = UNHEX('{}')) AS first",
                self.first
            );
            database.execute(&copy)?;
            self.orders = to;
        }
        Ok(())
    }
}
