//! What is done in every shard: the pause, the clocks, removals, migrations and the event log.

use std::sync::Arc;
use std::time::Duration;

use domain::{OrderId, Requester, TenantId, Timestamp};
use futures_util::future::{join_all, select_ok};
use tokio::time::timeout;

use super::Shards;
use crate::event_log::Numbered;
use crate::migrate::MigrationProgress;
use crate::pause_state::Pause;
use crate::{ConnectError, Erasure, Error, Probe, Schema, Shard, Store, pause};

/// Maximum time for writing the pause to a shard, during which the row of the first one is locked.
const PAUSE_TIME: Duration = Duration::from_secs(1);

impl Store {
    /// Returns the names of the shards that did not accept the last write.
    pub fn unhealthy_shards(&self) -> Vec<String> {
        let Some(shards) = &self.shards else { return Vec::new() };
        let all = shards.all();
        let unhealthy = all.iter().filter(|shard| shard.is_unhealthy());
        unhealthy.filter_map(|shard| shard.inner.shard_name.clone()).collect()
    }

    /// Returns whether an order is in a shard that did not accept its last write, while others may.
    pub fn is_in_unhealthy_shard(&self, id: OrderId) -> bool {
        self.shards.is_some() && self.shard_of(id).is_unhealthy()
    }

    /// Returns whether no shard accepted its last write.
    pub fn is_unhealthy(&self) -> bool {
        match &self.shards {
            None => self.shard.is_unhealthy(),
            Some(shards) => shards.all().iter().all(Shard::is_unhealthy),
        }
    }

    /// Sends a query to the database, for readiness. One shard has to respond.
    ///
    /// # Errors
    /// As [`Self::refresh_clock`].
    pub async fn ping(&self) -> Result<(), Error> {
        let Some(shards) = &self.shards else { return self.shard.refresh_clock().await };
        let all = shards.all();
        select_ok(all.iter().map(|shard| Box::pin(shard.refresh_clock()))).await.map(drop)
    }

    /// Tests a write in each shard that did not accept its last one.
    pub async fn retry_unhealthy_shards(&self) {
        let Some(shards) = &self.shards else { return };
        let all = shards.all();
        let unhealthy = all.iter().filter(|shard| shard.is_unhealthy());
        let tests = unhealthy.map(|shard| async move { (shard, shard.probe(Probe::RollBack).await) });
        for (shard, result) in join_all(tests).await {
            match result {
                Ok(()) => tracing::info!(shard = shard.inner.shard_name, "the shard accepts writes again"),
                Err(error) => {
                    tracing::debug!(shard = shard.inner.shard_name, %error, "the shard refuses writes")
                }
            }
        }
    }

    /// Reads the time of each shard and stores the differences. Fails when no shard responds.
    ///
    /// # Errors
    /// [`Error::Unavailable`] and [`Error::TimedOut`].
    pub async fn refresh_clock(&self) -> Result<(), Error> {
        let Some(shards) = &self.shards else { return self.shard.refresh_clock().await };
        let all = shards.all();
        let results = join_all(all.iter().map(Shard::refresh_clock)).await;
        match results.iter().any(Result::is_ok) {
            true => Ok(()),
            false => results.into_iter().collect(),
        }
    }

    /// Returns the name and the version of the database, such as `MariaDB 10.11.6`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn server_version(&self) -> Result<String, Error> {
        let Some(shards) = &self.shards else { return self.shard.server_version().await };
        let all = shards.all();
        let count = all.len();
        let version = self.shard.server_version().await?;
        Ok(format!("{version}, {count} shards"))
    }

    /// Tests a write in each shard. One has to accept it.
    ///
    /// # Errors
    /// The reason of the refusal.
    pub async fn probe(&self, probe: Probe) -> Result<(), Error> {
        let Some(shards) = &self.shards else { return self.shard.probe(probe).await };
        let all = shards.all();
        let results = join_all(all.iter().map(|shard| shard.probe(probe))).await;
        for (shard, result) in all.iter().zip(&results) {
            if let Err(error) = result {
                tracing::debug!(shard = shard.inner.shard_name, %error, "a shard refuses writes");
            }
        }
        match results.iter().any(Result::is_ok) {
            true => Ok(()),
            false => results.into_iter().collect(),
        }
    }

    /// Returns the number of statements sent, without those that open and end transactions.
    pub fn statements(&self) -> u64 {
        match &self.shards {
            None => self.shard.statements(),
            Some(shards) => shards.all().iter().map(Shard::statements).sum(),
        }
    }

    /// Returns the number of open connections of each pool, and of those that are idle.
    pub fn connections(&self) -> [(&'static str, usize, usize); 4] {
        let Some(shards) = &self.shards else { return self.shard.connections() };
        let all = shards.all();
        all.iter().map(Shard::connections).fold(Default::default(), |sum: [_; 4], counts| {
            std::array::from_fn(|n| {
                let ((_, open, idle), (name, more_open, more_idle)): ((_, usize, usize), _) =
                    (sum[n], counts[n]);
                (name, open + more_open, idle + more_idle)
            })
        })
    }

    /// Closes every connection after its present work.
    pub async fn close(&self) {
        match &self.shards {
            None => self.shard.close().await,
            Some(shards) => drop(join_all(shards.all().iter().map(Shard::close)).await),
        }
    }

    /// Pauses the queue, or changes the end of a pause. No order is started after this call has returned.
    ///
    /// `at` keeps its value when the queue is already paused. With shards, the pause of the first one counts. After an error the
    /// others get it as soon as they respond.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn pause(
        &self,
        until: Option<Timestamp>,
        by: Option<String>,
        requester: &Requester,
    ) -> Result<Pause, Error> {
        let pause = self.shard.pause(until, by, requester).await?;
        self.copy_pause().await?;
        Ok(pause)
    }

    /// Resumes the queue. Returns whether it was paused.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn resume(&self, requester: &Requester) -> Result<bool, Error> {
        let resumed = self.shard.resume(requester).await?;
        self.copy_pause().await?;
        Ok(resumed)
    }

    /// Returns the present pause, if there is one. Shards with another pause than the first one get its pause.
    ///
    /// # Errors
    /// [`Error`] of the first shard.
    pub async fn paused(&self) -> Result<Option<Pause>, Error> {
        let pause = self.shard.paused().await?;
        if let Some(shards) = &self.shards {
            let mut others = others(shards);
            others.retain(|shard| !shard.is_unhealthy());
            let found = join_all(others.iter().map(Shard::paused)).await;
            // A shard that does not respond gets the pause later.
            if found.iter().any(|found| found.as_ref().is_ok_and(|found| *found != pause))
                && let Err(error) = self.copy_pause().await
            {
                tracing::debug!(%error, "failed to copy the pause to every shard, retrying later");
            }
        }
        Ok(pause)
    }

    /// Writes the pause of the first shard to all others. Its row is locked meanwhile, so that an older pause cannot replace a
    /// later one.
    async fn copy_pause(&self) -> Result<(), Error> {
        let Some(shards) = &self.shards else { return Ok(()) };
        let (others, now) = (others(shards), self.shard.now());
        let for_share = self.shard.inner.dialect.for_share();
        let copied = self.shard.write(|connection| {
            let others = others.clone();
            Box::pin(async move {
                let pause = pause::read(connection, for_share, now).await?;
                let copy = |shard: Shard| {
                    let pause = pause.clone();
                    async move {
                        let copied = timeout(PAUSE_TIME, shard.copy_pause(pause.as_ref())).await;
                        copied.unwrap_or(Err(Error::TimedOut))
                    }
                };
                Ok(join_all(others.into_iter().map(copy)).await)
            })
        });
        copied.await?.into_iter().collect()
    }

    /// Removes a limited number of expired keys. Returns whether more may exist.
    ///
    /// # Errors
    /// [`Error`] of a shard, after the removal in the others.
    pub async fn prune_idempotency_keys(&self) -> Result<bool, Error> {
        let Some(shards) = &self.shards else { return self.shard.prune_idempotency_keys().await };
        let parts =
            self.each_apart(shards, |shard| Box::pin(async move { shard.prune_idempotency_keys().await }));
        Ok(parts.await?.contains(&true))
    }

    /// Deletes entries of the audit log before a time. Returns whether there may be more.
    ///
    /// # Errors
    /// [`Error`] of a shard, after the removal in the others.
    pub async fn prune_audit_log(&self, before: Timestamp) -> Result<bool, Error> {
        let Some(shards) = &self.shards else { return self.shard.prune_audit_log(before).await };
        let parts =
            self.each_apart(shards, |shard| Box::pin(async move { shard.prune_audit_log(before).await }));
        Ok(parts.await?.contains(&true))
    }

    /// Replaces the customer of final orders by a pseudonym, and removes their external reference, their metadata,
    /// their reasons and what their notes say.
    ///
    /// Each transaction writes an entry to the audit log. Orders that were changed before an error stay changed;
    /// repeating the call continues.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn erase_customer(
        &self,
        tenant: &TenantId,
        customer: &str,
        requester: &Requester,
    ) -> Result<Erasure, Error> {
        let Some(shards) = &self.shards else {
            return self.shard.erase_customer(tenant, customer, requester).await;
        };
        let parts = self.each_apart(shards, |shard| {
            Box::pin(async move { shard.erase_customer(tenant, customer, requester).await })
        });
        Ok(parts.await?.into_iter().fold(Erasure::default(), |sum, part| Erasure {
            orders: sum.orders + part.orders,
            open: sum.open + part.open,
        }))
    }

    /// Returns whether there are events without a position, without a lock.
    ///
    /// # Errors
    /// [`Error`] of the first shard.
    pub async fn has_unnumbered_events(&self) -> Result<bool, Error> {
        if let Some(shards) = &self.shards {
            let mut others = others(shards);
            others.retain(|shard| !shard.is_unhealthy());
            let found = join_all(others.iter().map(Shard::has_unnumbered_events)).await;
            if found.iter().any(|found| matches!(found, Ok(true))) {
                return Ok(true);
            }
        }
        self.shard.has_unnumbered_events().await
    }

    /// Moves committed events of the other shards to the first one, and assigns positions to a limited number of events there.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Conflict`] while another gateway has frozen in this transaction. No position is assigned
    /// twice or skipped.
    pub async fn number_events(&self) -> Result<Numbered, Error> {
        let mut more = false;
        if let Some(shards) = &self.shards {
            // One that does not respond must not delay the events of the others.
            for shard in others(shards).into_iter().filter(|shard| !shard.is_unhealthy()) {
                match self.shard.take_events(&shard).await {
                    Ok(taken) => more |= taken,
                    // Events of the others are not delayed.
                    Err(error) => {
                        tracing::debug!(shard = shard.inner.shard_name, %error, "failed to take the events of a shard, retrying later")
                    }
                }
            }
        }
        let numbered = self.shard.number_events().await?;
        Ok(Numbered { more: numbered.more || more, ..numbered })
    }

    /// Counts rows of the log without a position, at most `limit`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn count_unnumbered_events(&self, limit: u32) -> Result<u64, Error> {
        let Some(shards) = &self.shards else { return self.shard.count_unnumbered_events(limit).await };
        let parts =
            self.each(shards, |shard| Box::pin(async move { shard.count_unnumbered_events(limit).await }));
        Ok(parts.await?.into_iter().sum::<u64>().min(limit.into()))
    }

    /// Reads the version of the tables of all shards: the oldest. A shard that does not respond does not count, besides the
    /// first one.
    ///
    /// # Errors
    /// [`ConnectError::Newer`] when a later version of the program has made them, [`ConnectError::Development`] when one
    /// from before the first release has, and why they cannot be read.
    pub async fn schema(&self) -> Result<Schema, ConnectError> {
        let mut schema = self.shard.schema().await?;
        let Some(shards) = &self.shards else { return Ok(schema) };
        for shard in others(shards) {
            match shard.schema().await {
                Ok(found) => schema = schema.older(found),
                Err(error) if error.is_temporary() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(schema)
    }

    /// Creates or updates the tables of every shard, if needed.
    ///
    /// Several gateways may do so at once: on MySQL one after the other, and an SQLite file belongs to one process.
    ///
    /// # Errors
    /// [`ConnectError`]. Where trying again helps the next call resumes with the last recorded step.
    pub async fn migrate(&self) -> Result<(), ConnectError> {
        self.migrate_while(&|| true).await
    }

    /// As [`Self::migrate`], while `proceed` returns true.
    ///
    /// `proceed` is called before each statement. After false, a later call resumes from there.
    ///
    /// # Errors
    /// As [`Self::migrate`], and [`ConnectError::Interrupted`].
    pub async fn migrate_while(&self, proceed: &(dyn Fn() -> bool + Sync)) -> Result<(), ConnectError> {
        for store in self.shards() {
            store.shard.migrate_while(proceed).await?;
        }
        Ok(())
    }

    /// As [`Self::migrate`], and calls `report` at the begin of each step and after each range of rows, in place of
    /// log lines.
    ///
    /// # Errors
    /// As [`Self::migrate`].
    pub async fn migrate_reporting(
        &self,
        report: &(dyn Fn(&MigrationProgress) + Sync),
    ) -> Result<(), ConnectError> {
        for store in self.shards() {
            store.shard.migrate_reporting(report).await?;
        }
        Ok(())
    }

    /// Tries the statements of a gateway, without changing a row: whether the user has the privileges and the server
    /// accepts changes. A shard that does not respond does not count, besides the first one.
    ///
    /// # Errors
    /// [`ConnectError::Privileges`], [`ConnectError::ReadOnly`] and others.
    pub async fn check_writable(&self) -> Result<(), ConnectError> {
        self.shard.check_writable().await?;
        let Some(shards) = &self.shards else { return Ok(()) };
        for shard in others(shards) {
            match shard.check_writable().await {
                Err(error) if !error.is_temporary() => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Reads from a replica from now on what may be older than a response. It need not be reachable now.
    ///
    /// # Errors
    /// [`ConnectError::InvalidUrl`], also when this database is not on a server, or has shards.
    pub async fn use_replica(&self, url: &str) -> Result<(), ConnectError> {
        match &self.shards {
            None => self.shard.use_replica(url).await,
            Some(_) => Err(ConnectError::InvalidUrl {
                problem: "of the replica cannot be used with Vitess".to_owned(),
                hint: "remove the setting".to_owned(),
            }),
        }
    }
}

/// Returns all shards besides the first one.
fn others(shards: &Arc<Shards>) -> Vec<Shard> {
    shards.all().iter().skip(1).cloned().collect()
}
