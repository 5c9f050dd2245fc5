//! Named readers of the event log: the position up to which each has applied the events, and the lease of the process that
//! uses the name.
//!
//! A process takes the lease with a token that it has drawn, and sends the token with each commit. A commit with the token
//! of an earlier holder changes nothing. A lease without a renewal ends by the database's clock; the token stays until
//! another process takes the lease, so a late renewal succeeds if no other process was there in between.
//!
//! A caller for all tenants has other readers than any tenant: their events differ.

use std::time::Duration;

use domain::transition::CLOCK_STEP;
use domain::{LeaseToken, Principal, TenantId, Timestamp};

use super::connection::Connection;
use super::event_log::ends;
use super::statement::Statement;
use super::{Error, Shard, rows};

/// Maximum number of named readers of a tenant.
pub const MAX_EVENT_READERS: usize = 100;
/// In place of the tenant, for readers of the events of all tenants. It is no id of a tenant.
const ALL_TENANTS: &str = "*";

/// The lease that a process wants to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReaderLease {
    /// The token of the process.
    pub holder: LeaseToken,
    /// The duration from now on.
    pub duration: Duration,
}

/// The state of a reader that a process holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventReader {
    /// The committed position.
    pub position: u64,
    /// The metadata of the latest commit that had any.
    pub metadata: String,
}

/// The outcome of taking or renewing a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseOutcome {
    /// The process has the lease.
    Held(EventReader),
    /// Another process has the lease for this long.
    Leased(Duration),
    /// The tenant has [`MAX_EVENT_READERS`] readers, and this name is a new one.
    LimitReached,
}

/// A change of a reader. `Default` changes nothing.
#[derive(Debug, Clone, Default)]
pub struct ReaderChange {
    /// The position; the present one if absent.
    pub position: Option<u64>,
    /// Permits a smaller position than the present one.
    pub rewind: bool,
    /// The metadata; the present one if absent.
    pub metadata: Option<String>,
    /// The lease that the process has. It is renewed.
    pub lease: Option<ReaderLease>,
    /// Ends the lease after the change.
    pub release: bool,
}

/// The outcome of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReaderCommit {
    /// The change is stored.
    Done,
    /// The reader has committed this later position.
    Behind(u64),
    /// The change has no lease, and a process has the lease for this long.
    Leased(Duration),
    /// The process no longer has the lease.
    Stale,
    /// The tenant has [`MAX_EVENT_READERS`] readers, and this name is a new one.
    LimitReached,
}

/// The stored row.
#[derive(Clone)]
struct Row {
    position: u64,
    metadata: String,
    changed_at: Timestamp,
    holder: Option<LeaseToken>,
    held_until: Timestamp,
}

impl Shard {
    /// Returns a reader of the caller's tenant; `None` if there is none.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn event_reader(
        &self,
        principal: &Principal,
        name: &str,
    ) -> Result<Option<EventReader>, Error> {
        let (owner, name) = (owner(principal), name.to_owned());
        let row =
            self.read(move |connection| Box::pin(async move { find(connection, &owner, &name, "").await }));
        Ok(row.await?.map(|Row { position, metadata, .. }| EventReader { position, metadata }))
    }

    /// Takes or renews the lease of a reader of the caller's tenant.
    ///
    /// A new reader begins before the oldest event that is kept, or with `at_end` after the latest numbered one.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn lease_event_reader(
        &self,
        principal: &Principal,
        name: &str,
        lease: ReaderLease,
        at_end: bool,
    ) -> Result<LeaseOutcome, Error> {
        let (now, lock) = (self.now(), self.inner.dialect.for_update());
        let (tenant, owner) = (principal.tenant.clone(), owner(principal));
        self.write(|connection| {
            let (tenant, owner, name) = (tenant.clone(), owner.clone(), name.to_owned());
            Box::pin(async move {
                let row = match find_locked(connection, &tenant, &owner, &name, lock).await? {
                    Found::Row(row) => row,
                    Found::LimitReached => return Ok(LeaseOutcome::LimitReached),
                    Found::New => {
                        let ends = ends(connection, "").await?;
                        let next = if at_end { ends.next } else { ends.first };
                        let row = Row::new(next.saturating_sub(1), now);
                        row.insert(connection, &owner, &name).await?;
                        row
                    }
                };
                if let Some(left) = row.held_by_other(Some(lease.holder), now) {
                    if row.is_of_later_clock(now) {
                        // The database's clock was set back: the lease ends after its length from now on.
                        let held_until = now + left;
                        let shorter = Row { held_until, changed_at: now, ..row };
                        shorter.update(connection, &owner, &name).await?;
                    }
                    return Ok(LeaseOutcome::Leased(left));
                }
                let held = row.held(lease, now);
                held.update(connection, &owner, &name).await?;
                Ok(LeaseOutcome::Held(EventReader { position: held.position, metadata: held.metadata }))
            })
        })
        .await
    }

    /// Changes a reader of the caller's tenant. Without a lease, it adds the reader if there is none.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn commit_event_reader(
        &self,
        principal: &Principal,
        name: &str,
        change: &ReaderChange,
    ) -> Result<ReaderCommit, Error> {
        let (now, lock) = (self.now(), self.inner.dialect.for_update());
        let (tenant, owner) = (principal.tenant.clone(), owner(principal));
        self.write(|connection| {
            let (tenant, owner, name) = (tenant.clone(), owner.clone(), name.to_owned());
            let change = change.clone();
            Box::pin(async move {
                let found = match change.lease {
                    // A holder has a row, unless its reader was removed.
                    Some(_) => match find(connection, &owner, &name, lock).await? {
                        Some(row) => Found::Row(row),
                        None => return Ok(ReaderCommit::Stale),
                    },
                    None => find_locked(connection, &tenant, &owner, &name, lock).await?,
                };
                let (row, is_new) = match found {
                    Found::Row(row) => (row, false),
                    Found::New => (Row::new(0, now), true),
                    Found::LimitReached => return Ok(ReaderCommit::LimitReached),
                };
                let changed = match row.changed(change, now) {
                    Ok(changed) => changed,
                    Err(refused) => return Ok(refused),
                };
                if is_new {
                    changed.insert(connection, &owner, &name).await?;
                } else {
                    changed.update(connection, &owner, &name).await?;
                }
                Ok(ReaderCommit::Done)
            })
        })
        .await
    }

    /// Removes a reader of the caller's tenant, unless a process has its lease. Returns whether it existed.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn remove_event_reader(
        &self,
        principal: &Principal,
        name: &str,
    ) -> Result<Result<bool, Duration>, Error> {
        let (now, lock) = (self.now(), self.inner.dialect.for_update());
        let owner = owner(principal);
        self.write(|connection| {
            let (owner, name) = (owner.clone(), name.to_owned());
            Box::pin(async move {
                let Some(row) = find(connection, &owner, &name, lock).await? else { return Ok(Ok(false)) };
                if let Some(left) = row.held_by_other(None, now) {
                    return Ok(Err(left));
                }
                let mut sql = Statement::new("DELETE FROM event_readers WHERE tenant_id = ? AND name = ?");
                sql.bind(owner).bind(name);
                Ok(Ok(sql.execute(connection).await? > 0))
            })
        })
        .await
    }
}

impl Row {
    fn new(position: u64, now: Timestamp) -> Self {
        Self { position, metadata: String::new(), changed_at: now, holder: None, held_until: now }
    }

    /// Returns how long another process than `holder` has the lease.
    fn held_by_other(&self, holder: Option<LeaseToken>, now: Timestamp) -> Option<Duration> {
        if self.holder.is_none() || self.holder == holder {
            return None;
        }
        // A row of a later clock was written before the clock was set back: only the length of its lease has a meaning.
        let since = if self.is_of_later_clock(now) { self.changed_at } else { now };
        Some(self.held_until.since(since)).filter(|left| !left.is_zero())
    }

    fn is_of_later_clock(&self, now: Timestamp) -> bool {
        self.changed_at.since(now) > CLOCK_STEP
    }

    fn held(self, lease: ReaderLease, now: Timestamp) -> Self {
        let held_until = now + lease.duration;
        Self { holder: Some(lease.holder), held_until, changed_at: now, ..self }
    }

    fn changed(self, change: ReaderChange, now: Timestamp) -> Result<Self, ReaderCommit> {
        let row = match change.lease {
            Some(lease) if self.holder != Some(lease.holder) => return Err(ReaderCommit::Stale),
            Some(lease) => self.held(lease, now),
            None => match self.held_by_other(None, now) {
                Some(left) => return Err(ReaderCommit::Leased(left)),
                // The holder before, whose lease has ended, must not commit after this.
                None => Self { holder: None, held_until: now, changed_at: now, ..self },
            },
        };
        let position = change.position.unwrap_or(row.position);
        if position < row.position && !change.rewind {
            return Err(ReaderCommit::Behind(row.position));
        }
        let metadata = change.metadata.unwrap_or(row.metadata);
        let (holder, held_until) = if change.release { (None, now) } else { (row.holder, row.held_until) };
        Ok(Self { position, metadata, holder, held_until, ..row })
    }

    async fn insert(&self, connection: &mut Connection, owner: &str, name: &str) -> Result<(), Error> {
        let sql = "INSERT INTO event_readers (position, changed_at, metadata, holder, held_until, tenant_id, name) \
                   VALUES (?,?,?,?,?,?,?)";
        self.write(sql, connection, owner, name).await
    }

    async fn update(&self, connection: &mut Connection, owner: &str, name: &str) -> Result<(), Error> {
        let sql = "UPDATE event_readers SET position = ?, changed_at = ?, metadata = ?, holder = ?, held_until = ? \
                   WHERE tenant_id = ? AND name = ?";
        self.write(sql, connection, owner, name).await
    }

    async fn write(
        &self,
        sql: &'static str,
        connection: &mut Connection,
        owner: &str,
        name: &str,
    ) -> Result<(), Error> {
        let mut sql = Statement::new(sql);
        sql.bind(i64::try_from(self.position).unwrap_or(i64::MAX))
            .bind(self.changed_at.as_micros())
            .bind(self.metadata.clone())
            .bind(self.holder.map(LeaseToken::as_i64))
            .bind(self.held_until.as_micros())
            .bind(owner.to_owned())
            .bind(name.to_owned());
        sql.execute(connection).await.map(drop)
    }
}

fn owner(principal: &Principal) -> String {
    if principal.all_tenants { ALL_TENANTS.to_owned() } else { principal.tenant.as_str().to_owned() }
}

async fn find(
    connection: &mut Connection,
    owner: &str,
    name: &str,
    lock: &str,
) -> Result<Option<Row>, Error> {
    let mut sql = Statement::new(
        "SELECT position, metadata, changed_at, holder, held_until FROM event_readers \
         WHERE tenant_id = ? AND name = ?",
    );
    sql.bind(owner.to_owned()).bind(name.to_owned()).push(lock);
    let found = sql.fetch(connection).await?;
    let Some(row) = found.first() else { return Ok(None) };
    Ok(Some(Row {
        position: rows::number(row, 0)?,
        metadata: row.get(1)?,
        changed_at: rows::time(row, 2)?,
        holder: row.get::<Option<i64>>(3)?.and_then(LeaseToken::from_i64),
        held_until: rows::time(row, 4)?,
    }))
}

/// The result of a search for a reader that may be added.
enum Found {
    Row(Row),
    New,
    LimitReached,
}

/// Finds and locks a reader, or locks the tenant so that the reader can be added.
async fn find_locked(
    connection: &mut Connection,
    tenant: &TenantId,
    owner: &str,
    name: &str,
    lock: &str,
) -> Result<Found, Error> {
    if let Some(row) = find(connection, owner, name, lock).await? {
        return Ok(Found::Row(row));
    }
    // Excludes other transactions that add a reader, so that the limit is exact.
    lock_tenant(connection, tenant, lock).await?;
    if let Some(row) = find(connection, owner, name, lock).await? {
        return Ok(Found::Row(row));
    }
    let is_full = count(connection, owner).await? >= MAX_EVENT_READERS;
    Ok(if is_full { Found::LimitReached } else { Found::New })
}

async fn lock_tenant(connection: &mut Connection, tenant: &TenantId, lock: &str) -> Result<(), Error> {
    let mut sql = Statement::new("SELECT tenant_id FROM tenants WHERE tenant_id = ?");
    sql.bind(tenant.as_str().to_owned()).push(lock);
    sql.fetch(connection).await.map(drop)
}

/// Counts the readers, at most [`MAX_EVENT_READERS`] of them.
async fn count(connection: &mut Connection, owner: &str) -> Result<usize, Error> {
    let mut sql = Statement::new("SELECT name FROM event_readers WHERE tenant_id = ? LIMIT ?");
    sql.bind(owner.to_owned()).bind(MAX_EVENT_READERS as i64);
    Ok(sql.fetch(connection).await?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_documented() {
        limits_page::row("named readers of the event log of a tenant", &MAX_EVENT_READERS.to_string());
        assert!(ALL_TENANTS.parse::<TenantId>().is_err());
    }
}
