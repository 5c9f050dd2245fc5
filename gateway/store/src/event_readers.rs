//! Named readers of the event log: the position up to which each has applied the events.
//!
//! A caller for all tenants has other readers than any tenant: their events differ.

use domain::{Principal, TenantId};

use super::connection::Connection;
use super::statement::Statement;
use super::{Error, Store, rows};

/// Maximum number of named readers of a tenant.
pub const MAX_EVENT_READERS: usize = 100;
/// In place of the tenant, for readers of the events of all tenants. It is no id of a tenant.
const ALL_TENANTS: &str = "*";

/// The outcome of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReaderCommit {
    /// The position is stored.
    Done,
    /// The reader has committed this later position.
    Behind(u64),
    /// The tenant has [`MAX_EVENT_READERS`] readers, and this name is a new one.
    LimitReached,
}

impl Store {
    /// Returns the position that a reader of the caller's tenant has committed; `None` if there is none.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn event_reader(&self, principal: &Principal, name: &str) -> Result<Option<u64>, Error> {
        let (owner, name) = (owner(principal), name.to_owned());
        self.read(move |connection| Box::pin(async move { position(connection, &owner, &name, "").await }))
            .await
    }

    /// Commits the position of a reader of the caller's tenant. A smaller one than before needs `rewind`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn commit_event_reader(
        &self,
        principal: &Principal,
        name: &str,
        committed: u64,
        rewind: bool,
    ) -> Result<ReaderCommit, Error> {
        let (now, lock) = (self.now(), self.inner.dialect.for_update());
        let (tenant, owner) = (principal.tenant.clone(), owner(principal));
        self.write(|connection| {
            let (tenant, owner, name) = (tenant.clone(), owner.clone(), name.to_owned());
            Box::pin(async move {
                let mut before = position(connection, &owner, &name, lock).await?;
                if before.is_none() {
                    // Excludes other transactions that add a reader, so that the limit is exact.
                    lock_tenant(connection, &tenant, lock).await?;
                    before = position(connection, &owner, &name, lock).await?;
                }
                let (value, now) = (i64::try_from(committed).unwrap_or(i64::MAX), now.as_micros());
                let mut sql = match before {
                    Some(before) if before > committed && !rewind => return Ok(ReaderCommit::Behind(before)),
                    Some(_) => Statement::new(
                        "UPDATE event_readers SET position = ?, changed_at = ? WHERE tenant_id = ? AND name = ?",
                    ),
                    None if count(connection, &owner).await? >= MAX_EVENT_READERS => {
                        return Ok(ReaderCommit::LimitReached);
                    }
                    None => Statement::new(
                        "INSERT INTO event_readers (position, changed_at, tenant_id, name) VALUES (?,?,?,?)",
                    ),
                };
                sql.bind(value).bind(now).bind(owner).bind(name);
                sql.execute(connection).await?;
                Ok(ReaderCommit::Done)
            })
        })
        .await
    }

    /// Removes a reader of the caller's tenant. Returns whether it existed.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn remove_event_reader(&self, principal: &Principal, name: &str) -> Result<bool, Error> {
        let owner = owner(principal);
        self.write(|connection| {
            let (owner, name) = (owner.clone(), name.to_owned());
            Box::pin(async move {
                let mut sql = Statement::new("DELETE FROM event_readers WHERE tenant_id = ? AND name = ?");
                sql.bind(owner).bind(name);
                Ok(sql.execute(connection).await? > 0)
            })
        })
        .await
    }
}

fn owner(principal: &Principal) -> String {
    if principal.all_tenants { ALL_TENANTS.to_owned() } else { principal.tenant.as_str().to_owned() }
}

async fn position(
    connection: &mut Connection,
    owner: &str,
    name: &str,
    lock: &str,
) -> Result<Option<u64>, Error> {
    let mut sql = Statement::new("SELECT position FROM event_readers WHERE tenant_id = ? AND name = ?");
    sql.bind(owner.to_owned()).bind(name.to_owned()).push(lock);
    sql.fetch(connection).await?.first().map(|row| rows::number(row, 0)).transpose()
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
