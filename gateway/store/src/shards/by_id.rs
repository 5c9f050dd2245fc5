//! Orders by their ids, each in its shard.

use std::collections::HashSet;
use std::sync::Arc;

use domain::transition::{Command, Rules};
use domain::{
    LeaseToken, MetadataPatch, Note, NoteContent, Order, OrderEvent, OrderId, OrderMap, Principal, Requester,
};

use crate::notes::NoteOutcome;
use crate::unreadable::Unreadable;
use crate::{
    ClaimLimits, CommandOutcome, Error, FoundOrders, MetadataChange, Outputs, Repaired, Setting, Store,
    Timelines, TrackedTenant,
};

fn itself(id: &OrderId) -> OrderId {
    *id
}

fn first(cursor: &(OrderId, u32)) -> OrderId {
    cursor.0
}

impl Store {
    /// Returns those of the orders that exist and that the caller may see.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn find(&self, principal: &Principal, ids: &[OrderId]) -> Result<FoundOrders, Error> {
        let Some(shards) = &self.shards else { return self.shard.find(principal, ids).await };
        let parts = self.each_with(shards, ids, itself, |shard, ids| {
            Box::pin(async move { shard.find(principal, &ids).await })
        });
        Ok(parts.await?.into_iter().fold(FoundOrders::default(), FoundOrders::and))
    }

    /// As [`Self::find`], without the unreadable orders.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn orders(&self, principal: &Principal, ids: &[OrderId]) -> Result<Vec<Order>, Error> {
        Ok(self.find(principal, ids).await?.orders)
    }

    /// Returns those of the orders that exist as they were directly after their request, sorted by id.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn orders_as_created(
        &self,
        principal: &Principal,
        ids: &[OrderId],
    ) -> Result<FoundOrders, Error> {
        let Some(shards) = &self.shards else { return self.shard.orders_as_created(principal, ids).await };
        let parts = self.each_with(shards, ids, itself, |shard, ids| {
            Box::pin(async move { shard.orders_as_created(principal, &ids).await })
        });
        let mut found = parts.await?.into_iter().fold(FoundOrders::default(), FoundOrders::and);
        found.orders.sort_unstable_by_key(|order| order.id);
        Ok(found)
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
        self.shard_of(id).order_with_lease(principal, id).await
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
        let Some(shards) = &self.shards else { return self.shard.timelines(principal, cursors).await };
        let parts = self.each_with(shards, cursors, first, |shard, cursors| {
            Box::pin(async move { shard.timelines(principal, &cursors).await })
        });
        let mut all = Timelines::default();
        for Timelines { events, unreadable } in parts.await? {
            all.events.extend(events);
            all.unreadable.extend(unreadable);
        }
        Ok(all)
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
        self.shard_of(id).exists(principal, id).await
    }

    /// Returns those of the orders that exist, readable or not, and that the caller may see.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn visible(&self, principal: &Principal, ids: &[OrderId]) -> Result<HashSet<OrderId>, Error> {
        let Some(shards) = &self.shards else { return self.shard.visible(principal, ids).await };
        let parts = self.each_with(shards, ids, itself, |shard, ids| {
            Box::pin(async move { shard.visible(principal, &ids).await })
        });
        Ok(parts.await?.into_iter().flatten().collect())
    }

    /// Returns the version (the sequence of the latest event) of each of the orders that exists.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn versions(&self, ids: &[OrderId]) -> Result<Vec<(OrderId, u32)>, Error> {
        let Some(shards) = &self.shards else { return self.shard.versions(ids).await };
        let parts = self
            .each_with(shards, ids, itself, |shard, ids| Box::pin(async move { shard.versions(&ids).await }));
        Ok(parts.await?.into_iter().flatten().collect())
    }

    /// Returns the outputs of those of the orders that have some.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn outputs(&self, ids: &[OrderId]) -> Result<OrderMap<Outputs>, Error> {
        let Some(shards) = &self.shards else { return self.shard.outputs(ids).await };
        let parts = self
            .each_with(shards, ids, itself, |shard, ids| Box::pin(async move { shard.outputs(&ids).await }));
        Ok(parts.await?.into_iter().flatten().collect())
    }

    /// Applies the commands, those of each shard in one transaction, and returns their outcomes in the same order.
    ///
    /// # Errors
    /// Those of one shard; the commands of other shards may have been applied.
    pub async fn apply(
        &self,
        commands: Arc<[(OrderId, Command)]>,
        rules: Rules,
    ) -> Result<Vec<CommandOutcome>, Error> {
        if self.shards.is_none() {
            return self.shard.apply(commands, rules).await;
        }
        let mut outcomes: Vec<Option<CommandOutcome>> = vec![None; commands.len()];
        for (store, part) in self.parts(commands.to_vec(), |(id, _)| id.slot()) {
            let (indexes, commands): (Vec<usize>, Vec<_>) = part.into_iter().unzip();
            let applied = store.shard.apply(commands.into(), rules).await?;
            for (index, outcome) in indexes.into_iter().zip(applied) {
                outcomes[index] = Some(outcome);
            }
        }
        Ok(outcomes.into_iter().map(|outcome| outcome.unwrap_or(CommandOutcome::NotFound)).collect())
    }

    /// Changes the metadata of an order in one transaction, with an entry in the audit log.
    ///
    /// With `expected`, only metadata of one of these versions is changed.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn change_metadata(
        &self,
        principal: &Principal,
        id: OrderId,
        patch: &MetadataPatch,
        expected: Option<&[String]>,
        requester: &Requester,
    ) -> Result<MetadataChange, Error> {
        self.shard_of(id).change_metadata(principal, id, patch, expected, requester).await
    }

    /// Stores a note of an order in any status.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn add_note(
        &self,
        principal: &Principal,
        id: OrderId,
        content: &NoteContent,
        author: &str,
    ) -> Result<NoteOutcome, Error> {
        self.shard_of(id).add_note(principal, id, content, author).await
    }

    /// Returns the notes of an order, oldest first; `None` if the caller sees no such order.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn notes(&self, principal: &Principal, id: OrderId) -> Result<Option<Vec<Note>>, Error> {
        self.shard_of(id).notes(principal, id).await
    }

    /// Returns the tenant of an order; `None` if the order does not exist.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn tracked_tenant_of_order(&self, order: OrderId) -> Result<Option<TrackedTenant>, Error> {
        if self.shards.is_none() {
            return self.shard.tracked_tenant_of_order(order).await;
        }
        match self.shard_of(order).tenant_of_order(order).await? {
            Some(tenant) => self.shard.tracked_tenant(&tenant).await,
            None => Ok(None),
        }
    }

    /// Removes the key of a create whose orders no longer exist, all or some of them.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn forget_key_of(&self, first: OrderId) -> Result<(), Error> {
        self.shard_of(first).forget_key_of(first).await
    }

    /// Sets columns of an order, removes events that its row repeats, and makes it processable, all or nothing.
    ///
    /// With `fail`, which states the reason, it marks the order as failed instead.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn repair_order(
        &self,
        id: OrderId,
        settings: &[Setting],
        fail: Option<&str>,
    ) -> Result<Repaired, Error> {
        self.shard_of(id).repair_order(id, settings, fail).await
    }

    /// Returns orders that only their job in the queue holds to dispatch, because the job is or counts as lost.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn release_unstarted(&self, ids: Vec<OrderId>) -> Result<(), Error> {
        let Some(shards) = &self.shards else { return self.shard.release_unstarted(ids).await };
        let parts = self.each_with(shards, &ids, itself, |shard, ids| {
            Box::pin(async move { shard.release_unstarted(ids).await })
        });
        parts.await.map(drop)
    }

    /// Parks those of the orders that are not final.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn park(&self, orders: &[Unreadable]) -> Result<(), Error> {
        if self.shards.is_none() {
            return self.shard.park(orders).await;
        }
        for (store, part) in self.parts(orders.to_vec(), |order| order.order_id.slot()) {
            let orders: Vec<Unreadable> = part.into_iter().map(|(_, order)| order).collect();
            store.shard.park(&orders).await?;
        }
        Ok(())
    }

    /// Checks parked orders whose time is over: releases the readable ones and parks the others again.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn recheck_parked(&self, ids: &[OrderId]) -> Result<(), Error> {
        let Some(shards) = &self.shards else { return self.shard.recheck_parked(ids).await };
        let parts = self.each_with(shards, ids, itself, |shard, ids| {
            Box::pin(async move { shard.recheck_parked(&ids).await })
        });
        parts.await.map(drop)
    }

    /// Ends leases after one more lease that end far later than any can. Returns their number.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn shorten_leases(&self, ids: &[OrderId], limits: ClaimLimits) -> Result<u64, Error> {
        let Some(shards) = &self.shards else { return self.shard.shorten_leases(ids, limits).await };
        let parts = self.each_with(shards, ids, itself, |shard, ids| {
            Box::pin(async move { shard.shorten_leases(&ids, limits).await })
        });
        Ok(parts.await?.into_iter().sum())
    }
}

impl FoundOrders {
    fn and(mut self, other: Self) -> Self {
        self.orders.extend(other.orders);
        self.unreadable.extend(other.unreadable);
        self
    }
}
