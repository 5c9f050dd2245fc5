//! Checks whether the server is still the primary, and closes the connections if not.

use super::connection::{Connection, Link};
use super::primary::IS_READ_ONLY;
use super::statement::Statement;
use super::{Dialect, Error, Outage, Shard};

/// Checks that the server of a connection accepts changes, before an answer that a former primary would give wrongly.
///
/// # Errors
/// [`Outage::ReadOnly`] if it does not.
pub(super) async fn require_writable(connection: &mut Connection) -> Result<(), Error> {
    // vtgate finds the primary of a shard itself.
    let may_lead_elsewhere = matches!(connection.link, Link::MySql(_)) && connection.place.is_none();
    if !may_lead_elsewhere || !is_read_only(connection).await? {
        return Ok(());
    }
    let cause = "the server is read-only, and may be a former primary".to_owned();
    Err(Error::Unavailable(Outage::ReadOnly(sqlx::Error::Protocol(cause))))
}

async fn is_read_only(connection: &mut Connection) -> Result<bool, Error> {
    let rows = Statement::new(IS_READ_ONLY).fetch(connection).await?;
    Ok(rows.first().map_or(Ok(0), |row| row.get::<i64>(0))? != 0)
}

impl Shard {
    /// Queries whether the server has become read-only, and abandons it if so.
    ///
    /// For a gateway whose connections are never idle and that has nothing to write.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn check_primary(&self) -> Result<(), Error> {
        // vtgate finds the primary of a shard itself.
        if self.inner.dialect == Dialect::Sqlite || self.inner.place.is_some() {
            return Ok(());
        }
        if self.read(|connection| Box::pin(is_read_only(connection))).await? {
            if let Some(hosts) = &self.inner.hosts {
                hosts.suspect();
            }
            if self.inner.primary.may_leave() {
                self.close_idle_writers();
            }
        }
        Ok(())
    }

    /// Closes the idle connections that write.
    pub(super) fn close_idle_writers(&self) {
        self.inner.writers.close_idle();
        if let Some(numbering) = &self.inner.numbering {
            numbering.close_idle();
        }
    }

    /// Closes all connections, those of readers too, after the server has refused a change as read-only.
    ///
    /// When one connection leads to a former primary all do, and new ones may reach the new primary. With several hosts,
    /// also a lost one is searched for.
    pub(super) fn abandon_if_read_only<T>(&self, result: &Result<T, Error>) {
        self.suspect_host(result);
        if matches!(result, Err(Error::Unavailable(Outage::ReadOnly(_)))) {
            self.inner.primary.leave();
            self.close_idle_writers();
        }
    }
}
