//! Numbers about the orders of all shards.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::transition::Rules;
use domain::{Kind, LeasePrefix, Principal};

use crate::due_tenants::MAX_KINDS;
use crate::{COUNT_LIMIT, Counts, Error, IntegrityReport, Store};

impl Store {
    /// Counts the orders of the caller's tenant in each status, up to [`COUNT_LIMIT`]. A replica may be read.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn counts(&self, principal: &Principal) -> Result<Counts, Error> {
        let Some(shards) = &self.shards else { return self.shard.counts(principal).await };
        let parts = self.each(shards, |shard| Box::pin(async move { shard.counts(principal).await }));
        let sum = parts.await?.into_iter().reduce(Counts::and);
        sum.ok_or_else(|| Error::Row("the database has no shards".to_owned()))
    }

    /// Counts the orders of the caller's tenant that are not final, up to `limit`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn open_orders(&self, principal: &Principal, limit: u32) -> Result<u32, Error> {
        let Some(shards) = &self.shards else { return self.shard.open_orders(principal, limit).await };
        let parts =
            self.each(shards, |shard| Box::pin(async move { shard.open_orders(principal, limit).await }));
        Ok(parts.await?.into_iter().fold(0, u32::saturating_add).min(limit))
    }

    /// Returns the number of orders of all tenants that can be started now, as in [`Counts::ready`].
    ///
    /// # Errors
    /// [`Error`].
    pub async fn ready(&self) -> Result<u32, Error> {
        let Some(shards) = &self.shards else { return self.shard.ready().await };
        let parts = self.each(shards, |shard| Box::pin(async move { shard.ready().await }));
        Ok(parts.await?.into_iter().fold(0, u32::saturating_add).min(COUNT_LIMIT))
    }

    /// Returns the kinds of orders that may wait, besides those whose names are not valid.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn kinds(&self) -> Result<Vec<Kind>, Error> {
        let Some(shards) = &self.shards else { return self.shard.kinds().await };
        let parts = self.each(shards, |shard| Box::pin(async move { shard.kinds().await }));
        let kinds: BTreeSet<Kind> = parts.await?.into_iter().flatten().collect();
        Ok(kinds.into_iter().take(MAX_KINDS).collect())
    }

    /// Returns how long the oldest order that can be started has waited, with or without a job in the queue.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn oldest_claimable(&self) -> Result<Option<Duration>, Error> {
        let Some(shards) = &self.shards else { return self.shard.oldest_claimable().await };
        let parts = self.each(shards, |shard| Box::pin(async move { shard.oldest_claimable().await }));
        Ok(parts.await?.into_iter().flatten().max())
    }

    /// Returns the kinds whose oldest order has waited for a start for at least `age` while no order of the kind is
    /// processed, each with this time.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn unserved_kinds(&self, age: Duration) -> Result<Vec<(Kind, Duration)>, Error> {
        let Some(shards) = &self.shards else { return self.shard.unserved_kinds(age).await };
        let parts = self.each(shards, |shard| Box::pin(async move { shard.kinds_by_service().await }));
        let (mut oldest, mut served) = (BTreeMap::<String, i64>::new(), BTreeSet::new());
        for (of_shard, served_there) in parts.await? {
            served.extend(served_there);
            for (kind, since) in of_shard {
                oldest.entry(kind).and_modify(|first| *first = since.min(*first)).or_insert(since);
            }
        }
        Ok(self.shard.unserved(oldest, &served, age))
    }

    /// Returns how far the newest order was created in the future: the clock was set back since.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn clock_behind(&self) -> Result<Option<Duration>, Error> {
        let Some(shards) = &self.shards else { return self.shard.clock_behind().await };
        let parts = self.each(shards, |shard| Box::pin(async move { shard.clock_behind().await }));
        Ok(parts.await?.into_iter().flatten().max())
    }

    /// Returns the number of orders.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn count_all_orders(&self) -> Result<u64, Error> {
        let Some(shards) = &self.shards else { return self.shard.count_all_orders().await };
        let parts = self.each(shards, |shard| Box::pin(async move { shard.count_all_orders().await }));
        Ok(parts.await?.into_iter().sum())
    }

    /// Returns the number of parked orders.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn parked(&self) -> Result<u64, Error> {
        let Some(shards) = &self.shards else { return self.shard.parked().await };
        let parts = self.each(shards, |shard| Box::pin(async move { shard.parked().await }));
        Ok(parts.await?.into_iter().sum())
    }

    /// Checks every order. A violation is checked once more, because an order may change between the reading of its row
    /// and of its events.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn inspect(&self, overdue_after: Duration) -> Result<IntegrityReport, Error> {
        self.inspect_reporting(overdue_after, |_| {}).await
    }

    /// As [`Self::inspect`], and calls `progress` with the number of checked orders after each page.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn inspect_reporting(
        &self,
        overdue_after: Duration,
        mut progress: impl FnMut(u64),
    ) -> Result<IntegrityReport, Error> {
        let Some(shards) = &self.shards else {
            return self.shard.inspect_reporting(overdue_after, progress).await;
        };
        let mut all = IntegrityReport::default();
        for shard in &*shards.all() {
            let before = all.accepted();
            let report = shard.inspect_reporting(overdue_after, |checked| progress(before + checked)).await?;
            all.add(report);
        }
        Ok(all)
    }

    /// Fixes the violations that can be fixed without a decision about an order. Returns the number of fixed orders.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn repair(&self) -> Result<u64, Error> {
        let Some(shards) = &self.shards else { return self.shard.repair().await };
        let parts = self.each_apart(shards, |shard| Box::pin(async move { shard.repair().await }));
        Ok(parts.await?.into_iter().sum())
    }

    /// Restarts the wait of waiting orders that were last changed in the future. Returns the number of these orders.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn shorten_waits(&self) -> Result<u64, Error> {
        let Some(shards) = &self.shards else { return self.shard.shorten_waits().await };
        let parts = self.each_apart(shards, |shard| Box::pin(async move { shard.shorten_waits().await }));
        Ok(parts.await?.into_iter().sum())
    }

    /// Ends the attempts whose lease tokens have this prefix. Returns their number.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn end_leases(&self, prefix: LeasePrefix, rules: Rules) -> Result<u64, Error> {
        let Some(shards) = &self.shards else { return self.shard.end_leases(prefix, rules).await };
        let parts =
            self.each_apart(shards, |shard| Box::pin(async move { shard.end_leases(prefix, rules).await }));
        Ok(parts.await?.into_iter().sum())
    }

    /// Returns every order that only its job in the queue holds to dispatch.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn release_all_unstarted(&self) -> Result<(), Error> {
        let Some(shards) = &self.shards else { return self.shard.release_all_unstarted().await };
        let parts =
            self.each_apart(shards, |shard| Box::pin(async move { shard.release_all_unstarted().await }));
        parts.await.map(drop)
    }
}

impl IntegrityReport {
    fn add(&mut self, other: Self) {
        for (status, count) in other.by_status {
            *self.by_status.entry(status).or_default() += count;
        }
        self.unreadable += other.unreadable;
        self.overdue += other.overdue;
        self.oldest_claimable = self.oldest_claimable.max(other.oldest_claimable);
        self.clock_behind = self.clock_behind.max(other.clock_behind);
        self.issues.extend(other.issues);
    }
}
