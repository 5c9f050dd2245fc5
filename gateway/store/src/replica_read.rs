//! Reads on a replica, of what may be older than a response: searches, counts, groups of dead letters and exports.
//!
//! No read by an id, of versions or events, and no read that decides anything uses it. A replica that does not respond, or
//! that contains another installation, is not used until a check finds it again; the primary is read in its place.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::address::{Address, Target};
use super::connect::hosts_of;
use super::connection::{Connection, Pool};
use super::hosts::{self, Role};
use super::mysql_url::bad;
use super::replica::{Freshness, Replica, ReplicaState};
use super::{ConnectError, Dialect, Error, Outage, Shard, Work, pools};

impl Shard {
    /// Reads from a replica from now on what may be older than a response. It need not be reachable now.
    ///
    /// # Errors
    /// [`ConnectError::InvalidUrl`], also when this database is not on a server.
    pub async fn use_replica(&self, url: &str) -> Result<(), ConnectError> {
        let address = Address::parse(url)?;
        let (Target::MySql(urls), Dialect::MySql) = (&address.target, self.dialect()) else {
            let hint = "only a database of MySQL or MariaDB can have a replica; remove the setting";
            return Err(bad("of the replica cannot be used with SQLite", hint).into());
        };
        let hosts = hosts_of(&address, urls, &self.inner.options)?;
        let pool = pools::replica(&hosts[0].options, &self.inner.options);
        let previous = self.replica_slot().replace(Arc::new(Replica::new(hosts, pool)));
        self.check_replica().await;
        if let Some(previous) = previous {
            previous.pool.close().await;
        }
        Ok(())
    }

    /// Returns the state of the replica, if there is one.
    pub fn replica_state(&self) -> Option<ReplicaState> {
        self.replica().map(|replica| replica.state())
    }

    /// Examines the hosts of the replica, and reads from one that can be read.
    pub async fn check_replica(&self) {
        let Some(replica) = self.replica() else { return };
        let Ok(installation) = self.installation().await else { return };
        let found = hosts::examine(&replica.hosts, Some(installation.id)).await;
        let is_usable = |n: &usize| matches!(found.get(*n), Some(Ok(Role::Primary | Role::Replica)));
        let current = replica.current.load(Ordering::Relaxed);
        match Some(current).filter(is_usable).or_else(|| (0..found.len()).find(is_usable)) {
            Some(next) => {
                if next != current {
                    replica.current.store(next, Ordering::Relaxed);
                    replica.pool.set_mysql_options(&replica.hosts[next].options);
                    replica.pool.close_idle();
                }
                replica.set(ReplicaState::Ok, "");
            }
            None => {
                let other = found.iter().any(|found| matches!(found, Ok(Role::OtherDatabase)));
                let state = if other { ReplicaState::OtherDatabase } else { ReplicaState::Unreachable };
                replica.set(state, &hosts::describe(&replica.hosts, &found));
            }
        }
    }

    /// As [`Self::read`], of what may be older than a response.
    pub(super) async fn read_older<T: Send>(
        &self,
        work: impl for<'c> FnOnce(&'c mut Connection) -> Work<'c, T> + Clone + Send,
    ) -> Result<T, Error> {
        let result = self.try_read_with(Freshness::MayBeOlder, &self.inner.readers, work).await;
        self.log(&result);
        result
    }

    /// As [`Self::try_read`], on the replica if the result may be older and there is one.
    pub(super) async fn try_read_with<T: Send>(
        &self,
        freshness: Freshness,
        primary: &Pool,
        work: impl for<'c> FnOnce(&'c mut Connection) -> Work<'c, T> + Clone + Send,
    ) -> Result<T, Error> {
        if freshness == Freshness::MayBeOlder
            && let Some(replica) = self.replica()
        {
            if replica.state() == ReplicaState::Ok {
                match self.read_replica(&replica, work.clone()).await {
                    Err(error) if error.is_outage() => {
                        // No free connection says nothing about the server, which is checked anyway.
                        let is_busy =
                            matches!(&error, Error::Unavailable(Outage::Away(sqlx::Error::PoolTimedOut)));
                        if !is_busy {
                            replica.set(ReplicaState::Unreachable, &error.to_string());
                        }
                    }
                    result => {
                        count("replica");
                        return result;
                    }
                }
            }
            count("primary");
        }
        self.try_read(primary, work).await
    }

    async fn read_replica<T: Send>(
        &self,
        replica: &Replica,
        work: impl for<'c> FnOnce(&'c mut Connection) -> Work<'c, T> + Send,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + self.inner.deadline;
        let connection = replica.pool.acquire().await?;
        self.read_over(connection, deadline, work).await
    }

    pub(super) fn replica(&self) -> Option<Arc<Replica>> {
        self.replica_slot().clone()
    }

    fn replica_slot(&self) -> MutexGuard<'_, Option<Arc<Replica>>> {
        self.inner.replica.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(source: &'static str) {
    metrics::counter!("orders_database_replica_reads_total", "source" => source).increment(1);
}
