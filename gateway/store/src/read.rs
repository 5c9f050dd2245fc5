//! Reads orders and their events.

use std::collections::HashSet;
use std::sync::Arc;

use domain::{LeaseToken, Order, OrderEvent, OrderId, Principal};

use super::columns::OrderRow;
use super::connection::Connection;
use super::isolate::{decode_orders, select_orders};
use super::owner::Owner;
use super::statement::{Statement, padded_chunks};
use super::timeline::Timelines;
use super::unreadable::Unreadable;
use super::{Error, Shard, columns, rows, timeline};

/// The found orders, in any sequence.
#[derive(Debug, Default)]
pub struct FoundOrders {
    /// The readable ones.
    pub orders: Vec<Order>,
    /// Those that exist and cannot be read.
    pub unreadable: Vec<Unreadable>,
}

impl Shard {
    /// Returns those of the orders that exist and that the caller may see.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn find(&self, principal: &Principal, ids: &[OrderId]) -> Result<FoundOrders, Error> {
        let (ids, owner) = (ids.to_vec(), Owner::visible_to(principal));
        self.read(move |connection| Box::pin(async move { find(connection, &ids, &owner).await })).await
    }

    /// As [`Self::find`], without the unreadable orders.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn orders(&self, principal: &Principal, ids: &[OrderId]) -> Result<Vec<Order>, Error> {
        Ok(self.find(principal, ids).await?.orders)
    }

    /// Returns one order with its lease token, if it exists and the caller may see it.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn order_with_lease(
        &self,
        principal: &Principal,
        id: OrderId,
    ) -> Result<Option<Result<(Order, Option<LeaseToken>), Unreadable>>, Error> {
        let owner = Owner::visible_to(principal);
        self.read(move |connection| {
            Box::pin(async move {
                let mut rows = select_orders(connection, &columns::ORDER, &[id], &owner, "").await?;
                let found = rows.iter().next().map(|row| {
                    let found =
                        columns::order(&row).and_then(|order| Ok((order, columns::state(&row)?.state.lease)));
                    found.map_err(|error| Unreadable::new(id, &error))
                });
                Ok(found.or_else(|| rows.unreadable.pop().map(Err)))
            })
        })
        .await
    }

    /// Returns, for each order and sequence, the events of that order with a higher sequence.
    ///
    /// Orders that the caller may not see have no events.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn timelines(
        &self,
        principal: &Principal,
        cursors: &[(OrderId, u32)],
    ) -> Result<Timelines, Error> {
        let (cursors, owner) = (cursors.to_vec(), Owner::visible_to(principal));
        self.read(move |connection| {
            Box::pin(async move { timeline::after(connection, &cursors, &owner).await })
        })
        .await
    }

    /// As [`Self::timelines`], without the unreadable orders.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn events_after(
        &self,
        principal: &Principal,
        cursors: &[(OrderId, u32)],
    ) -> Result<Vec<Arc<OrderEvent>>, Error> {
        Ok(self.timelines(principal, cursors).await?.events)
    }

    /// Returns whether the order exists, readable or not, and the caller may see it.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn exists(&self, principal: &Principal, id: OrderId) -> Result<bool, Error> {
        Ok(!self.visible(principal, &[id]).await?.is_empty())
    }

    /// Returns those of the orders that exist, readable or not, and that the caller may see.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn visible(&self, principal: &Principal, ids: &[OrderId]) -> Result<HashSet<OrderId>, Error> {
        let (ids, owner) = (ids.to_vec(), Owner::visible_to(principal));
        self.read(move |connection| {
            Box::pin(async move {
                let mut found = HashSet::with_capacity(ids.len());
                for piece in padded_chunks(&ids) {
                    let mut sql = Statement::new("SELECT id FROM orders WHERE id");
                    sql.push_in(piece.iter().copied());
                    owner.push(&mut sql);
                    found.extend(sql.fetch(connection).await?.iter().filter_map(|row| rows::id(row, 0).ok()));
                }
                Ok(found)
            })
        })
        .await
    }

    /// Returns the version (the sequence of the latest event) of each of the orders that exists.
    ///
    /// For the feed, which compares the watched orders of all callers.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn versions(&self, ids: &[OrderId]) -> Result<Vec<(OrderId, u32)>, Error> {
        let ids = ids.to_vec();
        self.read(move |connection| {
            Box::pin(async move {
                let mut versions = Vec::with_capacity(ids.len());
                for piece in padded_chunks(&ids) {
                    let mut sql = Statement::new("SELECT id, version FROM orders WHERE id");
                    sql.push_in(piece.iter().copied());
                    for row in sql.fetch(connection).await? {
                        // An order with an unreadable version has no news for its subscribers.
                        if let (Ok(id), Ok(version)) = (rows::id(&row, 0), rows::number(&row, 1)) {
                            versions.push((id, version));
                        }
                    }
                }
                Ok(versions)
            })
        })
        .await
    }
}

/// Returns those of the orders that exist and have this owner.
pub(super) async fn find(
    connection: &mut Connection,
    ids: &[OrderId],
    owner: &Owner,
) -> Result<FoundOrders, Error> {
    let decode = |row: &OrderRow<'_>| Ok(columns::whole(row)?.1);
    let (decoded, unreadable) = decode_orders(connection, &columns::ORDER, ids, owner, decode).await?;
    let mut found = FoundOrders { orders: Vec::with_capacity(decoded.len()), unreadable };
    for order in decoded {
        match order {
            Ok(order) => found.orders.push(order),
            Err(unreadable) => found.unreadable.push(unreadable),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use crate::Options;
    use crate::tests::sqlite;

    use super::*;

    /// The future of each request contains those of its reads.
    #[tokio::test]
    async fn futures_of_reads_are_small() {
        let folder = tempfile::tempdir().unwrap();
        let store = sqlite(&folder, &Options::default()).await;
        let (caller, id) = (Principal::anonymous(), OrderId::new(store.now()));
        let sizes =
            [size_of_val(&store.find(&caller, &[id])), size_of_val(&store.timelines(&caller, &[(id, 0)]))];
        assert!(sizes.iter().all(|size| *size < 4_096), "{sizes:?}");
    }
}
