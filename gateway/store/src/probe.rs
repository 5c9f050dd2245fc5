//! A write without an effect, which shows whether the database accepts writes.

use domain::{Content, Currency, LineItem, Money, OrderId, Priority, TenantId};

use super::create_request::{CreateRequest, NewOrder};
use super::insert::insert_orders;
use super::insert_plan::InsertPlan;
use super::statement::Statement;
use super::{Error, Shard};

/// How the probe ends its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// ROLLBACK. Finds a read-only database and missing privileges.
    RollBack,
    /// The row is deleted in the same transaction, which is committed. Finds a failing COMMIT as well.
    Commit,
}

impl Shard {
    /// Inserts, changes and deletes an order with an event and an idempotency key, in one transaction.
    ///
    /// It uses every privilege that orders need. No other transaction sees the rows.
    ///
    /// # Errors
    /// The reason of the refusal.
    pub async fn probe(&self, probe: Probe) -> Result<(), Error> {
        let now = self.now();
        let id = OrderId::new(now);
        let creation = CreateRequest::from(NewOrder::new(id, TenantId::default(), content(), now));
        let written = self.write(|connection| {
            let creation = creation.clone();
            Box::pin(async move {
                insert_orders(connection, &[&creation], &InsertPlan::default(), false).await?;
                let mut sql = Statement::new(
                    "INSERT INTO order_events (order_id, sequence, status, attempt, occurred_at) \
                     VALUES (?, 2, 'pending', 0, ?)",
                );
                sql.bind(id).bind(now.as_micros());
                sql.execute(connection).await?;
                let mut sql = Statement::new(
                    "INSERT INTO idempotency_keys (tenant_id, idempotency_key, request_hash, order_id, created_at, \
                     expires_at) VALUES (?, ?, ?, ?, ?, ?)",
                );
                sql.bind(TenantId::DEFAULT).bind(id).bind(vec![0_u8; 32]);
                sql.bind(id).bind(now.as_micros()).bind(now.as_micros());
                sql.execute(connection).await?;
                for statement in [
                    "UPDATE orders SET held_until = 1 WHERE id = ?",
                    "DELETE FROM idempotency_keys WHERE order_id = ?",
                    "DELETE FROM order_events WHERE order_id = ?",
                    "DELETE FROM orders WHERE id = ?",
                ] {
                    let mut sql = Statement::new(statement);
                    sql.bind(id);
                    sql.execute(connection).await?;
                }
                match probe {
                    Probe::Commit => Ok(()),
                    // An error rolls the transaction back.
                    Probe::RollBack => Err(Error::Outdated),
                }
            })
        });
        match written.await {
            Err(Error::Outdated) if probe == Probe::RollBack => Ok(()),
            result => result,
        }
    }
}

fn content() -> Content {
    let price = Money::zero(Currency::USD);
    let line_items = vec![LineItem { item: "write test".to_owned(), quantity: 1, price }];
    Content { max_attempts: 1, priority: Priority::Low, ..Content::new(line_items, price) }
}
