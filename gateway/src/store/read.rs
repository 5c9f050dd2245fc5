//! Showing orders and their events.

use std::sync::Arc;

use domain::{LeaseToken, Order, OrderEvent, OrderId};

use super::sql::{Sql, padded};
use super::{Error, Store, rows, timeline};

impl Store {
    /// Those of the orders that exist, in any order.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn orders(&self, ids: &[OrderId]) -> Result<Vec<Order>, Error> {
        let ids = ids.to_vec();
        self.read(move |connection| {
            Box::pin(async move {
                let mut orders = Vec::with_capacity(ids.len());
                for piece in padded(&ids) {
                    let mut sql = Sql::new(&format!("SELECT {} FROM orders WHERE id", rows::ORDER));
                    sql.within(piece.iter().map(|id| id.as_bytes().to_vec()));
                    for row in sql.fetch(connection).await? {
                        orders.push(rows::order(&row)?);
                    }
                }
                Ok(orders)
            })
        })
        .await
    }

    /// One order with its lease token, if it exists.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn order_with_lease(&self, id: OrderId) -> Result<Option<(Order, Option<LeaseToken>)>, Error> {
        self.read(move |connection| {
            Box::pin(async move {
                let mut sql = Sql::new(&format!("SELECT {} FROM orders WHERE id = ?", rows::ORDER));
                sql.bind(id.as_bytes().to_vec());
                let found = sql.fetch(connection).await?;
                found.first().map(|row| Ok((rows::order(row)?, rows::state(row)?.state.lease))).transpose()
            })
        })
        .await
    }

    /// For each order and sequence, the events of that order with a higher sequence; the events of
    /// one order come oldest first.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn events_after(&self, cursors: &[(OrderId, u32)]) -> Result<Vec<Arc<OrderEvent>>, Error> {
        let cursors = cursors.to_vec();
        self.read(move |connection| {
            Box::pin(async move {
                Ok(timeline::after(connection, &cursors).await?.into_iter().map(Arc::new).collect())
            })
        })
        .await
    }

    /// The version (the sequence of the latest event) of each of the orders that exists.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn versions(&self, ids: &[OrderId]) -> Result<Vec<(OrderId, u32)>, Error> {
        let ids = ids.to_vec();
        self.read(move |connection| {
            Box::pin(async move {
                let mut versions = Vec::with_capacity(ids.len());
                for piece in padded(&ids) {
                    let mut sql = Sql::new("SELECT id, version FROM orders WHERE id");
                    sql.within(piece.iter().map(|id| id.as_bytes().to_vec()));
                    for row in sql.fetch(connection).await? {
                        versions.push((rows::id(&row, 0)?, rows::number(&row, 1)?));
                    }
                }
                Ok(versions)
            })
        })
        .await
    }
}
